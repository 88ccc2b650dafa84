/*
 * Slack: POST of chat.postMessage with a bot's token. What follows in an incident goes into the
 * thread of its first message to the same conversation.
 */
#include <string.h>

#include "base/cleanup.h"
#include "base/json_read.h"
#include "worker-escalation/channel.h"
#include "worker-escalation/provider_id.h"

#define ANSWER_MAX ((size_t)1 << 20)

enum slack_blame {
    SLACK_PASSING,
    SLACK_UNKNOWN, /* it may have been posted */
    SLACK_REQUEST, /* this message cannot be posted there */
    SLACK_CONTACT, /* nothing can be posted there any more */
    SLACK_ACCOUNT, /* the token: nothing can be posted anywhere */
};

/* Slack says 200 and `ok: false`. The names are those of docs.slack.dev/reference/methods/
 * chat.postMessage, "Errors"; account_inactive is about the token's owner, not the reader. */
static const struct {
    const char *error;
    enum slack_blame blame;
} slack_errors[] = {
    {"rate_limited", SLACK_PASSING},
    {"ratelimited", SLACK_PASSING},
    {"message_limit_exceeded", SLACK_PASSING},
    {"service_unavailable", SLACK_PASSING},
    {"team_added_to_org", SLACK_PASSING},
    {"request_timeout", SLACK_PASSING}, /* our body came too slowly */
    {"fatal_error", SLACK_UNKNOWN},
    {"internal_error", SLACK_UNKNOWN},
    {"channel_not_found", SLACK_CONTACT},
    {"is_archived", SLACK_CONTACT},
    {"user_not_found", SLACK_CONTACT},
    {"user_disabled", SLACK_CONTACT},
    {"cannot_dm_bot", SLACK_CONTACT},
    {"messages_tab_disabled", SLACK_ACCOUNT},
    {"not_authed", SLACK_ACCOUNT},
    {"invalid_auth", SLACK_ACCOUNT},
    {"account_inactive", SLACK_ACCOUNT},
    {"token_revoked", SLACK_ACCOUNT},
    {"token_expired", SLACK_ACCOUNT},
    {"not_allowed_token_type", SLACK_ACCOUNT},
    {"missing_scope", SLACK_ACCOUNT},
    {"no_permission", SLACK_ACCOUNT},
    {"org_login_required", SLACK_ACCOUNT},
    {"two_factor_setup_required", SLACK_ACCOUNT},
    {"accesslimited", SLACK_ACCOUNT},
    {"access_denied", SLACK_ACCOUNT},
    {"ekm_access_denied", SLACK_ACCOUNT},
    {"team_access_not_granted", SLACK_ACCOUNT},
};

static const char *missing(const struct reach_config *config)
{
    return config->slack_token ? NULL : "SLACK_TOKEN is not set";
}

/* docs.slack.dev/messaging/formatting-message-text: these three, and no other, are escaped. */
static void add_escaped(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '&')
            buf_add_str(out, "&amp;");
        else if (*text == '<')
            buf_add_str(out, "&lt;");
        else if (*text == '>')
            buf_add_str(out, "&gt;");
        else
            buf_add_char(out, *text);
    }
}

static json_t *payload(const struct reach_config *config, const struct message *m)
{
    const char *colon = m->thread_id ? strchr(m->thread_id, ':') : NULL;
    struct buf text = BUF_INIT(4 * MESSAGE_TEXT_MAX), escaped = BUF_INIT(16 * MESSAGE_TEXT_MAX);
    json_t *json = NULL;

    message_text(m, MESSAGE_WRITTEN, &text);
    channel_add_link(config, m, "\n", &text);
    add_escaped(&escaped, buf_str(&text));
    if (buf_err(&text) == 0 && buf_err(&escaped) == 0)
        json = json_pack("{s:s, s:s, s:b, s:b}", "channel", m->address, "text", buf_str(&escaped),
            "mrkdwn", 0, "unfurl_links", 0);
    if (json && colon &&
        (json_object_set_new(
             json, "channel", json_stringn(m->thread_id, (size_t)(colon - m->thread_id))) != 0 ||
            json_object_set_new(json, "thread_ts", json_string(colon + 1)) != 0)) {
        json_decref(json);
        json = NULL;
    }
    buf_release(&text);
    buf_release(&escaped);
    return json;
}

static int build(
    const struct reach_config *config, const struct message *m, struct channel_request *r)
{
    _cleanup_(json_decrefp) json_t *json = NULL;
    _cleanup_(freep) char *body = NULL;

    if (!m->address)
        return ERR_INVALID;
    json = payload(config, m);
    body = json ? json_dumps(json, JSON_COMPACT) : NULL;
    if (!body)
        return ERR_INVALID;
    buf_addf(&r->url, "%s/api/chat.postMessage", config->slack_url);
    buf_add_str(&r->body, body);
    r->http.method = "POST";
    r->http.allow_private = true; /* the base address is the operator's own */
    channel_request_header(r, "Authorization: Bearer %s", config->slack_token);
    channel_request_header(r, "Content-Type: application/json; charset=utf-8");
    return 0;
}

static enum slack_blame find_blame(const char *error)
{
    for (size_t i = 0; i < sizeof slack_errors / sizeof slack_errors[0]; i++) {
        if (strcmp(slack_errors[i].error, error) == 0)
            return slack_errors[i].blame;
    }
    return SLACK_REQUEST;
}

static void judge_error(const char *error, int64_t retry_after_ms, struct outcome *out)
{
    enum slack_blame blame = find_blame(error);

    failure_set(&out->failure, ERR_PROTOCOL, "Slack: %s", error);
    out->failure.http_status = out->http_status;
    out->failure.retry_after_ms = retry_after_ms;
    out->provider_failed =
        blame == SLACK_PASSING || blame == SLACK_UNKNOWN || blame == SLACK_ACCOUNT;
    out->contact_dead = blame == SLACK_CONTACT;
    out->kind = blame == SLACK_PASSING   ? OUTCOME_PASSING
                : blame == SLACK_UNKNOWN ? OUTCOME_AMBIGUOUS
                                         : OUTCOME_FINAL;
    out->failure.final = out->kind == OUTCOME_FINAL;
    out->failure.ambiguous = out->kind == OUTCOME_AMBIGUOUS;
}

static void judge(const struct http_response *response, struct outcome *out)
{
    _cleanup_(json_decrefp) json_t *answer = NULL;
    const char *error;

    if (outcome_judge_http(response, "Slack", out))
        return;
    if (json_read(response->body, response->body_len, ANSWER_MAX, NULL, &answer) != 0 ||
        !json_is_boolean(json_object_get(answer, "ok"))) {
        judge_error(response->status < 300 ? "internal_error" : "not_allowed", -1, out);
        failure_set(&out->failure, ERR_PROTOCOL, "Slack: answered %ld and what is none of its JSON",
            response->status);
        out->failure.ambiguous = out->kind == OUTCOME_AMBIGUOUS;
        out->failure.final = out->kind == OUTCOME_FINAL;
        out->provider_failed = true;
        return;
    }
    error = json_read_str(answer, "error");
    if (!json_read_bool(answer, "ok", false)) {
        judge_error(error ? error : "no reason given", http_response_retry_after_ms(response), out);
        return;
    }
    out->kind = OUTCOME_ACCEPTED; /* without an id it is still posted; then it opens no thread */
    (void)provider_id_set(out, json_read_str(answer, "channel"), json_read_str(answer, "ts"));
}

const struct channel channel_slack = {
    .name = "slack",
    .missing = missing,
    .build = build,
    .judge = judge,
};
