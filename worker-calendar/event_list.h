/*
 * What a provider said about a calendar's events, gathered as the JSON array that
 * calendar_apply() takes.
 */
#ifndef TOCSIN_WORKER_CALENDAR_EVENT_LIST_H
#define TOCSIN_WORKER_CALENDAR_EVENT_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Events of one sync, and the bytes they come to. More is no person's calendar. */
#define EVENT_LIST_MAX       20000
#define EVENT_LIST_BYTES_MAX ((size_t)16 << 20)

/* Bytes of an identifier; a longer one makes the event unreadable. Bytes of a title, which is
 * shortened with an ellipsis. */
#define EVENT_ID_MAX    1024
#define EVENT_TITLE_MAX 200

enum calendar_event_status { CALENDAR_EVENT_CONFIRMED, CALENDAR_EVENT_TENTATIVE };

struct calendar_event {
    const char *uid;
    const char *instance; /* NULL or "": it does not recur */
    const char *title;    /* NULL: it has none */
    int64_t starts_at;    /* UTC seconds */
    int64_t ends_at;
    enum calendar_event_status status;
    bool all_day;
    bool declined;
};

struct event_list {
    struct buf json;
    size_t n;
    int err; /* sticks: ERR_TOO_LARGE, ERR_NOMEM, ERR_INVALID (an identifier) */
};

void event_list_init(struct event_list *l);
void event_list_release(struct event_list *l);
/* Each adds an item; control characters become blanks, what is not UTF-8 U+FFFD. */
void event_list_add(struct event_list *l, const struct calendar_event *e);
/* What is stored of it stands: its text could not be read. */
void event_list_keep(struct event_list *l, const char *uid);
/* It is gone; of a series every instance. */
void event_list_delete(struct event_list *l, const char *id);
/* 0 or the first error. */
MUST_CHECK int event_list_err(const struct event_list *l);
/* The array as text, valid until the list changes; to be called once, when it is complete. */
const char *event_list_json(struct event_list *l);

#endif
