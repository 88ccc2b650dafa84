/*
 * Mail out: SMTP by libcurl on the libuv loop, one message to one recipient a call.
 * TLS is required unless the caller says otherwise.
 */
#ifndef TOCSIN_IO_SMTP_CLIENT_H
#define TOCSIN_IO_SMTP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "io/mail_message.h"

struct smtp_client;
struct smtp_call;

struct smtp_request {
    const char *url;             /* smtp://host:587, or smtps://host:465 for TLS from the start */
    const char *user, *password; /* NULL: none */
    const char *ca_file; /* PEM of who may sign the server's certificate; NULL: the system's */
    bool plaintext;      /* smtp:// without STARTTLS: for a relay on the same host */
    bool allow_private;  /* loopback, private, link-local addresses too */
    int64_t connect_timeout_ms; /* 0: 5 s */
    int64_t total_timeout_ms;   /* 0: 30 s */
    const struct mail_message *message;
};

struct smtp_response {
    int err;            /* 0: the server has taken the message; else ERR_PROTOCOL (it refused, or
                           TLS failed), ERR_IO, ERR_TIMEOUT, ERR_DENIED (address) */
    long code;          /* the server's last reply; 4xx may pass, 5xx is final (RFC 5321, 4.2.1) */
    const char *detail; /* its text, or ours; without secrets; "" when nothing went wrong */
    bool sent;          /* the whole message may have left and no reply came: the outcome is
                           unknown on err */
    int64_t elapsed_ms;
};

typedef void smtp_done_fn(void *arg, const struct smtp_response *r);

/* ERR_NOMEM or ERR_IO. */
MUST_CHECK int smtp_client_new(uv_loop_t *loop, struct smtp_client **ret_client);
/* Cancels what is outstanding without calling back; NULL does nothing. */
void smtp_client_free(struct smtp_client *c);

/* Starts a call; everything in the request is copied. `done` is called exactly once, from the
 * loop, unless the call is cancelled first; the response is valid until it returns. ERR_NOMEM,
 * ERR_TOO_LARGE, ERR_INVALID (not an smtp address, or a mail address that is none). */
MUST_CHECK int smtp_client_send(struct smtp_client *c, const struct smtp_request *request,
    smtp_done_fn *done, void *arg, struct smtp_call **ret_call);
/* Ends a call without calling back. Not to be used after `done`. */
void smtp_call_cancel(struct smtp_call *call);

#endif
