#include "tests/support/reach_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

#define ENV_MAX 32

static int setup(void **state, int (*harness)(void **))
{
    struct reach_world *w = calloc(1, sizeof(*w));
    void *h = NULL;

    if (!w || harness(&h) != 0)
        return -1;
    w->h = h;
    *state = w;
    if (fake_provider_new(0, &w->fake) != 0 || fake_twilio(w->fake, "AC1", "token") != 0 ||
        fake_webhook(w->fake, "/hook") != 0)
        return -1;
    return 0;
}

int reach_world_setup(void **state)
{
    return setup(state, harness_setup);
}

int reach_world_setup_alone(void **state)
{
    return setup(state, harness_setup_alone);
}

int reach_world_teardown(void **state)
{
    struct reach_world *w = *state;
    struct buf faults = BUF_INIT(65536);
    void *h;
    bool fine;
    int err;

    if (!w)
        return 0;
    h = w->h;
    fine = !w->fake || fake_provider_verify(w->fake, &faults);
    if (!fine)
        print_error("the provider did not see what it expected:\n%s", buf_str(&faults));
    buf_release(&faults);
    err = harness_teardown(&h);
    fake_provider_free(w->fake);
    free(w);
    return fine ? err : -1;
}

static void add_contacts(struct reach_world *w, const char *channel, int position)
{
    const char *address = strncmp(channel, "twilio", 6) == 0 ? "'+1555100' || u.id" : "u.name";
    char *hook = NULL;

    if (strcmp(channel, "webhook") == 0) {
        assert_true(asprintf(&hook, "'%s/hook'", fake_provider_url(w->fake)) > 0);
        address = hook;
    }
    harness_execf(w->h,
        "INSERT INTO contact_method (user_id, channel, modes, address, position, verified_at)"
        " SELECT u.id, '%s', %s, %s, %d, now() FROM users AS u",
        channel,
        strcmp(channel, "twilio_voice") == 0 ? "'{call}'"
        : strcmp(channel, "console") == 0    ? "'{message,call}'"
                                             : "'{message}'",
        address, position);
    free(hook);
}

void reach_world_people(struct reach_world *w, const char *channel, const char *fallback)
{
    harness_exec(w->h, "INSERT INTO users (id, name) VALUES (1, 'owner'), (2, 'second');"
                       "DELETE FROM throttle_rule");
    add_contacts(w, channel, 1);
    if (fallback)
        add_contacts(w, fallback, 2);
}

void reach_world_meeting(struct reach_world *w, const char *starts_in)
{
    harness_execf(w->h,
        "INSERT INTO incident (kind, user_id, event_id, starts_at, title, ladder_id)"
        " VALUES ('meeting', 1, 1, now() + interval '%s', 'Stand-up', 1);"
        "SELECT incident_plan('{1}')",
        starts_in);
}

void reach_world_alerts(struct reach_world *w, int n)
{
    harness_execf(w->h,
        "WITH l AS (INSERT INTO ladder (key) VALUES ('alert only') RETURNING id),"
        " r AS (INSERT INTO ladder_rung (ladder_id, position, after, mode, gate, target, "
        "useful_for)"
        "  SELECT id, 1, '-12 minutes', 'message', 'alerts', 'owner', '12 minutes' FROM l)"
        "INSERT INTO incident (kind, user_id, event_id, starts_at, title, ladder_id)"
        " SELECT 'meeting', 1, n, now() + interval '11 minutes', 'Meeting ' || n || '.', l.id"
        " FROM l, generate_series(1, %d) AS n;"
        "SELECT incident_plan(array_agg(id)) FROM incident",
        n);
}

struct harness_proc *reach_world_worker(struct reach_world *w, const char *const *more)
{
    _cleanup_(freep) char *url = NULL;
    const char *env[ENV_MAX] = {"FEATURE_ALERTS_ENABLED=true", "FEATURE_CHECKIN_ENABLED=true",
        "FEATURE_ESCALATION_ENABLED=true", "TWILIO_ACCOUNT_SID=AC1", "TWILIO_AUTH_TOKEN=token",
        "TWILIO_FROM=+15550001", "WEBHOOK_ALLOW_PRIVATE=true", ("SEND_TIMEOUT=" REACH_SEND_TIMEOUT),
        "BUNDLE_MESSAGES=false", "HEALTH_WATCH=false"};
    size_t n = 0;

    while (env[n])
        n++;
    assert_true(asprintf(&url, "TWILIO_API_URL=%s", fake_provider_url(w->fake)) > 0);
    env[n++] = url;
    for (; more && *more; more++) {
        assert_true(n + 1 < ENV_MAX);
        env[n++] = *more;
    }
    return harness_spawn(w->h, "worker-escalation", NULL, env);
}

void reach_world_advance(struct reach_world *w, const char *interval)
{
    harness_clock_advance(w->h, interval);
    harness_exec(w->h, "SELECT pg_notify('tocsin_worker-escalation', '')");
}

void reach_world_expect(struct reach_world *w, const struct fake_rule *rule)
{
    assert_int_equal(fake_expect(w->fake, rule), 0);
}

void reach_world_await_done(struct reach_world *w)
{
    harness_await(
        w->h, REACH_SOON_MS, "SELECT NOT EXISTS (SELECT FROM notification WHERE pending)");
}

int reach_world_delivered(struct reach_world *w, const char *to)
{
    return (int)fake_delivered(w->fake, NULL, to);
}
