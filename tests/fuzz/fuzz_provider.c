/* Any bytes as a provider's answer: no crash, and a judgement in any case. The first byte says
 * with which status it comes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "service/sentry_envelope.h"
#include "worker-escalation/channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct message message = {
    .notification_id = 5,
    .channel = "vapi_voice",
    .mode = "call",
    .kind = "meeting_call",
    .gate = "alerts",
    .address = "+15551234",
    .person = "owner",
    .known_ids = "c-1 c-2",
    .unsettled_for_s = 20,
};

static void judge(const struct channel *channel, const struct http_response *response)
{
    struct outcome out;

    if (!channel->judge)
        return;
    outcome_init(&out);
    channel->judge(response, &out);
    if (out.kind == OUTCOME_NONE || (out.kind == OUTCOME_ACCEPTED) != (out.failure.code == 0))
        abort();
    if (channel->judge_ask) {
        outcome_init(&out);
        channel->judge_ask(&message, response, &out);
        if (out.kind == OUTCOME_NONE)
            abort();
    }
    if (channel->judge_poll) {
        outcome_init(&out);
        (void)channel->judge_poll(response, &out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const long statuses[] = {200, 201, 302, 400, 401, 404, 429, 500, 503};
    _cleanup_(freep) char *text = size > 0 ? strndup((const char *)data + 1, size - 1) : NULL;
    struct http_response response = {.detail = "", .sent = true};
    struct buf url = BUF_INIT(4096);

    if (!text)
        return 0;
    response.status = statuses[data[0] % (sizeof statuses / sizeof statuses[0])];
    response.body = text;
    response.body_len = strlen(text);
    for (size_t i = 0; i < n_channels; i++)
        judge(channels[i], &response);
    if (sentry_rate_limits_ms(text) < 0)
        abort();
    (void)sentry_dsn_parse(text, &url, NULL);
    buf_release(&url);
    return 0;
}
