/*
 * Whether all is well, for load balancers, supervisors and people.
 */
#ifndef TOCSIN_GATEWAY_HEALTH_H
#define TOCSIN_GATEWAY_HEALTH_H

#include "gateway/gateway.h"

/* GET /health/live: this process answers. */
void health_live(struct gateway *g, struct http_exchange *x);
/* GET /health/ready: it has its database and is not draining. */
void health_ready(struct gateway *g, struct http_exchange *x);
/* GET /health/database: how long the database takes to answer. */
void health_database(struct gateway *g, struct http_exchange *x);
/* GET /health and /health/detailed: the view health; 503 when a check fails. */
void health_checks(struct gateway *g, struct http_exchange *x);

#endif
