#include "worker-calendar/ics_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define CHUNK 65536

static int refuse(struct buf *fault, int code, const char *why)
{
    buf_add_str(fault, why);
    return code;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The path of a file address, with %xx decoded (RFC 8089; no host but the own). */
static int path_of(const char *address, struct buf *ret_path)
{
    if (strncasecmp(address, "file:", 5) != 0)
        return ERR_INVALID;
    const char *c = address + 5;
    if (strncmp(c, "//localhost/", 12) == 0)
        c += 11;
    else if (strncmp(c, "///", 3) == 0)
        c += 2;
    if (c[0] != '/' || c[1] == '/')
        return ERR_INVALID;
    for (; *c; c++) {
        if (*c != '%') {
            buf_add_char(ret_path, *c);
            continue;
        }
        int high = hex(c[1]), low = high < 0 ? -1 : hex(c[2]);
        if (low < 0 || high * 16 + low == 0)
            return ERR_INVALID;
        buf_add_char(ret_path, (char)(high * 16 + low));
        c += 2;
    }
    return buf_err(ret_path) ? ERR_INVALID : 0;
}

static bool is_below(const char *folder, const char *path)
{
    size_t len = strlen(folder);
    while (len > 0 && folder[len - 1] == '/')
        len--;
    return strncmp(path, folder, len) == 0 && path[len] == '/';
}

/* The real path of `path`, if it lies below the real folder. */
static int resolve(const char *folder, const char *path, char **ret_path, struct buf *fault)
{
    _cleanup_(freep) char *root = realpath(folder, NULL);
    if (!root)
        return refuse(
            fault, ERR_IO, "the folder of calendar files (CALENDAR_FILE_DIR) cannot be opened");
    char *real = realpath(path, NULL);
    if (!real && errno == ENOENT)
        return refuse(fault, ERR_NOT_FOUND, "there is no such file");
    if (!real)
        return refuse(fault, ERR_IO, "the file cannot be opened");
    if (!is_below(root, real)) {
        free(real);
        return refuse(fault, ERR_DENIED,
            "the file is not below the folder of calendar files (CALENDAR_FILE_DIR)");
    }
    *ret_path = real;
    return 0;
}

static int read_all(int fd, struct buf *ret_text, struct buf *fault)
{
    _cleanup_(freep) char *chunk = malloc(CHUNK);
    if (!chunk)
        return ERR_NOMEM;
    for (;;) {
        ssize_t n = read(fd, chunk, CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return refuse(fault, ERR_IO, "the file cannot be read");
        if (n == 0)
            return buf_err(ret_text);
        buf_add(ret_text, chunk, (size_t)n);
        if (buf_err(ret_text) == ERR_TOO_LARGE)
            return refuse(fault, ERR_TOO_LARGE, "the file is larger than CALENDAR_MAX_BODY");
        if (buf_err(ret_text))
            return buf_err(ret_text);
    }
}

int ics_file_read(const char *folder, const char *address, struct buf *ret_text, struct buf *fault)
{
    struct buf path = BUF_INIT(PATH_MAX);
    _cleanup_(freep) char *real = NULL;
    struct stat st;
    int fd = -1, err = ERR_DENIED;
    if (!folder) {
        err = refuse(fault, ERR_DENIED, "files are not read: CALENDAR_FILE_DIR is not set");
        goto out;
    }
    err = path_of(address, &path);
    if (err) {
        err = refuse(fault, err, "a file's address is file:///path");
        goto out;
    }
    err = resolve(folder, buf_str(&path), &real, fault);
    if (err)
        goto out;
    /* What was resolved is opened as it stands: a link that was put there since is refused, a
     * FIFO does not block. */
    fd = open(real, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        err = refuse(fault, ERR_IO, "the file cannot be opened");
    else if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        err = refuse(fault, ERR_DENIED, "this is no regular file");
    else
        err = read_all(fd, ret_text, fault);
out:
    if (fd >= 0)
        (void)close(fd);
    buf_release(&path);
    return err;
}
