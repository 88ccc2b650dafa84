/*
 * Runs that are one statement: the row that it returns is the run's result.
 */
#ifndef TOCSIN_WORKER_CALENDAR_STATEMENT_RUN_H
#define TOCSIN_WORKER_CALENDAR_STATEMENT_RUN_H

#include "service/service.h"

/* Sends the statement with one number, or none (NULL), logs "<what>: column=value …" and
 * finishes the run with the first row as an object of numbers. */
void statement_run_start(struct service *s, struct job_run *run, const struct db_stmt *stmt,
    const int64_t *parameter, const char *what);

#endif
