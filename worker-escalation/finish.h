/*
 * Finished deliveries on their way to their rows: a batch becomes one statement, and its answer
 * log lines and numbers.
 */
#ifndef TOCSIN_WORKER_ESCALATION_FINISH_H
#define TOCSIN_WORKER_ESCALATION_FINISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "worker-escalation/delivery.h"
#include "worker-escalation/lateness.h"

/* A queue of deliveries in the order in which they ended. */
struct finish_list {
    struct delivery *head, *tail;
    size_t n;
};
void finish_list_push(struct finish_list *list, struct delivery *d);
/* NULL when it is empty. */
struct delivery *finish_list_pop(struct finish_list *list);

/* The arguments of SQL_finish_notifications for a whole list. */
void finish_args(const struct finish_list *list, int64_t daemon_id, struct db_args *args);

/* What a batch came to. */
struct finish_news {
    int64_t accepted, retried, diverted, failed, lost;
    int64_t next_in_ms; /* the earliest retry; -1: none */
    bool due_now;       /* another channel or rung took over */
};

/* Reads the answer: one log line a delivery that an operator cares about, its lateness into the
 * histogram (may be NULL). What an open circuit holds gets a line at `held_lines`' rate. */
void finish_read(const struct finish_list *list, const struct db_result *r, json_t *lateness,
    struct log_rate *held_lines, struct finish_news *ret_news);

#endif
