/*
 * The log lines of incidents that were opened.
 */
#ifndef TOCSIN_WORKER_CALENDAR_INCIDENT_LOG_H
#define TOCSIN_WORKER_CALENDAR_INCIDENT_LOG_H

#include "io/db_conn.h"

/* One line for each incident that a row with the columns `opened` and `incidents` tells of (see
 * meeting_plan() in sql/migrations), and one for those beyond the twenty that it names. */
void incident_log(const struct db_result *r);

#endif
