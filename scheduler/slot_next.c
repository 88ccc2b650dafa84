#include "scheduler/slot_rule.h"

#define SEARCH_S (CRON_YEARS * 366 * CIVIL_DAY_S)

/* Spreads all bits of x over all bits of the result (the finalizer of splitmix64). */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static int64_t jitter_of(const struct slot_spec *spec, int64_t at)
{
    return (int64_t)(mix(spec->key_hash ^ mix((uint64_t)at)) % ((uint64_t)spec->jitter_ms + 1));
}

static struct slot describe(const struct slot_spec *spec, int64_t at)
{
    return (struct slot){
        .at = at,
        .offset = civil_zone_offset(spec->zone, at),
        .flags = slot_rule_flags(spec, at),
        .jitter_ms = jitter_of(spec, at),
    };
}

/* The blackout of a day, or NULL. */
static const struct slot_dates *blackout_of(const struct slot_spec *spec, int64_t day)
{
    size_t low = 0, high = spec->n_blackout;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (spec->blackout[middle].last < day)
            low = middle + 1;
        else
            high = middle;
    }
    return low < spec->n_blackout && spec->blackout[low].first <= day ? &spec->blackout[low] : NULL;
}

/* The first instant at or after `utc` that no blackout covers. */
static int64_t bright_from(const struct slot_spec *spec, int64_t utc)
{
    for (;;) {
        const struct slot_dates *dark;
        struct tzif_span span;
        int64_t end;

        civil_zone_span_at(spec->zone, utc, &span);
        dark = blackout_of(spec, civil_time_day_of(utc + span.offset));
        if (!dark)
            return utc;
        end = (dark->last + 1) * CIVIL_DAY_S - span.offset;
        utc = end < span.end ? end : span.end;
    }
}

static int64_t bright_until(const struct slot_spec *spec, int64_t utc)
{
    for (;;) {
        const struct slot_dates *dark;
        struct tzif_span span;
        int64_t end;

        civil_zone_span_at(spec->zone, utc, &span);
        dark = blackout_of(spec, civil_time_day_of(utc + span.offset));
        if (!dark)
            return utc;
        end = dark->first * CIVIL_DAY_S - 1 - span.offset;
        utc = end >= span.start ? end : span.start - 1;
    }
}

/* The first instant at or after `utc` that window and blackout allow; INT64_MAX: none. */
static int64_t allowed_from(const struct slot_spec *spec, int64_t utc)
{
    for (;;) {
        int64_t from = utc;

        if (spec->window)
            utc = slot_window_open_from(spec->window, utc);
        if (utc == INT64_MAX)
            return utc;
        utc = bright_from(spec, utc);
        if (utc == from)
            return utc;
    }
}

static int64_t allowed_until(const struct slot_spec *spec, int64_t utc)
{
    for (;;) {
        int64_t from = utc;

        if (spec->window)
            utc = slot_window_open_until(spec->window, utc);
        if (utc == INT64_MIN)
            return utc;
        utc = bright_until(spec, utc);
        if (utc == from)
            return utc;
    }
}

static int find_next(const struct slot_spec *spec, int64_t after, int64_t *ret_at)
{
    int64_t limit, from, at;

    if (after == INT64_MAX)
        return ERR_NOT_FOUND;
    from = after + 1;
    limit = after < INT64_MAX - SEARCH_S ? after + SEARCH_S : INT64_MAX;
    while (from <= limit) {
        int r = slot_rule_from(spec, from, &at);

        if (r)
            return r;
        if (at > limit)
            break;
        from = allowed_from(spec, at);
        if (from == at) {
            *ret_at = at;
            return 0;
        }
    }
    return ERR_NOT_FOUND;
}

static int find_prev(const struct slot_spec *spec, int64_t before, int64_t *ret_at)
{
    int64_t limit, until, at;

    if (before == INT64_MIN)
        return ERR_NOT_FOUND;
    until = before - 1;
    limit = before > INT64_MIN + SEARCH_S ? before - SEARCH_S : INT64_MIN;
    while (until >= limit) {
        int r = slot_rule_until(spec, until, &at);

        if (r)
            return r;
        if (at < limit)
            break;
        until = allowed_until(spec, at);
        if (until == at) {
            *ret_at = at;
            return 0;
        }
    }
    return ERR_NOT_FOUND;
}

int slot_next(const struct slot_spec *spec, int64_t after, struct slot *ret_slot)
{
    int64_t at;
    int r = find_next(spec, after, &at);

    if (!r)
        *ret_slot = describe(spec, at);
    return r;
}

int slot_prev(const struct slot_spec *spec, int64_t before, struct slot *ret_slot)
{
    int64_t at;
    int r = find_prev(spec, before, &at);

    if (!r)
        *ret_slot = describe(spec, at);
    return r;
}

int64_t slot_count(const struct slot_spec *spec, int64_t from, int64_t to, int64_t cap)
{
    int64_t n = 0, at = from;

    while (n < cap && find_next(spec, at, &at) == 0 && at <= to)
        n++;
    return n;
}

bool slot_is(const struct slot_spec *spec, int64_t at)
{
    int64_t found;

    return at > INT64_MIN && find_next(spec, at - 1, &found) == 0 && found == at;
}

bool slot_spec_ends(const struct slot_spec *spec, int64_t from)
{
    struct slot_spec light = *spec;
    int64_t at;

    light.n_blackout = 0;
    return find_next(spec, from, &at) < 0 && find_next(&light, from, &at) == 0;
}

int slot_spec_check(const struct slot_spec *spec, int64_t from, struct buf *faults)
{
    int64_t at;

    if (find_next(spec, from, &at) == 0)
        return 0;
    buf_addf(faults, "%s: no slot of the next %d years is left by it\n",
        slot_spec_ends(spec, from) ? "blackout" : "window", CRON_YEARS);
    return ERR_INVALID;
}
