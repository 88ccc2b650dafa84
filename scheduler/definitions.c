#include "scheduler/definitions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json_read.h"
#include "scheduler/definitions_holidays.h"
#include "scheduler/definitions_job.h"
#include "scheduler/definitions_schedule.h"

#define READ_BYTES 65536

const char *const definitions_top_keys[] = {
    "$schema", "description", "holidays", "jobs", "schedules", NULL};

int definitions_read_text(const char *path, struct buf *fault, struct buf *ret_text)
{
    _cleanup_(fclosep) FILE *f = fopen(path, "re");
    _cleanup_(freep) char *part = malloc(READ_BYTES);
    size_t n;

    if (!part)
        return ERR_NOMEM;
    if (!f) {
        buf_addf(fault, "%s: %s", path, strerror(errno));
        return ERR_INVALID;
    }
    ret_text->max = DEFINITIONS_BYTES_MAX;
    while ((n = fread(part, 1, READ_BYTES, f)) > 0)
        buf_add(ret_text, part, n);
    if (ferror(f) || buf_err(ret_text) == ERR_TOO_LARGE) {
        buf_addf(fault, "%s: %s", path, ferror(f) ? "cannot be read" : "is over 16 MB");
        return ERR_INVALID;
    }
    return buf_err(ret_text);
}

/* --- environment ------------------------------------------------------------------------------ */

static json_t *expand(json_t *v, const struct json_at *at, definitions_env_fn *env,
    struct definitions_faults *faults);

static json_t *expand_string(const json_t *v, const struct json_at *at, definitions_env_fn *env,
    struct definitions_faults *faults)
{
    _cleanup_(buf_release) struct buf out = BUF_INIT(DEFINITIONS_BYTES_MAX);
    _cleanup_(buf_release) struct buf fault = BUF_INIT(4096);

    if (definitions_env_expand(json_string_value(v), env, &out, &fault) == ERR_INVALID)
        definitions_fault(faults, at, "%s", buf_str(&fault));
    return json_string(buf_str(&out));
}

static json_t *expand_members(
    json_t *v, const struct json_at *at, definitions_env_fn *env, struct definitions_faults *faults)
{
    json_t *copy = json_is_object(v) ? json_object() : json_array();
    const char *key;
    json_t *member;
    size_t i;

    if (json_is_object(v)) {
        json_object_foreach(v, key, member)
        {
            struct json_at inner = JSON_AT_KEY(at, key);
            (void)json_object_set_new(copy, key, expand(member, &inner, env, faults));
        }
    } else {
        json_array_foreach(v, i, member)
        {
            struct json_at inner = JSON_AT_INDEX(at, i);
            (void)json_array_append_new(copy, expand(member, &inner, env, faults));
        }
    }
    return copy;
}

/* A copy with the variables of every string put in. The depth has been bounded. */
static json_t *expand(
    json_t *v, const struct json_at *at, definitions_env_fn *env, struct definitions_faults *faults)
{
    if (json_is_string(v))
        return expand_string(v, at, env, faults);
    if (json_is_object(v) || json_is_array(v))
        return expand_members(v, at, env, faults);
    return json_incref(v);
}

/* --- the parts of the file -------------------------------------------------------------------- */

/* A list's file stands beside the definitions, unless its path is absolute. */
static void add_holiday_path(struct buf *path, const char *file, const char *name)
{
    const char *slash = strrchr(file, '/');

    if (name[0] != '/' && slash)
        buf_add(path, file, (size_t)(slash - file) + 1);
    buf_add_str(path, name);
}

/* Dates by the list's name. */
static int read_holidays(
    const struct definitions_object *o, const struct definitions_source *source, json_t *ret_lists)
{
    const char *key;
    json_t *value;
    int err = 0;

    json_object_foreach((json_t *)o->json, key, value)
    {
        _cleanup_(buf_release) struct buf path = BUF_INIT(4096);
        _cleanup_(buf_release) struct buf text = BUF_INIT(DEFINITIONS_BYTES_MAX);
        _cleanup_(buf_release) struct buf fault = BUF_INIT(8192);
        struct json_at at = JSON_AT_KEY(o->at, key);
        const char *name = definitions_str(o, key, NULL);
        json_t *dates = NULL;

        if (!name)
            continue;
        add_holiday_path(&path, source->file, name);
        err = definitions_read_text(buf_str(&path), &fault, &text);
        if (err == 0)
            err = definitions_holidays_parse(buf_str(&text), source->now, &fault, &dates);
        if (err == 0 && json_object_set_new(ret_lists, key, dates) < 0)
            err = ERR_NOMEM;
        if (err == ERR_INVALID)
            definitions_fault(o->faults, &at, "%s", buf_str(&fault));
        else if (err < 0)
            return err;
    }
    return 0;
}

/* An object of the file; an empty one after a fault where it is something else. */
static struct definitions_object member_object(
    const struct definitions_object *o, const struct json_at *at, const json_t *none)
{
    const json_t *v = json_object_get(o->json, at->key);

    if (v && !json_is_object(v))
        definitions_fault(o->faults, at, "must be an object: {\"key\": {…}}");
    return (struct definitions_object){json_is_object(v) ? v : none, at, o->faults};
}

/* Whether a member of "jobs" or "schedules" can be looked into. */
static bool is_definition(
    const struct definitions_object *o, const struct json_at *at, const json_t *v)
{
    if (!definitions_is_key(at->key))
        definitions_fault(o->faults, at, DEFINITIONS_KEY_RULE);
    if (!json_is_object(v))
        definitions_fault(o->faults, at, "must be an object");
    return json_is_object(v);
}

static int read_jobs(const struct definitions_object *o, json_t *rows)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)o->json, key, value)
    {
        struct json_at at = JSON_AT_KEY(o->at, key);
        struct definitions_object job = {value, &at, o->faults};
        json_t *row;
        if (!is_definition(o, &at, value))
            continue;
        int err = definitions_job_row(&job, key, &row);
        if (err < 0)
            return err;
        if (json_array_append_new(rows, row) < 0)
            return ERR_NOMEM;
    }
    return definitions_job_graph(o, rows);
}

static int read_schedules(
    const struct definitions_object *o, const struct definitions_context *context, json_t *rows)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)o->json, key, value)
    {
        struct json_at at = JSON_AT_KEY(o->at, key);
        struct definitions_object schedule = {value, &at, o->faults};
        json_t *row = NULL;
        if (!is_definition(o, &at, value))
            continue;
        int err = definitions_schedule_row(&schedule, key, context, &row);
        if (err < 0)
            return err;
        if (row && json_array_append_new(rows, row) < 0)
            return ERR_NOMEM;
    }
    return 0;
}

/* The document, variables put in: all of its parts into `d`. */
static int read_document(const struct definitions_source *source, const json_t *json,
    struct definitions_faults *faults, struct definitions *d)
{
    struct json_at root = JSON_AT_ROOT;
    struct json_at at_holidays = JSON_AT_KEY(&root, "holidays");
    struct json_at at_jobs = JSON_AT_KEY(&root, "jobs");
    struct json_at at_schedules = JSON_AT_KEY(&root, "schedules");
    struct definitions_object top = {json, &root, faults};
    _cleanup_(json_decrefp) json_t *none = json_object();
    _cleanup_(json_decrefp) json_t *holidays = json_object();
    struct definitions_context context = {
        source->zones, d->jobs, holidays, source->now, source->in_use};
    struct definitions_object part;
    int err;

    if (!none || !holidays)
        return ERR_NOMEM;
    if (!json_is_object(json)) {
        definitions_fault(faults, &root, "the file must be an object with jobs and schedules");
        return 0;
    }
    definitions_known_keys(&top, definitions_top_keys);
    part = member_object(&top, &at_holidays, none);
    err = read_holidays(&part, source, holidays);
    if (err < 0)
        return err;
    part = member_object(&top, &at_jobs, none);
    err = read_jobs(&part, d->jobs);
    if (err < 0)
        return err;
    part = member_object(&top, &at_schedules, none);
    return read_schedules(&part, &context, d->schedules);
}

int definitions_parse(const struct definitions_source *source, const char *text, size_t len,
    struct buf *faults, struct definitions **ret_definitions)
{
    struct definitions_faults told = {source->file, text, faults, 0};
    struct json_at root = JSON_AT_ROOT;
    _cleanup_(buf_release) struct buf fault = BUF_INIT(4096);
    _cleanup_(json_decrefp) json_t *raw = NULL;
    _cleanup_(json_decrefp) json_t *json = NULL;
    _cleanup_(definitions_freep) struct definitions *d = calloc(1, sizeof(*d));
    int err = json_read(text, len, DEFINITIONS_BYTES_MAX, &fault, &raw);

    if (err == ERR_INVALID || err == ERR_TOO_LARGE) {
        buf_addf(faults, "%s: %s\n", source->file, buf_str(&fault));
        return ERR_INVALID;
    }
    if (err < 0 || !d)
        return ERR_NOMEM;
    json = expand(raw, &root, source->env, &told);
    d->jobs = json_array();
    d->schedules = json_array();
    if (!json || !d->jobs || !d->schedules)
        return ERR_NOMEM;
    err = read_document(source, json, &told, d);
    if (err < 0)
        return err;
    if (told.count > 0)
        return ERR_INVALID;
    *ret_definitions = d;
    d = NULL;
    return 0;
}

int definitions_load(const struct definitions_source *source, struct buf *faults,
    struct definitions **ret_definitions)
{
    _cleanup_(buf_release) struct buf text = BUF_INIT(DEFINITIONS_BYTES_MAX);
    _cleanup_(buf_release) struct buf fault = BUF_INIT(8192);
    int err = definitions_read_text(source->file, &fault, &text);

    if (err == ERR_INVALID)
        buf_addf(faults, "%s\n", buf_str(&fault));
    if (err < 0)
        return err;
    return definitions_parse(source, buf_str(&text), text.len, faults, ret_definitions);
}

void definitions_free(struct definitions *d)
{
    if (!d)
        return;
    json_decref(d->jobs);
    json_decref(d->schedules);
    free(d);
}

const json_t *definitions_schedule(const struct definitions *d, const char *key)
{
    size_t i;
    json_t *row;

    json_array_foreach(d->schedules, i,
        row) if (strcmp(json_string_value(json_object_get(row, "key")), key) == 0) return row;
    return NULL;
}
