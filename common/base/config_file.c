#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/config.h"
#include "base/config_entries.h"

#define FILE_MAX    (1 << 20)
#define ENTRIES_MAX 4096
#define KEY_CHARS   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

struct config_file {
    char *name;
    struct config_entry *entries;
    size_t n;
    size_t cap;
};

/* One line while it is taken apart: [at, end). */
struct cursor {
    const char *at;
    const char *end;
    unsigned line;
    const char *name;
    struct buf *faults;
};

static int fault(const struct cursor *c, const char *what)
{
    buf_addf(c->faults, "%s:%u: %s\n", c->name, c->line, what);
    return buf_err(c->faults) == ERR_NOMEM ? ERR_NOMEM : ERR_INVALID;
}

static void skip_blanks(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t'))
        c->at++;
}

static bool at_end(const struct cursor *c)
{
    return c->at == c->end || *c->at == '#';
}

/* The characters from here on that are in `set`; the file has no NUL within. */
static size_t span(const struct cursor *c, const char *set)
{
    size_t n = 0;

    while (c->at + n < c->end && strchr(set, c->at[n]))
        n++;
    return n;
}

static void skip_export(struct cursor *c)
{
    static const char word[] = "export";
    size_t len = sizeof(word) - 1;

    if ((size_t)(c->end - c->at) > len && memcmp(c->at, word, len) == 0 &&
        (c->at[len] == ' ' || c->at[len] == '\t')) {
        c->at += len;
        skip_blanks(c);
    }
}

/* '…', taken as it is. */
static int read_raw(struct cursor *c, struct buf *value)
{
    const char *close = memchr(c->at, '\'', (size_t)(c->end - c->at));

    if (!close)
        return fault(c, "the quote ' is not closed on its line");
    buf_add(value, c->at, (size_t)(close - c->at));
    c->at = close + 1;
    return 0;
}

/* "…" with \n \t \" \\. */
static int read_escaped(struct cursor *c, struct buf *value)
{
    static const char from[] = "nt\"\\";
    static const char to[] = "\n\t\"\\";

    while (c->at < c->end && *c->at != '"') {
        if (*c->at != '\\') {
            buf_add_char(value, *c->at++);
            continue;
        }
        const char *known = c->at + 1 < c->end ? strchr(from, c->at[1]) : NULL;
        if (!known)
            return fault(c, "after \\ only n, t, \" and \\ have a meaning; use '…' for raw text");
        buf_add_char(value, to[known - from]);
        c->at += 2;
    }
    if (c->at == c->end)
        return fault(c, "the quote \" is not closed on its line");
    c->at++;
    return 0;
}

/* Up to the end of the line or to a '#' after a blank. */
static void read_bare(struct cursor *c, struct buf *value)
{
    const char *start = c->at;
    const char *last = c->at;

    while (c->at < c->end &&
           !(*c->at == '#' && c->at > start && (c->at[-1] == ' ' || c->at[-1] == '\t'))) {
        if (*c->at != ' ' && *c->at != '\t')
            last = c->at + 1;
        c->at++;
    }
    buf_add(value, start, (size_t)(last - start));
}

static int read_value(struct cursor *c, struct buf *value)
{
    int err = 0;

    skip_blanks(c);
    if (at_end(c))
        return 0;
    if (*c->at != '"' && *c->at != '\'') {
        read_bare(c, value);
        return buf_err(value);
    }
    char quote = *c->at++;
    err = quote == '"' ? read_escaped(c, value) : read_raw(c, value);
    if (err)
        return err;
    skip_blanks(c);
    if (!at_end(c))
        return fault(c, "something follows the closing quote");
    return buf_err(value);
}

static const struct config_entry *find(const struct config_file *file, const char *key)
{
    for (size_t i = 0; i < file->n; i++) {
        if (strcmp(file->entries[i].key, key) == 0)
            return &file->entries[i];
    }
    return NULL;
}

/* Takes over both strings, also on failure. */
static int add_entry(struct config_file *file, struct config_entry entry)
{
    if (file->n == file->cap) {
        size_t cap = file->cap ? file->cap * 2 : 16;
        struct config_entry *entries = reallocarray(file->entries, cap, sizeof(*entries));
        if (!entries) {
            config_entry_release(&entry);
            return ERR_NOMEM;
        }
        file->entries = entries;
        file->cap = cap;
    }
    file->entries[file->n++] = entry;
    return 0;
}

static int parse_line(struct config_file *file, struct cursor *c)
{
    struct buf value = BUF_INIT(FILE_MAX);

    skip_blanks(c);
    if (at_end(c))
        return 0;
    skip_export(c);

    size_t key_len = span(c, KEY_CHARS);
    if (key_len == 0 || (*c->at >= '0' && *c->at <= '9'))
        return fault(c, "expected KEY=value");
    _cleanup_(freep) char *key = strndup(c->at, key_len);
    if (!key)
        return ERR_NOMEM;
    c->at += key_len;
    skip_blanks(c);
    if (c->at == c->end || *c->at != '=')
        return fault(c, "expected = after the key");
    c->at++;
    if (find(file, key))
        return fault(c, "the key stands on an earlier line, too");
    if (file->n == ENTRIES_MAX)
        return fault(c, "too many keys");

    int err = read_value(c, &value);
    char *text = err ? NULL : buf_steal(&value);
    buf_release_secret(&value);
    if (err)
        return err;
    if (!text)
        return ERR_NOMEM;
    err = add_entry(file, (struct config_entry){.key = key, .value = text, .line = c->line});
    key = NULL;
    return err;
}

static int parse_lines(struct config_file *file, const char *text, size_t len, struct buf *faults)
{
    const char *end = text + len;
    int result = 0;
    struct cursor c = {.name = file->name, .faults = faults};

    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        c.at = text;
        c.end = newline ? newline : end;
        c.line++;
        text = newline ? newline + 1 : end;
        if (c.end > c.at && c.end[-1] == '\r')
            c.end--;
        int err = parse_line(file, &c);
        if (err == ERR_NOMEM)
            return err;
        if (err)
            result = ERR_INVALID;
    }
    return result;
}

int config_file_parse(const char *text, size_t len, const char *name, struct buf *faults,
    struct config_file **ret_file)
{
    static const char bom[] = "\xEF\xBB\xBF";

    if (len > FILE_MAX || memchr(text, '\0', len)) {
        buf_addf(faults, "%s: %s\n", name,
            len > FILE_MAX ? "larger than 1 MiB" : "holds a NUL byte: not a text file");
        return ERR_INVALID;
    }
    struct config_file *file = calloc(1, sizeof(*file));
    if (!file)
        return ERR_NOMEM;
    file->name = strdup(name);
    if (!file->name) {
        config_file_free(file);
        return ERR_NOMEM;
    }
    if (len >= sizeof(bom) - 1 && memcmp(text, bom, sizeof(bom) - 1) == 0) {
        text += sizeof(bom) - 1;
        len -= sizeof(bom) - 1;
    }
    int err = parse_lines(file, text, len, faults);
    if (err) {
        config_file_free(file);
        return err;
    }
    *ret_file = file;
    return 0;
}

static int read_all(int fd, struct buf *text)
{
    char chunk[4096];
    ssize_t n;

    do {
        n = read(fd, chunk, sizeof(chunk));
        if (n > 0)
            buf_add(text, chunk, (size_t)n);
    } while (!buf_err(text) && (n > 0 || (n < 0 && errno == EINTR)));
    explicit_bzero(chunk, sizeof(chunk));
    if (buf_err(text))
        return buf_err(text);
    return n < 0 ? ERR_IO : 0;
}

int config_file_read(const char *path, struct buf *faults, struct config_file **ret_file)
{
    struct buf text = BUF_INIT(FILE_MAX);

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int err = fd < 0 ? ERR_IO : read_all(fd, &text);
    if (err == ERR_IO) {
        buf_addf(faults, "%s: cannot be read: %s\n", path, strerror(errno));
        err = ERR_INVALID;
    } else if (err == ERR_TOO_LARGE) {
        buf_addf(faults, "%s: larger than 1 MiB\n", path);
        err = ERR_INVALID;
    }
    if (fd >= 0)
        (void)close(fd);
    if (!err)
        err = config_file_parse(buf_str(&text), text.len, path, faults, ret_file);
    buf_release_secret(&text);
    return err;
}

void config_entry_release(struct config_entry *entry)
{
    free(entry->key);
    if (entry->value)
        explicit_bzero(entry->value, strlen(entry->value));
    free(entry->value);
}

void config_file_free(struct config_file *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->n; i++)
        config_entry_release(&file->entries[i]);
    free(file->entries);
    free(file->name);
    free(file);
}

const char *config_file_get(const struct config_file *file, const char *key)
{
    const struct config_entry *entry = find(file, key);

    return entry ? entry->value : NULL;
}

const struct config_entry *config_file_entries(const struct config_file *file, size_t *ret_n)
{
    *ret_n = file->n;
    return file->entries;
}

const char *config_file_name(const struct config_file *file)
{
    return file->name;
}
