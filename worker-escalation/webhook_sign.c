#include "worker-escalation/webhook_sign.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/standard_webhooks.h"

int webhook_sign(struct channel_request *r, const char *secret, const char *id)
{
    int64_t now_s = clock_unix_s();
    struct buf signature = BUF_INIT(512);
    int err = 0;

    channel_request_header(r, "webhook-id: %s", id);
    channel_request_header(r, "webhook-timestamp: %" PRId64, now_s);
    if (secret) {
        err = standard_webhooks_sign(secret, id, now_s, buf_str(&r->body), r->body.len, &signature);
        if (!err)
            channel_request_header(r, "webhook-signature: %s", buf_str(&signature));
    }
    buf_release(&signature);
    return err;
}
