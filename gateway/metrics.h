/*
 * What Prometheus reads, made from rows.
 */
#ifndef TOCSIN_GATEWAY_METRICS_H
#define TOCSIN_GATEWAY_METRICS_H

#include "gateway/gateway.h"

/* GET /metrics, in the text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). */
void metrics_show(struct gateway *g, struct http_exchange *x);

/* Adds one sample: its name, its labels (a JSON object of strings) and its value. */
void metrics_add_sample(struct buf *out, const char *name, const char *labels, const char *value);

#endif
