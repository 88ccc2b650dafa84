#include "cron_oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "base/civil_time.h"

enum { SECOND, MINUTE, HOUR, MONTH_DAY, MONTH, WEEKDAY };

static const struct {
    int first, last;
    const char *names;
} kinds[CRON_ORACLE_FIELDS] = {
    [SECOND] = {0, 59, ""},
    [MINUTE] = {0, 59, ""},
    [HOUR] = {0, 23, ""},
    [MONTH_DAY] = {1, 31, ""},
    [MONTH] = {1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
    [WEEKDAY] = {0, 6, "sunmontuewedthufrisat"},
};

/* --- the text --------------------------------------------------------------------------------- */

static const char *expand_macro(const char *text)
{
    static const char *const macros[][2] = {{"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"},
        {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},
        {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"}};

    for (size_t i = 0; i < sizeof(macros) / sizeof(*macros); i++)
        if (strcmp(text, macros[i][0]) == 0)
            return macros[i][1];
    return text;
}

/* A number or a name; *at goes to what follows it. */
static int take_value(const char **at, int kind)
{
    const char *names = kinds[kind].names;
    char *end;
    int value;

    for (int i = 0; names[i]; i += 3) {
        if (strncasecmp(*at, names + i, 3) == 0) {
            *at += 3;
            return kinds[kind].first + i / 3;
        }
    }
    value = (int)strtol(*at, &end, 10);
    if (end == *at)
        fail_msg("the oracle cannot read '%s'", *at);
    *at = end;
    return value;
}

int cron_oracle_take_weekday(const char **at)
{
    return take_value(at, WEEKDAY) % 7;
}

/* Whether `a`, `a-b`, `*` or `?`, each with or without a step, names a value. */
static bool item_names(const char *item, int kind, int value)
{
    int from = kinds[kind].first, to = kinds[kind].last, step = 1;
    const char *at = item + 1;

    if (*item != '*' && *item != '?') {
        at = item;
        from = to = take_value(&at, kind);
        if (*at == '-') {
            at++;
            to = take_value(&at, kind);
            if (kind == WEEKDAY && to == 0 && from > 0)
                to = 7;
        } else if (*at == '/') {
            to = kinds[kind].last;
        }
    }
    if (*at == '/')
        step = (int)strtol(at + 1, NULL, 10);
    for (int v = from; v <= to; v += step)
        if (v == value || (kind == WEEKDAY && v == 7 && value == 0))
            return true;
    return false;
}

static bool field_names(const struct cron_oracle *o, int kind, int value)
{
    for (int i = 0; i < o->n_items[kind]; i++)
        if (item_names(o->items[kind][i], kind, value))
            return true;
    return false;
}

static bool names_all(const struct cron_oracle *o, int kind)
{
    for (int v = kinds[kind].first; v <= kinds[kind].last; v++)
        if (!field_names(o, kind, v))
            return false;
    return true;
}

static void read_field(struct cron_oracle *o, int kind, char *text)
{
    char *item;

    o->star[kind] = *text == '*' || *text == '?';
    while ((item = strsep(&text, ","))) {
        assert_true(o->n_items[kind] < CRON_ORACLE_ITEMS);
        o->items[kind][o->n_items[kind]++] = item;
    }
}

void cron_oracle_init(struct cron_oracle *o, const char *cron)
{
    char *fields[CRON_ORACLE_FIELDS], *rest, *field;
    int n = 0;

    *o = (struct cron_oracle){.text = strdup(expand_macro(cron)), .day = INT64_MIN};
    assert_non_null(o->text);
    rest = o->text;
    while ((field = strsep(&rest, " "))) {
        assert_true(n < CRON_ORACLE_FIELDS);
        fields[n++] = field;
    }
    assert_true(n == CRON_ORACLE_FIELDS || n == CRON_ORACLE_FIELDS - 1);
    for (int i = 0; i < n; i++)
        read_field(o, CRON_ORACLE_FIELDS - n + i, fields[i]);
    for (int s = 0; s < 60; s++)
        o->seconds[s] = n == CRON_ORACLE_FIELDS ? field_names(o, SECOND, s) : s == 0;
    for (int m = 0; m < CRON_ORACLE_MINUTES; m++)
        o->minutes[m] = field_names(o, HOUR, m / 60) && field_names(o, MINUTE, m % 60);
    o->fixed = !o->star[HOUR] && !o->star[MINUTE] && !names_all(o, HOUR) && !names_all(o, MINUTE);
}

void cron_oracle_release(struct cron_oracle *o)
{
    free(o->text);
}

/* --- days ------------------------------------------------------------------------------------- */

static bool works(int64_t days)
{
    int weekday = civil_time_weekday(days);

    return weekday != 0 && weekday != 6;
}

/* Whether day d of a month, whose first is given, is the working day nearest to day n of it. */
static bool is_nearest(int64_t first, int length, int n, int d)
{
    for (int away = 0; n <= length && away < length; away++) {
        if (n - away >= 1 && works(first + n - away - 1))
            return d == n - away;
        if (n + away <= length && works(first + n + away - 1))
            return d == n + away;
    }
    return false;
}

static bool is_last_working(int64_t first, int length, int d)
{
    for (int later = d + 1; later <= length; later++)
        if (works(first + later - 1))
            return false;
    return works(first + d - 1);
}

static bool month_day_named(const char *item, int64_t first, int length, int d)
{
    char *end;
    int n = (int)strtol(item, &end, 10);

    if (strcmp(item, "L") == 0)
        return d == length;
    if (strcmp(item, "LW") == 0)
        return is_last_working(first, length, d);
    if (strncmp(item, "L-", 2) == 0)
        return d == length - (int)strtol(item + 2, NULL, 10);
    if (end != item && *end == 'W')
        return is_nearest(first, length, n, d);
    return item_names(item, MONTH_DAY, d);
}

static bool weekday_named(const char *item, int weekday, int length, int d)
{
    const char *at = item;
    int named;

    if (*item == '*' || *item == '?')
        return item_names(item, WEEKDAY, weekday);
    named = cron_oracle_take_weekday(&at);
    if (*at == '#')
        return named == weekday && (d + 6) / 7 == (int)strtol(at + 1, NULL, 10);
    if (*at == 'L')
        return named == weekday && d + 7 > length;
    return item_names(item, WEEKDAY, weekday);
}

static bool day_named(const struct cron_oracle *o, int64_t days)
{
    int year, month, d, length, weekday = civil_time_weekday(days);
    bool by_date = false, by_weekday = false;

    civil_time_from_days(days, &year, &month, &d);
    length = civil_time_month_length(year, month);
    for (int i = 0; i < o->n_items[MONTH_DAY]; i++)
        by_date |= month_day_named(o->items[MONTH_DAY][i], days - d + 1, length, d);
    for (int i = 0; i < o->n_items[WEEKDAY]; i++)
        by_weekday |= weekday_named(o->items[WEEKDAY][i], weekday, length, d);
    if (!field_names(o, MONTH, month))
        return false;
    return o->star[MONTH_DAY] || o->star[WEEKDAY] ? by_date && by_weekday : by_date || by_weekday;
}

bool cron_oracle_names(struct cron_oracle *o, int64_t local)
{
    int64_t day = civil_time_day_of(local);

    if (!o->minutes[(local - day * CIVIL_DAY_S) / 60])
        return false;
    if (day != o->day) {
        o->day = day;
        o->day_named = day_named(o, day);
    }
    return o->day_named;
}
