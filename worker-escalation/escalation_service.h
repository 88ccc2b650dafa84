/*
 * What worker-escalation tells the service of itself.
 */
#ifndef TOCSIN_WORKER_ESCALATION_ESCALATION_SERVICE_H
#define TOCSIN_WORKER_ESCALATION_ESCALATION_SERVICE_H

#include "service/service.h"

extern const struct service_spec escalation_service;

#endif
