/*
 * Configuration is one const table: it parses, bounds, documents and prints.
 * A value comes from the environment, else from the file of --config, else from
 * the table. Every fault is collected, so that one start reports them all. A text
 * that is set but empty is set to nothing (NULL); an empty number, boolean or
 * choice counts as not set.
 */
#ifndef TOCSIN_BASE_CONFIG_H
#define TOCSIN_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"

enum config_type {
    CONFIG_STRING,   /* char *; NULL when empty and optional */
    CONFIG_BOOL,     /* bool; true/false/1/0/yes/no/on/off */
    CONFIG_INT,      /* int64_t within min..max */
    CONFIG_DURATION, /* int64_t milliseconds within min..max; "250ms", "10s", "5m", "24h", "7d" */
    CONFIG_SIZE,     /* int64_t bytes within min..max; "64k", "10M", "1G" */
    CONFIG_CHOICE,   /* int index into `choices` ("logfmt|json|plain") */
    CONFIG_URL,      /* char *; http or https, no trailing slash kept */
};

struct config_key {
    const char *key; /* the environment variable, upper case */
    enum config_type type;
    size_t offset;        /* into the target structure */
    const char *fallback; /* as text, in the same grammar; NULL: none */
    int64_t min, max;     /* numbers: inclusive; both 0: no bound. strings: length */
    const char *choices;  /* CONFIG_CHOICE alone */
    bool secret;          /* never printed */
    bool required;
    const char *help; /* one sentence for --help and the manual page */
};

/* One table and the structure that it fills. */
struct config_section {
    const char *title;
    const struct config_key *keys;
    size_t n_keys;
    void *target;
};

/* KEY=value lines of a file: '#' comments, optional quotes ("…" with \n \t \" \\
 * escapes, '…' raw), optional `export `. */
struct config_file;

/* Parses `text`. Faults are added to `faults`, one a line with its line number.
 * Returns 0, ERR_INVALID (faults were added) or ERR_NOMEM. */
MUST_CHECK int config_file_parse(const char *text, size_t len, const char *name, struct buf *faults,
    struct config_file **ret_file);
/* Reads and parses the file at `path`. */
MUST_CHECK int config_file_read(
    const char *path, struct buf *faults, struct config_file **ret_file);
void config_file_free(struct config_file *file);
/* The value of a key, or NULL. Owned by the file. */
const char *config_file_get(const struct config_file *file, const char *key);

/* Fills every section from the environment (`getenv`), the file (may be NULL)
 * and the fallbacks. Keys in the file that no section knows are faults, unless
 * they are in `also_known` (NULL-terminated; may be NULL). Returns 0,
 * ERR_INVALID with one line a fault in `faults`, or ERR_NOMEM. */
MUST_CHECK int config_load(const struct config_section *sections, size_t n_sections,
    const struct config_file *file, const char *const *also_known, struct buf *faults);

/* Frees the strings that config_load() made, wiping those that are secret. */
void config_release(const struct config_section *sections, size_t n_sections);

/* Tells `tell` of each secret text that is set. Valid until config_release(). */
void config_secrets(const struct config_section *sections, size_t n_sections,
    void (*tell)(void *arg, const char *secret), void *arg);

/* KEY=value of what is in force, with its default and its help as comments;
 * secrets as "(set)" or "(not set)". */
void config_show(const struct config_section *sections, size_t n_sections, FILE *out);

/* The reference for --help, or as roff for the manual page. */
void config_help(const struct config_section *sections, size_t n_sections, FILE *out);
void config_manual(const struct config_section *sections, size_t n_sections, FILE *out);

/* The numbers' grammars, for other parsers. ret is untouched on failure. */
MUST_CHECK int config_parse_duration(const char *text, int64_t *ret_ms);
MUST_CHECK int config_parse_size(const char *text, int64_t *ret_bytes);
MUST_CHECK int config_parse_int(const char *text, int64_t *ret);
MUST_CHECK int config_parse_bool(const char *text, bool *ret);

#endif
