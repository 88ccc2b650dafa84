/* tocsin-seal as a process: what it prints, its exit codes, and that no secret shows. */
#include <limits.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/secret.h"

#define SECRET  "hunter2"
#define CONTEXT "calendar_credentials.sealed"
#define KEY_A   "a:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY_B   "b://///////////////////////////////////////w8="

struct result {
    int status;
    char *out; /* one line: without its end */
    char *err;
};

static char *path_of_seal(void)
{
    char self[PATH_MAX + 1];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *path = NULL;

    assert_true(len > 0);
    self[len] = '\0';
    char *tests = strstr(self, "/tests/integration/");
    assert_non_null(tests);
    *tests = '\0';
    assert_true(asprintf(&path, "%s/bin/tocsin-seal", self) > 0);
    return path;
}

static int memory_file(const char *text, size_t len)
{
    int fd = memfd_create("test", 0);

    assert_true(fd > 2);
    assert_int_equal(pwrite(fd, text, len, 0), len);
    return fd;
}

static char *read_memory_file(int fd)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)size + 1);

    assert_non_null(text);
    assert_int_equal(pread(fd, text, (size_t)size, 0), size);
    (void)close(fd);
    return text;
}

static struct result run_bytes(
    const char *keys, const char *in, size_t len, const char *const *args)
{
    const char *argv[8] = {"tocsin-seal"};
    int fds[3] = {memory_file(in, len), memory_file("", 0), memory_file("", 0)};
    _cleanup_(freep) char *path = path_of_seal();
    posix_spawn_file_actions_t actions;
    struct result r;
    pid_t pid;
    int status;

    for (size_t i = 0; args[i]; i++)
        argv[i + 1] = args[i];
    if (keys)
        (void)setenv("TOCSIN_SEAL_KEYS", keys, 1);
    else
        (void)unsetenv("TOCSIN_SEAL_KEYS");
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(posix_spawn_file_actions_adddup2(&actions, fds[i], i), 0);
    assert_int_equal(posix_spawn(&pid, path, &actions, NULL, (char *const *)argv, environ), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));

    (void)close(fds[0]);
    r.status = WEXITSTATUS(status);
    r.out = read_memory_file(fds[1]);
    r.err = read_memory_file(fds[2]);
    assert_null(strstr(r.out, SECRET));
    assert_null(strstr(r.err, SECRET));
    size_t out_len = strlen(r.out);
    if (out_len > 0 && strchr(r.out, '\n') == r.out + out_len - 1)
        r.out[out_len - 1] = '\0';
    return r;
}

#define RUN(keys, in, ...) run_bytes(keys, in, strlen(in), (const char *const[]){__VA_ARGS__, NULL})

static void drop(struct result *r)
{
    free(r->out);
    free(r->err);
}

static void assert_opens(const char *keys, const char *sealed, const char *expected)
{
    struct buf faults = BUF_INIT(4096);
    struct secret_ring *ring = NULL;
    struct secret *s = NULL;

    assert_int_equal(secret_ring_parse(keys, &faults, &ring), 0);
    assert_int_equal(secret_open(ring, CONTEXT, sealed, &s), 0);
    assert_string_equal(secret_text(s), expected);
    secret_free(s);
    secret_ring_free(ring);
    buf_release(&faults);
}

static void assert_fails(struct result r, int status, const char *said)
{
    assert_int_equal(r.status, status);
    assert_string_equal(r.out, "");
    if (!strstr(r.err, said))
        fail_msg("not said: %s\nin:\n%s", said, r.err);
    drop(&r);
}

static void test_seals(void **state)
{
    static const struct {
        const char *in, *kept;
    } rows[] = {{SECRET, SECRET}, {SECRET "\n", SECRET}, {SECRET "\n\n", SECRET "\n"},
        {" a\nb ", " a\nb "}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct result r = RUN(KEY_A, rows[i].in, "--context", CONTEXT);
        assert_int_equal(r.status, EX_OK);
        assert_string_equal(r.err, "");
        assert_opens(KEY_A, r.out, rows[i].kept);
        drop(&r);
    }
}

static void test_largest(void **state)
{
    size_t len = SECRET_PLAIN_MAX;
    _cleanup_(freep) char *plain = calloc(1, len + 2);

    (void)state;
    assert_non_null(plain);
    memset(plain, 'p', len);
    struct result r =
        run_bytes(KEY_A, plain, len, (const char *const[]){"--context", CONTEXT, NULL});
    assert_int_equal(r.status, EX_OK);
    assert_opens(KEY_A, r.out, plain);
    drop(&r);
    plain[len] = 'p';
    assert_fails(
        run_bytes(KEY_A, plain, len + 1, (const char *const[]){"--context", CONTEXT, NULL}),
        EX_DATAERR, "more than 65536 bytes");
}

static void test_new_key_is_a_key(void **state)
{
    (void)state;
    struct result key = RUN(NULL, "", "--new-key", "k-1");
    struct result other = RUN(NULL, "", "--new-key", "k-1");
    assert_int_equal(key.status, EX_OK);
    assert_memory_equal(key.out, "k-1:", 4);
    assert_string_not_equal(key.out, other.out);
    struct result r = RUN(key.out, SECRET, "--context", CONTEXT);
    assert_memory_equal(r.out, "v1.k-1.", 7);
    assert_opens(key.out, r.out, SECRET);
    drop(&r);
    drop(&key);
    drop(&other);
    assert_fails(RUN(NULL, "", "--new-key", "a b"), EX_USAGE, "an id has");
    assert_fails(RUN(NULL, "", "--new-key", "a,b"), EX_USAGE, "an id has");
}

static void test_reseals_every_line(void **state)
{
    char lines[1000];

    (void)state;
    struct result one = RUN(KEY_A, SECRET, "--context", CONTEXT);
    struct result two = RUN(KEY_B, "two", "--context", CONTEXT);
    (void)snprintf(lines, sizeof(lines), "%s\r\n%s\n", one.out, two.out);
    struct result r = RUN(KEY_B "," KEY_A, lines, "--context", CONTEXT, "--reseal");
    assert_int_equal(r.status, EX_OK);
    char *end = strchr(r.out, '\n');
    assert_non_null(end);
    *end = '\0';
    assert_opens(KEY_B, r.out, SECRET);
    end[strcspn(end + 1, "\n") + 1] = '\0';
    assert_opens(KEY_B, end + 1, "two");

    assert_fails(RUN(KEY_B, lines, "--context", CONTEXT, "--reseal"), EX_DATAERR,
        "line 1 does not open with these keys and this context");
    assert_fails(RUN(KEY_A, lines, "--context", "another.column", "--reseal"), EX_DATAERR,
        "line 1 does not open");
    assert_fails(RUN(KEY_A, SECRET, "--context", CONTEXT, "--reseal"), EX_DATAERR,
        "line 1 is no sealed text");
    drop(&one);
    drop(&two);
    drop(&r);
}

static void test_keys_from_a_file(void **state)
{
    static const char sound[] = "OTHER=1\nTOCSIN_SEAL_KEYS='" KEY_A "'\n";
    static const char broken[] = "A=\"\nTOCSIN_SEAL_KEYS=x\n";
    char path[64];

    (void)state;
    int fd = memory_file(sound, strlen(sound));
    (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
    struct result r = RUN(NULL, SECRET, "--context", CONTEXT, "--config", path);
    assert_int_equal(r.status, EX_OK);
    assert_opens(KEY_A, r.out, SECRET);
    drop(&r);
    (void)close(fd);

    fd = memory_file(broken, strlen(broken));
    (void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
    assert_fails(RUN(NULL, SECRET, "--context", CONTEXT, "--config", path), EX_CONFIG,
        ":1: the quote \" is not closed");
    assert_fails(
        RUN("no key", SECRET, "--context", CONTEXT, "--config", path), EX_CONFIG, ":1: the quote");
    assert_fails(
        RUN("no key", SECRET, "--context", CONTEXT, "--config", path), EX_CONFIG, "key 1 is not");
    (void)close(fd);
}

static void test_refusals(void **state)
{
    (void)state;
    assert_fails(RUN(NULL, SECRET, "--context", CONTEXT), EX_CONFIG, "TOCSIN_SEAL_KEYS: needed");
    assert_fails(RUN("", SECRET, "--context", CONTEXT), EX_CONFIG, "TOCSIN_SEAL_KEYS: needed");
    assert_fails(
        RUN(KEY_A ",b:x", SECRET, "--context", CONTEXT), EX_CONFIG, "key 2 is not 32 bytes");
    assert_fails(RUN(KEY_A, SECRET, "--context", CONTEXT, "--config", "/nonexistent"), EX_CONFIG,
        "/nonexistent: cannot be read");
    assert_fails(RUN(KEY_A, "", "--context", CONTEXT), EX_DATAERR, "nothing came");
    assert_fails(RUN(KEY_A, "\n", "--context", CONTEXT), EX_DATAERR, "nothing came");
    assert_fails(RUN(KEY_A, SECRET, "--reseal"), EX_USAGE, "--context is needed");
    assert_fails(RUN(KEY_A, SECRET, "--context", ""), EX_USAGE, "--context is needed");
    assert_fails(
        RUN(KEY_A, "", "--context", CONTEXT, "my secret"), EX_USAGE, "never from arguments");
    assert_fails(RUN(KEY_A, "", "--what"), EX_USAGE, "--what");
}

static void test_help_and_version(void **state)
{
    (void)state;
    struct result r = RUN(NULL, "", "--help");
    assert_int_equal(r.status, EX_OK);
    assert_non_null(strstr(r.out, "--new-key ID"));
    drop(&r);
    r = RUN(NULL, "", "--version");
    assert_string_equal(r.out, "tocsin-seal " TOCSIN_VERSION);
    drop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seals),
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_new_key_is_a_key),
        cmocka_unit_test(test_reseals_every_line),
        cmocka_unit_test(test_keys_from_a_file),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_help_and_version),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
