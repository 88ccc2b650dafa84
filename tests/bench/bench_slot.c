/* What the next and the previous slot cost, in nanoseconds: the mean of many, by expression. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "scheduler/slot_spec.h"

#define CALLS 200000
#define FROM  INT64_C(1767225600) /* 2026-01-01T00:00:00Z */

static const struct slot_options specs[] = {
    {.cron = "* * * * *", .zone = "America/New_York"},
    {.cron = "0 9 * * 1-5", .zone = "America/New_York"},
    {.cron = "30 2 * * *", .zone = "Africa/Cairo"},
    {.cron = "0 0 1 1 *", .zone = "Europe/Berlin"},
    {.cron = "0 12 29 2 *", .zone = "Europe/Berlin"},
    {.cron = "0 9 LW * *", .zone = "Australia/Lord_Howe"},
    {.cron = "*/5 * * * *", .zone = "UTC", .window = "Mon-Fri 09:00-17:00 America/New_York"},
    {.every = "90s", .zone = "America/New_York"},
};

/* Back to the start when the calendar comes near its end. */
static double next_ns(const struct slot_spec *spec)
{
    struct slot slot = {.at = FROM};
    int64_t start = clock_us();

    for (int i = 0; i < CALLS; i++)
        if (slot_next(spec, slot.at, &slot) || slot.at > 2 * FROM)
            slot.at = FROM;
    return (double)(clock_us() - start) * 1000 / CALLS;
}

static double prev_ns(const struct slot_spec *spec)
{
    struct slot slot = {.at = 2 * FROM};
    int64_t start = clock_us();

    for (int i = 0; i < CALLS; i++)
        if (slot_prev(spec, slot.at, &slot) || slot.at < FROM)
            slot.at = 2 * FROM;
    return (double)(clock_us() - start) * 1000 / CALLS;
}

int main(void)
{
    struct civil_zones *zones = NULL;

    if (civil_zones_new(NULL, &zones))
        return EXIT_FAILURE;
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
        struct buf faults = BUF_INIT(4096);
        struct slot_spec *spec = NULL;

        if (slot_spec_new(&specs[i], zones, &faults, &spec)) {
            (void)fputs(buf_str(&faults), stderr);
            return EXIT_FAILURE;
        }
        (void)printf("%-14s %-20s next %5.0f ns  previous %5.0f ns%s\n",
            specs[i].cron ? specs[i].cron : specs[i].every, specs[i].zone, next_ns(spec),
            prev_ns(spec), specs[i].window ? "  with a window" : "");
        slot_spec_free(spec);
    }
    civil_zones_free(zones);
    return EXIT_SUCCESS;
}
