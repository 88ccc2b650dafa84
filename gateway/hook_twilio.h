/*
 * What Twilio calls: the status of messages and calls, keys that are pressed, messages that come
 * in.
 */
#ifndef TOCSIN_GATEWAY_HOOK_TWILIO_H
#define TOCSIN_GATEWAY_HOOK_TWILIO_H

#include "gateway/gateway.h"

/* POST /hooks/twilio/message?attempt=ID and …/call?attempt=ID */
void hook_twilio_message(struct gateway *g, struct http_exchange *x);
void hook_twilio_call(struct gateway *g, struct http_exchange *x);
/* POST /hooks/twilio/digits?attempt=ID, the action of <Gather> */
void hook_twilio_digits(struct gateway *g, struct http_exchange *x);
/* POST /hooks/twilio/reply, the address that a number of the account has for incoming messages */
void hook_twilio_reply(struct gateway *g, struct http_exchange *x);

#endif
