/*
 * What worker-escalation does beside ladders: webhooks, jobs that call an address, the audit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/standard_webhooks.h"
#include "tests/support/reach_world.h"

#define SOON_MS REACH_SOON_MS
#define SECRET  "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

static const char *const signing[] = {
    "WEBHOOK_SECRET=" SECRET, "HTTP_JOB_ALLOW_PRIVATE=true", NULL};

static void assert_signed(const struct fake_request *r)
{
    assert_int_equal(
        standard_webhooks_verify(SECRET, fake_request_header(r, "webhook-id"),
            fake_request_header(r, "webhook-timestamp"),
            fake_request_header(r, "webhook-signature"), r->body, r->body_len, clock_unix_s()),
        0);
}

static void test_a_webhook_is_signed_and_repeated_under_one_id(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "webhook", NULL);
    reach_world_alerts(w, 1);
    reach_world_expect(w, &(struct fake_rule){.path = "/hook", .times = 1, .status = 500});
    p = reach_world_worker(w, signing);
    harness_await(w->h, SOON_MS, "SELECT state = 'accepted' FROM notification");
    assert_int_equal(fake_request_count(w->fake), 2);
    for (size_t i = 0; i < 2; i++) {
        const struct fake_request *r = fake_request_at(w->fake, i);
        assert_signed(r);
        assert_string_equal(fake_request_header(r, "webhook-id"), "notification_1");
        assert_non_null(strstr(r->body, "\"text\":\"\\\"Meeting 1.\\\" starts in 11 min"));
    }
    assert_string_equal(harness_rows(w->h, "SELECT attempt, http_status FROM webhook_delivery_log"
                                           " ORDER BY attempt"),
        "1|500\n2|200");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

static void test_a_private_address_is_refused(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "webhook", NULL);
    reach_world_alerts(w, 1);
    p = reach_world_worker(w, (const char *const[]){"WEBHOOK_ALLOW_PRIVATE=false", NULL});
    harness_await(w->h, SOON_MS, "SELECT state = 'failed' FROM notification");
    assert_int_equal(fake_request_count(w->fake), 0);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

static void test_one_dead_host_hinders_no_other(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "webhook", NULL);
    harness_exec(w->h,
        "UPDATE contact_method SET address = 'http://127.0.0.1:9/' WHERE user_id = 2;"
        "INSERT INTO circuit (name, state, open_until)"
        " VALUES ('webhook:127.0.0.1:9', 'open', now() + interval '1 minute')");
    reach_world_alerts(w, 2);
    harness_exec(w->h, "UPDATE notification SET user_id = 2, contact_method_id ="
                       " (SELECT id FROM contact_method WHERE user_id = 2) WHERE id = 1");
    p = reach_world_worker(w, NULL);
    harness_await(w->h, SOON_MS, "SELECT state = 'accepted' FROM notification WHERE id = 2");
    harness_await(
        w->h, SOON_MS, "SELECT count(*) > 0 FROM attempt WHERE circuit = 'webhook:127.0.0.1:9'");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

/* --- http jobs -------------------------------------------------------------------------------- */

static void enqueue_http(struct reach_world *w, const char *more)
{
    harness_execf(w->h,
        "INSERT INTO job_run (queue, handler, payload, backoff_ms, schedule_key)"
        " VALUES ('worker-escalation', 'http', jsonb_build_object('url', '%s/job?key=k') || '%s',"
        " '{10}', 'nightly \"x\"')",
        fake_provider_url(w->fake), more);
}

static void test_an_http_job(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;
    const struct fake_request *r;

    reach_world_expect(
        w, &(struct fake_rule){.method = "PUT", .path = "/job", .times = 1, .status = 503});
    reach_world_expect(
        w, &(struct fake_rule){.method = "PUT", .path = "/job", .times = 1, .status = 204});
    enqueue_http(w, "{\"method\":\"PUT\",\"expect\":[204],\"headers\":{\"X-Key\":\"v\"},"
                    "\"body\":{\"run\":\"{{run_id}}\",\"by\":\"{{schedule}}\"}}");
    p = reach_world_worker(w, signing);
    harness_await(w->h, SOON_MS, "SELECT EXISTS (SELECT FROM job_run_done)");
    assert_string_equal(harness_text(w->h, "SELECT outcome FROM job_run_done"), "succeeded");
    assert_int_equal(fake_request_count(w->fake), 2);
    r = fake_request_at(w->fake, 1);
    assert_signed(r);
    assert_string_equal(r->body, "{\"by\":\"nightly \\\"x\\\"\",\"run\":\"1\"}");
    assert_string_equal(fake_request_header(r, "X-Key"), "v");
    assert_string_equal(fake_request_header(r, "webhook-id"), "run_1");
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM webhook_delivery_log"
                                       " WHERE job_run_id = 1 AND url LIKE '%/job'"),
        2);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

/* It was called and has said so: more of an answer than is read calls it no second time. */
static void test_an_http_job_with_a_long_answer(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_expect(w, &(struct fake_rule){.method = "POST",
                              .path = "/job",
                              .times = 1,
                              .fault = FAKE_HUGE,
                              .size = (size_t)4 << 20});
    enqueue_http(w, "{\"body\":\"x\"}");
    p = reach_world_worker(w, signing);
    harness_await(w->h, SOON_MS, "SELECT EXISTS (SELECT FROM job_run_done)");
    assert_string_equal(
        harness_rows(w->h, "SELECT outcome, attempt, result ->> 'status' FROM job_run_done"),
        "succeeded|1|200");
    assert_int_equal(fake_request_count(w->fake), 1);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

static void test_http_jobs_that_cannot_work(void **state)
{
    static const char *const payloads[] = {"{\"url\":\"ftp://x\"}", "{\"url\":null}",
        "{\"body\":\"{{secret}}\"}", "{\"headers\":{\"X\":1}}", "{\"headers\":{\"X\":\"a\\nb\"}}"};
    struct reach_world *w = *state;
    struct harness_proc *p;
    int n = (int)(sizeof payloads / sizeof payloads[0]);

    for (int i = 0; i < n; i++)
        enqueue_http(w, payloads[i]);
    p = reach_world_worker(w, signing);
    harness_awaitf(w->h, SOON_MS, "SELECT count(*) = %d FROM job_run_quarantine", n);
    assert_int_equal(harness_int(w->h, "SELECT max(attempt) FROM job_run_quarantine"), 1);
    assert_int_equal(fake_request_count(w->fake), 0);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

/* --- the audit -------------------------------------------------------------------------------- */

static void audit(struct reach_world *w, int64_t done)
{
    harness_exec(w->h, "SELECT job_run_enqueue('worker-escalation', 'delivery_audit')");
    harness_awaitf(w->h, SOON_MS, "SELECT count(*) = %lld FROM job_run_done", (long long)done);
}

static void test_the_audit_repairs_once_and_calls_only_when_clean(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;
    char url[128];

    reach_world_people(w, "console", NULL);
    harness_exec(w->h, "INSERT INTO incident (kind, user_id, event_id, starts_at, title, ladder_id)"
                       " VALUES ('meeting', 1, 1, now() + interval '2 hours', 'Unplanned', 1)");
    harness_clock_advance(w->h, "6 minutes");
    reach_world_expect(w, &(struct fake_rule){.method = "GET", .path = "/dead-man", .times = 1});
    assert_true(snprintf(url, sizeof url, "DEAD_MAN_URL=%s/dead-man", fake_provider_url(w->fake)) <
                (int)sizeof url);
    p = reach_world_worker(w, (const char *const[]){url, NULL});
    audit(w, 1);
    assert_string_equal(
        harness_rows(w->h, "SELECT kind, incident_id FROM audit_finding"), "unplanned|1");
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM notification"), 5);
    assert_int_equal(fake_request_count(w->fake), 0);
    audit(w, 2);
    assert_true(fake_wait_requests(w->fake, 1, SOON_MS));
    assert_int_equal(harness_int(w->h, "SELECT count(*) FROM audit_finding"), 1);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

static void test_a_failing_check_reaches_everybody(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "console", NULL);
    harness_exec(w->h, "INSERT INTO circuit (name, state, opened_at, open_until)"
                       " VALUES ('twilio_sms', 'open', now(), now() + interval '1 hour')");
    p = reach_world_worker(w, (const char *const[]){"HEALTH_WATCH=true", NULL});
    harness_await(w->h, SOON_MS,
        "SELECT EXISTS (SELECT FROM health_failing"
        " WHERE check_name = 'circuit_open')");
    harness_clock_advance(w->h, "1 minute");
    harness_proc_await_log(
        p, "MESSAGE  owner    Tocsin, circuit_open: not closed: twilio_sms", SOON_MS);
    harness_proc_await_log(p, "MESSAGE  second   Tocsin, circuit_open", SOON_MS);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, reach_world_setup, reach_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_webhook_is_signed_and_repeated_under_one_id),
        TEST(test_a_private_address_is_refused),
        TEST(test_one_dead_host_hinders_no_other),
        TEST(test_an_http_job),
        TEST(test_an_http_job_with_a_long_answer),
        TEST(test_http_jobs_that_cannot_work),
        TEST(test_the_audit_repairs_once_and_calls_only_when_clean),
        TEST(test_a_failing_check_reaches_everybody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
