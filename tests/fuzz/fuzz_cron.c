/*
 * Schedules from outside, as lines: expression or `every`, zone, policies, instant,
 * window. What is refused says where; what is accepted has slots that look the same
 * from both sides.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "scheduler/cron_expr.h"
#include "scheduler/slot_spec.h"

#define MAX_LEN 512
#define LINES   5
#define SLOTS   20
#define FROM    INT64_C(-2208988800) /* 1900 */
#define SPAN    INT64_C(9467280000)  /* 300 years */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int truth)
{
    if (!truth)
        abort();
}

/* One fault a line, with the column where it lies. */
static void check_faults(const char *faults, size_t len)
{
    must(*faults != '\0');
    while (*faults) {
        const char *end = strchr(faults, '\n');
        const char *column = strstr(faults, ", at column ");

        must(end != NULL && column != NULL && column < end);
        must(strtoul(column + strlen(", at column "), NULL, 10) <= len + 1);
        faults = end + 1;
    }
}

static void check_local(const struct cron_expr *e, int64_t local)
{
    int64_t next, again, prev;

    if (cron_at_or_after(e, local, &next))
        return;
    must(next >= local && cron_matches(e, next));
    must(cron_at_or_after(e, next, &again) == 0 && again == next);
    must(cron_at_or_before(e, next, &again) == 0 && again == next);
    if (cron_at_or_before(e, next - 1, &prev))
        return;
    must(prev < local && cron_matches(e, prev));
    must(cron_at_or_after(e, prev + 1, &again) == 0 && again == next);
}

static void check_slots(const struct slot_spec *spec, int64_t from)
{
    struct slot slot, same;

    for (int i = 0; i < SLOTS; i++) {
        if (slot_next(spec, from, &slot))
            return;
        must(slot.at > from && slot_is(spec, slot.at));
        must(slot_prev(spec, slot.at + 1, &same) == 0 && same.at == slot.at);
        must(same.flags == slot.flags && same.jitter_ms == slot.jitter_ms);
        must(slot_prev(spec, slot.at, &same) != 0 || same.at <= from);
        must(slot_count(spec, from, slot.at, 3) == 1);
        from = slot.at;
    }
}

/* Cuts the text into its lines; those that are not there are NULL. */
static void cut(char *text, const char **lines)
{
    for (int i = 0; i < LINES && text; i++) {
        lines[i] = strsep(&text, "\n");
        if (*lines[i] == '\0')
            lines[i] = NULL;
    }
}

static void check_schedule(struct civil_zones *zones, const char **lines, int64_t from)
{
    static const char every[] = "every ";
    struct buf faults = BUF_INIT(8192);
    struct slot_spec *spec = NULL;
    struct slot_options o = {.zone = lines[1], .window = lines[4], .jitter = "1h"};

    if (lines[0] && strncmp(lines[0], every, sizeof(every) - 1) == 0)
        o.every = lines[0] + sizeof(every) - 1;
    else
        o.cron = lines[0];
    if (lines[2] && strchr(lines[2], 's'))
        o.dst_gap = "skip";
    if (lines[2] && strchr(lines[2], 'b'))
        o.dst_overlap = "both";
    if (slot_spec_new(&o, zones, &faults, &spec) == 0)
        check_slots(spec, from);
    else
        must(!spec && faults.len > 0);
    slot_spec_free(spec);
    buf_release(&faults);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct civil_zones *zones;
    const char *lines[LINES] = {NULL};
    struct buf faults = BUF_INIT(8192);
    struct cron_expr e;
    int64_t from = 0;

    if (size > MAX_LEN || memchr(data, 0, size))
        return 0;
    if (!zones)
        must(civil_zones_new(NULL, &zones) == 0);
    _cleanup_(freep) char *text = strndup((const char *)data, size);
    must(text != NULL);
    cut(text, lines);
    if (lines[3])
        from = FROM + (int64_t)(strtoull(lines[3], NULL, 10) % (uint64_t)SPAN);
    if (lines[0]) {
        if (cron_parse(lines[0], &faults, &e))
            check_faults(buf_str(&faults), strlen(lines[0]));
        else
            check_local(&e, from);
    }
    check_schedule(zones, lines, from);
    buf_release(&faults);
    return 0;
}
