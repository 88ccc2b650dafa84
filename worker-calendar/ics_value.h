/*
 * libical's times as seconds, without its own notion of zones.
 */
#ifndef TOCSIN_WORKER_CALENDAR_ICS_VALUE_H
#define TOCSIN_WORKER_CALENDAR_ICS_VALUE_H

#include <libical/ical.h>
#include <stdbool.h>
#include <stdint.h>

/* Whether the fields make a date and a time of day, in the years 1 to 9999. */
bool ics_value_is_valid(const struct icaltimetype *t);
/* What the wall clock shows, counted as though it were UTC; midnight of a date. */
int64_t ics_value_local(const struct icaltimetype *t);
/* The other way round: a time, or a date, that is in no zone. */
struct icaltimetype ics_value_floating(int64_t local, bool is_date);

#endif
