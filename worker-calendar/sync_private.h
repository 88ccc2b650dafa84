/*
 * What the states of a sync share.
 */
#ifndef TOCSIN_WORKER_CALENDAR_SYNC_PRIVATE_H
#define TOCSIN_WORKER_CALENDAR_SYNC_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/civil_time.h"
#include "worker-calendar/config.h"
#include "worker-calendar/event_list.h"
#include "worker-calendar/google_api.h"
#include "worker-calendar/google_tokens.h"
#include "worker-calendar/ics_read.h"
#include "worker-calendar/sync.h"

/* What a sealed value of calendar_credentials is bound to. */
#define SYNC_SEAL_CONTEXT "calendar_credentials.sealed"
/* Owner's mail addresses that are looked for among attendees. */
#define SYNC_ADDRESSES_MAX 16
/* Exchanges of a refresh token, and pages, of one sync. */
#define SYNC_EXCHANGES_MAX 2
#define SYNC_PAGES_MAX     100
/* Events that ended so long ago still belong to the window. */
#define SYNC_PAST_S CIVIL_DAY_S

enum sync_state {
    SYNC_OPEN,   /* what is to be asked of whom */
    SYNC_TOKEN,  /* google: a refresh token for an access token */
    SYNC_FETCH,  /* a file, an address, a page */
    SYNC_PARSE,  /* ics: text into events */
    SYNC_APPLY,  /* events into the tables; the claim is given back */
    SYNC_SETTLE, /* nothing new, or a failure, onto the row; the claim is given back */
    SYNC_N_STATES,
};

struct sync_shop {
    struct service *service;
    struct civil_zones *civil;
    struct google_tokens *tokens;
    struct job_state states[SYNC_N_STATES];
    struct job_type type;
};

/* The row as it was claimed. */
struct sync_row {
    int64_t fence;
    int64_t user_id;
    int64_t failures;
    int64_t rescues;
    int64_t now_s; /* the database's */
    int64_t window_ends_s;
    bool has_window;
    bool full_due;
    bool is_google;
    char *source, *sealed, *time_zone;
    char *etag, *last_modified, *content_hash, *sync_token; /* NULL: none */
    char *addresses[SYNC_ADDRESSES_MAX + 1];
};

struct sync {
    struct job job; /* id: of calendar_credentials */
    struct sync_shop *shop;
    sync_over_fn *over;
    void *arg;
    struct sync_row row;
    int64_t started_ms;
    /* Under way. */
    bool full; /* what comes is all there is in the window */
    bool unchanged;
    bool refused;  /* google: an access token was not accepted */
    int exchanges; /* google: of the refresh token */
    bool dead;     /* see calendar_fail() */
    int pages;
    struct failure why; /* code 0: none */
    struct buf body;
    struct ics_read *read;
    struct ics_read_stats stats;
    struct event_list events;
    struct google_page page;
    char *etag, *last_modified, *content_hash, *sync_token; /* to be stored */
    /* What it came to. */
    int64_t created, skipped, updated, cancelled, opened;
};

const struct calendar_config *sync_config(const struct sync *s);
struct ics_window sync_window(const struct sync *s);
/* Whether the window reaches far enough to ask only for what is new. */
bool sync_may_be_partial(const struct sync *s);
/* Replaces *slot by a copy, NULL for NULL. ERR_NOMEM leaves NULL. */
MUST_CHECK int sync_keep(char **slot, const char *text);

/* Moves on to settle the failure that job->failure holds. */
enum step sync_give_up(struct sync *s);
/* The same with a failure of its own ("what: why"), or with that of a request. */
enum step sync_fail(struct sync *s, int code, const char *what, const char *why);
enum step sync_fail_http(struct sync *s, const struct http_response *r, const char *what);
/* The same for an event that is no answer: a time-out, or a cancelled process, which gives the
 * row back as it was. */
enum step sync_interrupted(struct sync *s, const struct event *ev, const char *what);

/* Of calendars in texts: enters after SYNC_OPEN, and the two states. */
enum step sync_ics_open(struct sync *s);
enum step sync_ics_fetch(struct sync *s, const struct event *ev);
enum step sync_ics_parse(struct sync *s, const struct event *ev);

/* Of Google's calendars. */
enum step sync_google_open(struct sync *s);
enum step sync_google_token(struct sync *s, const struct event *ev);
enum step sync_google_fetch(struct sync *s, const struct event *ev);

#endif
