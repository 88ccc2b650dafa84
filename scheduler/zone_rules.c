#include "scheduler/zone_rules.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json_read.h"

#define FROM_S INT64_C(1577836800) /* 2020-01-01 */
#define TO_S   INT64_C(3155760000) /* 2070-01-01 */

/* FNV-1a, 64 bits (draft-eastlake-fnv). */
#define FNV_BASIS UINT64_C(14695981039346656037)
#define FNV_PRIME UINT64_C(1099511628211)

static uint64_t hash_in(uint64_t hash, int64_t value)
{
    uint64_t v = (uint64_t)value;

    for (int i = 0; i < 8; i++, v >>= 8)
        hash = (hash ^ (v & 0xFF)) * FNV_PRIME;
    return hash;
}

int64_t zone_rules_hash(const struct civil_zone *zone)
{
    uint64_t hash = FNV_BASIS;
    struct tzif_span span;

    for (int64_t at = FROM_S; at < TO_S; at = span.end) {
        civil_zone_span_at(zone, at, &span);
        hash = hash_in(hash_in(hash, at), span.offset);
    }
    return (int64_t)hash;
}

/* The zone of a window: its last word where there are three. */
static const char *window_zone(const char *window)
{
    const char *last = window ? strrchr(window, ' ') : NULL;

    return last && strchr(last, '/') ? last + 1 : NULL;
}

static void add_zone(struct civil_zones *zones, const char *name, json_t *known)
{
    const struct civil_zone *zone;

    if (name && civil_zones_get(zones, name, &zone) == 0)
        (void)json_object_set_new(known, name, json_integer(zone_rules_hash(zone)));
}

int zone_rules_args(struct civil_zones *zones, const json_t *schedules, struct db_args *ret_args)
{
    _cleanup_(json_decrefp) json_t *known = json_object();
    size_t i, n = 0;
    const char *name;
    json_t *v;

    if (!known)
        return ERR_NOMEM;
    json_array_foreach((json_t *)schedules, i, v)
    {
        const json_t *definition = json_object_get(v, "definition");
        add_zone(zones, json_read_str(definition, "timezone"), known);
        add_zone(zones, window_zone(json_read_str(definition, "window")), known);
    }
    _cleanup_(freep) const char **names = calloc(json_object_size(known) + 1, sizeof(*names));
    _cleanup_(freep) int64_t *rules = calloc(json_object_size(known) + 1, sizeof(*rules));
    if (!names || !rules)
        return ERR_NOMEM;
    json_object_foreach(known, name, v)
    {
        names[n] = name;
        rules[n++] = json_integer_value(v);
    }
    db_args_init(ret_args);
    db_arg_strs(ret_args, names, n);
    db_arg_ints(ret_args, rules, n);
    return 0;
}
