/*
 * Two schedulers, killed now and then, with forty random schedules under a clock that
 * jumps over changes of the clocks. In the end the books are compared, slot by slot, with
 * slots that were counted one by one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "tests/support/dice.h"
#include "tests/support/harness.h"
#include "tests/support/random_schedule.h"
#include "tests/support/schedule_books.h"

#define DEADLINE_MS 60000
#define DAEMONS     2
#define SCHEDULES   40
#define TURNS       200
#define LEAP_EVERY  20 /* turns */
#define HORIZON_S   (14 * CIVIL_DAY_S)
#define SLOTS_MIN   20
#define KEY_BYTES   16

#define JOBS                                                                                       \
    "{\"jobs\":{"                                                                                  \
    "\"a\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\",\"group\":\"g\"},"                      \
    "\"b\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\",\"group\":\"g\",\"depends_on\":"        \
    "[\"a\"]},"                                                                                    \
    "\"c\":{\"handler\":\"h\",\"queue\":\"worker-calendar\",\"group\":\"g\",\"depends_on\":"       \
    "[\"a\",\"b\"]},"                                                                              \
    "\"solo\":{\"handler\":\"h\",\"queue\":\"worker-cleanup\",\"overlap\":\"forbid\"}}"

#define NOTHING_DUE                                                                                \
    "SELECT count(*) = 0 FROM job_schedule WHERE next_run_at <= now() AND locked_by IS NULL"

enum target { TARGET_JOB, TARGET_GROUP, TARGET_ALL, TARGET_SOLO };
static const char *const targets[] = {
    "\"job\":\"a\"", "\"group\":\"g\"", "\"all\":true", "\"job\":\"solo\""};

struct schedule {
    char key[KEY_BYTES];
    struct buf text; /* its members that say when */
    enum target target;
    bool forbids; /* overlap */
    bool flagged;
    struct slot_oracle *oracle;
};

struct world {
    struct harness *h;
    struct civil_zones *zones;
    struct dice dice;
    uint64_t seed;
    const char *env[2];
    struct buf file; /* NAME=value of the environment */
    struct harness_proc *daemons[DAEMONS];
    struct schedule schedules[SCHEDULES];
};

static int64_t below(struct world *w, int64_t n)
{
    return dice_below(&w->dice, n);
}

/* --- the world -------------------------------------------------------------------------------- */

/* One that has a good many slots in the time to come: the file would be refused for one with none.
 */
static void draw(struct world *w, struct schedule *s, int64_t start)
{
    struct random_schedule how = {.around = start, .busy = true};
    int64_t slots[SLOTS_MIN];
    size_t n = 0;

    do {
        _cleanup_(buf_release) struct buf braced = BUF_INIT(8192);

        slot_oracle_free(s->oracle);
        buf_reset(&s->text);
        how.zone = random_schedule_zone(&w->dice);
        random_schedule_add(&w->dice, &how, &s->text);
        buf_addf(&braced, "{%s}", buf_str(&s->text));
        s->oracle = slot_oracle_new(buf_str(&braced), w->zones);
        n = slot_oracle_list(s->oracle, start, start + HORIZON_S, slots, SLOTS_MIN);
    } while (n < SLOTS_MIN);
    s->target = (enum target)below(w, 4);
    s->forbids = below(w, 3) == 0;
    s->flagged = below(w, 4) == 0;
}

static void write_definitions(struct world *w, int64_t start)
{
    _cleanup_(buf_release) struct buf file = BUF_INIT(1 << 20);

    buf_add_str(&file, JOBS ",\"schedules\":{");
    for (int i = 0; i < SCHEDULES; i++) {
        struct schedule *s = &w->schedules[i];

        s->text = (struct buf)BUF_INIT(8192);
        (void)snprintf(s->key, sizeof(s->key), "s%02d", i);
        draw(w, s, start);
        buf_addf(&file, "%s\"%s\":{%s%s%s,%s}", i > 0 ? "," : "", s->key, targets[s->target],
            s->forbids ? ",\"overlap\":\"forbid\"" : "", s->flagged ? ",\"flag\":\"calendar\"" : "",
            buf_str(&s->text));
    }
    buf_add_str(&file, "}}");
    buf_addf(&w->file, "SCHEDULES_FILE=%s", harness_write_file(w->h, "s.json", buf_str(&file)));
    w->env[0] = buf_str(&w->file);
}

static struct harness_proc *spawn(struct world *w)
{
    return harness_spawn(w->h, "scheduler", NULL, w->env);
}

static void begin(struct world *w, struct harness *h, const char *start, uint64_t seed)
{
    int64_t start_s = 0;

    *w = (struct world){.h = h, .seed = dice_seed(seed), .file = BUF_INIT(4096)};
    w->dice.state = w->seed;
    print_message(DICE_SEED_ENV "=%llu\n", (unsigned long long)w->seed);
    assert_int_equal(civil_zones_new(NULL, &w->zones), 0);
    assert_int_equal(civil_time_parse_instant(start, &start_s), 0);
    write_definitions(w, start_s);
    schedule_books_open(h);
    harness_execf(h, "UPDATE test_clock SET shift = timestamptz '%s' - pg_catalog.now()", start);
    for (int i = 0; i < DAEMONS; i++)
        w->daemons[i] = spawn(w);
    harness_awaitf(h, DEADLINE_MS, "SELECT count(*) = %d FROM job_schedule", SCHEDULES);
    schedule_books_begin(h);
    harness_await(h, DEADLINE_MS, "SELECT bool_and(next_run_at IS NOT NULL) FROM job_schedule");
}

static void pass(struct world *w, int64_t seconds)
{
    _cleanup_(buf_release) struct buf interval = BUF_INIT(64);

    buf_addf(&interval, "%lld s", (long long)seconds);
    harness_clock_advance(w->h, buf_str(&interval));
    harness_exec(w->h, "NOTIFY tocsin_scheduler");
}

/* To shortly before the next run of all, which is claimed ahead and waits for its time. */
static void pass_to_next(struct world *w)
{
    const char *until = harness_text(w->h,
        "SELECT (min(next_run_at) - now() - interval '150 ms')::text FROM job_schedule"
        " WHERE next_run_at BETWEEN now() + interval '200 ms' AND now() + interval '1 hour'");

    if (!until)
        return;
    harness_clock_advance(w->h, until);
    harness_exec(w->h, "NOTIFY tocsin_scheduler");
}

/* --- what happens ----------------------------------------------------------------------------- */

static void happen(struct world *w, int turn)
{
    int victim;

    if (turn % LEAP_EVERY == LEAP_EVERY - 1)
        pass(w, dice_between(&w->dice, 12 * 3600, 60 * 3600));
    else if (below(w, 5) == 0)
        pass(w, dice_between(&w->dice, 300, 3600));
    else if (below(w, 4) == 0)
        pass_to_next(w);
    else
        pass(w, dice_between(&w->dice, 0, 90));
    if (below(w, 3) == 0)
        schedule_books_finish_runs(w->h);
    if (below(w, 6) == 0)
        harness_execf(w->h,
            "INSERT INTO feature_flag (name, enabled) VALUES ('calendar', %s)"
            " ON CONFLICT (name) DO UPDATE SET enabled = excluded.enabled",
            below(w, 2) ? "true" : "false");
    if (below(w, 12) == 0) {
        victim = (int)below(w, DAEMONS);
        harness_proc_kill(w->daemons[victim]);
        w->daemons[victim] = spawn(w);
        if (below(w, 2))
            harness_proc_await_log(w->daemons[victim], "from=zones to=claim", DEADLINE_MS);
    } else if (below(w, 3)) {
        harness_await(w->h, DEADLINE_MS, NOTHING_DUE);
    }
}

/* Past the longest lock of a killed one, until nothing is due; then the books are held still. */
static void settle(struct world *w)
{
    harness_await(w->h, DEADLINE_MS, NOTHING_DUE);
    pass(w, 31);
    harness_await(w->h, DEADLINE_MS,
        "SELECT count(*) = 0 FROM job_schedule WHERE next_run_at <= now() - interval '2 s'");
    for (int i = 0; i < DAEMONS; i++)
        harness_proc_kill(w->daemons[i]);
    harness_await(w->h, DEADLINE_MS,
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'scheduler'"
        " AND datname = current_database()");
}

/* --- the books -------------------------------------------------------------------------------- */

static void compare(struct world *w)
{
    static const int runs_least[] = {
        [TARGET_JOB] = 1, [TARGET_GROUP] = 3, [TARGET_ALL] = 3, [TARGET_SOLO] = 1};

    for (int i = 0; i < SCHEDULES; i++) {
        const struct schedule *s = &w->schedules[i];
        struct booked_schedule booked = {.key = s->key,
            .members = buf_str(&s->text),
            .oracle = s->oracle,
            .runs_least = runs_least[s->target],
            .runs_most = runs_least[s->target] + (s->target == TARGET_ALL),
            .forbids = s->forbids,
            .may_be_held = s->forbids || s->flagged || s->target == TARGET_SOLO};

        schedule_books_compare(w->h, w->zones, &booked);
    }
    schedule_books_compare_runs(w->h);
}

/* A test in which nothing happened would prove nothing. */
static void assert_all_happened(struct harness *h)
{
    assert_string_equal(
        harness_rows(
            h, "SELECT coalesce(reason, 'fired') FROM schedule_slot GROUP BY 1 ORDER BY 1"),
        "fired\nflag\nlate\noverlap");
    assert_true(harness_int(h, "SELECT count(*) FROM schedule_slot WHERE outcome = 'fired'") > 200);
    assert_true(
        harness_int(h, "SELECT sum(slots) FROM schedule_slot WHERE reason = 'late'") > 5000);
    assert_true(harness_int(h, "SELECT count(*) FROM daemon") > TURNS / 40);
}

static void race(struct harness *h, const char *start, uint64_t seed)
{
    struct world w;

    begin(&w, h, start, seed);
    for (int turn = 0; turn < TURNS; turn++)
        happen(&w, turn);
    settle(&w);
    compare(&w);
    assert_all_happened(h);
    for (int i = 0; i < SCHEDULES; i++) {
        slot_oracle_free(w.schedules[i].oracle);
        buf_release(&w.schedules[i].text);
    }
    civil_zones_free(w.zones);
    buf_release(&w.file);
}

static void test_clocks_go_back(void **state)
{
    race(*state, "2026-10-24T20:00:00Z", 1);
}

static void test_clocks_go_on(void **state)
{
    race(*state, "2027-03-13T20:00:00Z", 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, harness_setup, harness_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_clocks_go_back),
        TEST(test_clocks_go_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
