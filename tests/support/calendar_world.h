/*
 * For tests of worker-calendar: the harness, a scripted provider, calendars as
 * text, and people whose calendars they are.
 */
#ifndef TOCSIN_TESTS_CALENDAR_WORLD_H
#define TOCSIN_TESTS_CALENDAR_WORLD_H

#include <stdint.h>

#include "base/buf.h"
#include "base/secret.h"
#include "tests/fake/fake_provider.h"
#include "tests/support/harness.h"

#define CALENDAR_WORLD_PATIENCE_MS 60000

struct calendar_world {
    struct harness *h;
    struct fake_provider *fake;
    struct secret_ring *ring;
    struct buf text; /* of the calendar that is being written */
};

int calendar_world_setup(void **state);
/* The same on a PostgreSQL of its own. */
int calendar_world_setup_alone(void **state);
/* Fails when the provider saw what it did not expect. */
int calendar_world_teardown(void **state);

/* Starts worker-calendar as its own role, allowed to reach the provider, reading files below the
 * harness's directory, with short deadlines; `env` (may be NULL) comes on top. */
struct harness_proc *calendar_world_spawn(struct calendar_world *w, const char *const *env);
/* Enqueues a tick and waits until it is done. */
void calendar_world_tick(struct calendar_world *w);
/* The same a minute later. */
void calendar_world_next_tick(struct calendar_world *w);
/* Enqueues a tick; its id. */
int64_t calendar_world_enqueue(struct calendar_world *w);
void calendar_world_await_run(struct calendar_world *w, int64_t run_id);

/* A user with that id, on the console. */
void calendar_world_add_user(struct calendar_world *w, int64_t id);
/* A calendar of the user, with the same id: at a path of the provider (or at an address), or at
 * Google. */
void calendar_world_add_ics(struct calendar_world *w, int64_t id, const char *path);
void calendar_world_add_google(struct calendar_world *w, int64_t id, const char *calendar);

/* Writes a calendar: begin, any number of events, end. Times are minutes from the database's
 * now(), to the minute. `lines` are further lines of the VEVENT, each ended by "\r\n"; NULL: none.
 */
void calendar_text_begin(struct calendar_world *w);
void calendar_text_event(struct calendar_world *w, const char *uid, int minutes, const char *lines);
const char *calendar_text_end(struct calendar_world *w);
/* A time so many minutes from now, in the form of ICS ("20260310T090000Z"), or of RFC 3339. */
const char *calendar_text_ics_time(struct calendar_world *w, int minutes);
const char *calendar_text_time(struct calendar_world *w, int minutes);

/* Puts the written calendar, or any text, at a path of the provider. */
void calendar_world_serve(struct calendar_world *w, const char *path, const char *text);
/* A rule, which must be accepted. */
void calendar_world_expect(struct calendar_world *w, const struct fake_rule *rule);
/* The next POST to /token gets an access token; any number of them if times is 0. */
void calendar_world_give_token(struct calendar_world *w, const char *token, int times);

/* How many requests went to that path. */
size_t calendar_world_requests(struct calendar_world *w, const char *path);
/* How many rows "table WHERE …" has. */
int64_t calendar_world_count(struct calendar_world *w, const char *from);
/* What is pending for meetings of that title, by their starts (RFC 3339, comma between); NULL:
 * nothing. */
void calendar_world_expect_pending(
    struct calendar_world *w, const char *title, const char *starts_at);

#endif
