#include "base/civil_time.h"

#include <stdlib.h>

#define HOUR_S          3600
#define MINUTE_S        60
#define DAYS_PER_CYCLE  146097 /* of 400 years */
#define YEAR_MAX        9999
#define OFFSET_HOURS    23
#define FIRST_MARCH_1_0 719468 /* days from 0000-03-01 to 1970-01-01 */

/* Years are counted from March, so that the leap day ends them. */
int64_t civil_time_days(int year, int month, int day)
{
    int64_t y = month <= 2 ? (int64_t)year - 1 : year;
    int64_t cycle = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_cycle = y - cycle * 400;
    int64_t day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;

    return cycle * DAYS_PER_CYCLE + year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 +
           day_of_year - FIRST_MARCH_1_0;
}

void civil_time_from_days(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
    int64_t z = days + FIRST_MARCH_1_0;
    int64_t cycle = (z >= 0 ? z : z - (DAYS_PER_CYCLE - 1)) / DAYS_PER_CYCLE;
    int64_t d = z - cycle * DAYS_PER_CYCLE;
    int64_t y = (d - d / 1460 + d / 36524 - d / (DAYS_PER_CYCLE - 1)) / 365;
    int64_t day_of_year = d - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * day_of_year + 2) / 153;

    *ret_day = (int)(day_of_year - (153 * m + 2) / 5 + 1);
    *ret_month = (int)(m < 10 ? m + 3 : m - 9);
    *ret_year = (int)(y + cycle * 400 + (m >= 10));
}

int civil_time_weekday(int64_t days)
{
    return (int)(((days + 4) % 7 + 7) % 7);
}

static bool is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

int civil_time_month_length(int year, int month)
{
    static const int length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return month == 2 && is_leap(year) ? 29 : length[month - 1];
}

int64_t civil_time_day_of(int64_t local)
{
    return local / CIVIL_DAY_S - (local % CIVIL_DAY_S < 0);
}

int64_t civil_time_to_local(const struct civil_time *t)
{
    return civil_time_days(t->year, t->month, t->day) * CIVIL_DAY_S + t->hour * HOUR_S +
           t->minute * MINUTE_S + t->second;
}

struct civil_time civil_time_from_local(int64_t local)
{
    int64_t days = civil_time_day_of(local);
    int rest = (int)(local - days * CIVIL_DAY_S);
    struct civil_time t = {
        .hour = rest / HOUR_S, .minute = rest / MINUTE_S % 60, .second = rest % MINUTE_S};

    civil_time_from_days(days, &t.year, &t.month, &t.day);
    return t;
}

/* Exactly `n` digits. */
static bool take_digits(const char **at, int n, int max, int *ret)
{
    int v = 0;

    for (int i = 0; i < n; i++) {
        char c = (*at)[i];

        if (c < '0' || c > '9')
            return false;
        v = v * 10 + (c - '0');
    }
    if (v > max)
        return false;
    *at += n;
    *ret = v;
    return true;
}

static bool take_char(const char **at, char wanted)
{
    if (**at != wanted)
        return false;
    (*at)++;
    return true;
}

static bool take_date(const char **at, int64_t *ret_days)
{
    int year, month, day;

    if (!take_digits(at, 4, YEAR_MAX, &year) || !take_char(at, '-') ||
        !take_digits(at, 2, 12, &month) || !take_char(at, '-') || !take_digits(at, 2, 31, &day))
        return false;
    if (year < 1 || month < 1 || day < 1 || day > civil_time_month_length(year, month))
        return false;
    *ret_days = civil_time_days(year, month, day);
    return true;
}

int civil_time_parse_date(const char *text, int64_t *ret_days)
{
    int64_t days;

    if (!take_date(&text, &days) || *text != '\0')
        return ERR_INVALID;
    *ret_days = days;
    return 0;
}

/* hh:mm[:ss[.fraction]]; without seconds is more than RFC 3339 allows, and unambiguous. */
static bool take_time_of_day(const char **at, int *ret_seconds)
{
    int hour, minute, second = 0;

    if (!take_digits(at, 2, 23, &hour) || !take_char(at, ':') || !take_digits(at, 2, 59, &minute))
        return false;
    if (take_char(at, ':')) {
        if (!take_digits(at, 2, 59, &second))
            return false;
        if (take_char(at, '.')) {
            if (**at < '0' || **at > '9')
                return false;
            while (**at >= '0' && **at <= '9')
                (*at)++;
        }
    }
    *ret_seconds = hour * HOUR_S + minute * MINUTE_S + second;
    return true;
}

/* "Z", "+hh:mm", "+hhmm" or "+hh". */
static bool take_offset(const char **at, int *ret_seconds)
{
    int hours, minutes = 0, sign = **at == '-' ? -1 : 1;

    if (take_char(at, 'Z') || take_char(at, 'z')) {
        *ret_seconds = 0;
        return true;
    }
    if (!take_char(at, '+') && !take_char(at, '-'))
        return false;
    if (!take_digits(at, 2, OFFSET_HOURS, &hours))
        return false;
    if (**at != '\0') {
        (void)take_char(at, ':');
        if (!take_digits(at, 2, 59, &minutes))
            return false;
    }
    *ret_seconds = sign * (hours * HOUR_S + minutes * MINUTE_S);
    return true;
}

int civil_time_parse_instant(const char *text, int64_t *ret_utc)
{
    int64_t days;
    int seconds = 0, offset = 0;

    if (!take_date(&text, &days))
        return ERR_INVALID;
    if (*text != '\0') {
        if (!take_char(&text, 'T') && !take_char(&text, 't') && !take_char(&text, ' '))
            return ERR_INVALID;
        if (!take_time_of_day(&text, &seconds) || !take_offset(&text, &offset) || *text != '\0')
            return ERR_INVALID;
    }
    *ret_utc = days * CIVIL_DAY_S + seconds - offset;
    return 0;
}

static void add_fields(struct buf *b, int64_t local)
{
    struct civil_time t = civil_time_from_local(local);

    buf_addf(
        b, "%04d-%02d-%02dT%02d:%02d:%02d", t.year, t.month, t.day, t.hour, t.minute, t.second);
}

void civil_time_add_utc(struct buf *b, int64_t utc)
{
    add_fields(b, utc);
    buf_add_char(b, 'Z');
}

void civil_time_add_local(struct buf *b, int64_t utc, int32_t offset)
{
    int32_t size = abs(offset);

    add_fields(b, utc + offset);
    buf_addf(b, "%c%02d:%02d", offset < 0 ? '-' : '+', size / HOUR_S, size / MINUTE_S % 60);
    if (size % MINUTE_S != 0)
        buf_addf(b, ":%02d", size % MINUTE_S);
}
