#include "scheduler/schedule_preview.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "scheduler/schedule_plan.h"
#include "scheduler/schedule_rule.h"

/* More are wanted once half of them have passed. */
#define LOW_AT (PREVIEW_SLOTS / 2)

/* The columns of store_previews: one element a schedule, then one a slot. */
struct columns {
    int n, n_slots;
    int64_t id[PREVIEW_SCHEDULES_MAX], revision[PREVIEW_SCHEDULES_MAX], low[PREVIEW_SCHEDULES_MAX];
    int64_t of[PREVIEW_SCHEDULES_MAX * PREVIEW_SLOTS];
    int64_t slot[PREVIEW_SCHEDULES_MAX * PREVIEW_SLOTS];
    int64_t run[PREVIEW_SCHEDULES_MAX * PREVIEW_SLOTS];
    const char *moved[PREVIEW_SCHEDULES_MAX * PREVIEW_SLOTS];
};

static const char *moved_word(unsigned flags)
{
    if (flags & SLOT_MOVED_BY_GAP)
        return "gap";
    return flags & SLOT_IN_OVERLAP ? "overlap" : "";
}

static void add_slots(struct columns *c, const struct schedule_rule *rule, int64_t after)
{
    struct slot slot;

    for (int i = 0; i < PREVIEW_SLOTS && slot_next(rule->slots, after, &slot) == 0; i++) {
        c->of[c->n_slots] = c->id[c->n];
        c->slot[c->n_slots] = slot.at;
        c->run[c->n_slots] = schedule_plan_run_ms(&slot);
        c->moved[c->n_slots] = moved_word(slot.flags);
        c->n_slots++;
        if (i == LOW_AT)
            c->low[c->n] = slot.at;
        after = slot.at;
    }
}

int schedule_preview_args(
    struct civil_zones *zones, const struct db_result *wanted, struct db_args *ret_args)
{
    _cleanup_(freep) struct columns *c = calloc(1, sizeof(*c));

    if (!c)
        return ERR_NOMEM;
    for (int row = 0; row < db_rows(wanted) && row < PREVIEW_SCHEDULES_MAX; row++) {
        _cleanup_(schedule_rule_freep) struct schedule_rule *rule = NULL;
        /* A fault is told of when the schedule is claimed; here it only leaves no slots. */
        int err = schedule_rule_from_text(
            db_text(wanted, row, "key"), db_text(wanted, row, "definition"), zones, NULL, &rule);
        if (err == ERR_NOMEM)
            return err;
        c->id[c->n] = db_int(wanted, row, "id");
        c->revision[c->n] = db_int(wanted, row, "revision");
        if (rule)
            add_slots(c, rule, db_int(wanted, row, "after_s"));
        c->n++;
    }
    db_args_init(ret_args);
    db_arg_ints(ret_args, c->id, (size_t)c->n);
    db_arg_ints(ret_args, c->revision, (size_t)c->n);
    db_arg_ints(ret_args, c->low, (size_t)c->n);
    db_arg_ints(ret_args, c->of, (size_t)c->n_slots);
    db_arg_ints(ret_args, c->slot, (size_t)c->n_slots);
    db_arg_ints(ret_args, c->run, (size_t)c->n_slots);
    db_arg_strs(ret_args, c->moved, (size_t)c->n_slots);
    return 0;
}
