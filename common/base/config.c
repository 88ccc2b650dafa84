#include "base/config.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/config_entries.h"
#include "base/config_words.h"

struct load {
    const struct config_section *sections;
    size_t n_sections;
    const struct config_file *file; /* may be NULL */
    struct buf *faults;
    bool faulty;
    bool nomem;
};

static bool is_text(const struct config_key *k)
{
    return k->type == CONFIG_STRING || k->type == CONFIG_URL;
}

/* --- one value ---------------------------------------------------------------------------- */

static bool in_bounds(const struct config_key *k, int64_t value)
{
    return (k->min == 0 && k->max == 0) || (value >= k->min && value <= k->max);
}

static bool has_control(const char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s <= 0x20 || *s == 0x7F)
            return true;
    }
    return false;
}

/* Length without the slashes at the end, 0 when it is no http or https address. */
static size_t url_len(const char *s)
{
    size_t scheme = strncasecmp(s, "https://", 8) == 0  ? 8
                    : strncasecmp(s, "http://", 7) == 0 ? 7
                                                        : 0;
    size_t len = strlen(s);

    if (scheme == 0 || has_control(s) || strcspn(s + scheme, "/?#") == 0)
        return 0;
    while (len > scheme && s[len - 1] == '/')
        len--;
    return len;
}

static int parse_text(const struct config_key *k, const char *text, void *place)
{
    size_t len = k->type == CONFIG_URL ? url_len(text) : strlen(text);

    if (len == 0 || !in_bounds(k, (int64_t)len))
        return ERR_INVALID;
    char *copy = strndup(text, len);
    if (!copy)
        return ERR_NOMEM;
    *(char **)place = copy;
    return 0;
}

static int parse_number(const struct config_key *k, const char *text, void *place)
{
    int64_t value = 0;
    int err = ERR_INVALID;

    if (k->type == CONFIG_INT)
        err = config_parse_int(text, &value);
    else if (k->type == CONFIG_DURATION)
        err = config_parse_duration(text, &value);
    else if (k->type == CONFIG_SIZE)
        err = config_parse_size(text, &value);
    if (err || !in_bounds(k, value))
        return ERR_INVALID;
    *(int64_t *)place = value;
    return 0;
}

static int parse_choice(const struct config_key *k, const char *text, void *place)
{
    const char *choice;
    size_t len;

    for (size_t i = 0; (choice = config_choice(k->choices, i, &len)); i++) {
        if (strlen(text) == len && strncasecmp(text, choice, len) == 0) {
            *(int *)place = (int)i;
            return 0;
        }
    }
    return ERR_INVALID;
}

static int parse_value(const struct config_key *k, const char *text, void *place)
{
    switch (k->type) {
    case CONFIG_STRING:
    case CONFIG_URL:
        return parse_text(k, text, place);
    case CONFIG_BOOL:
        return config_parse_bool(text, place);
    case CONFIG_INT:
    case CONFIG_DURATION:
    case CONFIG_SIZE:
        return parse_number(k, text, place);
    case CONFIG_CHOICE:
        return parse_choice(k, text, place);
    }
    return ERR_INVALID;
}

/* --- where it comes from ------------------------------------------------------------------ */

static const struct config_entry *file_entry(const struct config_file *file, const char *key)
{
    size_t n = 0;
    const struct config_entry *entries = file ? config_file_entries(file, &n) : NULL;

    for (size_t i = 0; i < n; i++) {
        if (strcmp(entries[i].key, key) == 0)
            return &entries[i];
    }
    return NULL;
}

static void add_source(struct load *l, const struct config_key *k)
{
    const struct config_entry *entry = file_entry(l->file, k->key);

    if (getenv(k->key))
        buf_add_str(l->faults, " (from the environment)");
    else if (entry)
        buf_addf(l->faults, " (%s:%u)", config_file_name(l->file), entry->line);
}

static void fault_missing(struct load *l, const struct config_key *k)
{
    l->faulty = true;
    buf_addf(l->faults, "%s", k->key);
    add_source(l, k);
    buf_add_str(l->faults, ": needed, but not set; give ");
    config_add_grammar(l->faults, k);
    if (k->help)
        buf_addf(l->faults, ". %s", k->help);
    buf_add_char(l->faults, '\n');
}

static void fault_value(struct load *l, const struct config_key *k, const char *text)
{
    l->faulty = true;
    buf_addf(l->faults, "%s=", k->key);
    if (k->secret)
        buf_add_str(l->faults, "(hidden)");
    else
        config_add_shown(l->faults, text);
    add_source(l, k);
    buf_add_str(l->faults, ": expected ");
    config_add_grammar(l->faults, k);
    if (k->fallback && !k->secret)
        buf_addf(l->faults, "; without it, %s", k->fallback);
    buf_add_char(l->faults, '\n');
}

/* An empty text is a text that is set to nothing; an empty number, choice or
 * boolean is one that is not set. */
static void load_key(struct load *l, const struct config_key *k, void *place)
{
    const struct config_entry *entry = file_entry(l->file, k->key);
    const char *text = getenv(k->key);

    if (!text && entry)
        text = entry->value;
    if (!text || (!*text && !is_text(k)))
        text = k->fallback;
    if (!text || !*text) {
        if (k->required)
            fault_missing(l, k);
        return;
    }
    int err = parse_value(k, text, place);
    if (err == ERR_NOMEM)
        l->nomem = true;
    else if (err)
        fault_value(l, k, text);
}

static void clear_texts(const struct config_section *sections, size_t n_sections)
{
    for (size_t i = 0; i < n_sections; i++) {
        for (size_t j = 0; j < sections[i].n_keys; j++) {
            const struct config_key *k = &sections[i].keys[j];
            if (is_text(k))
                *(char **)config_place(&sections[i], k) = NULL;
        }
    }
}

/* --- keys that nobody knows --------------------------------------------------------------- */

static bool is_known(const struct load *l, const char *const *also_known, const char *key)
{
    for (; also_known && *also_known; also_known++) {
        if (strcmp(*also_known, key) == 0)
            return true;
    }
    for (size_t i = 0; i < l->n_sections; i++) {
        for (size_t j = 0; j < l->sections[i].n_keys; j++) {
            if (strcmp(l->sections[i].keys[j].key, key) == 0)
                return true;
        }
    }
    return false;
}

static void find_unknown(struct load *l, const char *const *also_known)
{
    size_t n;
    const struct config_entry *entries = config_file_entries(l->file, &n);

    for (size_t i = 0; i < n; i++) {
        if (is_known(l, also_known, entries[i].key))
            continue;
        l->faulty = true;
        buf_addf(l->faults, "%s:%u: unknown key ", config_file_name(l->file), entries[i].line);
        config_add_shown(l->faults, entries[i].key);
        buf_add_str(l->faults, "; --help lists all keys\n");
    }
}

int config_load(const struct config_section *sections, size_t n_sections,
    const struct config_file *file, const char *const *also_known, struct buf *faults)
{
    struct load l = {
        .sections = sections,
        .n_sections = n_sections,
        .file = file,
        .faults = faults,
    };

    clear_texts(sections, n_sections);
    for (size_t i = 0; i < n_sections; i++) {
        for (size_t j = 0; j < sections[i].n_keys; j++)
            load_key(&l, &sections[i].keys[j], config_place(&sections[i], &sections[i].keys[j]));
    }
    if (file)
        find_unknown(&l, also_known);
    if (!l.nomem && !l.faulty)
        return 0;
    config_release(sections, n_sections);
    return l.nomem || buf_err(faults) == ERR_NOMEM ? ERR_NOMEM : ERR_INVALID;
}

void config_release(const struct config_section *sections, size_t n_sections)
{
    for (size_t i = 0; i < n_sections; i++) {
        for (size_t j = 0; j < sections[i].n_keys; j++) {
            const struct config_key *k = &sections[i].keys[j];
            if (!is_text(k))
                continue;
            char **text = config_place(&sections[i], k);
            if (*text && k->secret)
                explicit_bzero(*text, strlen(*text));
            free(*text);
            *text = NULL;
        }
    }
}

void config_secrets(const struct config_section *sections, size_t n_sections,
    void (*tell)(void *arg, const char *secret), void *arg)
{
    for (size_t i = 0; i < n_sections; i++) {
        for (size_t j = 0; j < sections[i].n_keys; j++) {
            const struct config_key *k = &sections[i].keys[j];
            if (!is_text(k) || !k->secret)
                continue;
            char *const *text = config_place(&sections[i], k);
            if (*text)
                tell(arg, *text);
        }
    }
}
