#include "worker-escalation/lateness.h"

#include <string.h>

const int64_t lateness_bounds_ms[] = {
    1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 120000, 300000};
const size_t lateness_n_bounds = sizeof lateness_bounds_ms / sizeof lateness_bounds_ms[0];

json_t *lateness_new(void)
{
    json_t *histogram = json_pack("{s:[], s:[]}", "bounds_ms", "series");
    json_t *bounds = json_object_get(histogram, "bounds_ms");

    for (size_t i = 0; i < lateness_n_bounds; i++) {
        if (json_array_append_new(bounds, json_integer(lateness_bounds_ms[i])) != 0) {
            json_decref(histogram);
            return NULL;
        }
    }
    return histogram;
}

static json_t *find(const json_t *all, const char *kind, const char *channel)
{
    json_t *series;
    size_t i;

    json_array_foreach(all, i, series)
    {
        if (strcmp(json_string_value(json_object_get(series, "kind")), kind) == 0 &&
            strcmp(json_string_value(json_object_get(series, "channel")), channel) == 0)
            return series;
    }
    return NULL;
}

static json_t *add_series(json_t *all, const char *kind, const char *channel)
{
    json_t *series = json_pack("{s:s, s:s, s:[], s:i, s:i}", "kind", kind, "channel", channel,
        "buckets", "sum_ms", 0, "count", 0);
    json_t *buckets = json_object_get(series, "buckets");

    for (size_t i = 0; i < lateness_n_bounds; i++) {
        if (json_array_append_new(buckets, json_integer(0)) != 0) {
            json_decref(series);
            return NULL;
        }
    }
    return series && json_array_append_new(all, series) == 0 ? series : NULL;
}

static void add_to(json_t *number, int64_t delta)
{
    (void)json_integer_set(number, json_integer_value(number) + delta);
}

void lateness_add(json_t *histogram, const char *kind, const char *channel, int64_t lateness_ms)
{
    json_t *all = json_object_get(histogram, "series");
    json_t *series = find(all, kind, channel);
    int64_t late_ms = lateness_ms > 0 ? lateness_ms : 0;

    if (!series && json_array_size(all) >= LATENESS_SERIES_MAX) {
        kind = LATENESS_OTHER;
        series = find(all, kind, channel);
    }
    if (!series)
        series = add_series(all, kind, channel);
    for (size_t i = 0; series && i < lateness_n_bounds; i++)
        if (late_ms <= lateness_bounds_ms[i])
            add_to(json_array_get(json_object_get(series, "buckets"), i), 1);
    add_to(json_object_get(series, "sum_ms"), late_ms);
    add_to(json_object_get(series, "count"), 1);
}
