/*
 * The lines of a configuration file one by one: what config_load() needs to name
 * the place of a fault. Others ask by key, through config.h.
 */
#ifndef TOCSIN_BASE_CONFIG_ENTRIES_H
#define TOCSIN_BASE_CONFIG_ENTRIES_H

#include <stddef.h>

#include "base/config.h"

struct config_entry {
    char *key;
    char *value; /* may be a secret */
    unsigned line;
};

/* In the order of the file, which owns them. */
const struct config_entry *config_file_entries(const struct config_file *file, size_t *ret_n);
const char *config_file_name(const struct config_file *file);

/* Frees both strings; the value is wiped first. */
void config_entry_release(struct config_entry *entry);

/* Where key `k` of section `s` is kept. */
static inline void *config_place(const struct config_section *s, const struct config_key *k)
{
    return (char *)s->target + k->offset;
}

#endif
