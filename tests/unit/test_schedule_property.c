/*
 * Random schedules under a clock that jumps: whatever a tick makes of the slots is held
 * against slots that were counted one by one.
 *
 * A failure prints a seed: with TOCSIN_TEST_SEED set to it, it is the first case.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "scheduler/definitions.h"
#include "scheduler/schedule_plan.h"
#include "tests/support/dice.h"
#include "tests/support/random_schedule.h"
#include "tests/support/slot_oracle.h"
#include "tests/support/tick_oracle.h"

#define CASES      3000
#define SEED       20260329
#define TICKS      40
#define SLOTS_MAX  60000
#define DAYS_MAX   64                  /* of a walk */
#define CLAIM_MS   250                 /* claim_schedules claims so far ahead */
#define FROM       INT64_C(1104537600) /* 2005-01-01 */
#define YEARS_S    (30 * 365 * CIVIL_DAY_S)
#define CHANGE_MAX INT64_C(2208988800) /* 2040-01-01 */
#define KEY        "k"

/* One schedule, its slots as the oracle counts them, and how far a scheduler has come with it. */
struct walk {
    uint64_t seed;
    struct dice dice;
    struct civil_zones *zones;
    struct buf text; /* of the definition */
    struct slot_oracle *oracle;
    const struct slot_policy *policy;
    struct schedule_rule *rule;
    int64_t start, end; /* the slots in (start, end] are known */
    int64_t *slots, *run_ms;
    size_t n;
    bool orderly;
    int64_t now_ms;
    int64_t accounted;
    bool computed;
    int64_t next_run_ms; /* INT64_MAX: never */
    size_t done;         /* so many of the slots are accounted for */
};

/* What all cases together have seen: none of it may be left out by chance. */
struct seen {
    int64_t refused, fired, skipped, caught_up, capped, many_skips, many_fires, ended, moved,
        disorderly;
};

static void fail_walk(const struct walk *w, const char *what)
{
    fail_msg("%s\n  {%s}\n  now %lld.%03lld, accounted until %lld, next known slot %lld\n"
             "  " DICE_SEED_ENV "=%llu",
        what, buf_str(&w->text), (long long)(w->now_ms / 1000), (long long)(w->now_ms % 1000),
        (long long)w->accounted, (long long)(w->done < w->n ? w->slots[w->done] : -1),
        (unsigned long long)w->seed);
}

static void require(const struct walk *w, bool holds, const char *what)
{
    if (!holds)
        fail_walk(w, what);
}

/* --- a schedule ------------------------------------------------------------------------------- */

static const char *no_env(const char *name)
{
    (void)name;
    return NULL;
}

/* Shortly before the clocks of the zone change, mostly. */
static void choose(struct walk *w)
{
    struct random_schedule how = {.zone = random_schedule_zone(&w->dice)};
    int64_t at = FROM + dice_below(&w->dice, YEARS_S);
    const struct civil_zone *zone = NULL;
    struct tzif_span span;

    assert_int_equal(civil_zones_get(w->zones, how.zone, &zone), 0);
    civil_zone_span_at(zone, at, &span);
    w->start = span.end < CHANGE_MAX ? span.end - dice_spread(&w->dice, 1, 6 * CIVIL_DAY_S) : at;
    how.around = w->start;
    random_schedule_add(&w->dice, &how, &w->text);
}

/* As `scheduler` reads its file, and later the database's copy. False where the file is refused
 * for a schedule without any slot. */
static bool compile(struct walk *w)
{
    _cleanup_(buf_release) struct buf file = BUF_INIT(16384);
    _cleanup_(buf_release) struct buf faults = BUF_INIT(16384);
    _cleanup_(definitions_freep) struct definitions *d = NULL;
    struct definitions_source source = {"f.json", w->zones, no_env, w->start, false};

    buf_addf(&file,
        "{\"jobs\":{\"a\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\"}},"
        "\"schedules\":{\"" KEY "\":{\"job\":\"a\",%s}}}",
        buf_str(&w->text));
    if (definitions_parse(&source, buf_str(&file), file.len, &faults, &d) != 0) {
        require(w,
            strstr(buf_str(&faults), "no slot of the next 50 years") ||
                strstr(buf_str(&faults), "no month of the expression has such a day"),
            buf_str(&faults));
        return false;
    }
    _cleanup_(freep) char *stored =
        json_dumps(json_object_get(definitions_schedule(d, KEY), "definition"), JSON_COMPACT);
    assert_non_null(stored);
    if (schedule_rule_from_text(KEY, stored, w->zones, &faults, &w->rule) != 0)
        fail_walk(w, buf_str(&faults));
    return true;
}

static void count_slots(struct walk *w)
{
    _cleanup_(buf_release) struct buf braced = BUF_INIT(16384);
    bool vast = dice_one_in(&w->dice, 100);
    size_t max = vast ? SLOTS_MAX : (size_t)dice_spread(&w->dice, 30, 800);

    buf_addf(&braced, "{%s}", buf_str(&w->text));
    w->oracle = slot_oracle_new(buf_str(&braced), w->zones);
    w->policy = slot_oracle_policy(w->oracle);
    w->end = w->start + (vast ? DAYS_MAX : dice_spread(&w->dice, 1, DAYS_MAX)) * CIVIL_DAY_S;
    w->slots = calloc(max, sizeof(*w->slots));
    w->run_ms = calloc(max, sizeof(*w->run_ms));
    assert_true(w->slots && w->run_ms);
    w->n = slot_oracle_list(w->oracle, w->start, w->end, w->slots, max);
    if (w->n == max)
        w->end = w->slots[max - 1];
    w->orderly = tick_oracle_orderly(w->policy, w->slots, w->n);
}

/* Jitter is a hash, which nothing can predict: it is asked for, and has to lie within bounds. */
static void read_jitter(struct walk *w)
{
    for (size_t i = 0; i < w->n; i++) {
        struct slot slot = {.at = w->slots[i]};

        if (w->policy->jitter_ms > 0)
            require(w,
                slot_next(w->rule->slots, w->slots[i] - 1, &slot) == 0 && slot.at == w->slots[i],
                "what is a slot to the oracle is none");
        require(w, slot.jitter_ms >= 0 && slot.jitter_ms <= w->policy->jitter_ms, "jitter");
        w->run_ms[i] = schedule_plan_run_ms(&slot);
    }
}

/* --- a tick ----------------------------------------------------------------------------------- */

/* The plan as two numbers, after its entries have been found to be the next slots, in order. */
static struct tick_verdict read_plan(const struct walk *w, const struct schedule_plan *plan)
{
    struct tick_verdict v = {0};
    size_t at = w->done;

    for (size_t i = 0; i < plan->n_entries; i++) {
        const struct plan_entry *e = &plan->entries[i];

        require(w, e->count > 0 && (!e->fires || e->count == 1), "an entry of the wrong size");
        require(w, e->fires || i == 0, "a gap after a slot that fires");
        require(w, at + (size_t)e->count <= w->n, "more slots than there are");
        require(w, e->first == w->slots[at], "an entry does not begin with the next slot");
        at += (size_t)e->count;
        require(w, e->last == w->slots[at - 1], "an entry does not end with its last slot");
        if (e->fires)
            v.fired++;
        else
            v.skipped = (size_t)e->count;
    }
    return v;
}

static void check_verdict(const struct walk *w, struct tick_verdict v, int64_t now_ms)
{
    const int64_t *slots = w->slots + w->done, *run_ms = w->run_ms + w->done;
    size_t n = w->n - w->done;
    struct tick_verdict expected = tick_oracle_verdict(w->policy, run_ms, n, now_ms);
    const char *fault = tick_oracle_fault(w->policy, slots, run_ms, n, now_ms, v);

    require(w, !fault, fault);
    if (!w->orderly || (v.skipped == expected.skipped && v.fired == expected.fired))
        return;
    _cleanup_(buf_release) struct buf what = BUF_INIT(4096);
    buf_addf(&what, "%zu passed over and %zu fired, instead of %zu and %zu", v.skipped, v.fired,
        expected.skipped, expected.fired);
    fail_walk(w, buf_str(&what));
}

static void count_seen(const struct walk *w, struct tick_verdict v,
    const struct schedule_plan *plan, struct seen *seen)
{
    int64_t late = 0;

    for (size_t i = 0; i < v.fired; i++)
        late += w->now_ms - w->run_ms[w->done + v.skipped + i] > w->policy->grace_ms;
    seen->fired += (int64_t)v.fired;
    seen->skipped += (int64_t)v.skipped;
    seen->caught_up += late;
    seen->capped +=
        w->policy->catch_up == ORACLE_RUN_ALL && v.skipped > 0 && late == w->policy->cap;
    seen->many_skips += v.skipped == PLAN_SKIPS_MAX;
    seen->many_fires += v.fired == PLAN_FIRES_MAX;
    seen->ended += plan->ends;
    seen->moved += !plan->ends && plan->next.flags & SLOT_MOVED_BY_GAP;
    seen->disorderly += !w->orderly && v.fired > 0;
}

/* What one claim of a scheduler does: works the slots out and moves the schedule on. */
static void tick(struct walk *w, struct seen *seen)
{
    struct schedule_plan plan;
    int64_t run_ms;

    /* Claimed ahead, it waits for its time. */
    if (w->computed && w->next_run_ms > w->now_ms)
        w->now_ms = w->next_run_ms;
    schedule_plan_make(w->rule, w->accounted, w->now_ms, &plan);
    struct tick_verdict v = read_plan(w, &plan);
    check_verdict(w, v, w->now_ms);
    count_seen(w, v, &plan, seen);
    w->done += v.skipped + v.fired;
    require(w, plan.accounted == (v.skipped + v.fired ? w->slots[w->done - 1] : w->accounted),
        "the accounts do not end with the last slot");
    if (w->done < w->n)
        require(w, !plan.ends && plan.next.at == w->slots[w->done], "the next slot is another one");
    else
        require(w, plan.ends || plan.next.at > w->end, "a next slot that is none");
    run_ms = plan.ends ? INT64_MAX : schedule_plan_run_ms(&plan.next);
    if (w->computed && w->orderly)
        require(w, run_ms > w->next_run_ms, "the next run is not later than the one before");
    if (w->computed)
        require(w, v.skipped + v.fired > 0, "what was due stays due");
    w->accounted = plan.accounted;
    w->next_run_ms = run_ms;
    w->computed = true;
}

static bool is_claimed(const struct walk *w)
{
    return !w->computed || w->next_run_ms <= w->now_ms + CLAIM_MS;
}

/* Nothing is due: a tick that comes all the same, or at a clock that was set back, does nothing. */
static void tick_in_vain(struct walk *w)
{
    struct schedule_plan plan;

    schedule_plan_make(w->rule, w->accounted, w->now_ms, &plan);
    require(w, plan.n_entries == 0 && plan.accounted == w->accounted, "a tick before its time");
    require(w, (plan.ends ? INT64_MAX : schedule_plan_run_ms(&plan.next)) == w->next_run_ms,
        "the next run is another one when it is worked out again");
}

/* --- a walk ----------------------------------------------------------------------------------- */

/* The clock goes on, stands still, is set back, or comes just to where something changes. */
static void move_clock(struct walk *w)
{
    static const int64_t nudges[] = {-CLAIM_MS - 1, -CLAIM_MS, -1, 0, 1};
    int64_t last_ms = w->end * 1000 - 1000, left_s = w->end - w->now_ms / 1000;
    int64_t grace_ms = dice_one_in(&w->dice, 2) ? w->policy->grace_ms : 0;

    switch (dice_below(&w->dice, 8)) {
    case 0:
        break;
    case 1:
        w->now_ms -= dice_spread(&w->dice, 1, 7200) * 1000;
        break;
    case 2:
    case 3:
        if (w->next_run_ms < last_ms && w->next_run_ms > w->now_ms)
            w->now_ms = w->next_run_ms + grace_ms + nudges[dice_below(&w->dice, 5)];
        break;
    default:
        if (dice_one_in(&w->dice, 4))
            w->now_ms += dice_below(&w->dice, left_s > 9 ? left_s : 9) * 1000;
        else
            w->now_ms += dice_spread(&w->dice, 1, left_s > 9 ? left_s / 3 : 3) * 1000;
        w->now_ms += dice_below(&w->dice, 1000);
    }
    if (w->now_ms > last_ms)
        w->now_ms = last_ms;
}

static void walk(struct walk *w, struct seen *seen)
{
    w->accounted = w->start;
    w->now_ms = w->start * 1000 + dice_below(&w->dice, 1000);
    for (int i = 0; i < TICKS; i++) {
        if (is_claimed(w))
            tick(w, seen);
        else
            tick_in_vain(w);
        /* A round goes on at once while anything is due; now and then it takes its time. */
        if (!is_claimed(w) || dice_one_in(&w->dice, 3))
            move_clock(w);
        /* Edited in a way that changes nothing, or the rules of its zone read anew. */
        if (dice_one_in(&w->dice, 20))
            w->computed = false;
    }
}

static void run_case(uint64_t seed, struct civil_zones *zones, struct seen *seen)
{
    struct walk w = {.seed = seed, .dice = {seed}, .zones = zones, .text = BUF_INIT(8192)};

    choose(&w);
    count_slots(&w);
    if (compile(&w)) {
        read_jitter(&w);
        walk(&w, seen);
    } else {
        require(&w, w.n == 0, "refused for having no slot, but it has some");
        seen->refused++;
    }
    schedule_rule_free(w.rule);
    slot_oracle_free(w.oracle);
    free(w.slots);
    free(w.run_ms);
    buf_release(&w.text);
}

static void test_every_slot_has_one_outcome(void **state)
{
    _cleanup_(civil_zones_freep) struct civil_zones *zones = NULL;
    uint64_t seed = dice_seed(SEED);
    struct seen seen = {0};

    (void)state;
    assert_int_equal(civil_zones_new(NULL, &zones), 0);
    for (uint64_t i = 0; i < CASES; i++)
        run_case(seed + i, zones, &seen);
    print_message(
        "fired %lld, passed over %lld, caught up %lld, capped %lld, bounded %lld and %lld, "
        "ended %lld, moved by a gap %lld, out of order %lld, refused %lld\n",
        (long long)seen.fired, (long long)seen.skipped, (long long)seen.caught_up,
        (long long)seen.capped, (long long)seen.many_skips, (long long)seen.many_fires,
        (long long)seen.ended, (long long)seen.moved, (long long)seen.disorderly,
        (long long)seen.refused);
    assert_true(seen.refused < CASES / 10);
    assert_true(seen.fired > CASES && seen.skipped > CASES && seen.caught_up > CASES);
    assert_true(seen.capped > 0 && seen.many_skips > 0 && seen.many_fires > 0 && seen.ended > 0 &&
                seen.moved > 0);
    assert_true(seen.disorderly > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_slot_has_one_outcome),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
