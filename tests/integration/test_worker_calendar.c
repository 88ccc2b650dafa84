/*
 * worker-calendar as its own role against a scripted provider: what each answer of a calendar
 * comes to, and that one calendar's trouble is nobody else's.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/secret.h"
#include "tests/support/calendar_world.h"

#define SOON_MS   20000
#define EVENTS    "/calendar/v3/calendars/primary/events"
#define DEEP      100000
#define EMPTY_ICS "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n"

/* --- calendars in texts ----------------------------------------------------------------------- */

static void serve_meeting(struct calendar_world *w, int minutes, const char *lines)
{
    calendar_text_begin(w);
    calendar_text_event(w, "m", minutes, lines);
    calendar_world_serve(w, "/a.ics", calendar_text_end(w));
}

static void test_pending_follows_the_meeting(void **state)
{
    struct calendar_world *w = *state;

    calendar_world_add_user(w, 7);
    calendar_world_add_ics(w, 7, "/a.ics");
    serve_meeting(w, 60, NULL);
    (void)calendar_world_spawn(w, NULL);
    calendar_world_tick(w);
    calendar_world_expect_pending(w, "m", calendar_text_time(w, 60));

    serve_meeting(w, 90, NULL);
    const char *moved = calendar_text_time(w, 90);
    calendar_world_next_tick(w);
    calendar_world_expect_pending(w, "m", moved);

    serve_meeting(w, 89, "RRULE:FREQ=DAILY;COUNT=3\r\n");
    calendar_world_next_tick(w);
    calendar_world_expect_pending(w, "m", moved);
    assert_int_equal(calendar_world_count(w, "calendar_event WHERE status <> 'cancelled'"), 3);

    serve_meeting(w, 88, "STATUS:CANCELLED\r\n");
    calendar_world_next_tick(w);
    calendar_world_expect_pending(w, "m", NULL);
    assert_int_equal(calendar_world_count(w, "calendar_event WHERE status <> 'cancelled'"), 0);

    /* While the provider is down, what is stored is planned when it comes near. */
    serve_meeting(w, 1450, NULL);
    calendar_world_next_tick(w);
    calendar_world_expect_pending(w, "m", NULL);
    const char *far = calendar_text_time(w, 1449);
    fake_file_drop(w->fake, "/a.ics");
    calendar_world_expect(w, &(struct fake_rule){.path = "/a.ics", .status = 503});
    harness_clock_advance(w->h, "20 minutes");
    calendar_world_tick(w);
    calendar_world_expect_pending(w, "m", far);
}

static void serve_in_new_york(struct calendar_world *w, const char *local)
{
    buf_reset(&w->text);
    buf_addf(&w->text,
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:m\r\nSUMMARY:m\r\n"
        "DTSTART;TZID=America/New_York:%s\r\nDURATION:PT30M\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
        local);
    calendar_world_serve(w, "/a.ics", buf_str(&w->text));
}

/* New York's clocks go forward on 14 March 2027 at two: nine o'clock is at 14:00 UTC the day before
 * and at 13:00 UTC that day. */
static void test_moved_across_a_change_of_clocks(void **state)
{
    struct calendar_world *w = *state;

    harness_exec(w->h, "UPDATE public.test_clock SET shift = timestamptz '2027-03-13 13:30:00+00'"
                       " - pg_catalog.now()");
    calendar_world_add_user(w, 7);
    calendar_world_add_ics(w, 7, "/a.ics");
    serve_in_new_york(w, "20270313T090000");
    (void)calendar_world_spawn(w, NULL);
    calendar_world_tick(w);
    calendar_world_expect_pending(w, "m", "2027-03-13T14:00:00Z");
    serve_in_new_york(w, "20270314T090000");
    calendar_world_next_tick(w);
    calendar_world_expect_pending(w, "m", "2027-03-14T13:00:00Z");
    assert_true(harness_bool(w->h, "SELECT min(due_at) = timestamptz '2027-03-14 12:48:00+00'"
                                   " FROM notification WHERE pending"));
    /* And back to the evening before, when the old offset holds again. */
    serve_in_new_york(w, "20270313T210000");
    calendar_world_next_tick(w);
    calendar_world_expect_pending(w, "m", "2027-03-14T02:00:00Z");
}

static void test_files(void **state)
{
    struct calendar_world *w = *state;
    char *secret = NULL, *link = NULL, *fifo = NULL;
    static const char *const why[] = {"not below the folder", "not below the folder",
        "no regular file", "no such file", "larger than CALENDAR_MAX_BODY"};

    calendar_text_begin(w);
    calendar_text_event(w, "m", 60, NULL);
    const char *good = harness_write_file(w->h, "a b.ics", calendar_text_end(w));
    assert_true(asprintf(&secret, "%s/link.ics", harness_dir(w->h)) > 0);
    assert_int_equal(symlink("/etc/hostname", secret), 0);
    assert_true(asprintf(&fifo, "%s/fifo.ics", harness_dir(w->h)) > 0);
    assert_int_equal(mkfifo(fifo, 0666), 0);
    char *big = calloc(1, 100001);
    assert_non_null(big);
    memset(big, '\n', 100000);
    (void)harness_write_file(w->h, "big.ics", big);
    free(big);
    for (int id = 1; id <= 6; id++)
        calendar_world_add_user(w, id);
    assert_true(
        asprintf(&link, "file://%.*s/a%%20b.ics", (int)(strrchr(good, '/') - good), good) > 0);
    calendar_world_add_ics(w, 1, link);
    free(link);
    const char *const bad[] = {
        "/../../../etc/hostname", "/link.ics", "/fifo.ics", "/none.ics", "/big.ics"};
    for (int i = 0; i < 5; i++) {
        assert_true(asprintf(&link, "file://%s%s", harness_dir(w->h), bad[i]) > 0);
        calendar_world_add_ics(w, i + 2, link);
        free(link);
    }
    struct harness_proc *p =
        calendar_world_spawn(w, (const char *const[]){"CALENDAR_MAX_BODY=64k", NULL});
    calendar_world_tick(w);
    harness_proc_await_log(p, "Tick completed: 1 succeeded, 5 failed, ", SOON_MS);
    for (int i = 0; i < 5; i++) {
        char *line = NULL;
        assert_true(asprintf(&line, "Calendar sync failed for user %d: file: ", i + 2) > 0);
        assert_true(harness_proc_logged(p, line));
        assert_true(harness_proc_logged(p, why[i]));
        free(line);
    }
    free(secret);
    free(fifo);
}

static void test_private_addresses_are_refused(void **state)
{
    struct calendar_world *w = *state;

    calendar_world_add_user(w, 7);
    calendar_world_add_ics(w, 7, "/a.ics");
    struct harness_proc *p =
        calendar_world_spawn(w, (const char *const[]){"CALENDAR_ALLOW_PRIVATE=false", NULL});
    calendar_world_tick(w);
    harness_proc_await_log(p, "Calendar sync failed for user 7: ", SOON_MS);
    assert_true(harness_proc_logged(p, "CALENDAR_ALLOW_PRIVATE"));
    assert_int_equal(fake_request_count(w->fake), 0);
}

static void test_sealed_address_and_redirect(void **state)
{
    struct calendar_world *w = *state;
    struct buf sealed = BUF_INIT(4096), address = BUF_INIT(1024);
    static const char *const to[] = {"Location: /private-token/real.ics", NULL};

    calendar_world_add_user(w, 7);
    buf_addf(&address, "%s/private-token/a.ics", fake_provider_url(w->fake));
    assert_int_equal(secret_seal(w->ring, "calendar_credentials.sealed", buf_str(&address),
                         address.len, &sealed),
        0);
    harness_execf(w->h,
        "INSERT INTO calendar_credentials (id, user_id, provider, sealed) VALUES (7, 7, 'ics', "
        "'%s')",
        buf_str(&sealed));
    buf_release(&sealed);
    buf_release(&address);
    calendar_text_begin(w);
    calendar_text_event(w, "m", 60, NULL);
    calendar_world_serve(w, "/private-token/real.ics", calendar_text_end(w));
    calendar_world_expect(
        w, &(struct fake_rule){
               .path = "/private-token/a.ics", .times = 1, .status = 302, .headers = to});
    calendar_world_expect(w, &(struct fake_rule){.path = "/private-token/a.ics", .status = 403});
    struct harness_proc *p = calendar_world_spawn(w, NULL);
    calendar_world_tick(w);
    harness_proc_await_log(p, "user 7: 1 created, 0 skipped", SOON_MS);
    calendar_world_next_tick(w);
    harness_proc_await_log(p, "Calendar sync failed for user 7: ", SOON_MS);
    assert_false(harness_proc_logged(p, "private-token"));
    assert_int_equal(
        calendar_world_count(w, "calendar_credentials WHERE failure::text LIKE '%private-token%'"),
        0);
}

/* --- one fails, the others do not ------------------------------------------------------------- */

#define HEALTHY 6

static void add_failing(struct calendar_world *w)
{
    struct buf deep = BUF_INIT((size_t)1 << 20);
    static const char *const unauthorized =
        "{\"error\": {\"code\": 401, \"errors\": [{\"reason\": \"authError\"}]}}";

    for (int id = 101; id <= 108; id++)
        calendar_world_add_user(w, id);
    calendar_world_add_ics(w, 101, "http://127.0.0.1:1/refused.ics");
    calendar_world_add_ics(w, 102, "/hang.ics");
    calendar_world_expect(w, &(struct fake_rule){.path = "/hang.ics", .fault = FAKE_HANG});
    calendar_world_add_ics(w, 103, "/500.ics");
    calendar_world_expect(w, &(struct fake_rule){.path = "/500.ics", .times = 1, .status = 500});
    calendar_world_add_google(w, 104, "revoked");
    calendar_world_expect(w, &(struct fake_rule){.path = "/calendar/v3/calendars/revoked/events",
                                 .times = 1,
                                 .status = 401,
                                 .body = unauthorized});
    calendar_world_add_ics(w, 105, "/broken.ics");
    calendar_world_serve(w, "/broken.ics", "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:x\r\n");
    calendar_world_add_ics(w, 106, "/huge.ics");
    calendar_world_expect(w,
        &(struct fake_rule){.path = "/huge.ics", .times = 1, .fault = FAKE_HUGE, .size = 50 << 20});
    calendar_world_add_google(w, 107, "deep");
    for (int i = 0; i < DEEP; i++)
        buf_add_str(&deep, "{\"a\":[");
    calendar_world_expect(
        w, &(struct fake_rule){
               .path = "/calendar/v3/calendars/deep/events", .times = 1, .body = buf_str(&deep)});
    buf_release(&deep);
    calendar_world_add_ics(w, 108, "/cut.ics");
    calendar_world_serve(w, "/cut.ics", EMPTY_ICS);
    calendar_world_expect(w, &(struct fake_rule){.path = "/cut.ics",
                                 .times = 1,
                                 .fault = FAKE_CUT,
                                 .body = EMPTY_ICS EMPTY_ICS EMPTY_ICS});
}

/* Two Google users and four with texts; the first token of user 104 holds, the next is refused. */
static void add_healthy(struct calendar_world *w)
{
    char path[64];

    calendar_text_begin(w);
    calendar_text_event(w, "m", 60, NULL);
    const char *text = calendar_text_end(w);
    for (int id = 1; id <= HEALTHY; id++) {
        calendar_world_add_user(w, id);
        if (id <= 2) {
            calendar_world_add_google(w, id, "primary");
            continue;
        }
        (void)snprintf(path, sizeof path, "/%d.ics", id);
        calendar_world_serve(w, path, text);
        calendar_world_add_ics(w, id, path);
    }
    char *page = NULL;
    assert_true(asprintf(&page,
                    "{\"items\": [{\"id\": \"e\", \"status\": \"confirmed\", \"summary\": \"m\","
                    " \"start\": {\"dateTime\": \"%s\"}, \"end\": {\"dateTime\": \"%s\"}}],"
                    " \"nextSyncToken\": \"t1\"}",
                    calendar_text_time(w, 60), calendar_text_time(w, 90)) > 0);
    calendar_world_expect(w, &(struct fake_rule){.path = EVENTS, .times = 2, .body = page});
    free(page);
}

static void test_one_failing_calendar_is_nobody_elses(void **state)
{
    struct calendar_world *w = *state;

    add_healthy(w);
    add_failing(w);
    /* Four exchanges at first, then the one after the 401, which is refused. */
    calendar_world_give_token(w, "good", 4);
    calendar_world_expect(w,
        &(struct fake_rule){
            .path = "/token", .times = 1, .status = 400, .body = "{\"error\": \"invalid_grant\"}"});
    struct harness_proc *p =
        calendar_world_spawn(w, (const char *const[]){"CALENDAR_FETCH_TIMEOUT=2s", NULL});
    calendar_world_tick(w);
    harness_proc_await_log(p, "Tick completed: 6 succeeded, 8 failed, ", SOON_MS);
    for (int id = 1; id <= HEALTHY; id++)
        assert_int_equal(
            harness_intf(w->h,
                "SELECT count(*) FROM notification AS n JOIN incident AS i ON i.id ="
                " n.incident_id WHERE n.user_id = %d AND i.user_id = %d AND i.title = 'm'",
                id, id),
            3);
    for (int id = 101; id <= 108; id++) {
        char line[80];
        (void)snprintf(line, sizeof line, "Calendar sync failed for user %d: ", id);
        assert_int_equal(harness_proc_count_log(p, line), 1);
        assert_int_equal(harness_intf(w->h,
                             "SELECT failures FROM calendar_credentials WHERE user_id = %d AND"
                             " locked_at IS NULL AND failure IS NOT NULL AND next_sync_at > now()",
                             id),
            1);
    }
    assert_int_equal(calendar_world_count(w, "calendar_credentials WHERE dead_at IS NOT NULL"), 1);
    assert_int_equal(
        calendar_world_count(w, "notification WHERE user_id = 104 AND kind = 'calendar_dead'"), 1);
    /* The next tick leaves those that are backed off, and the dead one, alone. */
    size_t before = fake_request_count(w->fake);
    harness_exec(w->h, "UPDATE calendar_credentials SET next_sync_at = now() + interval '1 hour'"
                       " WHERE user_id <= 6");
    calendar_world_tick(w);
    assert_int_equal(fake_request_count(w->fake), before);
    fake_release(w->fake);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

/* --- life ------------------------------------------------------------------------------------- */

static void test_drain_gives_back(void **state)
{
    struct calendar_world *w = *state;

    calendar_world_add_user(w, 7);
    calendar_world_add_ics(w, 7, "/a.ics");
    calendar_world_expect(w, &(struct fake_rule){.path = "/a.ics", .times = 1, .fault = FAKE_HANG});
    struct harness_proc *p = calendar_world_spawn(
        w, (const char *const[]){"CALENDAR_FETCH_TIMEOUT=4m", "TOCSIN_DRAIN_TIMEOUT=1s", NULL});
    (void)calendar_world_enqueue(w);
    assert_true(fake_wait_requests(w->fake, 1, SOON_MS));
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    assert_true(
        harness_bool(w->h, "SELECT locked_at IS NULL AND failures = 0 AND next_sync_at <= now()"
                           " FROM calendar_credentials"));
    fake_release(w->fake);
    calendar_world_serve(w, "/a.ics", EMPTY_ICS);
    p = calendar_world_spawn(w, NULL);
    harness_proc_await_log(p, "user 7: 0 created, 0 skipped", SOON_MS);
}

static void test_postgres_comes_back(void **state)
{
    struct calendar_world *w = *state;

    calendar_world_add_user(w, 7);
    calendar_world_add_ics(w, 7, "/a.ics");
    calendar_world_expect(w, &(struct fake_rule){.path = "/a.ics", .times = 1, .fault = FAKE_HANG});
    calendar_text_begin(w);
    calendar_text_event(w, "m", 60, NULL);
    const char *text = calendar_text_end(w);
    struct harness_proc *p = calendar_world_spawn(w, NULL);
    (void)calendar_world_enqueue(w);
    assert_true(fake_wait_requests(w->fake, 1, SOON_MS));
    harness_postgres_stop(w->h);
    calendar_world_serve(w, "/a.ics", text);
    fake_release(w->fake);
    harness_proc_await_log(p, "connection", SOON_MS);
    harness_postgres_start(w->h);
    harness_await(w->h, CALENDAR_WORLD_PATIENCE_MS, "SELECT count(*) = 0 FROM job_run");
    harness_exec(w->h, "UPDATE calendar_credentials SET next_sync_at = now()");
    calendar_world_tick(w);
    harness_await(
        w->h, CALENDAR_WORLD_PATIENCE_MS, "SELECT count(*) = 3 FROM notification WHERE pending");
    assert_true(harness_proc_alive(p));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, calendar_world_setup, calendar_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_pending_follows_the_meeting),
        TEST(test_moved_across_a_change_of_clocks),
        TEST(test_files),
        TEST(test_private_addresses_are_refused),
        TEST(test_sealed_address_and_redirect),
        TEST(test_one_failing_calendar_is_nobody_elses),
        TEST(test_drain_gives_back),
        cmocka_unit_test_setup_teardown(
            test_postgres_comes_back, calendar_world_setup_alone, calendar_world_teardown),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
