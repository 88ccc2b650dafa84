/*
 * What a provider may do to a request, crossed with SIGKILL at every state of its delivery, for
 * both policies, by a provider that can be asked what became of it (Twilio) and by one that cannot
 * (a webhook). Another process takes over; what reached the provider is counted.
 *
 * Who can be asked gets everything exactly once, whatever the policy. Who cannot: at least once
 * sends again what may have been lost, at most once never does.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/reach_world.h"

#define SOON_MS REACH_SOON_MS
/* The answer that comes too late, and for whom. */
#define LATE_MS       1500
#define LATE_TIMEOUT  "SEND_TIMEOUT=500ms"
#define OTHER_TIMEOUT "SEND_TIMEOUT=20s"

struct fault {
    const char *name;
    struct fake_rule rule;
    bool unknown; /* whether the worker cannot tell from it that nothing was taken */
    bool late;
};

static const struct fault faults[] = {
    {"taken, then closed", {.accept = true, .fault = FAKE_CLOSE}, true, false},
    {"closed", {.fault = FAKE_CLOSE}, true, false},
    {"taken, answers too late", {.accept = true, .delay_ms = LATE_MS}, true, true},
    {"429 with Retry-After",
        {.status = 429, .headers = (const char *const[]){"Retry-After: 1", NULL}}, false, false},
    {"taken, then 500", {.accept = true, .status = 500}, true, false},
    {"500", {.status = 500}, true, false},
    {"taken, then garbage", {.accept = true, .fault = FAKE_GARBAGE}, true, false},
    {"taken, closed in mid-body", {.accept = true, .fault = FAKE_CUT}, true, false},
};

enum moment {
    NEVER,
    CLAIMING,  /* the claim is not committed */
    SENDING,   /* the provider has the request */
    REPORTING, /* the answer is there, its row does not know */
    WAITING,   /* its row knows; the next try is to come */
    ASKING,    /* the provider is asked what became of it */
    ENDED,
};

struct provider {
    const char *channel, *path;
    bool can_be_asked;
};
static const struct provider twilio = {"twilio_sms", REACH_MESSAGES, true};
static const struct provider webhook = {"webhook", "/hook", false};

struct cell {
    struct reach_world *w;
    const struct provider *provider;
    const struct fault *fault;
    enum moment moment;
    bool at_most_once;
    size_t requests, deliveries; /* before it */
};

/* --- the first process ------------------------------------------------------------------------ */

/* Whoever waits for a lock goes with its process: nothing of it is committed later. */
static void end_waiting_sessions(struct reach_world *w)
{
    harness_exec(w->h, "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a"
                       " WHERE a.datname = current_database() AND a.wait_event_type = 'Lock'");
    harness_await(w->h, SOON_MS,
        "SELECT NOT EXISTS (SELECT FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
        " WHERE NOT l.granted AND a.datname = current_database())");
}

/* Killed while it waits for that table. */
static void kill_at_lock(const struct cell *c, const char *table, const char *mode)
{
    PGconn *blocker = harness_connect(c->w->h, NULL);
    struct harness_proc *p;
    char *sql = NULL;

    assert_true(asprintf(&sql, "BEGIN; LOCK TABLE %s IN %s MODE", table, mode) > 0);
    PQclear(PQexec(blocker, sql));
    free(sql);
    p = reach_world_worker(
        c->w, (const char *const[]){c->fault->late ? LATE_TIMEOUT : OTHER_TIMEOUT, NULL});
    harness_awaitf(c->w->h, SOON_MS,
        "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = '%s'::regclass)",
        table);
    harness_proc_kill(p);
    end_waiting_sessions(c->w);
    harness_disconnect(c->w->h, blocker);
}

static void kill_in_mid_send(const struct cell *c)
{
    struct harness_proc *p = reach_world_worker(c->w, (const char *const[]){OTHER_TIMEOUT, NULL});

    assert_true(fake_wait_requests(c->w->fake, c->requests + 1, SOON_MS));
    harness_proc_kill(p);
}

static struct harness_proc *until_the_outcome_is_written(const struct cell *c)
{
    struct harness_proc *p = reach_world_worker(
        c->w, (const char *const[]){c->fault->late ? LATE_TIMEOUT : OTHER_TIMEOUT, NULL});

    harness_await(c->w->h, SOON_MS,
        "SELECT EXISTS (SELECT FROM attempt WHERE number = 1 AND finished_at IS NOT NULL)");
    return p;
}

static void kill_while_asking(const struct cell *c)
{
    struct harness_proc *p;

    reach_world_expect(
        c->w, &(struct fake_rule){
                  .method = "GET", .path = REACH_MESSAGES, .times = 1, .fault = FAKE_HANG});
    p = until_the_outcome_is_written(c);
    harness_exec(c->w->h, "UPDATE notification SET next_attempt_at = now();"
                          "SELECT pg_notify('tocsin_worker-escalation', '')");
    assert_true(fake_wait_requests(c->w->fake, c->requests + 2, SOON_MS));
    harness_proc_kill(p);
}

static void first_process(const struct cell *c)
{
    struct harness_proc *p;

    switch (c->moment) {
    case CLAIMING:
        kill_at_lock(c, "attempt", "SHARE");
        break;
    case SENDING:
        kill_in_mid_send(c);
        break;
    case REPORTING: /* what ends an attempt alone writes to it */
        kill_at_lock(c, "webhook_delivery_log", "SHARE");
        break;
    case WAITING:
        harness_proc_kill(until_the_outcome_is_written(c));
        break;
    case ASKING:
        kill_while_asking(c);
        break;
    case NEVER:
    case ENDED:
        p = until_the_outcome_is_written(c);
        harness_exec(c->w->h, "UPDATE notification SET next_attempt_at = now() WHERE pending;"
                              "SELECT pg_notify('tocsin_worker-escalation', '')");
        reach_world_await_done(c->w);
        if (c->moment == ENDED)
            harness_proc_kill(p);
        else
            assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
    }
}

/* --- a cell ----------------------------------------------------------------------------------- */

static void begin(struct cell *c)
{
    struct fake_rule rule = c->fault->rule;

    harness_exec(c->w->h, "DELETE FROM incident; DELETE FROM ladder WHERE key = 'alert only';"
                          "DELETE FROM circuit");
    reach_world_alerts(c->w, 1);
    harness_execf(c->w->h, "UPDATE notification SET policy = '%s'",
        c->at_most_once ? "at_most_once" : "at_least_once");
    c->requests = fake_request_count(c->w->fake);
    c->deliveries = fake_delivery_count(c->w->fake);
    rule.method = "POST";
    rule.path = c->provider->path;
    rule.times = 1;
    if (rule.fault == FAKE_CUT && !c->provider->can_be_asked) {
        rule.status = 200; /* a webhook answers nothing that could be cut */
        rule.body = "{\"taken\":true}";
    }
    if (c->moment == SENDING)
        rule.fault = FAKE_HANG; /* what it would have answered does not matter any more */
    reach_world_expect(c->w, &rule);
}

/* The first one is dead for good. */
static void take_over(const struct cell *c)
{
    struct harness_proc *p;

    fake_release(c->w->fake);
    harness_clock_advance(c->w->h, "6 minutes");
    p = reach_world_worker(
        c->w, (const char *const[]){c->fault->late ? LATE_TIMEOUT : OTHER_TIMEOUT, NULL});
    harness_proc_await_log(p, "is ready", SOON_MS);
    reach_world_await_done(c->w);
    assert_int_equal(harness_proc_stop(p, SOON_MS), 0);
}

static void run_cell(struct cell *c)
{
    bool taken = c->fault->rule.accept;
    bool unknown = c->fault->unknown || c->moment == SENDING || c->moment == REPORTING;
    bool sent_again = c->provider->can_be_asked ? !taken : !unknown || !c->at_most_once;
    const char *state = sent_again || c->provider->can_be_asked ? "accepted" : "failed";
    size_t came;

    begin(c);
    first_process(c);
    take_over(c);
    came = fake_delivery_count(c->w->fake) - c->deliveries;
    if (came != (size_t)taken + sent_again ||
        strcmp(harness_text(c->w->h, "SELECT state FROM notification"), state) != 0)
        fail_msg("%s, %s, %s, killed at moment %d: %zu reached the provider, %s",
            c->provider->channel, c->at_most_once ? "at most once" : "at least once",
            c->fault->name, c->moment, came,
            harness_text(
                c->w->h, "SELECT state || coalesce(': ' || reason, '') FROM notification"));
}

static void run_faults(void **state, const struct provider *provider, enum moment moment)
{
    struct reach_world *w = *state;

    reach_world_people(w, provider->channel, NULL);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        if (moment == ASKING && !faults[i].unknown)
            continue; /* there is nothing to ask */
        for (int at_most_once = 0; at_most_once <= 1; at_most_once++)
            run_cell(&(struct cell){.w = w,
                .provider = provider,
                .fault = &faults[i],
                .moment = moment,
                .at_most_once = at_most_once});
    }
}

#define CROSSED(name, provider, moment)                                                            \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        run_faults(state, &(provider), moment);                                                    \
    }

CROSSED(twilio_and_no_kill, twilio, NEVER)
CROSSED(twilio_killed_while_claiming, twilio, CLAIMING)
CROSSED(twilio_killed_in_mid_send, twilio, SENDING)
CROSSED(twilio_killed_while_the_outcome_is_written, twilio, REPORTING)
CROSSED(twilio_killed_before_the_next_try, twilio, WAITING)
CROSSED(twilio_killed_while_it_is_asked, twilio, ASKING)
CROSSED(twilio_killed_after_the_end, twilio, ENDED)
CROSSED(webhook_and_no_kill, webhook, NEVER)
CROSSED(webhook_killed_while_claiming, webhook, CLAIMING)
CROSSED(webhook_killed_in_mid_send, webhook, SENDING)
CROSSED(webhook_killed_while_the_outcome_is_written, webhook, REPORTING)
CROSSED(webhook_killed_before_the_next_try, webhook, WAITING)
CROSSED(webhook_killed_after_the_end, webhook, ENDED)

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, reach_world_setup, reach_world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_twilio_and_no_kill),
        TEST(test_twilio_killed_while_claiming),
        TEST(test_twilio_killed_in_mid_send),
        TEST(test_twilio_killed_while_the_outcome_is_written),
        TEST(test_twilio_killed_before_the_next_try),
        TEST(test_twilio_killed_while_it_is_asked),
        TEST(test_twilio_killed_after_the_end),
        TEST(test_webhook_and_no_kill),
        TEST(test_webhook_killed_while_claiming),
        TEST(test_webhook_killed_in_mid_send),
        TEST(test_webhook_killed_while_the_outcome_is_written),
        TEST(test_webhook_killed_before_the_next_try),
        TEST(test_webhook_killed_after_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
