/*
 * Errors on their way to Sentry: what arrives, how many, what never does, and that nothing waits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "service/error_report.h"
#include "tests/support/reach_world.h"

#define SOON_MS  REACH_SOON_MS
#define PATH     "/api/42/envelope/"
#define BAD_CALL "{\"code\":98765,\"message\":\"no use of sekrit-1 here\"}"

/* --- by itself ------------------------------------------------------------------------------ */

struct world {
    uv_loop_t loop;
    struct http_client *http;
    struct fake_provider *fake;
    struct error_report *report;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    char dsn[128];

    assert_non_null(w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(http_client_new(&w->loop, "test", &w->http), 0);
    assert_int_equal(fake_provider_new(0, &w->fake), 0);
    assert_true(snprintf(dsn, sizeof dsn, "http://key@127.0.0.1:%d/42",
                    fake_provider_port(w->fake)) < (int)sizeof dsn);
    assert_int_equal(error_report_new(&w->loop, w->http, dsn, NULL, 0, &w->report), 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    struct buf faults = BUF_INIT(4096);
    bool fine = fake_provider_verify(w->fake, &faults);

    if (!fine)
        print_error("%s", buf_str(&faults));
    buf_release(&faults);
    error_report_free(w->report);
    http_client_free(w->http);
    while (uv_run(&w->loop, UV_RUN_DEFAULT) != 0)
        ;
    assert_int_equal(uv_loop_close(&w->loop), 0);
    fake_provider_free(w->fake);
    free(w);
    return fine ? 0 : -1;
}

static void expect(struct world *w, const struct fake_rule *rule)
{
    assert_int_equal(fake_expect(w->fake, rule), 0);
}

static void log_errors(int n)
{
    for (int i = 0; i < n; i++)
        log_error(F(F_INT("i", i)), "fault %d", i);
}

static void test_only_errors_leave(void **state)
{
    struct world *w = *state;
    const struct fake_request *r;

    expect(w, &(struct fake_rule){.method = "POST", .path = PATH, .times = 1});
    log_warn(F_NONE, "a warning");
    log_info(F_NONE, "a word");
    log_errors(1);
    error_report_flush(w->report, SOON_MS);
    assert_int_equal(fake_request_count(w->fake), 1);
    r = fake_request_at(w->fake, 0);
    assert_non_null(strstr(fake_request_header(r, "X-Sentry-Auth"), "sentry_key=key"));
    assert_string_equal(fake_request_header(r, "Content-Type"), "application/x-sentry-envelope");
    assert_non_null(strstr(r->body, "\"formatted\":\"fault 0\""));
    assert_non_null(strstr(r->body, "\"message\":\"fault %d\""));
}

static void test_a_flood_is_bounded(void **state)
{
    struct world *w = *state;

    expect(w, &(struct fake_rule){.path = PATH, .times = ERROR_REPORT_BURST});
    log_errors(500);
    error_report_flush(w->report, SOON_MS);
    assert_int_equal(fake_request_count(w->fake), ERROR_REPORT_QUEUE);
    log_errors(500);
    error_report_flush(w->report, SOON_MS);
    assert_int_equal(fake_request_count(w->fake), ERROR_REPORT_BURST);
    assert_non_null(
        strstr(fake_request_at(w->fake, ERROR_REPORT_QUEUE)->body, "\"dropped_before\":468"));
}

static void test_silence_that_is_asked_for(void **state)
{
    static const char *const headers[][2] = {
        {"X-Sentry-Rate-Limits: 60:error:organization", NULL}, {"Retry-After: 60", NULL}, {NULL}};
    struct world *w = *state;
    char dsn[128];

    assert_true(snprintf(dsn, sizeof dsn, "http://key@127.0.0.1:%d/42",
                    fake_provider_port(w->fake)) < (int)sizeof dsn);
    for (size_t i = 0; i < 3; i++) {
        expect(
            w, &(struct fake_rule){.path = PATH, .times = 1, .status = 429, .headers = headers[i]});
        log_errors(3);
        error_report_flush(w->report, SOON_MS);
        log_errors(3);
        error_report_flush(w->report, SOON_MS);
        assert_int_equal(fake_request_count(w->fake), i + 1);
        error_report_free(w->report);
        assert_int_equal(error_report_new(&w->loop, w->http, dsn, NULL, 0, &w->report), 0);
    }
}

static void test_limits_of_other_kinds_do_not_matter(void **state)
{
    struct world *w = *state;

    expect(w, &(struct fake_rule){.path = PATH,
                  .times = 2,
                  .headers = (const char *const[]){
                      "X-Sentry-Rate-Limits: 60:transaction:organization", NULL}});
    log_errors(2);
    error_report_flush(w->report, SOON_MS);
    assert_int_equal(fake_request_count(w->fake), 2);
}

static void test_a_server_that_hangs_holds_nothing_up(void **state)
{
    struct world *w = *state;
    int64_t began_ms = clock_ms();

    expect(w, &(struct fake_rule){.path = PATH, .fault = FAKE_HANG});
    log_errors(100);
    assert_true(clock_ms() - began_ms < 1000);
    error_report_flush(w->report, 300);
    assert_in_range(clock_ms() - began_ms, 250, 3000);
    assert_int_equal(fake_request_count(w->fake), 1);
    fake_release(w->fake);
}

/* --- in a process --------------------------------------------------------------------------- */

static struct harness_proc *worker_with_sentry(struct reach_world *w)
{
    char dsn[128];

    assert_true(snprintf(dsn, sizeof dsn, "SENTRY_DSN=http://key@127.0.0.1:%d/42",
                    fake_provider_port(w->fake)) < (int)sizeof dsn);
    return reach_world_worker(w, (const char *const[]){dsn, "SLACK_TOKEN=sekrit-1", NULL});
}

static bool sentry_was_told(void *arg)
{
    struct reach_world *w = arg;

    for (size_t i = 0; i < fake_request_count(w->fake); i++) {
        if (strcmp(fake_request_at(w->fake, i)->path, PATH) == 0)
            return true;
    }
    return false;
}

/* Something fails for good, and the provider's words hold a secret of ours. */
static void test_a_failed_delivery_is_told_without_secrets(void **state)
{
    struct reach_world *w = *state;
    struct harness_proc *p;

    reach_world_people(w, "twilio_sms", NULL);
    reach_world_alerts(w, 1);
    reach_world_expect(w,
        &(struct fake_rule){
            .method = "POST", .path = REACH_MESSAGES, .times = 1, .status = 400, .body = BAD_CALL});
    reach_world_expect(w, &(struct fake_rule){.method = "POST", .path = PATH, .times = 1});
    p = worker_with_sentry(w);
    harness_await_that(w->h, SOON_MS, sentry_was_told, w, "Sentry was not told");
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    for (size_t i = 0; i < fake_request_count(w->fake); i++) {
        const struct fake_request *r = fake_request_at(w->fake, i);
        if (strcmp(r->path, PATH) != 0)
            continue;
        assert_null(strstr(r->body, "sekrit-1"));
        assert_non_null(strstr(r->body, "no use of (secret) here"));
        assert_non_null(strstr(r->body, "\"logger\":\"worker-escalation\""));
        assert_non_null(strstr(r->body, "\"notification_id\":1"));
    }
}

/* Every executable reports, and what is logged last still arrives. */
static void test_the_last_word_of_each_executable(void **state)
{
    static const char *const exes[] = {
        "scheduler", "worker-calendar", "worker-escalation", "worker-cleanup"};
    struct reach_world *w = *state;
    const char *output;
    char dsn[128];

    assert_true(snprintf(dsn, sizeof dsn, "SENTRY_DSN=http://key@127.0.0.1:%d/42",
                    fake_provider_port(w->fake)) < (int)sizeof dsn);
    for (size_t i = 0; i < sizeof exes / sizeof exes[0]; i++) {
        reach_world_expect(w,
            &(struct fake_rule){.method = "POST", .path = PATH, .times = 1, .contains = exes[i]});
        assert_int_equal(harness_run(w->h, exes[i], NULL,
                             (const char *const[]){dsn, "TOCSIN_DATABASE_PATIENCE=300ms",
                                 "TOCSIN_DATABASE_URL=postgresql://x:secret-9@127.0.0.1:9/x",
                                 "SCHEDULES_FILE=deploy/schedules.json", NULL},
                             &output),
            75);
        assert_int_equal(fake_request_count(w->fake), i + 1);
        assert_non_null(strstr(fake_request_at(w->fake, i)->body, "no database within"));
        assert_null(strstr(fake_request_at(w->fake, i)->body, "secret-9"));
    }
}

static void test_a_dsn_that_is_none_is_refused(void **state)
{
    struct reach_world *w = *state;
    const char *output;

    assert_int_equal(
        harness_run(w->h, "scheduler", (const char *const[]){"--check-config", NULL},
            (const char *const[]){"SENTRY_DSN=https://sentry.example/42", NULL}, &output),
        78);
    assert_non_null(strstr(output, "SENTRY_DSN: https://KEY@host/PROJECT"));
}

int main(void)
{
#define ALONE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define IN_PROCESS(name)                                                                           \
    cmocka_unit_test_setup_teardown(name, reach_world_setup, reach_world_teardown)
    const struct CMUnitTest tests[] = {
        ALONE(test_only_errors_leave),
        ALONE(test_a_flood_is_bounded),
        ALONE(test_silence_that_is_asked_for),
        ALONE(test_limits_of_other_kinds_do_not_matter),
        ALONE(test_a_server_that_hangs_holds_nothing_up),
        IN_PROCESS(test_a_failed_delivery_is_told_without_secrets),
        IN_PROCESS(test_the_last_word_of_each_executable),
        IN_PROCESS(test_a_dsn_that_is_none_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
