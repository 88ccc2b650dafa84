/*
 * SIGKILL at each state of a sync, then another process: nothing is lost, and nothing is planned
 * twice. The state is proved by what the process waits for: an answer of the provider, or a lock
 * that the test holds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/calendar_world.h"

#define SOON_MS 30000
#define EVENTS  "/calendar/v3/calendars/primary/events"

/* Calendars take this long to be read under sanitizers, to be killed meanwhile. */
#define LARGE 8000

static void add_google(struct calendar_world *w)
{
    calendar_world_add_user(w, 7);
    calendar_world_add_google(w, 7, "primary");
}

static void add_ics(struct calendar_world *w)
{
    calendar_world_add_user(w, 7);
    calendar_world_add_ics(w, 7, "/a.ics");
}

static const char *meeting(struct calendar_world *w)
{
    calendar_text_begin(w);
    calendar_text_event(w, "m", 60, NULL);
    return calendar_text_end(w);
}

static void page(struct calendar_world *w, const char *contains, const char *uid, const char *rest)
{
    char *body = NULL;

    assert_true(
        asprintf(&body,
            "{\"items\": [{\"id\": \"%s\", \"summary\": \"m\", \"start\": {\"dateTime\": \"%s\"},"
            " \"end\": {\"dateTime\": \"%s\"}}], %s}",
            uid, calendar_text_time(w, 60), calendar_text_time(w, 90), rest) > 0);
    calendar_world_expect(
        w, &(struct fake_rule){.path = EVENTS, .contains = contains, .body = body});
    free(body);
}

static struct harness_proc *start_tick(struct calendar_world *w)
{
    struct harness_proc *p = calendar_world_spawn(w, NULL);

    harness_proc_await_log(p, "is ready", SOON_MS);
    (void)calendar_world_enqueue(w);
    return p;
}

static void await_request(struct calendar_world *w, const char *path, size_t n)
{
    for (size_t seen = 1; calendar_world_requests(w, path) < n; seen++)
        assert_true(fake_wait_requests(w->fake, seen, SOON_MS));
}

/* Another process, after the dead one's heartbeat has gone stale. */
static struct harness_proc *recover(struct calendar_world *w)
{
    harness_clock_advance(w->h, "6 minutes");
    struct harness_proc *p = calendar_world_spawn(w, NULL);
    harness_proc_await_log(p, "is ready", SOON_MS);
    calendar_world_tick(w);
    return p;
}

/* One meeting, one incident, one notification a rung, and a calendar that is free again. */
static void expect_whole(struct calendar_world *w, int meetings)
{
    assert_int_equal(
        harness_int(w->h, "SELECT count(*) FROM calendar_event WHERE status = 'confirmed'"),
        meetings);
    assert_int_equal(
        harness_int(w->h, "SELECT count(*) FROM incident WHERE status = 'open'"), meetings);
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM notification"), 3 * meetings);
    assert_true(harness_bool(w->h, "SELECT locked_at IS NULL AND failures = 0 AND rescues = 0 AND"
                                   " last_success_at IS NOT NULL FROM calendar_credentials"));
}

static void test_killed_in_claim(void **state)
{
    struct calendar_world *w = *state;
    PGconn *holder = harness_connect(w->h, NULL);

    add_ics(w);
    calendar_world_serve(w, "/a.ics", meeting(w));
    PQclear(PQexec(holder, "BEGIN; LOCK TABLE calendar_credentials IN EXCLUSIVE MODE"));
    struct harness_proc *p = start_tick(w);
    harness_await(w->h, SOON_MS, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)");
    harness_proc_kill(p);
    PQclear(PQexec(holder, "COMMIT"));
    harness_disconnect(w->h, holder);
    (void)recover(w);
    expect_whole(w, 1);
    assert_int_equal(calendar_world_requests(w, "/a.ics"), 1);
}

static void test_killed_in_token(void **state)
{
    struct calendar_world *w = *state;

    add_google(w);
    calendar_world_expect(w, &(struct fake_rule){.path = "/token", .times = 1, .fault = FAKE_HANG});
    calendar_world_give_token(w, "access", 1);
    page(w, NULL, "m", "\"nextSyncToken\": \"t\"");
    struct harness_proc *p = start_tick(w);
    await_request(w, "/token", 1);
    harness_proc_kill(p);
    (void)recover(w);
    expect_whole(w, 1);
    fake_release(w->fake);
}

static void test_killed_in_fetch(void **state)
{
    struct calendar_world *w = *state;

    add_ics(w);
    calendar_world_expect(w, &(struct fake_rule){.path = "/a.ics", .times = 1, .fault = FAKE_HANG});
    calendar_world_serve(w, "/a.ics", meeting(w));
    struct harness_proc *p = start_tick(w);
    await_request(w, "/a.ics", 1);
    harness_proc_kill(p);
    p = recover(w);
    assert_true(harness_proc_logged(p, "Calendar of user 7 taken over from a process that died"));
    expect_whole(w, 1);
    fake_release(w->fake);
}

/* The sync token is stored with the events of the last page, never before. */
static void test_killed_between_pages(void **state)
{
    struct calendar_world *w = *state;

    add_google(w);
    calendar_world_give_token(w, "access", 2);
    calendar_world_expect(
        w, &(struct fake_rule){
               .path = EVENTS, .contains = "pageToken=p2", .times = 1, .fault = FAKE_HANG});
    page(w, "pageToken=p2", "b", "\"nextSyncToken\": \"t\"");
    page(w, "timeMin", "a", "\"nextPageToken\": \"p2\"");
    struct harness_proc *p = start_tick(w);
    await_request(w, EVENTS, 2);
    harness_proc_kill(p);
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM calendar_event"), 0);
    assert_true(harness_bool(w->h, "SELECT sync_token IS NULL FROM calendar_credentials"));
    (void)recover(w);
    expect_whole(w, 2);
    fake_release(w->fake);
}

static void test_killed_in_parse(void **state)
{
    struct calendar_world *w = *state;
    const char *start = calendar_text_ics_time(w, 60);

    add_ics(w);
    calendar_text_begin(w);
    calendar_text_event(w, "m", 60, NULL);
    for (int i = 0; i < LARGE; i++)
        buf_addf(&w->text,
            "BEGIN:VEVENT\r\nUID:%d\r\nDTSTART:%s\r\nRRULE:FREQ=YEARLY;COUNT=1\r\nSTATUS:"
            "CANCELLED\r\n"
            "END:VEVENT\r\n",
            i, start);
    calendar_world_serve(w, "/a.ics", calendar_text_end(w));
    struct harness_proc *p = start_tick(w);
    harness_proc_await_log(p, "to=parse", SOON_MS);
    harness_proc_kill(p);
    assert_false(harness_proc_logged(p, "to=apply"));
    (void)recover(w);
    expect_whole(w, 1);
}

/* Killed while its statement waits: PostgreSQL still carries it out when the lock goes, or it
 * does not; both are whole. */
static void test_killed_in_apply(void **state)
{
    struct calendar_world *w = *state;
    PGconn *holder = harness_connect(w->h, NULL);

    add_ics(w);
    calendar_world_serve(w, "/a.ics", meeting(w));
    calendar_world_expect(
        w, &(struct fake_rule){
               .path = "/a.ics", .times = 1, .fault = FAKE_HANG, .body = buf_str(&w->text)});
    struct harness_proc *p = start_tick(w);
    await_request(w, "/a.ics", 1);
    PQclear(PQexec(holder, "BEGIN; SELECT FROM calendar_credentials FOR UPDATE"));
    fake_release(w->fake);
    harness_proc_await_log(p, "to=apply", SOON_MS);
    harness_await(w->h, SOON_MS, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)");
    harness_proc_kill(p);
    PQclear(PQexec(holder, "COMMIT"));
    harness_disconnect(w->h, holder);
    harness_await(w->h, SOON_MS, "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted)");
    (void)recover(w);
    expect_whole(w, 1);
}

static void test_killed_in_settle(void **state)
{
    struct calendar_world *w = *state;
    PGconn *holder = harness_connect(w->h, NULL);

    add_ics(w);
    calendar_world_expect(
        w, &(struct fake_rule){.path = "/a.ics", .times = 1, .fault = FAKE_HANG, .status = 503});
    calendar_world_serve(w, "/a.ics", meeting(w));
    struct harness_proc *p = start_tick(w);
    await_request(w, "/a.ics", 1);
    PQclear(PQexec(holder, "BEGIN; SELECT FROM calendar_credentials FOR UPDATE"));
    fake_release(w->fake);
    harness_proc_await_log(p, "to=settle", SOON_MS);
    harness_await(w->h, SOON_MS, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)");
    harness_proc_kill(p);
    PQclear(PQexec(holder, "COMMIT"));
    harness_disconnect(w->h, holder);
    harness_await(w->h, SOON_MS, "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted)");
    (void)recover(w);
    expect_whole(w, 1);
}

/* A calendar that takes every process along is left alone after the third rescue. */
static void test_poison_is_quarantined(void **state)
{
    struct calendar_world *w = *state;

    add_ics(w);
    calendar_world_expect(w, &(struct fake_rule){.path = "/a.ics", .times = 4, .fault = FAKE_HANG});
    calendar_world_add_user(w, 8);
    calendar_world_add_ics(w, 8, "/b.ics");
    calendar_world_serve(w, "/b.ics", meeting(w));
    for (size_t i = 1; i <= 4; i++) {
        struct harness_proc *p = start_tick(w);
        await_request(w, "/a.ics", i);
        harness_proc_await_log(p, "Calendar sync completed for user 8", SOON_MS);
        harness_proc_kill(p);
        harness_clock_advance(w->h, "6 minutes");
    }
    struct harness_proc *p = calendar_world_spawn(w, NULL);
    calendar_world_tick(w);
    harness_proc_await_log(p, "Calendar of user 7 is left alone for an hour", SOON_MS);
    assert_true(harness_bool(w->h,
        "SELECT locked_at IS NULL AND failure ->> 'code' = 'quarantined' AND next_sync_at > now() +"
        " interval '59 minutes' FROM calendar_credentials WHERE id = 7"));
    assert_true(harness_bool(w->h, "SELECT last_success_at IS NOT NULL AND failures = 0 FROM "
                                   "calendar_credentials WHERE id = 8"));
    fake_release(w->fake);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, calendar_world_setup, calendar_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_killed_in_claim),
        TEST(test_killed_in_token),
        TEST(test_killed_in_fetch),
        TEST(test_killed_between_pages),
        TEST(test_killed_in_parse),
        TEST(test_killed_in_apply),
        TEST(test_killed_in_settle),
        TEST(test_poison_is_quarantined),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
