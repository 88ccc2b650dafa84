/*
 * Circuits: whether a provider's call may be tried at all. The decision is local and costs no
 * more than a look at memory; rows of the table `circuit`, which all processes share, correct it.
 *
 * Three failures in a row open a circuit for 30 seconds. The first call after that asks the row to
 * be the probe, which the row grants to one process of all; its outcome closes the circuit or opens
 * it again.
 */
#ifndef TOCSIN_WORK_CIRCUIT_H
#define TOCSIN_WORK_CIRCUIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/db_conn.h"

#define CIRCUIT_FAILURES 3
#define CIRCUIT_OPEN_MS  30000

enum circuit_answer {
    CIRCUIT_PASS,   /* call, then circuit_record() */
    CIRCUIT_REFUSE, /* do not call */
    CIRCUIT_ASK,    /* ask the row for the probe (circuit_probe_args), then circuit_allow() again */
};

struct circuit_table;
struct circuit;

/* An empty table. ERR_NOMEM. */
MUST_CHECK int circuit_table_new(struct circuit_table **ret_table);
void circuit_table_free(struct circuit_table *t);

/* The circuit of that name, made closed when it is new; it lives as long as the table. NULL when
 * memory is short. */
struct circuit *circuit_get(struct circuit_table *t, const char *name);
const char *circuit_name(const struct circuit *c);

/* Asks before each call. `now_ms` is monotonic. CIRCUIT_ASK is answered to one caller at a time. */
enum circuit_answer circuit_allow(struct circuit *c, int64_t now_ms);
/* The outcome of a call that was let pass: whether the provider worked, whatever it said. */
void circuit_record(struct circuit *c, bool worked, int64_t now_ms);

/* Arguments of SQL_tell_circuits that ask for the probe of this one circuit. */
void circuit_probe_args(const struct circuit *c, int64_t daemon_id, struct db_args *args);
/* The request for the probe got no answer: it may be made again after a second. */
void circuit_probe_failed(struct circuit *c, int64_t now_ms);

/* Whether there is something to report, or calls were made since the last report that a row may
 * have to correct. */
bool circuit_table_has_news(const struct circuit_table *t);
/* Whether the rows should hear of it at once: a circuit opened here, or its probe has ended. */
bool circuit_table_is_urgent(const struct circuit_table *t);
/* Arguments of SQL_tell_circuits for every circuit that was used; what they report counts as told.
 */
void circuit_table_tell_args(struct circuit_table *t, int64_t daemon_id, struct db_args *args);
/* Takes the rows that SQL_tell_circuits answered, and logs those that have changed their state
 * since the last time. Returns how many did. */
int circuit_table_correct(struct circuit_table *t, const struct db_result *r, int64_t now_ms);
/* The same of one circuit that is not closed, by a row with circuit_state (NULL: it is closed),
 * circuit_failures, circuit_held_ms and circuit_probe_ours. */
void circuit_learn(struct circuit *c, const struct db_result *r, int row, int64_t now_ms);

/* What a row says: the part of circuit_table_correct() that decides. `held_ms` is the time that it
 * stays open, or that the probe has. */
enum circuit_state { CIRCUIT_CLOSED, CIRCUIT_OPEN, CIRCUIT_HALF_OPEN };
void circuit_correct(struct circuit *c, enum circuit_state state, int failures, int64_t held_ms,
    bool probe_ours, int64_t now_ms);
enum circuit_state circuit_state(const struct circuit *c);

#endif
