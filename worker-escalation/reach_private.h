/*
 * What reach.c (claims and turns), reach_report.c (outcomes on their way to their rows) and
 * reach_upkeep.c (circuits, rescue, lost connections) share.
 */
#ifndef TOCSIN_WORKER_ESCALATION_REACH_PRIVATE_H
#define TOCSIN_WORKER_ESCALATION_REACH_PRIVATE_H

#include "io/loop.h"
#include "service/service.h"
#include "worker-escalation/finish.h"
#include "worker-escalation/reach.h"

/* A claim takes so many at first, four times as many whenever it came back full. */
#define BATCH_MIN 8
#define BATCH_MAX 1000
/* What failed of something that may pass is sent again after this. */
#define AGAIN_MS 1000

struct reach {
    struct service *service;
    const struct reach_config *config;
    struct circuit_table *circuits;
    json_t *lateness;
    struct loop_defer *turn;

    struct finish_list done;      /* ended, not reported */
    struct finish_list reporting; /* in the statement under way */
    size_t report_max;            /* 1 after a batch was refused */
    struct log_rate held_lines;   /* of what open circuits hold */
    int64_t in_hand;              /* claimed and not reported */
    int64_t in_flight[16];        /* by channel, claimed and not over */

    bool claim_wanted;
    bool claiming;
    bool draining;
    bool unlearned;      /* the connection broke while a claim was under way */
    int64_t batch;       /* what a claim takes at most, by the backlog */
    int64_t claim_limit; /* of the claim under way, or the last */
    bool passed_over;    /* it left out channels that were full */
    bool behind;         /* so there may be more as soon as one has room */
    bool telling;
    int64_t told_at_ms;
    bool rescuing;
    int64_t rescued_at_ms;
    int64_t rescue_at_ms; /* the deadline of what another process holds; 0: none known */
    bool polls_due;
    bool taking_polls;
    int poll_limit; /* of the questions being taken, or the last */
    size_t polling; /* questions under way */
};

/* reach_report.c: sends what has ended, unless a report is under way. Whether one was sent. With a
 * claim sent right behind it both are one transaction. */
bool reach_report(struct reach *r, bool claim_follows);
/* Frees what is in the report under way. */
void reach_forget_reported(struct reach *r);

/* reach_upkeep.c */
void reach_tell_circuits(struct reach *r);
/* Asks providers what became of what they took, where that is due. */
void reach_poll(struct reach *r);
/* The deadline of something that another process holds passes in so long: it is rescued then. */
void reach_rescue_in(struct reach *r, int64_t ms);
void reach_rescue_due(struct reach *r);
/* After a lost connection: what was claimed and never learned of goes back, once nothing else is in
 * hand. */
void reach_release_unlearned(struct reach *r);

#endif
