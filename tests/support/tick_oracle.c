#include "tick_oracle.h"

/* What one tick does for one schedule at most. */
#define TICK_FIRES 100
#define TICK_SKIPS 20000

static size_t less(size_t a, size_t b)
{
    return a < b ? a : b;
}

struct tick_verdict tick_oracle_verdict(
    const struct slot_policy *p, const int64_t *run_ms, size_t n, int64_t now_ms)
{
    size_t due = 0, late = 0, caught = 0;
    struct tick_verdict v;

    while (due < n && run_ms[due] <= now_ms)
        due++;
    while (late < due && now_ms - run_ms[late] > p->grace_ms)
        late++;
    switch (p->catch_up) {
    case ORACLE_SKIP:
        break;
    case ORACLE_RUN_ONCE:
        if (late > 0 && now_ms - run_ms[late - 1] <= p->window_ms)
            caught = 1;
        break;
    case ORACLE_RUN_ALL:
        while (caught < late && (int64_t)caught < p->cap &&
               now_ms - run_ms[late - caught - 1] <= p->window_ms)
            caught++;
        break;
    }
    v.skipped = less(late - caught, TICK_SKIPS);
    v.fired = v.skipped < late - caught ? 0 : less(due - v.skipped, TICK_FIRES);
    return v;
}

bool tick_oracle_orderly(const struct slot_policy *p, const int64_t *slots, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if ((slots[i] - slots[i - 1]) * 1000 <= p->jitter_ms)
            return false;
    return true;
}

const char *tick_oracle_fault(const struct slot_policy *p, const int64_t *slots,
    const int64_t *run_ms, size_t n, int64_t now_ms, struct tick_verdict v)
{
    size_t done = v.skipped + v.fired;
    int64_t surely_late = 0;

    if (v.skipped > TICK_SKIPS || v.fired > TICK_FIRES || done > n)
        return "a tick does more than is its bound";
    for (size_t i = 0; i < done; i++)
        if (run_ms[i] > now_ms)
            return "before its time";
    for (size_t i = 0; i < v.skipped; i++)
        if (now_ms - run_ms[i] <= p->grace_ms)
            return "passed over within its grace";
    for (size_t i = v.skipped; i < done; i++) {
        int64_t age_ms = now_ms - slots[i] * 1000 - p->jitter_ms;

        if (age_ms <= p->grace_ms)
            continue;
        surely_late++;
        if (age_ms > p->window_ms)
            return "a late one is caught up from outside of the window";
    }
    if (surely_late > (p->catch_up == ORACLE_SKIP ? 0 : p->cap))
        return "more late ones are caught up than may be";
    if (v.skipped < TICK_SKIPS && v.fired < TICK_FIRES && done < n && run_ms[done] <= now_ms)
        return "one that is due was left";
    return NULL;
}
