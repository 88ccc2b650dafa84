/*
 * tocsin-seal: seals a secret from standard input, makes keys, and seals again
 * with the newest key. Nothing that it reads is ever shown.
 */
#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/config.h"
#include "base/secret.h"

#define FAULTS_MAX 65536
#define SEALED_MAX (2 * SECRET_PLAIN_MAX)

static const char usage[] =
    "usage: printf %s \"$secret\" | tocsin-seal --context TABLE.COLUMN [--config FILE]\n"
    "       tocsin-seal --context TABLE.COLUMN --reseal [--config FILE] < sealed lines\n"
    "       tocsin-seal --new-key ID\n"
    "\n"
    "Seals the secret on standard input for one column and prints the sealed text.\n"
    "At a terminal it asks for one line and does not show it.\n"
    "\n"
    "  --context NAME  the column, such as calendar_credentials.sealed; the text opens\n"
    "                  nowhere else\n"
    "  --reseal        opens each line with whatever key fits, seals it with the first\n"
    "  --new-key ID    prints a new key as \"id:base64\" for TOCSIN_SEAL_KEYS\n"
    "  --config FILE   KEY=value lines, read where the environment has no keys\n"
    "  --help, --version\n"
    "\n"
    "Environment:\n"
    "  TOCSIN_SEAL_KEYS  \"id:base64,id:base64\": the first seals, all of them open\n"
    "\n"
    "Exit status: 0 done, 64 usage, 65 what was read cannot be sealed or opened,\n"
    "74 input or output failed, 78 keys missing or malformed.\n";

struct options {
    const char *context;
    const char *config;
    const char *new_key;
    bool reseal;
};

static int complain(int status, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int complain(int status, const char *fmt, ...)
{
    va_list args;

    (void)fputs("tocsin-seal: ", stderr);
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return status;
}

/* --- keys --------------------------------------------------------------------------------- */

/* Every fault of the file and of the keys goes into `faults`. */
static int find_keys(const char *config, struct buf *faults, struct secret_ring **ret_ring)
{
    struct config_file *file = NULL;
    const char *keys = getenv("TOCSIN_SEAL_KEYS");
    int file_err = config ? config_file_read(config, faults, &file) : 0;
    int err = 0;

    if (!keys && file)
        keys = config_file_get(file, "TOCSIN_SEAL_KEYS");
    if (keys && *keys)
        err = secret_ring_parse(keys, faults, ret_ring);
    else if (!file_err)
        err = ERR_NOT_FOUND;
    if (err == ERR_NOT_FOUND)
        buf_add_str(faults, "TOCSIN_SEAL_KEYS: needed, but not set; make a key with "
                            "`tocsin-seal --new-key ID`\n");
    config_file_free(file);
    if (file_err && !err) {
        secret_ring_free(*ret_ring);
        *ret_ring = NULL;
    }
    return file_err ? file_err : err;
}

static int load_ring(const char *config, struct secret_ring **ret_ring)
{
    struct buf faults = BUF_INIT(FAULTS_MAX);

    int err = find_keys(config, &faults, ret_ring);
    if (err == ERR_NOMEM)
        (void)complain(EX_OSERR, "out of memory");
    else if (err)
        (void)fputs(buf_str(&faults), stderr);
    buf_release(&faults);
    return err == 0 ? EX_OK : err == ERR_NOMEM ? EX_OSERR : EX_CONFIG;
}

static int print_new_key(const char *id)
{
    unsigned char key[SECRET_KEY_BYTES];
    char text[sodium_base64_ENCODED_LEN(SECRET_KEY_BYTES, sodium_base64_VARIANT_ORIGINAL)];
    struct buf line = BUF_INIT(sizeof(text) + 64);
    struct buf faults = BUF_INIT(FAULTS_MAX);
    struct secret_ring *ring = NULL;
    int status = EX_OK;

    randombytes_buf(key, sizeof(key));
    (void)sodium_bin2base64(text, sizeof(text), key, sizeof(key), sodium_base64_VARIANT_ORIGINAL);
    buf_addf(&line, "%s:%s", id, text);
    /* What is printed has to be what the other programs take. */
    if (strchr(id, ',') || buf_err(&line) || secret_ring_parse(buf_str(&line), &faults, &ring))
        status = complain(EX_USAGE, "an id has up to 32 letters, digits, '_' and '-'");
    else if (puts(buf_str(&line)) == EOF || fflush(stdout) == EOF)
        status = complain(EX_IOERR, "cannot write: %s", strerror(errno));
    secret_ring_free(ring);
    sodium_memzero(key, sizeof(key));
    sodium_memzero(text, sizeof(text));
    buf_release_secret(&line);
    buf_release(&faults);
    return status;
}

/* --- sealing ------------------------------------------------------------------------------ */

static int print_sealed(
    const struct secret_ring *ring, const char *context, const char *plain, size_t len)
{
    struct buf sealed = BUF_INIT(SEALED_MAX);
    int status = EX_OK;

    int err = secret_seal(ring, context, plain, len, &sealed);
    if (err)
        status = complain(EX_DATAERR, "cannot seal: %s", err_name(err));
    else if (puts(buf_str(&sealed)) == EOF || fflush(stdout) == EOF)
        status = complain(EX_IOERR, "cannot write: %s", strerror(errno));
    buf_release(&sealed);
    return status;
}

/* Reads until the end of the input, or of the line at a terminal. `size` bytes
 * are one more than may come. Returns the length, or -1. */
static ssize_t read_plain(char *plain, size_t size, bool terminal)
{
    size_t len = 0;

    while (len < size) {
        ssize_t n = read(STDIN_FILENO, plain + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        len += (size_t)n;
        if (n == 0 || (terminal && plain[len - 1] == '\n'))
            break;
    }
    return (ssize_t)len;
}

static ssize_t read_hidden(char *plain, size_t size)
{
    struct termios shown;

    if (tcgetattr(STDIN_FILENO, &shown) != 0)
        return read_plain(plain, size, false);
    struct termios hidden = shown;
    hidden.c_lflag &= (tcflag_t)~ECHO;
    (void)fputs("secret: ", stderr);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    ssize_t len = read_plain(plain, size, true);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    (void)fputc('\n', stderr);
    return len;
}

/* One newline at the end is what `echo` and a terminal add, and no part of it. */
static int seal_input(const struct secret_ring *ring, const char *context)
{
    size_t size = SECRET_PLAIN_MAX + 2;
    char *plain = sodium_malloc(size);
    int status;

    if (!plain)
        return complain(EX_OSERR, "out of memory");
    ssize_t len = read_hidden(plain, size);
    if (len > 0 && plain[len - 1] == '\n')
        len--;
    if (len < 0)
        status = complain(EX_IOERR, "cannot read: %s", strerror(errno));
    else if (len == 0)
        status = complain(EX_DATAERR, "nothing came on standard input");
    else if (len > SECRET_PLAIN_MAX)
        status = complain(EX_DATAERR, "more than %d bytes", SECRET_PLAIN_MAX);
    else
        status = print_sealed(ring, context, plain, (size_t)len);
    sodium_free(plain);
    return status;
}

/* One line out for each line in, so that the rows of a table can be piped through;
 * the first that does not open ends it. */
static int reseal_input(const struct secret_ring *ring, const char *context)
{
    _cleanup_(freep) char *line = NULL;
    size_t size = 0;
    unsigned number = 0;
    int status = EX_OK;

    while (status == EX_OK && getline(&line, &size, stdin) >= 0) {
        struct secret *secret = NULL;
        number++;
        line[strcspn(line, "\r\n")] = '\0';
        int err = secret_open(ring, context, line, &secret);
        if (err == ERR_INVALID)
            status = complain(EX_DATAERR, "line %u is no sealed text", number);
        else if (err)
            status = complain(
                EX_DATAERR, "line %u does not open with these keys and this context", number);
        else
            status = print_sealed(ring, context, secret_text(secret), secret_len(secret));
        secret_free(secret);
    }
    if (ferror(stdin))
        return complain(EX_IOERR, "cannot read: %s", strerror(errno));
    if (number == 0)
        return complain(EX_DATAERR, "nothing came on standard input");
    return status;
}

/* --- command line ------------------------------------------------------------------------- */

/* Returns -1 to go on, else the exit status. */
static int parse_options(int argc, char **argv, struct options *ret)
{
    static const struct option names[] = {
        {"context", required_argument, NULL, 'c'},
        {"config", required_argument, NULL, 'f'},
        {"new-key", required_argument, NULL, 'n'},
        {"reseal", no_argument, NULL, 'r'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    struct options o = {0};
    int c;

    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (c == 'c')
            o.context = optarg;
        else if (c == 'f')
            o.config = optarg;
        else if (c == 'n')
            o.new_key = optarg;
        else if (c == 'r')
            o.reseal = true;
        else if (c == 'h')
            return fputs(usage, stdout) == EOF ? EX_IOERR : EX_OK;
        else if (c == 'v')
            return puts("tocsin-seal " TOCSIN_VERSION) == EOF ? EX_IOERR : EX_OK;
        else
            return EX_USAGE;
    }
    if (optind < argc)
        return complain(EX_USAGE, "a secret is read from standard input, never from arguments");
    if (!o.new_key && (!o.context || !*o.context))
        return complain(EX_USAGE, "--context is needed; see --help");
    *ret = o;
    return -1;
}

int main(int argc, char **argv)
{
    struct options o = {0};
    struct secret_ring *ring = NULL;

    int status = parse_options(argc, argv, &o);
    if (status >= 0)
        return status;
    if (sodium_init() < 0)
        return complain(EX_OSERR, "no source of randomness");
    if (o.new_key)
        return print_new_key(o.new_key);
    status = load_ring(o.config, &ring);
    if (status == EX_OK)
        status = o.reseal ? reseal_input(ring, o.context) : seal_input(ring, o.context);
    secret_ring_free(ring);
    return status;
}
