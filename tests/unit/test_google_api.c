/* Google's answers: what is asked of it, and what each answer means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/secret.h"
#include "worker-calendar/google_api.h"
#include "worker-calendar/google_tokens.h"

#define REASON(text) "{\"error\": {\"message\": \"m\", \"errors\": [{\"reason\": \"" text "\"}]}}"

static void test_verdicts(void **state)
{
    static const struct {
        long status;
        const char *body;
        bool used_token;
        enum google_verdict verdict;
        bool final;
    } cases[] = {
        {200, "{}", false, GOOGLE_OK, false},
        {401, REASON("authError"), false, GOOGLE_REFRESH, false},
        {403, REASON("rateLimitExceeded"), false, GOOGLE_FAILED, false},
        {403, REASON("userRateLimitExceeded"), true, GOOGLE_FAILED, false},
        {403, REASON("quotaExceeded"), false, GOOGLE_FAILED, false},
        {403, REASON("forbidden"), false, GOOGLE_FAILED, true},
        {403, "not JSON", false, GOOGLE_FAILED, true},
        {404, REASON("notFound"), false, GOOGLE_DEAD, true},
        {410, REASON("fullSyncRequired"), true, GOOGLE_FULL_SYNC, false},
        {410, REASON("deleted"), false, GOOGLE_FAILED, true},
        {400, REASON("invalid"), true, GOOGLE_FULL_SYNC, false},
        {400, REASON("invalid"), false, GOOGLE_FAILED, true},
        {429, "", false, GOOGLE_FAILED, false},
        {500, REASON("backendError"), false, GOOGLE_FAILED, false},
        {503, "", true, GOOGLE_FAILED, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct failure f;
        failure_clear(&f);
        enum google_verdict verdict = google_events_verdict(
            cases[i].status, cases[i].body, strlen(cases[i].body), cases[i].used_token, &f);
        if (verdict != cases[i].verdict || f.final != cases[i].final ||
            (f.code == 0) != (verdict == GOOGLE_OK))
            fail_msg("case %zu: verdict %d, final %d, code %d", i, (int)verdict, f.final, f.code);
    }
}

static void test_urls(void **state)
{
    struct buf url = BUF_INIT(4096);
    struct google_query q = {.base = "https://g/v3",
        .calendar = "a b@group.calendar.google.com",
        .window_start = 1772323200,
        .window_end = 1775347200};
    (void)state;
    google_events_url(&q, &url);
    assert_string_equal(buf_str(&url),
        "https://g/v3/calendars/a%20b%40group.calendar.google.com/events?singleEvents=true"
        "&maxResults=2500&maxAttendees=1&eventTypes=default&timeMin=2026-03-01T00%3A00%3A00Z"
        "&timeMax=2026-04-05T00%3A00%3A00Z");
    buf_reset(&url);
    q.sync_token = "t+1=";
    q.page_token = "p&2";
    google_events_url(&q, &url);
    assert_non_null(
        strstr(buf_str(&url), "&eventTypes=default&syncToken=t%2B1%3D&pageToken=p%262"));
    assert_null(strstr(buf_str(&url), "timeM"));
    buf_release(&url);
}

static int read_page(const char *body, struct event_list *list, struct google_page *page)
{
    struct civil_zones *civil = NULL;
    const struct civil_zone *zone = NULL;
    struct buf fault = BUF_INIT(1024);
    assert_int_equal(civil_zones_new(NULL, &civil), 0);
    assert_int_equal(civil_zones_get(civil, "Europe/Berlin", &zone), 0);
    event_list_init(list);
    int err = google_page_read(body, strlen(body), civil, zone, list, &fault, page);
    buf_release(&fault);
    civil_zones_free(civil);
    return err;
}

static void expect_events(const char *items, const char *json)
{
    struct event_list list;
    struct google_page page = {0};
    struct buf body = BUF_INIT(65536);
    buf_addf(&body, "{\"items\": [%s], \"nextPageToken\": \"p\", \"nextSyncToken\": \"\"}", items);
    assert_int_equal(read_page(buf_str(&body), &list, &page), 0);
    assert_string_equal(event_list_json(&list), json);
    assert_string_equal(page.next_page, "p");
    assert_null(page.next_sync);
    google_page_release(&page);
    event_list_release(&list);
    buf_release(&body);
}

static void test_items(void **state)
{
    (void)state;
    expect_events(
        "{\"id\": \"a\", \"summary\": \"t\", \"start\": {\"dateTime\": "
        "\"2026-03-10T09:00:00+01:00\"},"
        " \"end\": {\"dateTime\": \"2026-03-10T10:00:00+01:00\"}, \"attendees\": [{\"self\": true,"
        " \"responseStatus\": \"accepted\"}]}",
        "[{\"uid\":\"a\",\"instance\":\"\",\"title\":\"t\",\"starts_at\":1773129600,\"ends_at\":"
        "1773133200}]");
    expect_events(
        "{\"id\": \"s_1\", \"recurringEventId\": \"s\", \"status\": \"tentative\", \"start\":"
        " {\"date\": \"2026-03-29\"}, \"end\": {\"date\": \"2026-03-30\"}, \"attendees\":"
        " [{\"self\": true, \"responseStatus\": \"declined\"}]}",
        "[{\"uid\":\"s\",\"instance\":\"s_1\",\"title\":\"(no title)\",\"starts_at\":1774738800,"
        "\"ends_at\":1774821600,\"all_day\":true,\"declined\":true,\"status\":\"tentative\"}]");
    expect_events(
        "{\"id\": \"gone\", \"status\": \"cancelled\"}", "[{\"uid\":\"gone\",\"deleted\":true}]");
    expect_events("{\"id\": \"odd\", \"start\": {\"dateTime\": \"later\"}}, {\"noid\": 1}, 7",
        "[{\"uid\":\"odd\",\"kept\":true}]");
    expect_events("{\"id\": \"x\", \"summary\": \"a\\\"b\\n\\u0001\\\\\", \"start\": {\"dateTime\":"
                  " \"2026-03-10T09:00:00Z\"}}",
        "[{\"uid\":\"x\",\"instance\":\"\",\"title\":\"a\\\"b  \\\\\",\"starts_at\":1773133200,"
        "\"ends_at\":1773133200}]");
}

static void test_refused_pages(void **state)
{
    static const char *const bodies[] = {"", "[]", "{\"items\": 5}", "{\"items\": [", "null"};
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct event_list list;
        struct google_page page = {0};
        assert_int_equal(read_page(bodies[i], &list, &page), ERR_INVALID);
        event_list_release(&list);
    }
}

static void test_refresh(void **state)
{
    static const char secret[] =
        "{\"client_id\": \"i\", \"client_secret\": \"a&b\", \"refresh_token\": \"1//x\"}";
    struct buf body = BUF_INIT(4096);
    (void)state;
    assert_int_equal(google_refresh_body(secret, strlen(secret), &body), 0);
    assert_string_equal(buf_str(&body),
        "grant_type=refresh_token&client_id=i&client_secret=a%26b&refresh_token=1%2F%2Fx");
    assert_int_equal(google_refresh_body("{\"client_id\": \"i\"}", 18, &body), ERR_INVALID);
    assert_int_equal(google_refresh_body("nonsense", 8, &body), ERR_INVALID);
    buf_release(&body);
}

static void test_token_answers(void **state)
{
    static const struct {
        long status;
        const char *body;
        enum google_verdict verdict;
        bool final;
    } cases[] = {
        {200, "{\"access_token\": \"t\", \"expires_in\": 3599}", GOOGLE_OK, false},
        {200, "{\"access_token\": \"a\\r\\nX: y\", \"expires_in\": 3599}", GOOGLE_FAILED, false},
        {200, "{}", GOOGLE_FAILED, false},
        {400, "{\"error\": \"invalid_grant\"}", GOOGLE_DEAD, true},
        {401, "{\"error\": \"invalid_client\"}", GOOGLE_FAILED, true},
        {429, "", GOOGLE_FAILED, false},
        {502, "<html>", GOOGLE_FAILED, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf token = BUF_INIT(GOOGLE_TOKEN_MAX);
        int64_t expires_ms = -1;
        struct failure f;
        failure_clear(&f);
        enum google_verdict verdict = google_token_read(
            cases[i].status, cases[i].body, strlen(cases[i].body), &token, &expires_ms, &f);
        if (verdict != cases[i].verdict || f.final != cases[i].final)
            fail_msg("case %zu: verdict %d, final %d", i, (int)verdict, f.final);
        assert_int_equal(expires_ms, verdict == GOOGLE_OK ? 3599000 : -1);
        assert_string_equal(buf_str(&token), verdict == GOOGLE_OK ? "t" : "");
        buf_release(&token);
    }
}

static bool has(struct google_tokens *t, int64_t credential, const char *sealed, const char *token)
{
    struct secret *s = google_tokens_get(t, credential, sealed);
    bool same = s && strcmp(secret_text(s), token) == 0;
    secret_free(s);
    return same;
}

static void test_token_cache(void **state)
{
    struct secret_ring *ring = NULL;
    struct google_tokens *t = NULL;
    struct buf faults = BUF_INIT(1024);
    (void)state;
    assert_int_equal(
        secret_ring_parse("k:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", &faults, &ring), 0);
    assert_int_equal(google_tokens_new(ring, &t), 0);
    assert_null(google_tokens_get(t, 1, "sealed"));
    google_tokens_put(t, 1, "sealed", "one", 3600000);
    assert_true(has(t, 1, "sealed", "one"));
    assert_null(google_tokens_get(t, 1, "sealed anew"));
    assert_null(google_tokens_get(t, 1 + GOOGLE_TOKENS_MAX, "sealed"));
    google_tokens_put(t, 1 + GOOGLE_TOKENS_MAX, "sealed", "two", 3600000);
    assert_true(has(t, 1 + GOOGLE_TOKENS_MAX, "sealed", "two"));
    assert_null(google_tokens_get(t, 1, "sealed"));
    google_tokens_drop(t, 1);
    assert_true(has(t, 1 + GOOGLE_TOKENS_MAX, "sealed", "two"));
    google_tokens_drop(t, 1 + GOOGLE_TOKENS_MAX);
    assert_null(google_tokens_get(t, 1 + GOOGLE_TOKENS_MAX, "sealed"));
    /* One that expires within the minute is not worth keeping. */
    google_tokens_put(t, 2, "sealed", "short", 60000);
    assert_null(google_tokens_get(t, 2, "sealed"));
    google_tokens_free(t);
    secret_ring_free(ring);
    buf_release(&faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_items),
        cmocka_unit_test(test_refused_pages),
        cmocka_unit_test(test_refresh),
        cmocka_unit_test(test_token_answers),
        cmocka_unit_test(test_token_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
