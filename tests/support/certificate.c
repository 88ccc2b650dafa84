#include "tests/support/certificate.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <cmocka.h>

#define FILE_MAX 16384

static bool run_openssl(const struct certificate *c)
{
    const char *const argv[] = {"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=127.0.0.1", "-addext",
        "subjectAltName=IP:127.0.0.1", "-days", "2", "-keyout", c->key_path, "-out", c->path, NULL};
    int status = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(null, STDERR_FILENO);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool certificate_make(struct certificate *ret_certificate)
{
    struct certificate *c = ret_certificate;

    *c = (struct certificate){.dir = "/tmp/tocsin-tls-XXXXXX"};
    assert_non_null(mkdtemp(c->dir));
    assert_in_range(snprintf(c->key_path, sizeof(c->key_path), "%s/key", c->dir), 1, 79);
    assert_in_range(snprintf(c->path, sizeof(c->path), "%s/cert", c->dir), 1, 79);
    if (run_openssl(c))
        return true;
    certificate_remove(c);
    return false;
}

void certificate_remove(struct certificate *c)
{
    (void)unlink(c->key_path);
    (void)unlink(c->path);
    assert_int_equal(rmdir(c->dir), 0);
}

char *certificate_read(const char *path)
{
    char *text = calloc(1, FILE_MAX);
    FILE *f = fopen(path, "r");

    assert_non_null(text);
    assert_non_null(f);
    assert_true(fread(text, 1, FILE_MAX - 1, f) > 0);
    fclose(f);
    return text;
}
