#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/config.h"

struct unit {
    const char *name;
    int64_t factor;
};

int config_parse_int(const char *text, int64_t *ret)
{
    char *end;

    /* strtoll() would take leading blanks and a plus. */
    if (text[strspn(text, "-0123456789")] != '\0' || !*text)
        return ERR_INVALID;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*end || end == text || errno)
        return ERR_INVALID;
    *ret = value;
    return 0;
}

/* Digits and one of the units. Nothing that overflows. */
static int parse_with_unit(const char *text, const struct unit *units, size_t n, int64_t *ret)
{
    size_t digits = strspn(text, "0123456789");
    int64_t value = 0;

    if (digits == 0)
        return ERR_INVALID;
    for (size_t i = 0; i < digits; i++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text[i] - '0', &value))
            return ERR_INVALID;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(text + digits, units[i].name) != 0)
            continue;
        if (__builtin_mul_overflow(value, units[i].factor, &value))
            return ERR_INVALID;
        *ret = value;
        return 0;
    }
    return ERR_INVALID;
}

int config_parse_duration(const char *text, int64_t *ret_ms)
{
    static const struct unit units[] = {
        {"ms", 1},
        {"s", 1000},
        {"m", 60000},
        {"h", 3600000},
        {"d", 86400000},
    };

    if (strcmp(text, "0") == 0) {
        *ret_ms = 0;
        return 0;
    }
    return parse_with_unit(text, units, sizeof(units) / sizeof(units[0]), ret_ms);
}

int config_parse_size(const char *text, int64_t *ret_bytes)
{
    static const struct unit units[] = {
        {"", 1},
        {"k", 1 << 10},
        {"K", 1 << 10},
        {"m", 1 << 20},
        {"M", 1 << 20},
        {"g", 1 << 30},
        {"G", 1 << 30},
    };

    return parse_with_unit(text, units, sizeof(units) / sizeof(units[0]), ret_bytes);
}

int config_parse_bool(const char *text, bool *ret)
{
    static const char *const yes[] = {"true", "1", "yes", "on"};
    static const char *const no[] = {"false", "0", "no", "off"};

    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (strcasecmp(text, yes[i]) == 0) {
            *ret = true;
            return 0;
        }
        if (strcasecmp(text, no[i]) == 0) {
            *ret = false;
            return 0;
        }
    }
    return ERR_INVALID;
}
