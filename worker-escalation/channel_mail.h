/*
 * A mail with what it points to.
 */
#ifndef TOCSIN_WORKER_ESCALATION_CHANNEL_MAIL_H
#define TOCSIN_WORKER_ESCALATION_CHANNEL_MAIL_H

#include "base/buf.h"
#include "io/smtp_client.h"

struct channel_mail {
    struct smtp_request smtp; /* its message is `message` */
    struct mail_message message;
    struct buf subject;
    struct buf text;
    struct buf message_id;
    struct buf in_reply_to;
};
void channel_mail_init(struct channel_mail *mail);
void channel_mail_release(struct channel_mail *mail);

#endif
