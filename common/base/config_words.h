/*
 * Values of a configuration table in words: the same in faults, in --help, in
 * --show-config and in the manual page.
 */
#ifndef TOCSIN_BASE_CONFIG_WORDS_H
#define TOCSIN_BASE_CONFIG_WORDS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/config.h"

/* A number in its own grammar: 90000 as a duration is "90s". */
void config_add_number(struct buf *out, enum config_type type, int64_t value);

/* What a key takes: "a duration from 1s to 5m", "one of a, b and c". */
void config_add_grammar(struct buf *out, const struct config_key *key);

/* A value that somebody gave, quoted, on one line, shortened when it is long. */
void config_add_shown(struct buf *out, const char *text);

/* The n-th of "a|b|c", or NULL; *ret_len is its length. */
const char *config_choice(const char *choices, size_t n, size_t *ret_len);

#endif
