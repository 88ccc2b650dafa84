/*
 * Zone files from outside: what is accepted is an unbroken row of spans that
 * repeats every 400 years once its rule has taken over.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/civil_time.h"
#include "base/tzif.h"

#define SPANS_MAX 20000
#define CYCLE_S   (INT64_C(146097) * CIVIL_DAY_S)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int truth)
{
    if (!truth)
        abort();
}

static void check_span(const struct tzif *tz, int64_t at, const struct tzif_span *span)
{
    struct tzif_span same, next;

    must(span->start <= at && at < span->end);
    must(span->offset >= -89999 && span->offset <= 93600);
    must((span->start == INT64_MIN) == (span->wall_high == INT64_MIN));
    if (span->end == INT64_MAX)
        return;
    tzif_span_at(tz, span->end - 1, &same);
    must(same.start == span->start && same.end == span->end && same.offset == span->offset);
    tzif_span_at(tz, span->end, &next);
    must(next.start == span->end && next.offset != span->offset);
    must(next.wall_high >= span->end + span->offset && next.wall_high >= span->wall_high);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tzif *tz = NULL;
    struct tzif_span span = {.end = 0}, later;
    int64_t end = civil_time_days(9990, 1, 1) * CIVIL_DAY_S;
    int64_t from = civil_time_days(9000, 1, 1) * CIVIL_DAY_S;
    int n = 0;

    if (tzif_parse(data, size, &tz)) {
        must(!tz);
        return 0;
    }
    /* A rule may take over in the depths of time and have more spans than anybody can walk. */
    for (int64_t at = -(INT64_C(1) << 60); at < end && n < SPANS_MAX; at = span.end, n++) {
        tzif_span_at(tz, at, &span);
        check_span(tz, at, &span);
        if (span.end == INT64_MAX)
            break;
    }
    for (int64_t at = from; at < end - CYCLE_S && span.end != INT64_MAX; at += 86399 * 97) {
        tzif_span_at(tz, at, &span);
        tzif_span_at(tz, at + CYCLE_S, &later);
        must(span.offset == later.offset);
    }
    tzif_free(tz);
    return 0;
}
