/*
 * What becomes of due slots: by table, and as a property over random schedules,
 * clocks and darkness: every slot is accounted for exactly once, in order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "scheduler/schedule_plan.h"
#include "tests/support/dice.h"

#define T0     INT64_C(1795377600) /* 2026-11-22T20:00:00Z */
#define MINUTE 60
#define HOUR   3600

static struct schedule_rule *rule_of(struct civil_zones *zones, const char *definition)
{
    _cleanup_(buf_release) struct buf faults = BUF_INIT(4096);
    struct schedule_rule *rule = NULL;

    if (schedule_rule_from_text("k", definition, zones, &faults, &rule) != 0)
        fail_msg("%s: %s", definition, buf_str(&faults));
    return rule;
}

/* A plan as text: "skip 3 from 60 to 180; fire 240; next 300", in seconds after T0. */
static void add_plan(struct buf *b, const struct schedule_plan *plan)
{
    for (size_t i = 0; i < plan->n_entries; i++) {
        const struct plan_entry *e = &plan->entries[i];
        if (e->fires)
            buf_addf(b, "fire %lld; ", (long long)(e->first - T0));
        else
            buf_addf(b, "skip %lld from %lld to %lld; ", (long long)e->count,
                (long long)(e->first - T0), (long long)(e->last - T0));
    }
    if (plan->ends)
        buf_add_str(b, "never");
    else
        buf_addf(b, "next %lld", (long long)(plan->next.at - T0));
}

struct planned {
    const char *definition;
    int64_t accounted; /* after T0 */
    int64_t now_ms;
    const char *plan;
};

#define EVERY_MINUTE "\"cron\":\"* * * * *\""

static const struct planned planned[] = {
    /* Not due: a computed next run and nothing else. */
    {"{" EVERY_MINUTE "}", 0, 59999, "next 60"},
    /* Due to the millisecond; within grace to the millisecond, and past it. */
    {"{" EVERY_MINUTE "}", 0, 60000, "fire 60; next 120"},
    {"{\"cron\":\"0 * * * *\"}", 0, 3660000, "fire 3600; next 7200"},
    {"{\"cron\":\"0 * * * *\"}", 0, 3660001, "skip 1 from 3600 to 3600; next 7200"},
    {"{\"cron\":\"0 * * * *\",\"grace\":\"0s\"}", 0, 3600000, "fire 3600; next 7200"},
    {"{\"cron\":\"0 * * * *\",\"grace\":\"0s\"}", 0, 3600001,
        "skip 1 from 3600 to 3600; next 7200"},
    /* Two slots within grace both fire. */
    {"{" EVERY_MINUTE "}", 0, 120000, "fire 60; fire 120; next 180"},
    /* Darkness: skip is one gap, and what is within grace fires. */
    {"{" EVERY_MINUTE "}", 0, 600500, "skip 9 from 60 to 540; fire 600; next 660"},
    /* run_once: the newest late slot, and what is not late as ever. */
    {"{" EVERY_MINUTE ",\"catch_up\":\"run_once\"}", 0, 600500,
        "skip 8 from 60 to 480; fire 540; fire 600; next 660"},
    {"{\"cron\":\"0 * * * *\",\"catch_up\":\"run_once\"}", 0, 14000000,
        "skip 2 from 3600 to 7200; fire 10800; next 14400"},
    {"{\"cron\":\"0 * * * *\",\"catch_up\":\"run_once\",\"catch_up_window\":\"10m\"}", 0, 14000000,
        "skip 3 from 3600 to 10800; next 14400"},
    /* run_all: within window and cap. */
    {"{\"cron\":\"0 * * * "
     "*\",\"catch_up\":\"run_all\",\"catch_up_cap\":10,\"catch_up_window\":\"1d\"}",
        0, 14000000, "fire 3600; fire 7200; fire 10800; next 14400"},
    {"{\"cron\":\"0 * * * "
     "*\",\"catch_up\":\"run_all\",\"catch_up_cap\":2,\"catch_up_window\":\"1d\"}",
        0, 14000000, "skip 1 from 3600 to 3600; fire 7200; fire 10800; next 14400"},
    {"{\"cron\":\"0 * * * "
     "*\",\"catch_up\":\"run_all\",\"catch_up_cap\":9,\"catch_up_window\":\"1h\"}",
        0, 14000000, "skip 2 from 3600 to 7200; fire 10800; next 14400"},
    /* What was accounted for is not caught up again. */
    {"{\"cron\":\"0 * * * "
     "*\",\"catch_up\":\"run_all\",\"catch_up_cap\":9,\"catch_up_window\":\"1d\"}",
        7200, 14000000, "fire 10800; next 14400"},
    /* A gap that is longer than one turn goes on in the next. */
    {"{\"every\":\"1s\"}", 0, INT64_C(1000) * (PLAN_SKIPS_MAX + 5000),
        "skip 20000 from 1 to 20000; next 20001"},
};

static void test_plans(void **state)
{
    _cleanup_(civil_zones_freep) struct civil_zones *zones = NULL;

    (void)state;
    assert_int_equal(civil_zones_new(NULL, &zones), 0);
    for (size_t i = 0; i < sizeof(planned) / sizeof(*planned); i++) {
        const struct planned *p = &planned[i];
        _cleanup_(schedule_rule_freep) struct schedule_rule *rule = rule_of(zones, p->definition);
        _cleanup_(buf_release) struct buf text = BUF_INIT(65536);
        struct schedule_plan plan;

        schedule_plan_make(rule, T0 + p->accounted, T0 * 1000 + p->now_ms, &plan);
        add_plan(&text, &plan);
        assert_string_equal(buf_str(&text), p->plan);
    }
}

static void test_fires_of_one_turn_are_bounded(void **state)
{
    _cleanup_(civil_zones_freep) struct civil_zones *zones = NULL;
    struct schedule_plan plan;

    (void)state;
    assert_int_equal(civil_zones_new(NULL, &zones), 0);
    _cleanup_(schedule_rule_freep) struct schedule_rule *rule =
        rule_of(zones, "{\"every\":\"1s\",\"grace\":\"1h\"}");
    schedule_plan_make(rule, T0, (T0 + 150) * 1000, &plan);
    assert_int_equal(plan.n_entries, PLAN_FIRES_MAX);
    assert_int_equal(plan.accounted, T0 + PLAN_FIRES_MAX);
    schedule_plan_make(rule, plan.accounted, (T0 + 150) * 1000, &plan);
    assert_int_equal(plan.n_entries, 50);
    assert_int_equal(plan.next.at, T0 + 151);
}

/* --- the property ----------------------------------------------------------------------------- */

static void random_definition(struct dice *d, struct buf *b)
{
    static const char *const when[] = {"\"cron\":\"*/5 * * * *\"", "\"cron\":\"17 3 * * *\"",
        "\"every\":\"45s\"", "\"cron\":\"30 2 * * *\",\"timezone\":\"America/New_York\"",
        "\"cron\":\"0 9 * * 1-5\",\"timezone\":\"Europe/Berlin\"",
        "\"cron\":\"*/20 9-17 * * *\",\"window\":\"Mon-Fri 09:00-17:00 Asia/Kolkata\"",
        "\"every\":\"10m\",\"jitter\":\"3m\""};
    static const char *const caught_up[] = {"", ",\"catch_up\":\"run_once\"",
        ",\"catch_up\":\"run_all\",\"catch_up_window\":\"6h\",\"catch_up_cap\":7",
        ",\"catch_up\":\"run_all\",\"catch_up_window\":\"30d\",\"catch_up_cap\":500"};
    static const char *const grace[] = {"", ",\"grace\":\"0s\"", ",\"grace\":\"2h\""};

    buf_addf(b, "{%s%s%s}", when[dice_below(d, 7)], caught_up[dice_below(d, 4)],
        grace[dice_below(d, 3)]);
}

/* One schedule through many turns at a clock that jumps: nothing is left out, nothing is done
 * twice, and nothing fires before its time. */
static void walk(struct schedule_rule *rule, struct dice *d, const char *definition)
{
    int64_t start = T0 + dice_below(d, 400 * 86400);
    int64_t now_ms = start * 1000 + dice_below(d, 1000);
    int64_t accounted = start, seen = start;
    struct schedule_plan plan;

    for (int turn = 0; turn < 60; turn++) {
        now_ms +=
            dice_below(d, 4) ? dice_below(d, 120000) : dice_below(d, INT64_C(5) * 86400 * 1000);
        schedule_plan_make(rule, accounted, now_ms, &plan);
        for (size_t i = 0; i < plan.n_entries; i++) {
            const struct plan_entry *e = &plan.entries[i];
            struct slot last = {0};
            assert_int_equal(slot_count(rule->slots, seen, e->last, INT64_MAX), e->count);
            assert_true(slot_is(rule->slots, e->first) && slot_is(rule->slots, e->last));
            assert_int_equal(slot_prev(rule->slots, e->last + 1, &last), 0);
            assert_true(schedule_plan_run_ms(&last) <= now_ms);
            if (!e->fires)
                assert_true(now_ms - schedule_plan_run_ms(&last) > rule->grace_ms);
            seen = e->last;
        }
        assert_int_equal(plan.accounted, plan.n_entries ? seen : accounted);
        accounted = plan.accounted;
        assert_false(plan.ends);
        assert_int_equal(slot_count(rule->slots, accounted, plan.next.at, 9), 1);
        if (plan.n_entries < PLAN_FIRES_MAX && schedule_plan_run_ms(&plan.next) <= now_ms)
            fail_msg("%s: a due slot was left", definition);
    }
}

static void test_every_slot_is_accounted_for_once(void **state)
{
    _cleanup_(civil_zones_freep) struct civil_zones *zones = NULL;
    struct dice dice = {20261122};

    (void)state;
    assert_int_equal(civil_zones_new(NULL, &zones), 0);
    for (int i = 0; i < 300; i++) {
        _cleanup_(buf_release) struct buf definition = BUF_INIT(4096);
        random_definition(&dice, &definition);
        _cleanup_(schedule_rule_freep) struct schedule_rule *rule =
            rule_of(zones, buf_str(&definition));
        walk(rule, &dice, buf_str(&definition));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans),
        cmocka_unit_test(test_fires_of_one_turn_are_bounded),
        cmocka_unit_test(test_every_slot_is_accounted_for_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
