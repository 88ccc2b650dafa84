#include "worker-calendar/ics_zones.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "worker-calendar/ics_vtimezone.h"
#include "worker-calendar/windows_zone.h"

/* Around the years of interest. */
#define MARGIN_S (2 * 366 * CIVIL_DAY_S)

enum resolution { UNRESOLVED, CIVIL, OWN, UNKNOWN };

struct named_zone {
    char *tzid;
    enum resolution resolution;
    const struct civil_zone *civil;
    const struct ics_vtimezone *own; /* into ics_zones.own */
};

struct ics_zones {
    struct civil_zones *civil;
    const struct civil_zone *user;
    const struct civil_zone *fallback;
    int64_t from, until;
    struct named_zone named[ICS_ZONES_MAX];
    int n_named;
    struct ics_vtimezone own[ICS_ZONES_MAX];
    int n_own;
    size_t unknown;
};

int ics_zones_new(struct civil_zones *civil, const char *user_zone, int64_t from, int64_t until,
    struct ics_zones **ret_zones)
{
    const struct civil_zone *user;
    int err = civil_zones_get(civil, user_zone, &user);
    if (err)
        return err;
    struct ics_zones *z = calloc(1, sizeof(*z));
    if (!z)
        return ERR_NOMEM;
    z->civil = civil;
    z->user = user;
    z->fallback = user;
    z->from = from - MARGIN_S;
    z->until = until + MARGIN_S;
    *ret_zones = z;
    return 0;
}

void ics_zones_free(struct ics_zones *z)
{
    if (!z)
        return;
    for (int i = 0; i < z->n_named; i++)
        free(z->named[i].tzid);
    for (int i = 0; i < z->n_own; i++)
        ics_vtimezone_release(&z->own[i]);
    free(z);
}

int ics_zones_number(struct ics_zones *z, const char *tzid, int *ret_number)
{
    int i = 0;
    while (i < z->n_named && strcmp(z->named[i].tzid, tzid) != 0)
        i++;
    if (i == ICS_ZONES_MAX)
        return ERR_TOO_LARGE;
    if (i == z->n_named) {
        char *copy = strdup(tzid);
        if (!copy)
            return ERR_NOMEM;
        z->named[z->n_named++] = (struct named_zone){.tzid = copy};
    }
    *ret_number = ICS_ZONE_FLOATING + 1 + i;
    return 0;
}

int ics_zones_add(struct ics_zones *z, const char *vtimezone)
{
    if (z->n_own == ICS_ZONES_MAX)
        return ERR_TOO_LARGE;
    int err = ics_vtimezone_parse(vtimezone, z->from, z->until, &z->own[z->n_own]);
    if (err == ERR_INVALID)
        return 0;
    if (!err)
        z->n_own++;
    return err;
}

void ics_zones_set_fallback(struct ics_zones *z, const char *name)
{
    const struct civil_zone *zone;
    if (civil_zones_get(z->civil, name, &zone) == 0)
        z->fallback = zone;
}

/* The whole name, then what follows each '/', as in "/vendor.example/20050126_1/Europe/Berlin". */
static const struct civil_zone *find_civil(struct ics_zones *z, const char *tzid)
{
    const struct civil_zone *zone;
    for (const char *name = tzid; name; name = strchr(name, '/')) {
        name += *name == '/';
        if (civil_zones_get(z->civil, name, &zone) == 0)
            return zone;
    }
    return NULL;
}

static void resolve(struct ics_zones *z, struct named_zone *n)
{
    n->civil = find_civil(z, n->tzid);
    for (int i = 0; i < z->n_own && !n->civil && !n->own; i++)
        if (strcmp(z->own[i].tzid, n->tzid) == 0)
            n->own = &z->own[i];
    if (!n->civil && !n->own) {
        const char *iana = windows_zone_iana(n->tzid);
        n->civil = iana ? find_civil(z, iana) : NULL;
    }
    n->resolution = n->civil ? CIVIL : n->own ? OWN : UNKNOWN;
    if (n->resolution == UNKNOWN) {
        z->unknown++;
        n->civil = z->fallback;
    }
}

/* NULL for UTC; *ret_own where a VTIMEZONE decides. */
static const struct civil_zone *zone_of(
    struct ics_zones *z, int number, const struct ics_vtimezone **ret_own)
{
    *ret_own = NULL;
    if (number == ICS_ZONE_UTC)
        return NULL;
    if (number == ICS_ZONE_FLOATING)
        return z->user;
    struct named_zone *n = &z->named[number - ICS_ZONE_FLOATING - 1];
    if (n->resolution == UNRESOLVED)
        resolve(z, n);
    if (n->resolution == OWN)
        *ret_own = n->own;
    return n->civil;
}

int64_t ics_zones_to_utc(struct ics_zones *z, int number, int64_t local)
{
    const struct ics_vtimezone *own;
    const struct civil_zone *civil = zone_of(z, number, &own);
    if (own)
        return ics_vtimezone_to_utc(own, local);
    if (!civil)
        return local;
    struct civil_instants at;
    civil_time_to_utc(civil, local, &at);
    if (at.kind == CIVIL_GAP)
        return local - civil_zone_offset(civil, at.first - 1);
    return at.first;
}

int64_t ics_zones_to_local(struct ics_zones *z, int number, int64_t utc)
{
    const struct ics_vtimezone *own;
    const struct civil_zone *civil = zone_of(z, number, &own);
    if (own)
        return ics_vtimezone_to_local(own, utc);
    return civil ? utc + civil_zone_offset(civil, utc) : utc;
}

size_t ics_zones_unknown(const struct ics_zones *z)
{
    return z->unknown;
}
