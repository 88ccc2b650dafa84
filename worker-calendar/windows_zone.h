/*
 * Windows' names of zones, for calendars that give one without its VTIMEZONE.
 */
#ifndef TOCSIN_WORKER_CALENDAR_WINDOWS_ZONE_H
#define TOCSIN_WORKER_CALENDAR_WINDOWS_ZONE_H

/* The IANA name of the zone's main territory (Unicode CLDR, windowsZones, territory 001), or
 * NULL for a name that is not in the list. */
const char *windows_zone_iana(const char *name);

#endif
