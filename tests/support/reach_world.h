/*
 * For tests of what reaches people: a database, a scripted provider that plays Twilio and a
 * webhook, people with addresses, and workers that send to them.
 */
#ifndef TOCSIN_TESTS_REACH_WORLD_H
#define TOCSIN_TESTS_REACH_WORLD_H

#include "tests/fake/fake_provider.h"
#include "tests/support/harness.h"

#define REACH_SOON_MS 20000
/* What the workers wait for an answer. */
#define REACH_SEND_TIMEOUT "1s"

#define REACH_MESSAGES "/2010-04-01/Accounts/AC1/Messages.json"
#define REACH_CALLS    "/2010-04-01/Accounts/AC1/Calls.json"
#define REACH_OWNER    "+15551001"
#define REACH_SECOND   "+15551002"

struct reach_world {
    struct harness *h;
    struct fake_provider *fake;
};

/* Fixtures; the second is on a PostgreSQL of its own. The teardown fails on any message that
 * nothing expected. */
int reach_world_setup(void **state);
int reach_world_setup_alone(void **state);
int reach_world_teardown(void **state);

/* User 1, "owner", and user 2, "second": reached through `channel` and, where `fallback` is not
 * NULL, after it through that one, without throttles. Twilio's addresses are REACH_OWNER and
 * REACH_SECOND. */
void reach_world_people(struct reach_world *w, const char *channel, const char *fallback);
/* Incident 1: a meeting of the owner, planned by the default ladder. */
void reach_world_meeting(struct reach_world *w, const char *starts_in);
/* An incident for each of `n` meetings of the owner, the alert of each due now, nothing else. */
void reach_world_alerts(struct reach_world *w, int n);

/* A worker with every flag on that bundles nothing and looks after no health. `more` (may be NULL)
 * are further NAME=value, NULL-terminated. */
struct harness_proc *reach_world_worker(struct reach_world *w, const char *const *more);
/* Moves the clock on and tells the workers. */
void reach_world_advance(struct reach_world *w, const char *interval);
/* The next request to that path behaves so; see struct fake_rule. */
void reach_world_expect(struct reach_world *w, const struct fake_rule *rule);
/* Waits until nothing is pending. */
void reach_world_await_done(struct reach_world *w);
/* How many messages and calls went to that address in all. */
int reach_world_delivered(struct reach_world *w, const char *to);

#endif
