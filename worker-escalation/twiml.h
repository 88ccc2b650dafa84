/*
 * What Twilio says on the phone, as TwiML (www.twilio.com/docs/voice/twiml).
 */
#ifndef TOCSIN_WORKER_ESCALATION_TWIML_H
#define TOCSIN_WORKER_ESCALATION_TWIML_H

#include "base/buf.h"

/* Twilio's ceiling for the parameter Twiml of a call. */
#define TWIML_MAX 4000

/* Adds a document that says `text` twice and, where `action` is an address (may be NULL), takes one
 * digit to it: 1 acknowledges. */
void twiml_say(const char *text, const char *action, struct buf *out);

#endif
