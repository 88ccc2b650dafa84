/*
 * Google Calendar v3 and Google's token endpoint: what is asked, and what the
 * answers mean. No network here.
 *
 * Sources: the published API description of events.list, and the guides
 * "Synchronize resources efficiently", "Handle API errors" and "Manage quotas".
 */
#ifndef TOCSIN_WORKER_CALENDAR_GOOGLE_API_H
#define TOCSIN_WORKER_CALENDAR_GOOGLE_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/civil_time.h"
#include "base/err.h"
#include "base/failure.h"
#include "worker-calendar/event_list.h"

/* Bytes of a token that Google hands out, and of the answer that brings one. */
#define GOOGLE_TOKEN_MAX        8192
#define GOOGLE_TOKEN_ANSWER_MAX 65536

enum google_verdict {
    GOOGLE_OK,
    GOOGLE_REFRESH,   /* the access token is not accepted: get another, once */
    GOOGLE_FULL_SYNC, /* the sync token is too old: drop it and begin anew */
    GOOGLE_DEAD,      /* nothing helps but a person's consent, or another calendar */
    GOOGLE_FAILED,    /* see the failure, whether it may pass */
};

/* What an answer of events.list means. `used_token`: the request carried a sync token. Sets
 * `failure` unless the verdict is GOOGLE_OK. The reason decides, not the status: a 403 is a
 * rate limit, or final. */
enum google_verdict google_events_verdict(
    long status, const char *body, size_t len, bool used_token, struct failure *failure);

/* Where a page of events is asked for. Without a sync token the window counts, with one it is in
 * the token. singleEvents, eventTypes and maxAttendees have to stay what they were at the first
 * sync, so they are the same in each. */
struct google_query {
    const char *base;                 /* "https://www.googleapis.com/calendar/v3" */
    const char *calendar;             /* its id; "primary" */
    const char *sync_token;           /* NULL: a full sync */
    const char *page_token;           /* NULL: the first page */
    int64_t window_start, window_end; /* UTC seconds */
};
void google_events_url(const struct google_query *q, struct buf *ret_url);

/* One page. The sync token comes with the last one alone. */
struct google_page {
    char *next_page; /* NULL: this was the last */
    char *next_sync; /* NULL: not the last, or none was given */
};

/* Adds the page's events to `list`; all-day events are in `user_zone`. An item that cannot be
 * understood keeps what is stored of it. ERR_INVALID with the reason in `fault`, ERR_TOO_LARGE,
 * ERR_NOMEM. */
MUST_CHECK int google_page_read(const char *body, size_t len, struct civil_zones *civil,
    const struct civil_zone *user_zone, struct event_list *list, struct buf *fault,
    struct google_page *ret_page);
void google_page_release(struct google_page *page);

/* The body of a refresh request, from the JSON of an opened secret:
 * {"client_id", "client_secret", "refresh_token"}. ERR_INVALID when one is missing. */
MUST_CHECK int google_refresh_body(const char *secret, size_t len, struct buf *ret_body);

/* What the token endpoint answered: GOOGLE_OK with the token appended to `ret_token` and how
 * long it holds; GOOGLE_DEAD for invalid_grant; GOOGLE_FAILED. */
enum google_verdict google_token_read(long status, const char *body, size_t len,
    struct buf *ret_token, int64_t *ret_expires_ms, struct failure *failure);

#endif
