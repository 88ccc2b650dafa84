#include "worker-escalation/twilio.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json_read.h"
#include "base/twilio_error.h"
#include "base/twilio_status.h"

/* Two clocks, ours and Twilio's, and the way between them. */
#define CREATED_TOLERANCE_S 5

bool twilio_is_e164(const char *number)
{
    size_t digits;

    if (!number || number[0] != '+' || number[1] == '0')
        return false;
    digits = strspn(number + 1, "0123456789");
    return digits >= 2 && digits <= 15 && number[1 + digits] == '\0';
}

void twilio_request(const struct reach_config *config, const char *collection, const char *sid,
    struct channel_request *r)
{
    buf_addf(&r->url, "%s/2010-04-01/Accounts/", config->twilio_url);
    buf_add_percent(&r->url, config->twilio_account_sid);
    buf_addf(&r->url, "/%s", collection);
    if (sid) {
        buf_add_char(&r->url, '/');
        buf_add_percent(&r->url, sid);
    }
    buf_add_str(&r->url, ".json");
    r->http.method = "POST";
    r->http.user = config->twilio_account_sid;
    r->http.password = config->twilio_auth_token;
    r->http.allow_private = true; /* the base address is the operator's own */
    channel_request_header(r, "Content-Type: application/x-www-form-urlencoded");
    channel_request_header(r, "Accept: application/json");
}

void twilio_callback(
    const struct reach_config *config, const char *what, const struct message *m, struct buf *out)
{
    if (config->public_url)
        buf_addf(
            out, "%s/hooks/twilio/%s?attempt=%" PRId64, config->public_url, what, m->attempt_id);
}

void twilio_reference(int64_t notification_id, struct buf *out)
{
    buf_addf(out, "[#%" PRId64 "]", notification_id);
}

/* Letters and digits alone, and short enough to be kept. */
static bool take_sid(const char *sid, struct outcome *out)
{
    size_t len = sid ? strlen(sid) : 0;

    if (len == 0 || len >= sizeof out->provider_id)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool letter = (sid[i] >= 'A' && sid[i] <= 'Z') || (sid[i] >= 'a' && sid[i] <= 'z');
        if (!letter && !(sid[i] >= '0' && sid[i] <= '9'))
            return false;
    }
    memcpy(out->provider_id, sid, len + 1);
    return true;
}

/* What an unknown code comes to. RFC 9110, 15.5. */
static enum twilio_blame blame_by_status(int status)
{
    return status == 401 || status == 403 || status == 404 || status < 400 ? TWILIO_ACCOUNT
                                                                           : TWILIO_REQUEST;
}

void twilio_judge_code(int code, int status, const char *message, struct outcome *out)
{
    const struct twilio_error *known = twilio_error_find(code);
    enum twilio_blame blame = known ? known->blame : blame_by_status(status);

    failure_set(&out->failure, ERR_PROTOCOL, "Twilio %d: %s", code,
        known ? known->meaning : (message ? message : "no reason given"));
    out->failure.http_status = status;
    switch (blame) {
    case TWILIO_PASSING:
        out->kind = OUTCOME_PASSING;
        break;
    case TWILIO_CONTACT:
        out->kind = OUTCOME_FINAL;
        out->contact_dead = true;
        break;
    case TWILIO_ACCOUNT:
        out->kind = OUTCOME_FINAL;
        out->provider_failed = true;
        break;
    case TWILIO_REQUEST:
        out->kind = OUTCOME_FINAL;
        break;
    }
    out->failure.final = out->kind == OUTCOME_FINAL;
}

static void set_unknown(struct outcome *out, const char *why)
{
    failure_set(&out->failure, ERR_PROTOCOL, "Twilio: %s", why);
    out->failure.ambiguous = true;
    out->failure.http_status = out->http_status;
    out->provider_failed = true;
    out->kind = OUTCOME_AMBIGUOUS;
}

/* A resource that exists, by its status: some are refused in the answer to their creation. */
static void judge_resource(const json_t *item, struct outcome *out)
{
    const char *status = json_read_str(item, "status");

    if (!take_sid(json_read_str(item, "sid"), out)) {
        set_unknown(out, "answered without a sid");
        return;
    }
    if (status && (strcmp(status, "failed") == 0 || strcmp(status, "undelivered") == 0)) {
        twilio_judge_code((int)json_read_int(item, "error_code", 0), 400,
            json_read_str(item, "error_message"), out);
        return;
    }
    out->kind = OUTCOME_ACCEPTED;
    out->poll_ms = TWILIO_POLL_MS;
}

void twilio_judge(const struct http_response *response, struct outcome *out)
{
    _cleanup_(json_decrefp) json_t *answer = NULL;
    int err;

    if (outcome_judge_http(response, "Twilio", out))
        return;
    err = json_read(response->body, response->body_len, TWILIO_LIST_BYTES_MAX, NULL, &answer);
    if (response->status >= 200 && response->status < 300) {
        if (err)
            set_unknown(out, "answered what is no JSON");
        else
            judge_resource(answer, out);
        return;
    }
    twilio_judge_code(err ? 0 : (int)json_read_int(answer, "code", 0), (int)response->status,
        err ? NULL : json_read_str(answer, "message"), out);
}

/* RFC 2822, as in "Fri, 24 May 2019 17:44:50 +0000"; -1 when it is none. */
static int64_t parse_date(const char *text)
{
    struct tm tm = {0};
    const char *end = text ? strptime(text, "%a, %d %b %Y %H:%M:%S", &tm) : NULL;

    return end ? (int64_t)timegm(&tm) : -1;
}

/* Whether a list parted by blanks has this id. */
static bool is_known(const char *known_ids, const char *sid)
{
    size_t len = strlen(sid);

    for (const char *at = known_ids; at && *at; at += strspn(at, " ")) {
        size_t word = strcspn(at, " ");
        if (word == len && memcmp(at, sid, len) == 0)
            return true;
        at += word;
    }
    return false;
}

static bool has_reference(const char *body, int64_t notification_id)
{
    struct buf reference = BUF_INIT(64);
    bool has;

    twilio_reference(notification_id, &reference);
    has = buf_err(&reference) == 0 && strstr(body, buf_str(&reference));
    buf_release(&reference);
    return has;
}

/* Whether this resource may be what the unsettled attempt made. */
static bool matches(const struct message *m, const json_t *item, int64_t since_s)
{
    const char *sid = json_read_str(item, "sid");
    const char *body = json_read_str(item, "body");
    const char *direction = json_read_str(item, "direction");
    int64_t created_s = parse_date(json_read_str(item, "date_created"));

    if (!sid)
        return false;
    if (direction && strncmp(direction, "outbound", strlen("outbound")) != 0)
        return false;
    if (created_s < since_s)
        return false;
    /* A message tells whose it is; of calls, what no other attempt has made. */
    return body ? has_reference(body, m->notification_id) : !is_known(m->known_ids, sid);
}

/* Whether the page goes back to that instant: there is no further one, or its last is older. */
static bool reaches_back(const json_t *answer, const json_t *list, int64_t since_s)
{
    const json_t *last = json_array_get(list, json_array_size(list) - 1);

    return !json_read_str(answer, "next_page_uri") ||
           (last && parse_date(json_read_str(last, "date_created")) < since_s);
}

void twilio_judge_list(const struct message *m, const struct http_response *response,
    const char *items, struct outcome *out)
{
    _cleanup_(json_decrefp) json_t *answer = NULL;
    const json_t *list, *item;
    int64_t since_s, provider_now_s = parse_date(http_response_header(response, "Date"));
    size_t i;

    if (outcome_judge_http(response, "Twilio's list", out)) {
        out->kind = OUTCOME_AMBIGUOUS;
        return;
    }
    if (response->status != 200 ||
        json_read(response->body, response->body_len, TWILIO_LIST_BYTES_MAX, NULL, &answer) != 0 ||
        !json_is_array(list = json_read_get(answer, items, NULL))) {
        set_unknown(out, "its list cannot be read");
        out->provider_failed = false; /* it answers, so messages may go on */
        return;
    }
    if (provider_now_s < 0)
        provider_now_s = clock_unix_s();
    since_s = provider_now_s - m->unsettled_for_s - CREATED_TOLERANCE_S;
    json_array_foreach(list, i, item)
    {
        if (!matches(m, item, since_s))
            continue;
        judge_resource(item, out);
        return;
    }
    if (reaches_back(answer, list, since_s)) {
        out->kind = OUTCOME_NOT_THERE;
        return;
    }
    set_unknown(out, "its list is too long to tell");
    out->provider_failed = false;
}

/* --- what became of it -------------------------------------------------------------------- */

static enum report_kind judge_status(
    const struct http_response *response, enum twilio_resource resource, struct outcome *out)
{
    _cleanup_(json_decrefp) json_t *answer = NULL;
    const char *status;
    enum report_kind report;

    if (outcome_judge_http(response, "Twilio", out) || response->status != 200 ||
        json_read(response->body, response->body_len, TWILIO_LIST_BYTES_MAX, NULL, &answer) != 0)
        return REPORT_UNKNOWN;
    status = json_read_str(answer, "status");
    report = status ? report_find(twilio_status_report(resource, status)) : REPORT_UNKNOWN;
    if (report == REPORT_UNDELIVERED)
        twilio_judge_code((int)json_read_int(answer, "error_code", 0), 400,
            json_read_str(answer, "error_message"), out);
    else if (report == REPORT_UNANSWERED)
        failure_set(&out->failure, ERR_PROTOCOL, "Twilio: the call was %s", status);
    return report;
}

enum report_kind twilio_judge_message(const struct http_response *response, struct outcome *out)
{
    return judge_status(response, TWILIO_MESSAGE, out);
}

static bool answered_by_machine(const struct http_response *response)
{
    _cleanup_(json_decrefp) json_t *answer = NULL;

    return json_read(response->body, response->body_len, TWILIO_LIST_BYTES_MAX, NULL, &answer) ==
               0 &&
           twilio_is_machine(json_read_str(answer, "answered_by"));
}

enum report_kind twilio_judge_call(const struct http_response *response, struct outcome *out)
{
    enum report_kind report = judge_status(response, TWILIO_CALL, out);

    if (report != REPORT_ANSWERED || !answered_by_machine(response))
        return report;
    failure_set(&out->failure, ERR_PROTOCOL, "Twilio: a machine took the call");
    return REPORT_UNANSWERED;
}
