#include "worker-calendar/ics_value.h"

#include "base/civil_time.h"

bool ics_value_is_valid(const struct icaltimetype *t)
{
    if (t->year < 1 || t->year > 9999 || t->month < 1 || t->month > 12 || t->day < 1 ||
        t->day > civil_time_month_length(t->year, t->month))
        return false;
    return t->is_date || (t->hour >= 0 && t->hour < 24 && t->minute >= 0 && t->minute < 60 &&
                             t->second >= 0 && t->second <= 60);
}

int64_t ics_value_local(const struct icaltimetype *t)
{
    struct civil_time c = {.year = t->year, .month = t->month, .day = t->day};
    if (!t->is_date) {
        c.hour = t->hour;
        c.minute = t->minute;
        c.second = t->second;
    }
    return civil_time_to_local(&c);
}

struct icaltimetype ics_value_floating(int64_t local, bool is_date)
{
    struct civil_time c = civil_time_from_local(local);
    struct icaltimetype t = icaltime_null_time();
    t.year = c.year;
    t.month = c.month;
    t.day = c.day;
    if (is_date) {
        t.is_date = 1;
        return t;
    }
    t.hour = c.hour;
    t.minute = c.minute;
    t.second = c.second;
    return t;
}
