/*
 * Local time for intervals only. What is due, stale or late is decided by the
 * now() of the database.
 */
#ifndef TOCSIN_BASE_CLOCK_H
#define TOCSIN_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds and microseconds of CLOCK_MONOTONIC. */
int64_t clock_ms(void);
int64_t clock_us(void);

/* Seconds since 1970 by CLOCK_REALTIME, for signatures and log lines alone. */
int64_t clock_unix_s(void);

#endif
