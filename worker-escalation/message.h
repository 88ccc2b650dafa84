/*
 * What a notification says, made at the moment of sending from the facts that the claim returned.
 */
#ifndef TOCSIN_WORKER_ESCALATION_MESSAGE_H
#define TOCSIN_WORKER_ESCALATION_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* Bytes of a title that a message shows; a longer one ends with an ellipsis. */
#define MESSAGE_TITLE_MAX 120
/* Bytes of a whole text: below Twilio's 1600 characters for a message. */
#define MESSAGE_TEXT_MAX 1500
/* Bytes of a text that is read out: below Twilio's 4000 for a document, escaped. */
#define MESSAGE_SPOKEN_MAX 500

/* All strings may be NULL but channel, mode, kind and person. */
struct message {
    int64_t notification_id;
    int64_t attempt_id;
    int64_t incident_id; /* 0: none */
    const char *channel;
    const char *mode; /* message, call */
    const char *kind;
    const char *gate;
    const char *address;
    const char *person; /* who gets it */
    const char *owner;  /* whom the incident is about */
    const char *title;
    const char *incident_kind;
    const char *body;         /* what it says, where that was fixed beforehand */
    const char *starts_local; /* in the person's zone, "10:30" */
    const char *known_ids;    /* the provider's, of other attempts to this address */
    const char *message_key;  /* the same for every try of this notification, and for no other */
    const char *thread_id;    /* the provider's, of this incident's first message to this address */
    int64_t starts_in_s;
    int64_t useful_s;           /* how long it is worth delivering */
    const struct message *also; /* the next one of the same bundle */
    int64_t unsettled_for_s;    /* since an attempt whose outcome is unknown; 0: none */
};

enum message_style { MESSAGE_WRITTEN, MESSAGE_SPOKEN };

/* Adds the text, one line without a break. */
void message_text(const struct message *m, enum message_style style, struct buf *out);
/* What it is called in log lines: "Alert message", "Escalation call". */
const char *message_label(const struct message *m);

#endif
