#include "scheduler/cron_expr.h"

#include "base/civil_time.h"

#define YEAR_MIN 1
#define YEAR_MAX 9999
/* Bits 1, 8, 15, 22, 29: every seventh day. */
#define EVERY_WEEK UINT32_C(0x20408102)

static int lowest(uint64_t bits)
{
    return __builtin_ctzll(bits);
}

static int highest(uint64_t bits)
{
    return 63 - __builtin_clzll(bits);
}

/* Bits n and up; n may be 64. */
static uint64_t from_bit(int n)
{
    return n > 63 ? 0 : ~UINT64_C(0) << n;
}

/* Bits 0 to n; n may be -1. */
static uint64_t to_bit(int n)
{
    return ~from_bit(n + 1);
}

static int first_of_weekday(int weekday, int first_weekday)
{
    return 1 + (weekday - first_weekday + 7) % 7;
}

static uint32_t match_weekdays(const struct cron_expr *e, int first_weekday, int length)
{
    uint32_t days = 0;

    for (int w = 0; w < 7; w++) {
        int first = first_of_weekday(w, first_weekday);

        if (e->weekdays >> w & 1)
            days |= EVERY_WEEK << (first - 1);
        if (e->last_weekdays >> w & 1)
            days |= UINT32_C(1) << (first + 28 <= length ? first + 28 : first + 21);
        for (uint32_t nth = e->nth_weekdays[w]; nth; nth &= nth - 1) {
            int day = first + 7 * (lowest(nth) - 1);

            if (day <= length)
                days |= UINT32_C(1) << day;
        }
    }
    return days;
}

/* The day from Monday to Friday that is nearest, without leaving the month. */
static int working_day_near(int day, int first_weekday, int length)
{
    int weekday = (first_weekday + day - 1) % 7;

    if (weekday == 6)
        return day == 1 ? day + 2 : day - 1;
    if (weekday == 0)
        return day == length ? day - 2 : day + 1;
    return day;
}

static uint32_t match_month_days(const struct cron_expr *e, int first_weekday, int length)
{
    uint32_t days = e->days;
    int last_weekday = (first_weekday + length - 1) % 7;

    for (uint32_t back = e->days_to_last; back; back &= back - 1)
        if (lowest(back) < length)
            days |= UINT32_C(1) << (length - lowest(back));
    for (uint32_t near = e->near_days; near; near &= near - 1)
        if (lowest(near) <= length)
            days |= UINT32_C(1) << working_day_near(lowest(near), first_weekday, length);
    if (e->last_working_day)
        days |= UINT32_C(1) << (length - (last_weekday == 6 ? 1 : last_weekday == 0 ? 2 : 0));
    return days;
}

/* The matching days of a month as bits 1..31. */
static uint64_t match_days(const struct cron_expr *e, int year, int month)
{
    int length = civil_time_month_length(year, month);
    int first_weekday = civil_time_weekday(civil_time_days(year, month, 1));
    uint32_t month_days, weekdays;

    if (!(e->months >> month & 1))
        return 0;
    month_days = match_month_days(e, first_weekday, length);
    weekdays = match_weekdays(e, first_weekday, length);
    if (e->days_star || e->weekdays_star)
        month_days &= weekdays;
    else
        month_days |= weekdays;
    return month_days & to_bit(length) & ~UINT64_C(1);
}

/* The first time of day at or after hour:minute:second, which may stand one past its range. */
static bool time_after(const struct cron_expr *e, int hour, int minute, int second, int64_t *ret)
{
    uint64_t hours = e->hours & from_bit(hour), minutes, seconds;

    if (!hours)
        return false;
    if (lowest(hours) == hour) {
        minutes = e->minutes & from_bit(minute);
        seconds = e->seconds & from_bit(second);
        if (minutes && lowest(minutes) == minute && !seconds)
            minutes &= minutes - 1;
        if (minutes) {
            if (lowest(minutes) != minute)
                seconds = e->seconds;
            *ret = hour * 3600 + lowest(minutes) * 60 + lowest(seconds);
            return true;
        }
        hours &= hours - 1;
        if (!hours)
            return false;
    }
    *ret = lowest(hours) * 3600 + lowest(e->minutes) * 60 + lowest(e->seconds);
    return true;
}

/* The last time of day at or before hour:minute:second. */
static bool time_before(const struct cron_expr *e, int hour, int minute, int second, int64_t *ret)
{
    uint64_t hours = e->hours & to_bit(hour), minutes, seconds;

    if (!hours)
        return false;
    if (highest(hours) == hour) {
        minutes = e->minutes & to_bit(minute);
        seconds = e->seconds & to_bit(second);
        if (minutes && highest(minutes) == minute && !seconds)
            minutes &= to_bit(minute - 1);
        if (minutes) {
            if (highest(minutes) != minute)
                seconds = e->seconds;
            *ret = hour * 3600 + highest(minutes) * 60 + highest(seconds);
            return true;
        }
        hours &= to_bit(hour - 1);
        if (!hours)
            return false;
    }
    *ret = highest(hours) * 3600 + highest(e->minutes) * 60 + highest(e->seconds);
    return true;
}

static bool in_years(int64_t local)
{
    return local >= civil_time_days(YEAR_MIN, 1, 1) * CIVIL_DAY_S &&
           local < civil_time_days(YEAR_MAX + 1, 1, 1) * CIVIL_DAY_S;
}

int cron_at_or_after(const struct cron_expr *expr, int64_t local, int64_t *ret_local)
{
    struct civil_time t;
    uint64_t days;
    int64_t time = 0;
    int last;

    if (!in_years(local))
        return ERR_NOT_FOUND;
    t = civil_time_from_local(local);
    last = t.year + CRON_YEARS < YEAR_MAX ? t.year + CRON_YEARS : YEAR_MAX;
    days = match_days(expr, t.year, t.month) & from_bit(t.day);
    if (days && lowest(days) == t.day) {
        if (time_after(expr, t.hour, t.minute, t.second, &time)) {
            *ret_local = civil_time_day_of(local) * CIVIL_DAY_S + time;
            return 0;
        }
        days &= days - 1;
    }
    while (!days) {
        uint64_t months = expr->months & from_bit(t.month + 1);

        if (!months && ++t.year > last)
            return ERR_NOT_FOUND;
        t.month = lowest(months ? months : expr->months);
        days = match_days(expr, t.year, t.month);
    }
    (void)time_after(expr, 0, 0, 0, &time);
    *ret_local = civil_time_days(t.year, t.month, lowest(days)) * CIVIL_DAY_S + time;
    return 0;
}

int cron_at_or_before(const struct cron_expr *expr, int64_t local, int64_t *ret_local)
{
    struct civil_time t;
    uint64_t days;
    int64_t time = 0;
    int first;

    if (!in_years(local))
        return ERR_NOT_FOUND;
    t = civil_time_from_local(local);
    first = t.year - CRON_YEARS > YEAR_MIN ? t.year - CRON_YEARS : YEAR_MIN;
    days = match_days(expr, t.year, t.month) & to_bit(t.day);
    if (days && highest(days) == t.day) {
        if (time_before(expr, t.hour, t.minute, t.second, &time)) {
            *ret_local = civil_time_day_of(local) * CIVIL_DAY_S + time;
            return 0;
        }
        days &= to_bit(t.day - 1);
    }
    while (!days) {
        uint64_t months = expr->months & to_bit(t.month - 1);

        if (!months && --t.year < first)
            return ERR_NOT_FOUND;
        t.month = highest(months ? months : expr->months);
        days = match_days(expr, t.year, t.month);
    }
    (void)time_before(expr, 23, 59, 59, &time);
    *ret_local = civil_time_days(t.year, t.month, highest(days)) * CIVIL_DAY_S + time;
    return 0;
}

bool cron_matches(const struct cron_expr *expr, int64_t local)
{
    struct civil_time t;

    if (!in_years(local))
        return false;
    t = civil_time_from_local(local);
    return expr->seconds >> t.second & 1 && expr->minutes >> t.minute & 1 &&
           expr->hours >> t.hour & 1 && match_days(expr, t.year, t.month) >> t.day & 1;
}
