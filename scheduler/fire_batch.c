#include "scheduler/fire_batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "scheduler/schedule_plan.h"

#define FAULT_BYTES_MAX 4096

/* Columns of equal length, one element a schedule. */
struct schedules {
    size_t n, cap;
    int64_t *id, *fence, *revision, *accounted, *next_slot, *next_run;
    bool *fires;    /* some slot of it */
    char **claimed; /* next_run_at as it was; NULL: there was none */
    char **fault;   /* NULL: none */
};

/* One element a slot that fires, or a gap. */
struct entries {
    size_t n, cap;
    int64_t *id, *first, *last, *count;
    bool *fires;
};

struct fire_batch {
    struct civil_zones *zones;
    struct schedules schedules;
    struct entries entries;
    size_t n_fires;
    int64_t due_ms;
    int64_t next_ms;
};

/* --- columns ---------------------------------------------------------------------------------- */

/* Gives a column room for `cap` elements; the old one stays valid on failure. */
static bool grow(void *column, size_t cap, size_t size)
{
    void *wider = realloc(*(void **)column, cap * size);

    if (wider)
        *(void **)column = wider;
    return wider;
}

static int schedules_reserve(struct schedules *s)
{
    size_t cap = s->cap ? 2 * s->cap : 64;

    if (s->n < s->cap)
        return 0;
    if (!grow(&s->id, cap, sizeof(*s->id)) || !grow(&s->fence, cap, sizeof(*s->fence)) ||
        !grow(&s->revision, cap, sizeof(*s->revision)) ||
        !grow(&s->accounted, cap, sizeof(*s->accounted)) ||
        !grow(&s->next_slot, cap, sizeof(*s->next_slot)) ||
        !grow(&s->next_run, cap, sizeof(*s->next_run)) ||
        !grow(&s->fires, cap, sizeof(*s->fires)) || !grow(&s->claimed, cap, sizeof(*s->claimed)) ||
        !grow(&s->fault, cap, sizeof(*s->fault)))
        return ERR_NOMEM;
    s->cap = cap;
    return 0;
}

static int entries_reserve(struct entries *e, size_t n)
{
    size_t cap = 2 * (e->n + n);

    if (e->n + n <= e->cap)
        return 0;
    if (!grow(&e->id, cap, sizeof(*e->id)) || !grow(&e->first, cap, sizeof(*e->first)) ||
        !grow(&e->last, cap, sizeof(*e->last)) || !grow(&e->count, cap, sizeof(*e->count)) ||
        !grow(&e->fires, cap, sizeof(*e->fires)))
        return ERR_NOMEM;
    e->cap = cap;
    return 0;
}

int fire_batch_new(struct civil_zones *zones, struct fire_batch **ret_batch)
{
    struct fire_batch *b = calloc(1, sizeof(*b));

    if (!b)
        return ERR_NOMEM;
    b->zones = zones;
    b->next_ms = INT64_MAX;
    *ret_batch = b;
    return 0;
}

void fire_batch_reset(struct fire_batch *b)
{
    for (size_t i = 0; i < b->schedules.n; i++) {
        free(b->schedules.claimed[i]);
        free(b->schedules.fault[i]);
    }
    b->schedules.n = 0;
    b->entries.n = 0;
    b->n_fires = 0;
    b->due_ms = 0;
    b->next_ms = INT64_MAX;
}

void fire_batch_free(struct fire_batch *b)
{
    if (!b)
        return;
    fire_batch_reset(b);
    struct schedules *s = &b->schedules;
    struct entries *e = &b->entries;
    void *columns[] = {s->id, s->fence, s->revision, s->accounted, s->next_slot, s->next_run,
        s->fires, (void *)s->claimed, (void *)s->fault, e->id, e->first, e->last, e->count,
        e->fires};
    for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++)
        free(columns[i]);
    free(b);
}

/* --- a claimed schedule ----------------------------------------------------------------------- */

static int add_entries(struct fire_batch *b, int64_t id, const struct schedule_plan *plan)
{
    struct entries *e = &b->entries;

    if (entries_reserve(e, plan->n_entries) < 0)
        return ERR_NOMEM;
    for (size_t i = 0; i < plan->n_entries; i++) {
        const struct plan_entry *p = &plan->entries[i];
        e->id[e->n] = id;
        e->first[e->n] = p->first;
        e->last[e->n] = p->last;
        e->count[e->n] = p->count;
        e->fires[e->n] = p->fires;
        e->n++;
        b->n_fires += p->fires;
    }
    return 0;
}

/* One that had no next run, or has none any more: says so, as a warning where nobody had asked for
 * it. */
static void log_computed(const struct db_result *claimed, int row, const struct schedule_plan *plan)
{
    const char *key = db_text(claimed, row, "key");
    _cleanup_(buf_release) struct buf next = BUF_INIT(64);

    if (plan->ends) {
        log_warn(F(F_STR("schedule", key)),
            "%s has no slot any more: its blackout leaves none, so it will not run", key);
        return;
    }
    civil_time_add_utc(&next, plan->next.at);
    if (db_bool(claimed, row, "awaits_next"))
        log_info(F(F_STR("schedule", key)), "Next run of %s: %s", key, buf_str(&next));
    else
        log_warn(F(F_STR("schedule", key)),
            "%s is enabled but had no next run: repaired, next run %s", key, buf_str(&next));
}

int fire_batch_add(struct fire_batch *b, const struct db_result *claimed, int row)
{
    struct schedules *s = &b->schedules;
    const char *key = db_text(claimed, row, "key");
    bool had_next = !db_is_null(claimed, row, "claimed");
    _cleanup_(schedule_rule_freep) struct schedule_rule *rule = NULL;
    _cleanup_(buf_release) struct buf faults = BUF_INIT(FAULT_BYTES_MAX);
    struct schedule_plan plan = {.accounted = db_int(claimed, row, "accounted_s"), .ends = true};
    int64_t due_ms = db_int(claimed, row, "due_ms"), now_ms = db_int(claimed, row, "now_ms");
    int err = schedules_reserve(s);

    if (err == 0)
        err = schedule_rule_from_text(
            key, db_text(claimed, row, "definition"), b->zones, &faults, &rule);
    if (err == ERR_NOMEM)
        return err;
    if (rule) {
        schedule_plan_make(rule, plan.accounted, due_ms > now_ms ? due_ms : now_ms, &plan);
        if (!had_next || plan.ends)
            log_computed(claimed, row, &plan);
    } else {
        log_error(F(F_STR("schedule", key)), "the definition of %s cannot be used: %s", key,
            buf_str(&faults));
    }
    s->id[s->n] = db_int(claimed, row, "id");
    s->fence[s->n] = db_int(claimed, row, "fence");
    s->revision[s->n] = db_int(claimed, row, "revision");
    s->accounted[s->n] = plan.accounted;
    s->next_slot[s->n] = plan.ends ? 0 : plan.next.at;
    s->next_run[s->n] = plan.ends ? 0 : schedule_plan_run_ms(&plan.next);
    s->fires[s->n] = plan.n_entries > 0 && plan.entries[plan.n_entries - 1].fires;
    s->claimed[s->n] = had_next ? strdup(db_text(claimed, row, "claimed")) : NULL;
    s->fault[s->n] = rule ? NULL : strdup(buf_str(&faults));
    s->n++;
    if ((had_next && !s->claimed[s->n - 1]) || (!rule && !s->fault[s->n - 1]))
        return ERR_NOMEM;
    if (due_ms > b->due_ms)
        b->due_ms = due_ms;
    if (!plan.ends && s->next_run[s->n - 1] < b->next_ms)
        b->next_ms = s->next_run[s->n - 1];
    return add_entries(b, s->id[s->n - 1], &plan);
}

/* --- the statement ---------------------------------------------------------------------------- */

size_t fire_batch_count(const struct fire_batch *b)
{
    return b->schedules.n;
}

size_t fire_batch_fires(const struct fire_batch *b)
{
    return b->n_fires;
}

int64_t fire_batch_due_ms(const struct fire_batch *b)
{
    return b->due_ms;
}

int64_t fire_batch_next_ms(const struct fire_batch *b)
{
    return b->next_ms;
}

void fire_batch_args(
    const struct fire_batch *b, int64_t daemon_id, bool hint, struct db_args *ret_args)
{
    const struct schedules *s = &b->schedules;
    const struct entries *e = &b->entries;

    db_args_init(ret_args);
    db_arg_int(ret_args, daemon_id);
    db_arg_ints(ret_args, s->id, s->n);
    db_arg_ints(ret_args, s->fence, s->n);
    db_arg_ints(ret_args, s->revision, s->n);
    db_arg_strs(ret_args, (const char *const *)s->claimed, s->n);
    db_arg_ints(ret_args, s->accounted, s->n);
    db_arg_ints(ret_args, s->next_slot, s->n);
    db_arg_ints(ret_args, s->next_run, s->n);
    db_arg_bools(ret_args, s->fires, s->n);
    db_arg_strs(ret_args, (const char *const *)s->fault, s->n);
    db_arg_ints(ret_args, e->id, e->n);
    db_arg_ints(ret_args, e->first, e->n);
    db_arg_ints(ret_args, e->last, e->n);
    db_arg_ints(ret_args, e->count, e->n);
    db_arg_bools(ret_args, e->fires, e->n);
    db_arg_bool(ret_args, hint);
}
