#include "scheduler/cron_expr.h"

#include <string.h>
#include <strings.h>

#include "base/civil_time.h"

#define FIELDS_MAX 6
#define NUMBER_MAX 9999 /* larger ones are not read to their end */
#define NAME_LEN   3
/* A year from which every kind of year follows within CRON_YEARS. */
#define PROBE_YEAR 2000

enum cron_field { SECOND, MINUTE, HOUR, MONTH_DAY, MONTH, WEEKDAY };

struct field_kind {
    const char *name;
    int min;
    int max;
    const char *words; /* of NAME_LEN letters each, the first standing for `min` */
};

static const struct field_kind kinds[FIELDS_MAX] = {
    [SECOND] = {"second", 0, 59, ""},
    [MINUTE] = {"minute", 0, 59, ""},
    [HOUR] = {"hour", 0, 23, ""},
    [MONTH_DAY] = {"day of month", 1, 31, ""},
    [MONTH] = {"month", 1, 12, "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"},
    [WEEKDAY] = {"day of week", 0, 7, "SUNMONTUEWEDTHUFRISAT"},
};

static const struct {
    const char *name;
    const char *text;
} macros[] = {
    {"@yearly", "0 0 1 1 *"},
    {"@annually", "0 0 1 1 *"},
    {"@monthly", "0 0 1 * *"},
    {"@weekly", "0 0 * * 0"},
    {"@daily", "0 0 * * *"},
    {"@midnight", "0 0 * * *"},
    {"@hourly", "0 * * * *"},
};

/* Where one field stands in the expression, and how far it was read. */
struct field {
    enum cron_field which;
    const struct field_kind *kind;
    const char *text; /* the whole expression */
    const char *from;
    const char *at;
    const char *end;
    struct buf *faults;
};

static int column(const struct field *f, const char *where)
{
    return (int)(where - f->text) + 1;
}

static int fault(struct field *f, const char *where, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int fault(struct field *f, const char *where, const char *fmt, ...)
{
    va_list args;

    buf_addf(f->faults, "%s: ", f->kind->name);
    va_start(args, fmt);
    buf_vaddf(f->faults, fmt, args);
    va_end(args);
    buf_addf(f->faults, ", at column %d\n", column(f, where));
    return ERR_INVALID;
}

static int fault_here(struct field *f)
{
    unsigned char c;

    if (f->at == f->end)
        return fault(f, f->at, "a value is missing");
    c = (unsigned char)*f->at;
    if (c < 0x20 || c > 0x7e)
        return fault(f, f->at, "unexpected byte 0x%02x", c);
    return fault(f, f->at, "unexpected '%c'", c);
}

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static bool is_letter(char c)
{
    return upper(c) >= 'A' && upper(c) <= 'Z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The next character, in upper case; NUL at the end of the field. */
static char peek(const struct field *f)
{
    return f->at < f->end ? upper(*f->at) : '\0';
}

static bool take(struct field *f, char wanted)
{
    if (peek(f) != wanted)
        return false;
    f->at++;
    return true;
}

static int take_number(struct field *f, const char *what, int min, int max, int *ret)
{
    const char *from = f->at;
    int n = 0;

    if (!is_digit(peek(f)))
        return fault_here(f);
    while (is_digit(peek(f))) {
        if (n <= NUMBER_MAX)
            n = n * 10 + (*f->at - '0');
        f->at++;
    }
    if (n > max)
        return fault(f, from, "%s%.*s is above %d", what, (int)(f->at - from), from, max);
    if (n < min)
        return fault(f, from, "%s%.*s is below %d", what, (int)(f->at - from), from, min);
    *ret = n;
    return 0;
}

static int take_name(struct field *f, int *ret)
{
    const char *from = f->at;
    const char *word = f->kind->words;

    for (int i = 0; *word; i++, word += NAME_LEN) {
        if (f->end - from >= NAME_LEN && strncasecmp(word, from, NAME_LEN) == 0) {
            f->at += NAME_LEN;
            *ret = f->kind->min + i;
            return 0;
        }
    }
    while (is_letter(peek(f)))
        f->at++;
    return fault(f, from, "%.*s is no name of a %s", (int)(f->at - from), from, f->kind->name);
}

static int take_value(struct field *f, int *ret)
{
    if (is_letter(peek(f)) && *f->kind->words)
        return take_name(f, ret);
    return take_number(f, "", f->kind->min, f->kind->max, ret);
}

static uint64_t range_bits(int from, int to, int step)
{
    uint64_t bits = 0;

    for (int v = from; v <= to; v += step)
        bits |= UINT64_C(1) << v;
    return bits;
}

/* After a value or a range: "/n", which makes a lone value the start of a range. */
static int take_step(struct field *f, int from, int to, bool lone, uint64_t *bits)
{
    int step = 1, r;

    if (take(f, '/')) {
        r = take_number(f, "step ", 1, f->kind->max, &step);
        if (r)
            return r;
        if (lone)
            to = f->which == WEEKDAY ? 6 : f->kind->max;
    }
    *bits |= range_bits(from, to, step);
    return 0;
}

/* L, L-n, LW. */
static int take_last_day(struct field *f, struct cron_expr *e)
{
    int back = 0, r;

    if (take(f, 'W')) {
        e->last_working_day = true;
        return 0;
    }
    if (take(f, '-')) {
        r = take_number(f, "", 1, 30, &back);
        if (r)
            return r;
    }
    e->days_to_last |= UINT32_C(1) << back;
    return 0;
}

/* nW, n#k or nL. */
static bool take_suffix(struct field *f, int value, struct cron_expr *e, int *ret_err)
{
    int nth = 0;

    *ret_err = 0;
    if (f->which == MONTH_DAY && take(f, 'W')) {
        e->near_days |= UINT32_C(1) << value;
        return true;
    }
    if (f->which == WEEKDAY && take(f, 'L')) {
        e->last_weekdays |= UINT32_C(1) << value % 7;
        return true;
    }
    if (f->which == WEEKDAY && take(f, '#')) {
        *ret_err = take_number(f, "", 1, 5, &nth);
        if (*ret_err == 0)
            e->nth_weekdays[value % 7] |= (uint8_t)(1u << nth);
        return true;
    }
    return false;
}

static int take_range(struct field *f, struct cron_expr *e, uint64_t *bits)
{
    const char *from = f->at;
    int first = 0, last, r;

    r = take_value(f, &first);
    if (r)
        return r;
    if (take_suffix(f, first, e, &r))
        return r;
    last = first;
    if (!take(f, '-'))
        return take_step(f, first, last, true, bits);
    r = take_value(f, &last);
    if (r)
        return r;
    /* FRI-SUN ends the week. */
    if (f->which == WEEKDAY && last == 0 && first > 0)
        last = 7;
    if (last < first)
        return fault(f, from, "the range %.*s runs backwards", (int)(f->at - from), from);
    return take_step(f, first, last, false, bits);
}

static int take_item(struct field *f, struct cron_expr *e, uint64_t *bits)
{
    bool is_day = f->which == MONTH_DAY || f->which == WEEKDAY;

    if (take(f, '*'))
        return take_step(f, f->kind->min, f->which == WEEKDAY ? 6 : f->kind->max, false, bits);
    if (is_day && f->at == f->from && take(f, '?')) {
        *bits |= range_bits(f->kind->min, f->kind->max, 1);
        return f->at == f->end ? 0 : fault_here(f);
    }
    if (f->which == MONTH_DAY && take(f, 'L'))
        return take_last_day(f, e);
    if (f->which == WEEKDAY && peek(f) == 'L')
        return fault(f, f->at, "L follows a weekday, as in 5L");
    return take_range(f, e, bits);
}

static void set_field(struct cron_expr *e, const struct field *f, uint64_t bits)
{
    bool star = *f->from == '*' || *f->from == '?';

    switch (f->which) {
    case SECOND:
        e->seconds = bits;
        return;
    case MINUTE:
        e->minutes = bits;
        e->wild |= star || bits == range_bits(0, 59, 1);
        return;
    case HOUR:
        e->hours = (uint32_t)bits;
        e->wild |= star || bits == range_bits(0, 23, 1);
        return;
    case MONTH_DAY:
        e->days = (uint32_t)bits;
        e->days_star = star;
        return;
    case MONTH:
        e->months = (uint32_t)bits;
        return;
    case WEEKDAY:
        e->weekdays = (uint32_t)((bits | bits >> 7) & 0x7f);
        e->weekdays_star = star;
        return;
    }
}

static int parse_field(struct field *f, struct cron_expr *e)
{
    uint64_t bits = 0;
    int r;

    do {
        r = take_item(f, e, &bits);
        if (r)
            return r;
    } while (take(f, ','));
    if (f->at != f->end)
        return fault_here(f);
    set_field(e, f, bits);
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Cuts the expression at its blanks. Returns how many fields there are; those beyond
 * FIELDS_MAX are only counted, *ret_extra being the first of them. */
static int split(const char *text, struct field *fields, const char **ret_extra)
{
    const char *at = text;
    int n = 0;

    for (;;) {
        const char *from;

        while (is_blank(*at))
            at++;
        if (!*at)
            return n;
        from = at;
        while (*at && !is_blank(*at))
            at++;
        if (n < FIELDS_MAX)
            fields[n] = (struct field){.text = text, .from = from, .at = from, .end = at};
        else if (n == FIELDS_MAX)
            *ret_extra = from;
        n++;
    }
}

static const char *expand_macro(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(macros) / sizeof(macros[0]); i++)
        if (strlen(macros[i].name) == len && strncasecmp(name, macros[i].name, len) == 0)
            return macros[i].text;
    return NULL;
}

static int parse_fields(struct field *fields, int n, struct buf *faults, struct cron_expr *e)
{
    int failed = 0;

    for (int i = 0; i < n; i++) {
        struct field *f = &fields[i];

        f->which = (enum cron_field)(FIELDS_MAX - n + i);
        f->kind = &kinds[f->which];
        f->faults = faults;
        if (parse_field(f, e))
            failed = ERR_INVALID;
    }
    return failed;
}

int cron_parse(const char *text, struct buf *faults, struct cron_expr *ret_expr)
{
    struct field fields[FIELDS_MAX];
    struct cron_expr e = {.seconds = 1};
    const char *extra = NULL;
    int64_t found;
    int n = split(text, fields, &extra), r;

    if (n == 1 && *fields[0].from == '@') {
        size_t len = (size_t)(fields[0].end - fields[0].from);
        const char *macro = expand_macro(fields[0].from, len);

        if (!macro) {
            buf_addf(faults, "expression: %.*s is not known, at column %d\n", (int)len,
                fields[0].from, column(&fields[0], fields[0].from));
            return ERR_INVALID;
        }
        n = split(macro, fields, &extra);
    }
    if (n != FIELDS_MAX && n != FIELDS_MAX - 1) {
        buf_addf(faults, "expression: %d fields, 5 or 6 are wanted, at column %d\n", n,
            extra ? (int)(extra - text) + 1 : (int)strlen(text) + 1);
        return ERR_INVALID;
    }
    r = parse_fields(fields, n, faults, &e);
    if (r)
        return r;
    if (cron_at_or_after(&e, civil_time_days(PROBE_YEAR, 1, 1) * CIVIL_DAY_S, &found))
        return fault(
            &fields[n - 3], fields[n - 3].from, "no month of the expression has such a day");
    *ret_expr = e;
    return 0;
}
