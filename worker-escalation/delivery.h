/*
 * One attempt to deliver one notification: circuit, settling of what an earlier attempt left open,
 * request, judgement. It ends with an outcome; what follows from that is decided by the row.
 */
#ifndef TOCSIN_WORKER_ESCALATION_DELIVERY_H
#define TOCSIN_WORKER_ESCALATION_DELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "work/circuit.h"
#include "work/job.h"
#include "worker-escalation/channel.h"

/* What claim_notifications answered, shared by the deliveries that point into it. */
struct claimed;
/* Takes the result. NULL when memory is short. */
struct claimed *claimed_new(struct db_result *r);
/* Drops one holder; the creator is the first. NULL does nothing. */
void claimed_drop(struct claimed *c);
const struct db_result *claimed_result(const struct claimed *c);

struct delivery {
    struct job job;
    struct claimed *claimed;
    const struct reach_config *config;
    struct circuit_table *circuits;
    int64_t daemon_id;
    void (*over)(struct delivery *d); /* with the outcome set */
    void *owner;
    struct delivery *next; /* the owner's */

    struct message message;
    int64_t fence;
    int64_t contact_method_id;
    bool bundles;             /* may leave with others to the same contact */
    struct delivery *members; /* those that leave with this one, linked by `next` */
    int n_members;
    int64_t lateness_ms;
    int attempt;
    bool settle; /* ask first what became of an earlier attempt */
    bool wanted; /* may still be sent */
    bool at_most_once;
    const struct channel *channel; /* NULL: this build has none of that name */
    struct circuit *circuit;       /* NULL: the channel needs none */
    struct outcome outcome;
};

/* From row `row` of what was claimed; the delivery holds on to it. NULL when memory is short. */
struct delivery *delivery_new(struct claimed *claimed, int row, const struct reach_config *config,
    struct circuit_table *circuits, int64_t daemon_id);
void delivery_free(struct delivery *d);
/* The most notifications that leave as one message. */
#define DELIVERY_BUNDLE_MAX 6

/* Whether `d` may leave with `leader`, which has not been started; then it does: it belongs to the
 * leader from here on and is not started itself. */
bool delivery_join(struct delivery *leader, struct delivery *d);
/* Takes the members of one that is over, with the outcome that it has for them, one by one; NULL
 * when there are no more. */
struct delivery *delivery_take_member(struct delivery *leader);

/* Starts it; d->over is called once, later. ERR_NOMEM: it is not called. */
MUST_CHECK int delivery_start(struct delivery *d, struct job_driver *jobs);

#endif
