#include "scheduler/schedule_plan.h"

int64_t schedule_plan_run_ms(const struct slot *slot)
{
    return slot->at * 1000 + slot->jitter_ms;
}

/* Subtracts without leaving the range: a window may be INT64_MAX. */
static bool older_than(int64_t run_ms, int64_t now_ms, int64_t age_ms)
{
    return now_ms - run_ms > age_ms;
}

/* The oldest late slot that is to be caught up, or INT64_MAX for none. */
static int64_t first_caught_up(const struct schedule_rule *rule, int64_t accounted, int64_t now_ms)
{
    int64_t before = (now_ms - rule->grace_ms) / 1000 + 1; /* nothing from here on is late */
    int64_t found = INT64_MAX;
    struct slot slot;

    for (int64_t n = 0; n < rule->cap;) {
        if (slot_prev(rule->slots, before, &slot) < 0 || slot.at <= accounted)
            break;
        before = slot.at;
        int64_t run_ms = schedule_plan_run_ms(&slot);
        if (!older_than(run_ms, now_ms, rule->grace_ms))
            continue;
        if (older_than(run_ms, now_ms, rule->window_ms))
            break;
        found = slot.at;
        n++;
    }
    return found;
}

void schedule_plan_make(const struct schedule_rule *rule, int64_t accounted, int64_t now_ms,
    struct schedule_plan *ret_plan)
{
    struct schedule_plan *plan = ret_plan;
    struct plan_entry gap = {.count = 0};
    int64_t caught_up = INT64_MAX;
    size_t n_fires = 0;

    plan->n_entries = 0;
    plan->accounted = accounted;
    plan->ends = slot_next(rule->slots, accounted, &plan->next) < 0;
    if (!plan->ends && older_than(schedule_plan_run_ms(&plan->next), now_ms, rule->grace_ms))
        caught_up = first_caught_up(rule, accounted, now_ms);
    while (!plan->ends && schedule_plan_run_ms(&plan->next) <= now_ms) {
        int64_t at = plan->next.at;
        bool late = older_than(schedule_plan_run_ms(&plan->next), now_ms, rule->grace_ms);

        if (late && at < caught_up && n_fires == 0) {
            if (gap.count == PLAN_SKIPS_MAX)
                break;
            if (gap.count++ == 0)
                gap.first = at;
            gap.last = at;
            plan->entries[0] = gap;
            plan->n_entries = 1;
        } else {
            if (n_fires == PLAN_FIRES_MAX)
                break;
            n_fires++;
            plan->entries[plan->n_entries++] = (struct plan_entry){at, at, 1, true};
        }
        plan->accounted = at;
        plan->ends = slot_next(rule->slots, at, &plan->next) < 0;
    }
}
