/*
 * Random definitions of schedules: every part of the language that says when, and what
 * becomes of runs that are late.
 */
#ifndef TOCSIN_TESTS_RANDOM_SCHEDULE_H
#define TOCSIN_TESTS_RANDOM_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "tests/support/dice.h"

struct random_schedule {
    const char *zone;
    int64_t around; /* UTC seconds: dates and anchors lie near it */
    /* For a world of real processes: slots every few minutes at most and every few seconds at
     * least, jitter that keeps their order, short graces, no end. */
    bool busy;
};

/* A zone whose clocks are hard. */
const char *random_schedule_zone(struct dice *d);

/* Adds the members of the definition, parted by commas, without braces. */
void random_schedule_add(struct dice *d, const struct random_schedule *how, struct buf *out);

#endif
