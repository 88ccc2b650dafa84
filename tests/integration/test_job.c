/*
 * The driver of jobs: order of states, deadlines, cancellation, states that break the rules.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "work/job.h"

enum { FIRST, SECOND, THIRD };

struct walk {
    struct job job; /* first */
    int64_t pause_ms;
    bool fail_in_third, wait_after_timeout, wait_for_nothing, again;
    int entered[3], pauses, timeouts, cancels, over;
};

static enum step first(struct job *job, const struct event *ev)
{
    struct walk *w = (struct walk *)job;

    if (ev->kind == EVENT_ENTER) {
        w->entered[FIRST]++;
        return w->wait_for_nothing ? STEP_WAIT : job_pause(job, w->pause_ms);
    }
    if (ev->kind == EVENT_CANCEL) {
        w->cancels++;
        return job_fail(job, ERR_CANCELLED, "cancelled");
    }
    assert_int_equal(ev->kind, EVENT_PAUSE_OVER);
    w->pauses++;
    return job_next(job, SECOND);
}

static enum step second(struct job *job, const struct event *ev)
{
    struct walk *w = (struct walk *)job;

    if (ev->kind == EVENT_ENTER) {
        w->entered[SECOND]++;
        return job_pause(job, 60000); /* longer than the state's deadline */
    }
    assert_int_equal(ev->kind, EVENT_TIMEOUT);
    w->timeouts++;
    return w->wait_after_timeout ? job_pause(job, 1) : job_next(job, THIRD);
}

static enum step third(struct job *job, const struct event *ev)
{
    struct walk *w = (struct walk *)job;

    assert_int_equal(ev->kind, EVENT_ENTER);
    w->entered[THIRD]++;
    if (w->again && w->entered[THIRD] == 1)
        return job_next(job, FIRST);
    return w->fail_in_third ? STEP_FAIL : STEP_DONE;
}

static void over(struct job *job)
{
    ((struct walk *)job)->over++;
}

static const struct job_state states[] = {
    {"first", first, 0}, {"second", second, 5}, {"third", third, 0}};
static const struct job_type type = {"walk", states, 3, over};

static void walk(struct walk *w, bool cancel)
{
    uv_loop_t loop;
    struct job_driver *driver;

    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(job_driver_new(&loop, NULL, NULL, &driver), 0);
    assert_int_equal(job_start(driver, &w->job, &type, 1), 0);
    assert_int_equal(w->entered[FIRST], 0); /* from the loop, not from here */
    assert_int_equal(job_driver_running(driver), 1);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    if (cancel)
        job_driver_cancel(driver);
    (void)uv_run(&loop, UV_RUN_DEFAULT); /* ends when no timer is left */
    assert_int_equal(job_driver_running(driver), 0);
    assert_int_equal(w->over, 1);
    job_driver_free(driver);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void test_states_follow_each_other(void **state)
{
    struct walk w = {.pause_ms = 1, .again = true};

    (void)state;
    walk(&w, false);
    assert_int_equal(w.job.failure.code, 0);
    assert_int_equal(w.entered[FIRST], 2);
    assert_int_equal(w.entered[THIRD], 2);
    assert_int_equal(w.pauses, 2);
    assert_int_equal(w.timeouts, 2);
}

static void test_a_state_may_not_wait_after_its_deadline(void **state)
{
    struct walk w = {.pause_ms = 1, .wait_after_timeout = true};

    (void)state;
    walk(&w, false);
    assert_int_equal(w.job.failure.code, ERR_TIMEOUT);
    assert_int_equal(w.entered[THIRD], 0);
}

static void test_a_state_may_not_wait_for_nothing(void **state)
{
    struct walk w = {.wait_for_nothing = true};

    (void)state;
    walk(&w, false);
    assert_int_equal(w.job.failure.code, ERR_TIMEOUT);
    assert_string_equal(w.job.failure.detail, "state first has nothing to wait for");
}

static void test_a_failure_has_a_reason(void **state)
{
    struct walk w = {.pause_ms = 1, .fail_in_third = true};

    (void)state;
    walk(&w, false);
    assert_string_equal(w.job.failure.detail, "state third failed without a reason");
}

static void test_cancel_reaches_a_waiting_state(void **state)
{
    struct walk w = {.pause_ms = 60000};

    (void)state;
    walk(&w, true);
    assert_int_equal(w.cancels, 1);
    assert_int_equal(w.job.failure.code, ERR_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states_follow_each_other),
        cmocka_unit_test(test_a_state_may_not_wait_after_its_deadline),
        cmocka_unit_test(test_a_state_may_not_wait_for_nothing),
        cmocka_unit_test(test_a_failure_has_a_reason),
        cmocka_unit_test(test_cancel_reaches_a_waiting_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
