/*
 * The executable worker-calendar, as `service` runs it.
 */
#ifndef TOCSIN_WORKER_CALENDAR_CALENDAR_SERVICE_H
#define TOCSIN_WORKER_CALENDAR_CALENDAR_SERVICE_H

#include "service/service.h"

extern const struct service_spec calendar_service;

#endif
