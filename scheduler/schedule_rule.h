/*
 * A schedule's definition, compiled: when it runs, and what becomes of slots that
 * were missed. The same code checks the file and reads the database's copy.
 */
#ifndef TOCSIN_SCHEDULER_SCHEDULE_RULE_H
#define TOCSIN_SCHEDULER_SCHEDULE_RULE_H

#include <jansson.h>
#include <stdint.h>

#include "base/civil_time.h"
#include "base/err.h"
#include "scheduler/definitions_read.h"
#include "scheduler/slot_spec.h"

#define SCHEDULE_GRACE_MS_DEFAULT (INT64_C(60) * 1000)
#define SCHEDULE_CATCH_UP_CAP_MAX 1000
/* Before the name of a holiday list, in the blackout of the file. */
#define SCHEDULE_HOLIDAYS "holidays:"

enum schedule_catch_up {
    CATCH_UP_SKIP,     /* late slots are passed over */
    CATCH_UP_RUN_ONCE, /* the newest late slot runs */
    CATCH_UP_RUN_ALL,  /* the newest `cap` late slots within `window_ms` run */
};

struct schedule_rule {
    struct slot_spec *slots;
    enum schedule_catch_up catch_up;
    int64_t grace_ms;  /* a slot found later than this is late */
    int64_t window_ms; /* how far back catching up looks; INT64_MAX: any */
    int64_t cap;       /* how many late slots may run */
};

/* The keys of a definition that say when, NULL-terminated: the rest says what. */
extern const char *const schedule_rule_keys[];

/* Compiles a definition whose blackout names no holiday list any more. Every fault is added at
 * its place below `o->at`. The zones must outlive the rule. ERR_INVALID (faults were added),
 * ERR_NOMEM. */
MUST_CHECK int schedule_rule_new(const struct definitions_object *o, const char *key,
    struct civil_zones *zones, struct schedule_rule **ret_rule);
/* The same from the text of a stored definition; faults (may be NULL) are one a line. */
MUST_CHECK int schedule_rule_from_text(const char *key, const char *definition,
    struct civil_zones *zones, struct buf *faults, struct schedule_rule **ret_rule);
/* NULL does nothing. */
void schedule_rule_free(struct schedule_rule *rule);
static inline void schedule_rule_freep(struct schedule_rule **rule)
{
    schedule_rule_free(*rule);
}

/* "2026-12-24" or "2026-12-24..2027-01-02", both included. ERR_INVALID. */
MUST_CHECK int schedule_rule_parse_dates(const char *text, struct slot_dates *ret_dates);

#endif
