/*
 * How late messages leave: a histogram of sent − due by kind and channel, the member "lateness" of
 * daemon.metrics. docs/channels.md tells its shape to whoever reads it.
 */
#ifndef TOCSIN_WORKER_ESCALATION_LATENESS_H
#define TOCSIN_WORKER_ESCALATION_LATENESS_H

#include <stddef.h>
#include <stdint.h>

#include "base/json_read.h"

/* So many pairs of kind and channel are told apart; of what comes after, the kind is
 * LATENESS_OTHER, so that a channel adds at most one more. */
#define LATENESS_SERIES_MAX 64
#define LATENESS_OTHER      "other"

/* Upper bounds of the buckets in ms, ascending; beyond the last one only the count tells. */
extern const int64_t lateness_bounds_ms[];
extern const size_t lateness_n_bounds;

/* An empty histogram, which the caller owns; NULL without memory. */
json_t *lateness_new(void);
/* Counts one message into every bucket whose bound it does not pass, into the sum and the count.
 * What was early is 0 ms late. Without a histogram (NULL) or memory it is dropped. */
void lateness_add(json_t *histogram, const char *kind, const char *channel, int64_t lateness_ms);

#endif
