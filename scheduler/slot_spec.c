#include "scheduler/slot_spec.h"

#include <stdlib.h>
#include <string.h>

#include "scheduler/slot_rule.h"

#define EVERY_MAX_S (INT64_C(366) * CIVIL_DAY_S)

struct parse {
    const struct slot_options *options;
    struct civil_zones *zones;
    struct buf *faults;
    struct slot_spec *spec;
};

static uint64_t hash_text(const char *text)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return h;
}

static int64_t unit_seconds(char c)
{
    switch (c) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return CIVIL_DAY_S;
    case 'w':
        return 7 * CIVIL_DAY_S;
    default:
        return 0;
    }
}

/* Numbers with falling units: "90s", "1h30m". */
static int parse_duration(const char *field, const char *text, struct buf *faults, int64_t *ret_s)
{
    const char *at = text;
    int64_t total = 0, last_unit = INT64_MAX;

    do {
        const char *from = at;
        int64_t n = 0, unit;

        while (*at >= '0' && *at <= '9' && n <= EVERY_MAX_S)
            n = n * 10 + (*at++ - '0');
        unit = unit_seconds(*at);
        if (at == from || n > EVERY_MAX_S || unit == 0 || unit >= last_unit) {
            buf_addf(faults, "%s: a time such as 90s, 5m, 1h30m or 2d is wanted, at column %d\n",
                field, (int)(at - text) + 1);
            return ERR_INVALID;
        }
        at++;
        last_unit = unit;
        total += n * unit;
    } while (*at);
    if (total < 1 || total > EVERY_MAX_S) {
        buf_addf(faults, "%s: %s lies outside of 1s to 366d\n", field, text);
        return ERR_INVALID;
    }
    *ret_s = total;
    return 0;
}

/* The index of a word in a list that NULL ends. NULL for the text is the first. */
static int parse_word(const char *field, const char *text, const char *const *words,
    struct buf *faults, int *ret_index)
{
    if (!text) {
        *ret_index = 0;
        return 0;
    }
    for (int i = 0; words[i]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret_index = i;
            return 0;
        }
    }
    buf_addf(faults, "%s: '%s' is neither %s nor %s\n", field, text, words[0], words[1]);
    return ERR_INVALID;
}

static int parse_zone(struct parse *p)
{
    const char *name = p->options->zone ? p->options->zone : "UTC";
    int r = civil_zones_get(p->zones, name, &p->spec->zone);

    if (r == 0 || r == ERR_NOMEM)
        return r;
    buf_addf(p->faults, "timezone: '%s' is no zone of the system's tzdata\n", name);
    return ERR_INVALID;
}

static int parse_rule(struct parse *p)
{
    const struct slot_options *o = p->options;

    if (!o->cron == !o->every) {
        buf_add_str(p->faults, "schedule: either cron or every is wanted\n");
        return ERR_INVALID;
    }
    if (o->cron)
        return cron_parse(o->cron, p->faults, &p->spec->cron);
    if (o->anchor && civil_time_parse_instant(o->anchor, &p->spec->anchor)) {
        buf_addf(p->faults, "anchor: '%s' is no instant such as 2026-03-07T00:00:00Z\n", o->anchor);
        return ERR_INVALID;
    }
    return parse_duration("every", o->every, p->faults, &p->spec->every_s);
}

static int parse_dst(struct parse *p)
{
    static const char *const gaps[] = {"run_after", "skip", NULL};
    static const char *const overlaps[] = {"first", "both", NULL};
    int gap = 0, overlap = 0, r, r2;

    r = parse_word("dst_gap", p->options->dst_gap, gaps, p->faults, &gap);
    r2 = parse_word("dst_overlap", p->options->dst_overlap, overlaps, p->faults, &overlap);
    p->spec->gap = gap == 0 ? SLOT_GAP_RUN_AFTER : SLOT_GAP_SKIP;
    p->spec->overlap = overlap == 0 ? SLOT_OVERLAP_FIRST : SLOT_OVERLAP_BOTH;
    return r ? r : r2;
}

static int parse_jitter(struct parse *p)
{
    int64_t seconds;
    int r;

    if (!p->options->jitter)
        return 0;
    r = parse_duration("jitter", p->options->jitter, p->faults, &seconds);
    if (!r)
        p->spec->jitter_ms = seconds * 1000;
    return r;
}

/* After parse_zone(), whose zone it falls back to. */
static int parse_window(struct parse *p)
{
    if (!p->options->window)
        return 0;
    p->spec->window = calloc(1, sizeof(*p->spec->window));
    if (!p->spec->window)
        return ERR_NOMEM;
    return slot_window_parse(
        p->options->window, p->zones, p->spec->zone, p->faults, p->spec->window);
}

static int compare_dates(const void *a, const void *b)
{
    const struct slot_dates *x = a, *y = b;

    return (x->first > y->first) - (x->first < y->first);
}

static int copy_blackout(struct parse *p)
{
    size_t n = p->options->n_blackout;
    struct slot_dates *dates;

    if (n == 0)
        return 0;
    dates = calloc(n, sizeof(*dates));
    if (!dates)
        return ERR_NOMEM;
    p->spec->blackout = dates;
    memcpy(dates, p->options->blackout, n * sizeof(*dates));
    for (size_t i = 0; i < n; i++) {
        if (dates[i].first > dates[i].last || dates[i].first < civil_time_days(1, 1, 1) ||
            dates[i].last > civil_time_days(9999, 12, 31)) {
            buf_add_str(p->faults, "blackout: a range of dates runs backwards or lies outside of "
                                   "the years 1 to 9999\n");
            return ERR_INVALID;
        }
    }
    qsort(dates, n, sizeof(*dates), compare_dates);
    p->spec->n_blackout = 1;
    for (size_t i = 1; i < n; i++) {
        struct slot_dates *last = &dates[p->spec->n_blackout - 1];

        if (dates[i].first > last->last + 1)
            dates[p->spec->n_blackout++] = dates[i];
        else if (dates[i].last > last->last)
            last->last = dates[i].last;
    }
    return 0;
}

int slot_spec_new(const struct slot_options *options, struct civil_zones *zones, struct buf *faults,
    struct slot_spec **ret_spec)
{
    static int (*const steps[])(struct parse *) = {
        parse_rule, parse_zone, parse_dst, parse_window, parse_jitter, copy_blackout};
    struct slot_spec *spec = calloc(1, sizeof(*spec));
    struct parse p = {options, zones, faults, spec};
    int failed = 0;

    if (!spec)
        return ERR_NOMEM;
    spec->key_hash = hash_text(options->key ? options->key : "");
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && failed != ERR_NOMEM; i++) {
        int r = steps[i](&p);

        if (r)
            failed = r;
    }
    if (failed) {
        slot_spec_free(spec);
        return failed;
    }
    *ret_spec = spec;
    return 0;
}

void slot_spec_free(struct slot_spec *spec)
{
    if (!spec)
        return;
    free(spec->window);
    free(spec->blackout);
    free(spec);
}

bool slot_spec_uses_zone(const struct slot_spec *spec, const struct civil_zone *zone)
{
    return spec->zone == zone || (spec->window && spec->window->zone == zone);
}

const struct civil_zone *slot_spec_zone(const struct slot_spec *spec)
{
    return spec->zone;
}
