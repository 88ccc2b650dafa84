#include "scheduler/definitions_job.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/config.h"
#include "scheduler/definitions_http.h"

#define ATTEMPTS_MAX     100
#define ATTEMPTS_DEFAULT 3
#define PRIORITY_MAX     9
#define PRIORITY_DEFAULT 5
#define BACKOFF_MS_MAX   (INT64_C(7) * 86400 * 1000)
#define BACKOFF_STEPS    64
#define TIMEOUT_MS       (INT64_C(60) * 1000)
#define TIMEOUT_MS_MAX   (INT64_C(86400) * 1000)

const char *const definitions_job_keys[] = {"description", "handler", "queue", "group",
    "depends_on", "on_dependency_failure", "payload", "priority", "max_attempts", "backoff",
    "timeout", "overlap", NULL};

static const char *const queues[] = {
    "worker-calendar", "worker-escalation", "worker-cleanup", NULL};
static const char *const on_failure_words[] = {"cancel", "run", NULL};
static const char *const overlap_words[] = {"allow", "forbid", NULL};

static void add_step(json_t *steps, int64_t ms)
{
    /* A list that is short for lack of memory is found by the caller's json_object_set. */
    (void)json_array_append_new(steps, json_integer(ms));
}

static void backoff_list(const struct definitions_object *o, const json_t *list, json_t *steps)
{
    struct json_at at = JSON_AT_KEY(o->at, "backoff");
    size_t i;
    json_t *v;

    if (json_array_size(list) == 0 || json_array_size(list) > BACKOFF_STEPS)
        definitions_fault(o->faults, &at, "must have 1 to %d steps", BACKOFF_STEPS);
    json_array_foreach((json_t *)list, i, v)
    {
        struct json_at item = JSON_AT_INDEX(&at, i);
        int64_t ms;
        if (json_is_string(v) && config_parse_duration(json_string_value(v), &ms) == 0 && ms >= 0 &&
            ms <= BACKOFF_MS_MAX)
            add_step(steps, ms);
        else
            definitions_fault(
                o->faults, &item, "must be a duration of at most 7d, such as \"30s\"");
    }
}

/* Doubles from `first` up to `max`, where it stays. */
static void backoff_exponential(const struct definitions_object *o, const json_t *v, json_t *steps)
{
    static const char *const keys[] = {"first", "max", NULL};
    struct json_at at = JSON_AT_KEY(o->at, "backoff");
    struct definitions_object inner = {v, &at, o->faults};
    int64_t first = definitions_duration(&inner, "first", 1, BACKOFF_MS_MAX, 1000);
    int64_t max = definitions_duration(&inner, "max", first, BACKOFF_MS_MAX, 60 * first);

    definitions_known_keys(&inner, keys);
    for (int64_t ms = first; ms < max && json_array_size(steps) < BACKOFF_STEPS - 1; ms *= 2)
        add_step(steps, ms);
    add_step(steps, max < BACKOFF_MS_MAX ? max : BACKOFF_MS_MAX);
}

static json_t *read_backoff(const struct definitions_object *o)
{
    const json_t *v = json_object_get(o->json, "backoff");
    json_t *steps = json_array();

    if (!steps)
        return NULL;
    if (!v) {
        add_step(steps, 1000);
        add_step(steps, 2000);
        add_step(steps, 4000);
    } else if (json_is_array(v)) {
        backoff_list(o, v, steps);
    } else if (json_is_object(v)) {
        backoff_exponential(o, v, steps);
    } else {
        add_step(steps, definitions_duration(o, "backoff", 0, BACKOFF_MS_MAX, 1000));
    }
    return steps;
}

static json_t *read_depends_on(const struct definitions_object *o)
{
    const json_t *v = json_object_get(o->json, "depends_on");
    struct json_at at = JSON_AT_KEY(o->at, "depends_on");
    json_t *names = json_array();
    size_t i;
    json_t *name;

    if (!names)
        return NULL;
    if (v && !json_is_array(v))
        definitions_fault(o->faults, &at, "must be a list of jobs' keys");
    json_array_foreach((json_t *)v, i, name)
    {
        struct json_at item = JSON_AT_INDEX(&at, i);
        if (json_is_string(name))
            (void)json_array_append(names, name);
        else
            definitions_fault(o->faults, &item, "must be the key of a job, in quotes");
    }
    return names;
}

static json_t *read_payload(const struct definitions_object *o)
{
    json_t *v = json_object_get(o->json, "payload");
    struct json_at at = JSON_AT_KEY(o->at, "payload");

    if (v && !json_is_object(v)) {
        definitions_fault(o->faults, &at, "must be an object: it is what the handler is given");
        v = NULL;
    }
    return v ? json_incref(v) : json_object();
}

int definitions_job_row(const struct definitions_object *o, const char *key, json_t **ret_row)
{
    const char *handler, *queue, *group, *on_failure, *overlap;
    json_t *row;

    definitions_known_keys(o, definitions_job_keys);
    handler = definitions_required(o, "handler");
    (void)definitions_required(o, "queue");
    queue = json_object_get(o->json, "queue") ? definitions_choice(o, "queue", queues, NULL) : NULL;
    group = definitions_str(o, "group", NULL);
    on_failure = definitions_choice(o, "on_dependency_failure", on_failure_words, "cancel");
    overlap = definitions_choice(o, "overlap", overlap_words, "allow");
    (void)definitions_str(o, "description", NULL);
    if (handler && strcmp(handler, DEFINITIONS_HTTP) == 0)
        definitions_http_check(o);
    row = json_pack("{s:s, s:s?, s:s?, s:s?, s:o?, s:s?, s:o?, s:I, s:I, s:o?, s:I, s:s?}", "key",
        key, "handler", handler, "queue", queue, "group_name", group, "depends_on",
        read_depends_on(o), "on_dependency_failure", on_failure, "payload", read_payload(o),
        "priority", (json_int_t)definitions_int(o, "priority", 0, PRIORITY_MAX, PRIORITY_DEFAULT),
        "max_attempts",
        (json_int_t)definitions_int(o, "max_attempts", 1, ATTEMPTS_MAX, ATTEMPTS_DEFAULT),
        "backoff_ms", read_backoff(o), "timeout_ms",
        (json_int_t)definitions_duration(o, "timeout", 1, TIMEOUT_MS_MAX, TIMEOUT_MS), "overlap",
        overlap);
    if (!row)
        return ERR_NOMEM;
    *ret_row = row;
    return 0;
}

/* --- the graph of dependencies --------------------------------------------------------------- */

enum mark { UNSEEN, ON_PATH, DONE };

struct graph {
    const struct definitions_object *jobs;
    const json_t *rows;
    size_t n;
    enum mark *mark;
    size_t *path; /* indexes of rows, from the start of the walk */
    size_t depth;
};

static const char *row_key(const json_t *rows, size_t i)
{
    return json_string_value(json_object_get(json_array_get(rows, i), "key"));
}

/* The index of a job's row, or `n` when there is none. */
static size_t find_row(const struct graph *g, const char *key)
{
    size_t i = 0;

    while (i < g->n && strcmp(row_key(g->rows, i), key) != 0)
        i++;
    return i;
}

static void tell_cycle(const struct graph *g, size_t start)
{
    struct json_at job = JSON_AT_KEY(g->jobs->at, row_key(g->rows, start));
    struct json_at at = JSON_AT_KEY(&job, "depends_on");
    struct buf cycle = BUF_INIT(65536);
    size_t i = 0;

    while (g->path[i] != start)
        i++;
    for (; i < g->depth; i++)
        buf_addf(&cycle, "%s → ", row_key(g->rows, g->path[i]));
    definitions_fault(g->jobs->faults, &at, "depends on itself: %s%s; take one of them out",
        buf_str(&cycle), row_key(g->rows, start));
    buf_release(&cycle);
}

/* The dependency number `nth` of a job, or NULL. */
static const char *dependency(const struct graph *g, size_t job, size_t nth)
{
    const json_t *names = json_object_get(json_array_get(g->rows, job), "depends_on");

    return json_string_value(json_array_get(names, nth));
}

/* Walks all that a job depends on, without recursion: `next` is where each job of the path is. */
static void walk(struct graph *g, size_t start, size_t *next)
{
    g->depth = 0;
    g->path[g->depth++] = start;
    g->mark[start] = ON_PATH;
    next[start] = 0;
    while (g->depth > 0) {
        size_t job = g->path[g->depth - 1];
        const char *name = dependency(g, job, next[job]);
        if (!name) {
            g->mark[job] = DONE;
            g->depth--;
            continue;
        }
        size_t to = find_row(g, name);
        next[job]++;
        if (to == g->n) {
            struct json_at at = JSON_AT_KEY(g->jobs->at, row_key(g->rows, job));
            struct json_at list = JSON_AT_KEY(&at, "depends_on");
            struct json_at item = JSON_AT_INDEX(&list, next[job] - 1);
            definitions_fault(g->jobs->faults, &item, "there is no job \"%s\"", name);
        } else if (g->mark[to] == ON_PATH) {
            tell_cycle(g, to);
        } else if (g->mark[to] == UNSEEN) {
            g->mark[to] = ON_PATH;
            next[to] = 0;
            g->path[g->depth++] = to;
        }
    }
}

int definitions_job_graph(const struct definitions_object *o, const json_t *rows)
{
    size_t n = json_array_size(rows);
    _cleanup_(freep) enum mark *mark = calloc(n + 1, sizeof(*mark));
    _cleanup_(freep) size_t *path = calloc(n + 1, sizeof(*path));
    _cleanup_(freep) size_t *next = calloc(n + 1, sizeof(*next));
    struct graph g = {.jobs = o, .rows = rows, .n = n, .mark = mark, .path = path};

    if (!mark || !path || !next)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        if (mark[i] == UNSEEN)
            walk(&g, i, next);
    return 0;
}
