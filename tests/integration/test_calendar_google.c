/*
 * worker-calendar against what Google Calendar answers: pages, changes, deletions, and each kind
 * of refusal.
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

#define SOON_MS 20000
#define EVENTS  "/calendar/v3/calendars/primary/events"

static void google_page(
    struct calendar_world *w, const char *contains, const char *items, const char *rest)
{
    char *body = NULL;

    assert_true(
        asprintf(&body, "{\"kind\": \"calendar#events\", \"items\": [%s], %s}", items, rest) > 0);
    calendar_world_expect(
        w, &(struct fake_rule){.path = EVENTS, .contains = contains, .times = 1, .body = body});
    free(body);
}

static const char *google_item(
    struct calendar_world *w, const char *id, int minutes, const char *more)
{
    static char item[1024];

    (void)snprintf(item, sizeof item,
        "{\"id\": \"%s\", \"summary\": \"%s\", \"start\": {\"dateTime\": \"%s\"}, \"end\": "
        "{\"dateTime\":"
        " \"%s\"}%s}",
        id, id, calendar_text_time(w, minutes), calendar_text_time(w, minutes + 30), more);
    return item;
}

static void test_google_pages_and_changes(void **state)
{
    struct calendar_world *w = *state;

    calendar_world_add_user(w, 7);
    calendar_world_add_google(w, 7, "primary");
    calendar_world_give_token(w, "access", 1);
    google_page(w, "timeMin=", google_item(w, "a", 60, ""), "\"nextPageToken\": \"p+2\"");
    google_page(w, "pageToken=p%2B2", "", "\"nextPageToken\": \"p3\"");
    google_page(w, "pageToken=p3",
        google_item(w, "s_1", 120, ", \"recurringEventId\": \"s\", \"status\": \"tentative\""),
        "\"nextSyncToken\": \"t1\"");
    struct harness_proc *p = calendar_world_spawn(w, NULL);
    calendar_world_tick(w);
    harness_proc_await_log(p, "user 7: 2 created, 0 skipped", SOON_MS);
    calendar_world_expect_pending(w, "a", calendar_text_time(w, 60));
    calendar_world_expect_pending(w, "s_1", calendar_text_time(w, 120));
    const struct fake_request *first = fake_request_at(w->fake, 1);
    assert_string_equal(fake_request_header(first, "Authorization"), "Bearer access");
    assert_string_equal(fake_request_param(first, "singleEvents"), "true");

    /* What has changed: one moved, the instance deleted by its bare id. */
    google_page(w, "syncToken=t1", "{\"id\": \"s_1\", \"status\": \"cancelled\"}",
        "\"nextSyncToken\": \"t2\"");
    calendar_world_next_tick(w);
    calendar_world_expect_pending(w, "s_1", NULL);
    google_page(w, "syncToken=t2", google_item(w, "a", 90, ""), "\"nextSyncToken\": \"t3\"");
    const char *moved = calendar_text_time(w, 90);
    calendar_world_next_tick(w);
    calendar_world_expect_pending(w, "a", moved);
    assert_null(fake_request_param(fake_request_at(w->fake, 5), "timeMin"));

    /* The token is too old: dropped, everything read, in the same sync. */
    calendar_world_expect(
        w, &(struct fake_rule){.path = EVENTS,
               .contains = "syncToken=t3",
               .times = 1,
               .status = 410,
               .body = "{\"error\": {\"errors\": [{\"reason\": \"fullSyncRequired\"}]}}"});
    google_page(w, "timeMin=", google_item(w, "b", 30, ""), "\"nextSyncToken\": \"t4\"");
    calendar_world_next_tick(w);
    calendar_world_expect_pending(w, "a", NULL);
    assert_true(
        harness_bool(w->h, "SELECT sync_token = 't4' AND failures = 0 FROM calendar_credentials"));
    assert_int_equal(calendar_world_requests(w, "/token"), 1);
}

static void expect_once(
    struct calendar_world *w, int status, const char *body, const char *const *headers)
{
    calendar_world_expect(
        w, &(struct fake_rule){
               .path = EVENTS, .times = 1, .status = status, .body = body, .headers = headers});
}

static void test_google_refusals(void **state)
{
    struct calendar_world *w = *state;
    static const char *const later[] = {"Retry-After: 600", NULL};

    calendar_world_add_user(w, 7);
    calendar_world_add_google(w, 7, "primary");
    calendar_world_give_token(w, "access", 0);
    struct harness_proc *p = calendar_world_spawn(w, NULL);

    /* 401: another token, once, and on. */
    expect_once(w, 401, "{\"error\": {\"errors\": [{\"reason\": \"authError\"}]}}", NULL);
    google_page(w, "timeMin=", "", "\"nextSyncToken\": \"t1\"");
    calendar_world_tick(w);
    harness_proc_await_log(p, "user 7: 0 created, 0 skipped", SOON_MS);
    assert_int_equal(calendar_world_requests(w, "/token"), 2);

    /* A limit, whatever its status: back off, at least as long as was asked for. */
    expect_once(w, 429, "{}", later);
    calendar_world_next_tick(w);
    assert_true(harness_bool(w->h, "SELECT failures = 1 AND next_sync_at > now() + interval '9 min'"
                                   " AND (failure ->> 'final')::boolean IS FALSE"
                                   " FROM calendar_credentials"));
    expect_once(
        w, 403, "{\"error\": {\"errors\": [{\"reason\": \"userRateLimitExceeded\"}]}}", NULL);
    harness_clock_advance(w->h, "10 minutes");
    calendar_world_tick(w);
    assert_true(
        harness_bool(w->h, "SELECT failures = 2 AND NOT (failure ->> 'final')::boolean AND"
                           " next_sync_at < now() + interval '3 min' FROM calendar_credentials"));

    /* Another 403 does not pass; its answer stands on the row. */
    expect_once(w, 403,
        "{\"error\": {\"message\": \"not enabled\", \"errors\": [{\"reason\": "
        "\"accessNotConfigured\"}]}}",
        NULL);
    harness_clock_advance(w->h, "3 minutes");
    calendar_world_tick(w);
    assert_true(
        harness_bool(w->h, "SELECT (failure ->> 'final')::boolean AND failure ->> 'detail' LIKE"
                           " '%accessNotConfigured: not enabled' AND dead_at IS NULL"
                           " FROM calendar_credentials"));

    /* 404: the calendar is not there any more. Told once; then nothing is asked. */
    expect_once(w, 404, "{}", NULL);
    harness_clock_advance(w->h, "2 hours");
    calendar_world_tick(w);
    assert_true(harness_bool(w->h, "SELECT dead_at IS NOT NULL FROM calendar_credentials"));
    assert_int_equal(calendar_world_count(w, "notification WHERE kind = 'calendar_dead'"), 1);
    size_t before = fake_request_count(w->fake);
    harness_clock_advance(w->h, "3 hours");
    calendar_world_tick(w);
    assert_int_equal(fake_request_count(w->fake), before);
}

/* A token that is refused right after it was given: asked for twice, not for ever. */
static void test_google_refuses_every_token(void **state)
{
    struct calendar_world *w = *state;

    calendar_world_add_user(w, 7);
    calendar_world_add_google(w, 7, "primary");
    calendar_world_give_token(w, "access", 2);
    calendar_world_expect(w, &(struct fake_rule){.path = EVENTS, .times = 2, .status = 401});
    struct harness_proc *p = calendar_world_spawn(w, NULL);
    calendar_world_tick(w);
    harness_proc_await_log(p, "Calendar sync failed for user 7: Google answered 401", SOON_MS);
    assert_true(harness_bool(w->h, "SELECT failures = 1 AND dead_at IS NULL AND locked_at IS NULL"
                                   " FROM calendar_credentials"));
}

/* The sync token runs out between two pages: what the first had brought is thrown away. */
static void test_google_token_ends_between_pages(void **state)
{
    struct calendar_world *w = *state;

    calendar_world_add_user(w, 7);
    calendar_world_add_google(w, 7, "primary");
    calendar_world_give_token(w, "access", 1);
    google_page(w, "timeMin=", google_item(w, "a", 60, ""), "\"nextSyncToken\": \"t1\"");
    struct harness_proc *p = calendar_world_spawn(w, NULL);
    calendar_world_tick(w);
    google_page(w, "syncToken=t1", google_item(w, "ghost", 90, ""), "\"nextPageToken\": \"p2\"");
    calendar_world_expect(w,
        &(struct fake_rule){
            .path = EVENTS, .contains = "pageToken=p2", .times = 1, .status = 410, .body = "{}"});
    google_page(w, "timeMin=", google_item(w, "b", 120, ""), "\"nextSyncToken\": \"t2\"");
    const char *start = calendar_text_time(w, 120);
    harness_clock_advance(w->h, "1 minute");
    calendar_world_tick(w);
    harness_proc_await_log(p, "user 7: 1 created, 0 skipped", SOON_MS);
    calendar_world_expect_pending(w, "a", NULL);
    calendar_world_expect_pending(w, "ghost", NULL);
    calendar_world_expect_pending(w, "b", start);
    assert_null(fake_request_param(fake_request_at(w->fake, 4), "pageToken"));
    assert_true(harness_bool(w->h, "SELECT sync_token = 't2' FROM calendar_credentials"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, calendar_world_setup, calendar_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_google_pages_and_changes),
        TEST(test_google_refusals),
        TEST(test_google_refuses_every_token),
        TEST(test_google_token_ends_between_pages),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
