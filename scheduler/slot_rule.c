#include "scheduler/slot_rule.h"

#define UTC_MAX (INT64_C(253402300800) - 1) /* the end of the year 9999 */
#define UTC_MIN INT64_C(-62135596800)       /* the year 1 */
/* Further apart than this, no change of the clocks turns two local times around. */
#define REACH_S (3 * CIVIL_DAY_S)

static bool runs_after_gap(const struct slot_spec *spec)
{
    return !spec->cron.wild && spec->gap == SLOT_GAP_RUN_AFTER;
}

static bool runs_once(const struct slot_spec *spec)
{
    return !spec->cron.wild && spec->overlap == SLOT_OVERLAP_FIRST;
}

/* Whether the clocks, at the start of a span, skip a time that matches. */
static bool skips_match(const struct slot_spec *spec, const struct tzif_span *span)
{
    int64_t local;

    if (span->start == INT64_MIN || span->wall_high >= span->start + span->offset)
        return false;
    return cron_at_or_after(&spec->cron, span->wall_high, &local) == 0 &&
           local < span->start + span->offset;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int cron_from(const struct slot_spec *spec, int64_t utc, int64_t *ret_utc)
{
    int64_t limit = utc + CRON_YEARS * 366 * CIVIL_DAY_S;

    while (utc <= limit) {
        struct tzif_span span;
        int64_t local, found;
        int r;

        civil_zone_span_at(spec->zone, utc, &span);
        if (utc == span.start && runs_after_gap(spec) && skips_match(spec, &span)) {
            *ret_utc = utc;
            return 0;
        }
        local = utc + span.offset;
        if (runs_once(spec) && local < span.wall_high)
            local = span.wall_high;
        r = cron_at_or_after(&spec->cron, local, &found);
        if (r)
            return r;
        if (found - span.offset < span.end) {
            *ret_utc = found - span.offset;
            return 0;
        }
        utc = span.end - utc > REACH_S ? later(span.end, found - span.offset - REACH_S) : span.end;
    }
    return ERR_NOT_FOUND;
}

static int cron_until(const struct slot_spec *spec, int64_t utc, int64_t *ret_utc)
{
    int64_t limit = utc - CRON_YEARS * 366 * CIVIL_DAY_S;

    while (utc >= limit) {
        struct tzif_span span;
        int64_t found;
        int r;

        civil_zone_span_at(spec->zone, utc, &span);
        r = cron_at_or_before(&spec->cron, utc + span.offset, &found);
        if (r)
            return r;
        if (found - span.offset >= span.start && !(runs_once(spec) && found < span.wall_high)) {
            *ret_utc = found - span.offset;
            return 0;
        }
        if (runs_after_gap(spec) && skips_match(spec, &span)) {
            *ret_utc = span.start;
            return 0;
        }
        if (span.start == INT64_MIN)
            return ERR_NOT_FOUND;
        if (utc - span.start > REACH_S)
            utc = earlier(span.start - 1, found - span.offset + REACH_S);
        else
            utc = span.start - 1;
    }
    return ERR_NOT_FOUND;
}

/* The last multiple of every_s at or before `utc`, counted from the anchor. */
static int64_t every_until(const struct slot_spec *spec, int64_t utc)
{
    int64_t rest = (utc - spec->anchor) % spec->every_s;

    return utc - (rest < 0 ? rest + spec->every_s : rest);
}

int slot_rule_from(const struct slot_spec *spec, int64_t utc, int64_t *ret_utc)
{
    if (utc < UTC_MIN)
        utc = UTC_MIN;
    if (utc > UTC_MAX)
        return ERR_NOT_FOUND;
    if (spec->every_s == 0)
        return cron_from(spec, utc, ret_utc);
    *ret_utc = every_until(spec, utc - 1) + spec->every_s;
    return 0;
}

int slot_rule_until(const struct slot_spec *spec, int64_t utc, int64_t *ret_utc)
{
    if (utc > UTC_MAX)
        utc = UTC_MAX;
    if (utc < UTC_MIN)
        return ERR_NOT_FOUND;
    if (spec->every_s == 0)
        return cron_until(spec, utc, ret_utc);
    *ret_utc = every_until(spec, utc);
    return 0;
}

unsigned slot_rule_flags(const struct slot_spec *spec, int64_t utc)
{
    struct tzif_span span, next;
    unsigned flags = 0;

    civil_zone_span_at(spec->zone, utc, &span);
    if (spec->every_s == 0 && utc == span.start && runs_after_gap(spec) && skips_match(spec, &span))
        flags |= SLOT_MOVED_BY_GAP;
    if (utc + span.offset < span.wall_high)
        flags |= SLOT_IN_OVERLAP;
    if (span.end != INT64_MAX) {
        civil_zone_span_at(spec->zone, span.end, &next);
        if (utc + span.offset >= span.end + next.offset)
            flags |= SLOT_IN_OVERLAP;
    }
    return flags;
}
