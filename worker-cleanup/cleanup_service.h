/*
 * What worker-cleanup hands to the service.
 */
#ifndef TOCSIN_WORKER_CLEANUP_CLEANUP_SERVICE_H
#define TOCSIN_WORKER_CLEANUP_CLEANUP_SERVICE_H

#include "service/service.h"

extern const struct service_spec cleanup_service;

#endif
