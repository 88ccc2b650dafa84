#include "base/tz_rule.h"

#include "base/civil_time.h"

#define OFFSET_HOURS_MAX 24
#define CHANGE_HOURS_MAX 167
#define CHANGE_DEFAULT_S 7200
#define HOUR_S           3600

struct cursor {
    const char *at;
    const char *end;
};

static bool take(struct cursor *c, char wanted)
{
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool take_number(struct cursor *c, int min, int max, int *ret)
{
    int n = 0;

    if (c->at == c->end || !is_digit(*c->at))
        return false;
    while (c->at < c->end && is_digit(*c->at)) {
        n = n * 10 + (*c->at++ - '0');
        if (n > max)
            return false;
    }
    if (n < min)
        return false;
    *ret = n;
    return true;
}

/* Three letters or more, or anything between < and >. */
static bool take_name(struct cursor *c)
{
    const char *from;

    if (take(c, '<')) {
        from = c->at;
        while (c->at < c->end &&
               (is_alpha(*c->at) || is_digit(*c->at) || *c->at == '+' || *c->at == '-'))
            c->at++;
        return c->at - from >= 3 && take(c, '>');
    }
    from = c->at;
    while (c->at < c->end && is_alpha(*c->at))
        c->at++;
    return c->at - from >= 3;
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(struct cursor *c, int max_hours, int32_t *ret_seconds)
{
    bool negative = take(c, '-');
    int hours, minutes = 0, seconds = 0;

    if (!negative)
        (void)take(c, '+');
    if (!take_number(c, 0, max_hours, &hours))
        return false;
    if (take(c, ':') && !take_number(c, 0, 59, &minutes))
        return false;
    if (take(c, ':') && !take_number(c, 0, 59, &seconds))
        return false;
    *ret_seconds = hours * HOUR_S + minutes * 60 + seconds;
    if (negative)
        *ret_seconds = -*ret_seconds;
    return true;
}

static bool take_change(struct cursor *c, struct tz_change *ret)
{
    bool ok;

    ret->time = CHANGE_DEFAULT_S;
    if (take(c, 'J')) {
        ret->kind = TZ_DAY_JULIAN;
        ok = take_number(c, 1, 365, &ret->day);
    } else if (take(c, 'M')) {
        ret->kind = TZ_DAY_WEEKDAY;
        ok = take_number(c, 1, 12, &ret->month) && take(c, '.') &&
             take_number(c, 1, 5, &ret->week) && take(c, '.') && take_number(c, 0, 6, &ret->day);
    } else {
        ret->kind = TZ_DAY_OF_YEAR;
        ok = take_number(c, 0, 365, &ret->day);
    }
    if (ok && take(c, '/'))
        ok = take_time(c, CHANGE_HOURS_MAX, &ret->time);
    return ok;
}

int tz_rule_parse(const char *text, size_t len, struct tz_rule *ret_rule)
{
    struct cursor c = {text, text + len};
    struct tz_rule rule = {.has_dst = false};
    int32_t west;

    /* POSIX counts offsets westward. */
    if (!take_name(&c) || !take_time(&c, OFFSET_HOURS_MAX, &west))
        return ERR_INVALID;
    rule.std_offset = -west;
    rule.dst_offset = rule.std_offset;
    if (c.at < c.end) {
        rule.has_dst = true;
        if (!take_name(&c))
            return ERR_INVALID;
        rule.dst_offset = rule.std_offset + HOUR_S;
        if (c.at < c.end && *c.at != ',') {
            if (!take_time(&c, OFFSET_HOURS_MAX, &west))
                return ERR_INVALID;
            rule.dst_offset = -west;
        }
        if (!take(&c, ',') || !take_change(&c, &rule.to_dst) || !take(&c, ',') ||
            !take_change(&c, &rule.to_std))
            return ERR_INVALID;
    }
    if (c.at != c.end)
        return ERR_INVALID;
    *ret_rule = rule;
    return 0;
}

static int64_t change_days(const struct tz_change *change, int year)
{
    int64_t first;
    int day, length;

    switch (change->kind) {
    case TZ_DAY_JULIAN:
        day = change->day - 1;
        if (civil_time_month_length(year, 2) == 29 && change->day >= 60)
            day++;
        return civil_time_days(year, 1, 1) + day;
    case TZ_DAY_OF_YEAR:
        return civil_time_days(year, 1, 1) + change->day;
    case TZ_DAY_WEEKDAY:
        break;
    }
    first = civil_time_days(year, change->month, 1);
    length = civil_time_month_length(year, change->month);
    day = (change->day - civil_time_weekday(first) + 7) % 7 + (change->week - 1) * 7;
    if (day >= length)
        day -= 7;
    return first + day;
}

int64_t tz_rule_dst_start(const struct tz_rule *rule, int year)
{
    return change_days(&rule->to_dst, year) * CIVIL_DAY_S + rule->to_dst.time - rule->std_offset;
}

int64_t tz_rule_dst_end(const struct tz_rule *rule, int year)
{
    return change_days(&rule->to_std, year) * CIVIL_DAY_S + rule->to_std.time - rule->dst_offset;
}
