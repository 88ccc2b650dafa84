/*
 * The configuration file and the grammars of its values: a file that is accepted
 * reads back, written out in quotes, as the same keys and values; one that is
 * refused has its faults named, one a line.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/config_entries.h"
#include "base/config_words.h"

#define FAULTS_MAX (1 << 20)
#define TEXT_MAX   (1 << 22)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct target {
    char *text;
    char *url;
    char *secret;
    bool flag;
    int64_t number, wait, size;
    int shape;
};

static const struct config_key keys[] = {
    {.key = "TEXT", .offset = offsetof(struct target, text), .max = 40, .min = 2},
    {.key = "URL", .type = CONFIG_URL, .offset = offsetof(struct target, url)},
    {.key = "SECRET", .offset = offsetof(struct target, secret), .secret = true},
    {.key = "FLAG", .type = CONFIG_BOOL, .offset = offsetof(struct target, flag), .fallback = "no"},
    {.key = "NUMBER",
        .type = CONFIG_INT,
        .offset = offsetof(struct target, number),
        .fallback = "1"},
    {.key = "WAIT",
        .type = CONFIG_DURATION,
        .offset = offsetof(struct target, wait),
        .max = 86400000},
    {.key = "SIZE", .type = CONFIG_SIZE, .offset = offsetof(struct target, size), .max = INT64_MAX},
    {.key = "SHAPE",
        .type = CONFIG_CHOICE,
        .offset = offsetof(struct target, shape),
        .choices = "a|b"},
};

static void must(int truth)
{
    if (!truth)
        abort();
}

static void add_quoted(struct buf *out, const char *s)
{
    buf_add_char(out, '"');
    for (; *s; s++) {
        if (*s == '\n' || *s == '\t') {
            buf_add_str(out, *s == '\n' ? "\\n" : "\\t");
            continue;
        }
        if (*s == '"' || *s == '\\')
            buf_add_char(out, '\\');
        buf_add_char(out, *s);
    }
    buf_add_str(out, "\"\n");
}

static void check_round_trip(const struct config_file *file)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    struct buf faults = BUF_INIT(FAULTS_MAX);
    struct config_file *again = NULL;
    size_t n;
    const struct config_entry *entries = config_file_entries(file, &n);

    for (size_t i = 0; i < n; i++) {
        buf_addf(&text, "export %s = ", entries[i].key);
        add_quoted(&text, entries[i].value);
    }
    int err = config_file_parse(buf_str(&text), text.len, "again", &faults, &again);
    must(err == 0);
    for (size_t i = 0; i < n; i++) {
        const char *value = config_file_get(again, entries[i].key);
        must(value && strcmp(value, entries[i].value) == 0);
    }
    config_file_free(again);
    buf_release(&text);
    buf_release(&faults);
}

static void check_load(const struct config_file *file)
{
    struct target t = {0};
    struct buf faults = BUF_INIT(FAULTS_MAX);
    const struct config_section section = {"Fuzz", keys, sizeof(keys) / sizeof(keys[0]), &t};

    int err = config_load(&section, 1, file, NULL, &faults);
    must((err == 0) == (faults.len == 0));
    if (!err) {
        must(!t.text || (strlen(t.text) >= 2 && strlen(t.text) <= 40));
        must(t.wait >= 0 && t.wait <= 86400000 && t.size >= 0);
        must(t.shape == 0 || t.shape == 1);
        must(!t.url || t.url[strlen(t.url) - 1] != '/');
    }
    config_release(&section, 1);
    buf_release(&faults);
}

/* A number in words is the same number again. */
static void check_numbers(const char *text)
{
    struct buf words = BUF_INIT(64);
    int64_t value;
    int64_t again = -1;
    bool flag;

    if (config_parse_duration(text, &value) == 0) {
        config_add_number(&words, CONFIG_DURATION, value);
        must(config_parse_duration(buf_str(&words), &again) == 0 && again == value);
    }
    buf_reset(&words);
    if (config_parse_size(text, &value) == 0) {
        config_add_number(&words, CONFIG_SIZE, value);
        must(config_parse_size(buf_str(&words), &again) == 0 && again == value);
    }
    buf_reset(&words);
    if (config_parse_int(text, &value) == 0) {
        config_add_number(&words, CONFIG_INT, value);
        must(config_parse_int(buf_str(&words), &again) == 0 && again == value);
    }
    (void)!config_parse_bool(text, &flag);
    buf_release(&words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf faults = BUF_INIT(FAULTS_MAX);
    struct config_file *file = NULL;

    int err = config_file_parse((const char *)data, size, "fuzz", &faults, &file);
    must((err == 0) == (faults.len == 0) && (err == 0) == (file != NULL));
    if (!err) {
        check_round_trip(file);
        check_load(file);
    }
    config_file_free(file);
    buf_release(&faults);

    char *text = strndup((const char *)data, size);
    if (text)
        check_numbers(text);
    free(text);
    return 0;
}
