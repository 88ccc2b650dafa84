/*
 * What a tick of worker-calendar claims, and what it asks again of servers that it has asked
 * before.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/calendar_world.h"

#define SOON_MS   20000
#define EMPTY_ICS "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n"

static void test_conditional_requests(void **state)
{
    struct calendar_world *w = *state;

    calendar_world_add_user(w, 7);
    calendar_world_add_ics(w, 7, "/a.ics");
    calendar_text_begin(w);
    calendar_text_event(w, "one", 60, NULL);
    calendar_text_event(w, "two", 120, NULL);
    const char *text = calendar_text_end(w);
    assert_int_equal(fake_file(w->fake, "/a.ics", "text/calendar", text, "\"v1\"", NULL), 0);

    struct harness_proc *p = calendar_world_spawn(w, NULL);
    calendar_world_tick(w);
    harness_proc_await_log(p, "Found 1 users with calendar enabled", SOON_MS);
    harness_proc_await_log(p, "Calendar sync completed for user 7: 2 created, 0 skipped", SOON_MS);
    harness_proc_await_log(p, "Tick completed: 1 succeeded, 0 failed, ", SOON_MS);
    assert_int_equal(harness_proc_count_log(p, " opened: \\\"one\\\" at 20"), 1);
    assert_int_equal(harness_proc_count_log(p, " opened: \\\"two\\\" at 20"), 1);
    assert_int_equal(calendar_world_count(w, "incident WHERE status = 'open'"), 2);
    assert_null(fake_request_header(fake_request_at(w->fake, 0), "If-None-Match"));

    calendar_world_next_tick(w);
    harness_proc_await_log(p, "Calendar sync completed for user 7: 0 created, 2 skipped", SOON_MS);
    assert_string_equal(
        fake_request_header(fake_request_at(w->fake, 1), "If-None-Match"), "\"v1\"");

    /* Less than 28 of the 35 days are left: everything is read anew, and reaches further. */
    harness_exec(
        w->h, "UPDATE calendar_credentials SET window_ends_at = now() + interval '27 days'");
    calendar_world_next_tick(w);
    assert_null(fake_request_header(fake_request_at(w->fake, 2), "If-None-Match"));
    assert_true(harness_bool(
        w->h, "SELECT window_ends_at > now() + interval '34 days' FROM calendar_credentials"));

    /* The daily full sync asks for everything too, once. */
    harness_exec(w->h, "SELECT job_run_enqueue('worker-calendar', 'calendar_full_sync')");
    harness_proc_await_log(p, "Full sync asked for: 1 calendars", SOON_MS);
    harness_clock_advance(w->h, "30 minutes");
    calendar_world_tick(w);
    assert_null(fake_request_header(fake_request_at(w->fake, 3), "If-None-Match"));
    calendar_world_next_tick(w);
    assert_non_null(fake_request_header(fake_request_at(w->fake, 4), "If-None-Match"));
    assert_int_equal(fake_request_count(w->fake), 5);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

/* Servers that know a date only, none of both, or that want to be left alone for a while. */
static void test_other_validators_and_retry_after(void **state)
{
    struct calendar_world *w = *state;
    static const char *const later[] = {"Retry-After: 900", NULL};

    for (int id = 1; id <= 3; id++)
        calendar_world_add_user(w, id);
    calendar_world_add_ics(w, 1, "/dated.ics");
    assert_int_equal(fake_file(w->fake, "/dated.ics", "text/calendar", EMPTY_ICS, NULL,
                         "Mon, 02 Mar 2026 09:00:00 GMT"),
        0);
    calendar_world_add_ics(w, 2, "/plain.ics");
    calendar_world_serve(w, "/plain.ics", EMPTY_ICS);
    calendar_world_add_ics(w, 3, "/busy.ics");
    calendar_world_expect(
        w, &(struct fake_rule){.path = "/busy.ics", .times = 1, .status = 503, .headers = later});
    struct harness_proc *p = calendar_world_spawn(w, NULL);
    calendar_world_tick(w);
    assert_true(harness_bool(w->h, "SELECT next_sync_at > now() + interval '14 minutes'"
                                   " FROM calendar_credentials WHERE id = 3"));
    int applied = harness_proc_count_log(p, "to=apply");
    calendar_world_next_tick(w);
    harness_proc_await_log(p, "Calendar sync completed for user 2: 0 created", SOON_MS);
    /* Neither was read again: one by its answer, the other by its text. */
    assert_int_equal(harness_proc_count_log(p, "to=apply"), applied);
    bool asked = false;
    for (size_t i = 0; i < fake_request_count(w->fake); i++) {
        const char *since = fake_request_header(fake_request_at(w->fake, i), "If-Modified-Since");
        asked = asked || (since && strcmp(since, "Mon, 02 Mar 2026 09:00:00 GMT") == 0);
    }
    assert_true(asked);
}

/* Users are known by what they have connected: neither by being there, nor by what they took back.
 */
static void test_revoked_are_left_out(void **state)
{
    struct calendar_world *w = *state;

    for (int id = 1; id <= 3; id++)
        calendar_world_add_user(w, id);
    calendar_world_add_ics(w, 1, "/a.ics");
    calendar_world_serve(w, "/a.ics", EMPTY_ICS);
    calendar_world_add_ics(w, 2, "/none.ics");
    harness_exec(w->h, "UPDATE calendar_credentials SET revoked_at = now() WHERE id = 2");
    struct harness_proc *p = calendar_world_spawn(w, NULL);
    calendar_world_tick(w);
    harness_proc_await_log(p, "Found 1 users with calendar enabled", SOON_MS);
    harness_proc_await_log(p, "Tick completed: 1 succeeded, 0 failed, ", SOON_MS);
    assert_int_equal(fake_request_count(w->fake), 1);
}

/* No more are claimed than may be in flight; the others follow. */
static void test_in_flight_is_bounded(void **state)
{
    struct calendar_world *w = *state;
    char path[64];

    for (int id = 1; id <= 3; id++) {
        (void)snprintf(path, sizeof path, "/%d.ics", id);
        calendar_world_add_user(w, id);
        calendar_world_add_ics(w, id, path);
        harness_execf(w->h,
            "UPDATE calendar_credentials SET next_sync_at = now() - interval '%d s' WHERE id = %d",
            10 - id, id);
        calendar_world_serve(w, path, EMPTY_ICS);
        if (id <= 2)
            calendar_world_expect(
                w, &(struct fake_rule){
                       .path = path, .times = 1, .fault = FAKE_HANG, .body = EMPTY_ICS});
    }
    struct harness_proc *p =
        calendar_world_spawn(w, (const char *const[]){"CALENDAR_IN_FLIGHT=2", NULL});
    int64_t run = calendar_world_enqueue(w);
    assert_true(fake_wait_requests(w->fake, 2, SOON_MS));
    assert_int_equal(calendar_world_count(w, "calendar_credentials WHERE id = 3 AND (locked_at IS "
                                             "NOT NULL OR last_success_at IS NOT NULL)"),
        0);
    fake_release(w->fake);
    calendar_world_await_run(w, run);
    harness_proc_await_log(p, "Tick completed: 3 succeeded, 0 failed, ", SOON_MS);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, calendar_world_setup, calendar_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_conditional_requests),
        TEST(test_other_validators_and_retry_after),
        TEST(test_revoked_are_left_out),
        TEST(test_in_flight_is_bounded),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
