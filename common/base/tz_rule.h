/*
 * The rule in the footer of a TZif file: a POSIX TZ string with the extensions of
 * RFC 8536 section 3.3.1 (hours of a change from -167 to 167).
 */
#ifndef TOCSIN_BASE_TZ_RULE_H
#define TOCSIN_BASE_TZ_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum tz_day_kind {
    TZ_DAY_JULIAN,  /* Jn: 1..365, 29 February never counted */
    TZ_DAY_OF_YEAR, /* n: 0..365 */
    TZ_DAY_WEEKDAY, /* Mm.w.d: weekday d of week w, 5 being the last */
};

struct tz_change {
    enum tz_day_kind kind;
    int day;
    int month;
    int week;
    int32_t time; /* seconds after the local midnight */
};

struct tz_rule {
    int32_t std_offset; /* local time minus UTC, seconds */
    bool has_dst;
    int32_t dst_offset;
    struct tz_change to_dst;
    struct tz_change to_std;
};

/* Parses the whole of `text`. ERR_INVALID. */
MUST_CHECK int tz_rule_parse(const char *text, size_t len, struct tz_rule *ret_rule);

/* The UTC second at which the zone changes in a year. Only with has_dst. */
int64_t tz_rule_dst_start(const struct tz_rule *rule, int year);
int64_t tz_rule_dst_end(const struct tz_rule *rule, int year);

#endif
