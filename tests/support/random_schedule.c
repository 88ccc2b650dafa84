#include "random_schedule.h"

#include "base/civil_time.h"

#define COUNT(a)   (sizeof(a) / sizeof((a)[0]))
#define PICK(d, a) ((a)[dice_below((d), (int64_t)COUNT(a))])
#define HOUR_S     INT64_C(3600)

static const char weekdays[][4] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};
static const char months[][4] = {
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};

const char *random_schedule_zone(struct dice *d)
{
    static const char *const zones[] = {"UTC", "America/New_York", "Europe/Berlin", "Africa/Cairo",
        "America/Santiago", "America/Havana", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Apia",
        "America/Mexico_City", "Asia/Almaty", "Africa/Casablanca", "Europe/Dublin",
        "America/Caracas", "Asia/Gaza", "Pacific/Chatham", "Asia/Kathmandu", "America/Asuncion",
        "Antarctica/Troll", "America/Scoresbysund", "America/St_Johns"};

    return PICK(d, zones);
}

/* --- cron ------------------------------------------------------------------------------------- */

struct range {
    int low, high;
};

static void add_number(struct dice *d, struct range r, struct buf *b)
{
    buf_addf(b, "%d", (int)dice_between(d, r.low, r.high));
}

static void add_range(struct dice *d, struct range r, struct buf *b)
{
    int from = (int)dice_between(d, r.low, r.high);

    buf_addf(b, "%d-%d", from, (int)dice_between(d, from, r.high));
}

/* One item of numbers, without a star. */
static void add_item(struct dice *d, struct range r, struct buf *b)
{
    switch (dice_below(d, 6)) {
    case 0:
        add_range(d, r, b);
        break;
    case 1:
        add_range(d, r, b);
        buf_addf(b, "/%d", (int)dice_spread(d, 1, r.high));
        break;
    case 2:
        add_number(d, r, b);
        buf_addf(b, "/%d", (int)dice_spread(d, 1, r.high));
        break;
    default:
        add_number(d, r, b);
    }
}

static void add_list(struct dice *d, struct range r, struct buf *b)
{
    for (int64_t more = dice_below(d, 3);; more--) {
        add_item(d, r, b);
        if (more == 0)
            return;
        buf_add_char(b, ',');
    }
}

/* A field of numbers; a star in one of `stars`. */
static void add_field(struct dice *d, struct range r, int stars, struct buf *b)
{
    if (dice_one_in(d, stars))
        buf_add_char(b, '*');
    else if (dice_one_in(d, 4))
        buf_addf(b, "*/%d", (int)dice_spread(d, 1, r.high));
    else
        add_list(d, r, b);
}

static void add_hours(struct dice *d, struct buf *b)
{
    /* The clocks change at night. */
    if (dice_one_in(d, 2))
        add_list(d, (struct range){0, 4}, b);
    else
        add_field(d, (struct range){0, 23}, 2, b);
}

static void add_month_days(struct dice *d, struct buf *b)
{
    switch (dice_below(d, 12)) {
    case 0:
        buf_add_str(b, "L");
        break;
    case 1:
        buf_add_str(b, "LW");
        break;
    case 2:
        buf_addf(b, "L-%d", (int)dice_between(d, 1, 27));
        break;
    case 3:
        add_number(d, (struct range){1, 31}, b);
        buf_add_str(b, "W,L");
        break;
    case 4:
        add_number(d, (struct range){1, 31}, b);
        buf_add_str(b, "W");
        break;
    case 5:
        add_field(d, (struct range){1, 31}, 5, b);
        break;
    case 6:
        buf_add_char(b, '?');
        break;
    default:
        buf_add_char(b, '*');
    }
}

static void add_months(struct dice *d, struct buf *b)
{
    if (!dice_one_in(d, 6)) {
        buf_add_char(b, '*');
    } else if (dice_one_in(d, 3)) {
        int64_t from = dice_below(d, 12);
        buf_addf(b, "%s-%s", months[from], months[dice_between(d, from, 11)]);
    } else {
        add_field(d, (struct range){1, 12}, 5, b);
    }
}

static void add_weekdays(struct dice *d, struct buf *b)
{
    switch (dice_below(d, 12)) {
    case 0:
        buf_addf(b, "%s#%d", PICK(d, weekdays), (int)dice_between(d, 1, 5));
        break;
    case 1:
        buf_addf(b, "%dL", (int)dice_between(d, 0, 7));
        break;
    case 2:
        buf_addf(b, "%s-SUN", weekdays[dice_between(d, 1, 6)]);
        break;
    case 3:
        buf_addf(b, "%s,%sL", PICK(d, weekdays), PICK(d, weekdays));
        break;
    case 4:
        add_field(d, (struct range){0, 6}, 5, b);
        break;
    case 5:
        add_range(d, (struct range){0, 7}, b);
        break;
    case 6:
        buf_add_char(b, '?');
        break;
    default:
        buf_add_char(b, '*');
    }
}

static void add_seconds(struct dice *d, struct buf *b)
{
    if (dice_one_in(d, 10))
        add_field(d, (struct range){0, 59}, 4, b);
    else
        add_number(d, (struct range){0, 59}, b);
}

static void add_cron(struct dice *d, struct buf *b)
{
    static const char *const macros[] = {
        "@yearly", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"};

    if (dice_one_in(d, 20)) {
        buf_add_str(b, PICK(d, macros));
        return;
    }
    if (dice_one_in(d, 3)) {
        add_seconds(d, b);
        buf_add_char(b, ' ');
    }
    add_field(d, (struct range){0, 59}, 5, b);
    buf_add_char(b, ' ');
    add_hours(d, b);
    buf_add_char(b, ' ');
    add_month_days(d, b);
    buf_add_char(b, ' ');
    add_months(d, b);
    buf_add_char(b, ' ');
    add_weekdays(d, b);
}

static void add_busy_cron(struct dice *d, struct buf *b)
{
    static const char *const seconds[] = {"", "", "*/20 ", "10/25 ", "7,40 ", "30 "};
    static const char *const hours[] = {"*", "*", "*/2", "0-4", "1,2,3", "2"};

    buf_add_str(b, PICK(d, seconds));
    if (dice_one_in(d, 2))
        buf_addf(b, "*/%d", (int)dice_between(d, 1, 10));
    else
        add_list(d, (struct range){0, 59}, b);
    buf_addf(b, " %s * * *", PICK(d, hours));
}

/* --- the rest --------------------------------------------------------------------------------- */

static void add_date(struct dice *d, int64_t around, int64_t days, struct buf *b)
{
    int year, month, day;

    civil_time_from_days(
        civil_time_day_of(around) + dice_between(d, -days / 4, days), &year, &month, &day);
    buf_addf(b, "%04d-%02d-%02d", year, month, day);
}

static void add_every(struct dice *d, const struct random_schedule *how, struct buf *b)
{
    int64_t s = how->busy ? dice_spread(d, 5, 600) : dice_spread(d, 1, 48 * HOUR_S);

    if (s >= HOUR_S && dice_one_in(d, 2))
        buf_addf(
            b, "\"every\":\"%dh%dm%ds\"", (int)(s / HOUR_S), (int)(s / 60 % 60), (int)(s % 60));
    else if (s >= 60 && dice_one_in(d, 2))
        buf_addf(b, "\"every\":\"%dm\"", (int)(s / 60));
    else
        buf_addf(b, "\"every\":\"%ds\"", (int)s);
    if (dice_one_in(d, 2)) {
        buf_add_str(b, ",\"anchor\":\"");
        add_date(d, how->around, 400, b);
        buf_addf(b, "T%02d:%02d:%02d%s\"", (int)dice_below(d, 24), (int)dice_below(d, 60),
            (int)dice_below(d, 60), dice_one_in(d, 2) ? "Z" : "-03:30");
    }
}

static void add_time(int64_t minute, struct buf *b)
{
    buf_addf(b, "%02d:%02d", (int)(minute / 60), (int)(minute % 60));
}

static void add_window_hours(struct dice *d, struct buf *b)
{
    int64_t step = dice_one_in(d, 2) ? 30 : 1;
    int64_t from = dice_below(d, 1440 / step) * step, to;

    do
        to = dice_between(d, 0, 1440 / step) * step;
    while (to == from);
    add_time(from, b);
    buf_add_char(b, '-');
    add_time(to, b);
}

static void add_window_part(struct dice *d, struct buf *b)
{
    bool days = dice_one_in(d, 2);

    if (days) {
        buf_add_str(b, PICK(d, weekdays));
        if (dice_one_in(d, 2))
            buf_addf(b, "-%s", PICK(d, weekdays));
        else if (dice_one_in(d, 2))
            buf_addf(b, ",%s", PICK(d, weekdays));
        if (dice_one_in(d, 4))
            return;
        buf_add_char(b, ' ');
    }
    add_window_hours(d, b);
    if (dice_one_in(d, 4)) {
        buf_add_char(b, ',');
        add_window_hours(d, b);
    }
}

static void add_window(struct dice *d, struct buf *b)
{
    buf_add_str(b, ",\"window\":\"");
    add_window_part(d, b);
    if (dice_one_in(d, 3)) {
        buf_add_str(b, "; ");
        add_window_part(d, b);
    }
    if (dice_one_in(d, 3))
        buf_addf(b, " %s", random_schedule_zone(d));
    buf_add_char(b, '"');
}

static void add_blackout(struct dice *d, const struct random_schedule *how, struct buf *b)
{
    buf_add_str(b, ",\"blackout\":[");
    for (int64_t more = dice_below(d, 4);; more--) {
        int64_t from = how->around + dice_between(d, -3, 20) * CIVIL_DAY_S;

        buf_add_char(b, '"');
        add_date(d, from, 0, b);
        if (!how->busy && dice_one_in(d, 20)) {
            buf_add_str(b, "..9999-12-31"); /* for good */
        } else if (dice_one_in(d, 2)) {
            buf_add_str(b, "..");
            add_date(d, from + dice_below(d, 6) * CIVIL_DAY_S, 0, b);
        }
        buf_add_char(b, '"');
        if (more == 0)
            break;
        buf_add_char(b, ',');
    }
    buf_add_char(b, ']');
}

static void add_grace(struct dice *d, bool busy, struct buf *b)
{
    static const char *const words[] = {"0s", "500ms", "1s", "60s"};

    if (dice_one_in(d, 3))
        buf_addf(b, ",\"grace\":\"%s\"", PICK(d, words));
    else if (dice_one_in(d, 2))
        buf_addf(b, ",\"grace\":\"%ds\"", (int)dice_spread(d, 1, busy ? 90 : 24 * HOUR_S));
}

static void add_catch_up(struct dice *d, bool busy, struct buf *b)
{
    switch (dice_below(d, 4)) {
    case 0:
        buf_add_str(b, ",\"catch_up\":\"skip\"");
        break;
    case 1:
        buf_add_str(b, ",\"catch_up\":\"run_once\"");
        if (dice_one_in(d, 2))
            buf_addf(b, ",\"catch_up_window\":\"%ds\"", (int)dice_spread(d, 1, 100 * HOUR_S));
        break;
    case 2:
        buf_addf(b, ",\"catch_up\":\"run_all\",\"catch_up_window\":\"%ds\",\"catch_up_cap\":%d",
            (int)dice_spread(d, 1, 1000 * HOUR_S), (int)dice_spread(d, 1, busy ? 20 : 300));
        break;
    default:
        break;
    }
}

void random_schedule_add(struct dice *d, const struct random_schedule *how, struct buf *out)
{
    if (dice_one_in(d, 3)) {
        add_every(d, how, out);
    } else {
        buf_add_str(out, "\"cron\":\"");
        if (how->busy)
            add_busy_cron(d, out);
        else
            add_cron(d, out);
        buf_add_char(out, '"');
    }
    buf_addf(out, ",\"timezone\":\"%s\"", how->zone);
    if (dice_one_in(d, 2))
        buf_addf(out, ",\"dst_gap\":\"%s\"", dice_one_in(d, 2) ? "skip" : "run_after");
    if (dice_one_in(d, 2))
        buf_addf(out, ",\"dst_overlap\":\"%s\"", dice_one_in(d, 2) ? "both" : "first");
    if (dice_one_in(d, 4))
        add_window(d, out);
    if (dice_one_in(d, 4))
        add_blackout(d, how, out);
    if (dice_one_in(d, 4))
        buf_addf(out, ",\"jitter\":\"%ds\"", (int)dice_spread(d, 1, how->busy ? 4 : 2 * HOUR_S));
    add_grace(d, how->busy, out);
    add_catch_up(d, how->busy, out);
}
