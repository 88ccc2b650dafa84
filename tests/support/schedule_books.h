/*
 * The books that schedulers keep, for tests: every step of every schedule and every run
 * is written down beside them, and compared with slots that were counted one by one.
 */
#ifndef TOCSIN_TESTS_SCHEDULE_BOOKS_H
#define TOCSIN_TESTS_SCHEDULE_BOOKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/civil_time.h"
#include "tests/support/harness.h"
#include "tests/support/slot_oracle.h"

/* A schedule as its test knows it. */
struct booked_schedule {
    const char *key;
    const char *members; /* of its definition, those that say when */
    struct slot_oracle *oracle;
    int runs_least, runs_most; /* of a slot that fires */
    bool forbids;              /* overlap */
    bool may_be_held;          /* a slot that is due: by a flag, or by a run that is not finished */
};

/* Before any scheduler runs. The keys that would hide a second firing are gone then. Every run
 * that ever was is a row of `ran`, as long as runs go by schedule_books_finish_runs(). */
void schedule_books_open(struct harness *h);
/* Once the schedules are there: enables them all. */
void schedule_books_begin(struct harness *h);
/* A worker that is done with everything at once. */
void schedule_books_finish_runs(struct harness *h);

/* Fails the test unless every slot from the begin of the accounts up to their end has the one
 * outcome that the definition allows it. No scheduler may run, here and below. */
void schedule_books_compare(
    struct harness *h, struct civil_zones *zones, const struct booked_schedule *s);
/* Of schedules that are called s and their interval in seconds, such as s60, which SQL can count
 * without knowing cron: fails the test unless every slot since their begin is in the ledger once,
 * and what it says was fired, and nothing else, stands in the queue, once a job; and next_run_at
 * has always increased. */
void schedule_books_balance(struct harness *h);
/* Fails it unless the runs are those of the slots that fired, once each, in their waves; and
 * next_run_at has always increased. */
void schedule_books_compare_runs(struct harness *h);

#endif
