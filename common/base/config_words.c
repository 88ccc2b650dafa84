#include "base/config_words.h"

#include <inttypes.h>
#include <string.h>

#include "base/utf8.h"

#define SHOWN_MAX 80

struct unit {
    int64_t factor;
    const char *name;
};

/* With the largest unit that divides it; every list ends with a factor of 1. */
static void add_with_unit(struct buf *out, const struct unit *units, int64_t value)
{
    while (value == 0 ? units->factor != 1 : value % units->factor != 0)
        units++;
    buf_addf(out, "%" PRId64 "%s", value / units->factor, units->name);
}

void config_add_number(struct buf *out, enum config_type type, int64_t value)
{
    static const struct unit durations[] = {
        {86400000, "d"},
        {3600000, "h"},
        {60000, "m"},
        {1000, "s"},
        {1, "ms"},
    };
    static const struct unit sizes[] = {
        {1 << 30, "G"},
        {1 << 20, "M"},
        {1 << 10, "k"},
        {1, ""},
    };

    if (type == CONFIG_DURATION)
        add_with_unit(out, durations, value);
    else if (type == CONFIG_SIZE)
        add_with_unit(out, sizes, value);
    else
        buf_addf(out, "%" PRId64, value);
}

const char *config_choice(const char *choices, size_t n, size_t *ret_len)
{
    for (; n > 0; n--) {
        choices += strcspn(choices, "|");
        if (!*choices)
            return NULL;
        choices++;
    }
    *ret_len = strcspn(choices, "|");
    return choices;
}

static void add_choices(struct buf *out, const char *choices)
{
    const char *choice;
    size_t len;

    buf_add_str(out, "one of ");
    for (size_t i = 0; (choice = config_choice(choices, i, &len)); i++) {
        if (i > 0)
            buf_add_str(out, choice[len] ? ", " : " and ");
        buf_add(out, choice, len);
    }
}

static void add_bounds(struct buf *out, const struct config_key *key, const char *unit)
{
    if (key->min == 0 && key->max == 0)
        return;
    buf_add_str(out, " from ");
    config_add_number(out, key->type, key->min);
    buf_add_str(out, " to ");
    config_add_number(out, key->type, key->max);
    buf_add_str(out, unit);
}

void config_add_grammar(struct buf *out, const struct config_key *key)
{
    switch (key->type) {
    case CONFIG_STRING:
        buf_add_str(out, "text");
        add_bounds(out, key, " bytes");
        break;
    case CONFIG_BOOL:
        buf_add_str(out, "true or false");
        break;
    case CONFIG_INT:
        buf_add_str(out, "a whole number");
        add_bounds(out, key, "");
        break;
    case CONFIG_DURATION:
        buf_add_str(out, "a duration such as 250ms, 10s, 5m, 24h or 7d");
        add_bounds(out, key, "");
        break;
    case CONFIG_SIZE:
        buf_add_str(out, "a size such as 500, 64k, 10M or 1G");
        add_bounds(out, key, "");
        break;
    case CONFIG_CHOICE:
        add_choices(out, key->choices);
        break;
    case CONFIG_URL:
        buf_add_str(out, "an address that starts with http:// or https://");
        break;
    }
}

void config_add_shown(struct buf *out, const char *text)
{
    size_t len = strlen(text);
    size_t shown = utf8_clip(text, len, SHOWN_MAX);

    buf_add_char(out, '"');
    for (size_t i = 0; i < shown; i++)
        buf_add_char(out, (unsigned char)text[i] < 0x20 || text[i] == 0x7F ? '?' : text[i]);
    buf_add_str(out, shown < len ? UTF8_ELLIPSIS "\"" : "\"");
}
