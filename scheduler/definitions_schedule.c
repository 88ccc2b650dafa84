#include "scheduler/definitions_schedule.h"

#include <string.h>

#include "base/cleanup.h"
#include "scheduler/schedule_rule.h"

#define STAGGER_MS_MAX (INT64_C(86400) * 1000)
#define BATCH_MAX      10000
#define KEYS_MAX       64

const char *const definitions_schedule_keys[] = {
    "description", "job", "group", "all", "flag", "overlap", "stagger", "max_batch", NULL};

static const char *const flag_words[] = {
    "scheduler", "calendar", "alerts", "checkin", "escalation", NULL};
static const char *const overlap_words[] = {"allow", "forbid", NULL};

struct target {
    const char *kind; /* job | group | all */
    const char *name; /* NULL: all */
};

static bool some_job_has(const json_t *jobs, const char *column, const char *value)
{
    size_t i;
    json_t *row;

    json_array_foreach((json_t *)jobs, i, row)
    {
        const char *has = json_string_value(json_object_get(row, column));
        if (has && strcmp(has, value) == 0)
            return true;
    }
    return false;
}

static struct target read_target(
    const struct definitions_object *o, const struct definitions_context *context)
{
    const char *job = definitions_str(o, "job", NULL);
    const char *group = definitions_str(o, "group", NULL);
    const json_t *all = json_object_get(o->json, "all");
    struct json_at at_job = JSON_AT_KEY(o->at, "job");
    struct json_at at_group = JSON_AT_KEY(o->at, "group");
    struct json_at at_all = JSON_AT_KEY(o->at, "all");

    if (!!job + !!group + !!all != 1) {
        definitions_fault(
            o->faults, o->at, "say what: exactly one of \"job\", \"group\" and \"all\": true");
        return (struct target){"all", NULL};
    }
    if (all && !json_is_true(all))
        definitions_fault(o->faults, &at_all, "must be true, or be left out");
    if (job && !some_job_has(context->jobs, "key", job))
        definitions_fault(o->faults, &at_job, "there is no job \"%s\"", job);
    if (group && !some_job_has(context->jobs, "group_name", group))
        definitions_fault(o->faults, &at_group, "no job is in the group \"%s\"", group);
    return job ? (struct target){"job", job}
               : (struct target){group ? "group" : "all", group ? group : NULL};
}

/* A copy of the definition whose blackout has dates in the place of holiday lists: the first of
 * a list's dates stands where its name stood, the others at the end, so that what the file has
 * keeps its number. */
static json_t *resolve_holidays(
    const struct definitions_object *o, const struct definitions_context *context)
{
    json_t *copy = json_deep_copy(o->json);
    json_t *blackout = json_object_get(copy, "blackout");
    struct json_at at = JSON_AT_KEY(o->at, "blackout");
    size_t n = json_array_size(blackout);

    for (size_t i = 0; i < n; i++) {
        struct json_at item = JSON_AT_INDEX(&at, i);
        const char *text = json_string_value(json_array_get(blackout, i));
        if (!text || strncmp(text, SCHEDULE_HOLIDAYS, strlen(SCHEDULE_HOLIDAYS)) != 0)
            continue;
        json_t *list = json_object_get(context->holidays, text + strlen(SCHEDULE_HOLIDAYS));
        if (json_array_size(list) == 0) {
            definitions_fault(o->faults, &item,
                "there is no list \"%s\" with dates under \"holidays\"",
                text + strlen(SCHEDULE_HOLIDAYS));
            continue;
        }
        for (size_t d = 1; d < json_array_size(list); d++)
            (void)json_array_append(blackout, json_array_get(list, d));
        (void)json_array_set(blackout, i, json_array_get(list, 0));
    }
    return copy;
}

static void check_keys(const struct definitions_object *o)
{
    const char *keys[KEYS_MAX];
    size_t n = 0;

    for (size_t i = 0; definitions_schedule_keys[i]; i++)
        keys[n++] = definitions_schedule_keys[i];
    for (size_t i = 0; schedule_rule_keys[i]; i++)
        keys[n++] = schedule_rule_keys[i];
    keys[n] = NULL;
    definitions_known_keys(o, keys);
}

/* Compiles the rule and sees that it ever runs. */
static int check_rule(const struct definitions_object *o, const char *key,
    const struct definitions_context *context, int64_t *ret_grace_ms)
{
    _cleanup_(schedule_rule_freep) struct schedule_rule *rule = NULL;
    _cleanup_(buf_release) struct buf reason = BUF_INIT(4096);
    int err = schedule_rule_new(o, key, context->zones, &rule);

    if (err < 0)
        return err;
    *ret_grace_ms = rule->grace_ms;
    if (slot_spec_check(rule->slots, context->from, &reason) < 0 &&
        !(context->may_have_ended && slot_spec_ends(rule->slots, context->from))) {
        definitions_fault(
            o->faults, o->at, "%.*s", (int)strcspn(buf_str(&reason), "\n"), buf_str(&reason));
        return ERR_INVALID;
    }
    return 0;
}

int definitions_schedule_row(const struct definitions_object *o, const char *key,
    const struct definitions_context *context, json_t **ret_row)
{
    _cleanup_(json_decrefp) json_t *definition = resolve_holidays(o, context);
    struct definitions_object resolved = {definition, o->at, o->faults};
    struct json_at batch = JSON_AT_KEY(o->at, "max_batch");
    int64_t grace_ms = SCHEDULE_GRACE_MS_DEFAULT;
    struct target target = read_target(o, context);
    const char *flag = definitions_choice(o, "flag", flag_words, NULL);
    const char *overlap = definitions_choice(o, "overlap", overlap_words, "allow");
    int64_t stagger = definitions_duration(o, "stagger", 1, STAGGER_MS_MAX, 0);
    int64_t max_batch = definitions_int(o, "max_batch", 1, BATCH_MAX, 1);
    int err;

    if (!definition)
        return ERR_NOMEM;
    check_keys(o);
    (void)definitions_str(o, "description", NULL);
    if (stagger == 0 && json_object_get(o->json, "max_batch"))
        definitions_fault(o->faults, &batch, "needs \"stagger\": the time between two batches");
    err = check_rule(&resolved, key, context, &grace_ms);
    if (err < 0)
        return err == ERR_INVALID ? 0 : err;
    *ret_row = json_pack("{s:s, s:O, s:s, s:s?, s:s?, s:s?, s:I, s:I, s:I}", "key", key,
        "definition", definition, "target_kind", target.kind, "target", target.name, "flag", flag,
        "overlap", overlap, "stagger_ms", (json_int_t)stagger, "max_batch", (json_int_t)max_batch,
        "grace_ms", (json_int_t)grace_ms);
    return *ret_row ? 0 : ERR_NOMEM;
}
