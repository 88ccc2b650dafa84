#include "gateway/hook_twilio.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/failure_json.h"
#include "base/form.h"
#include "base/log.h"
#include "base/twilio_error.h"
#include "base/twilio_status.h"
#include "base/utf8.h"
#include "gateway/hear.h"
#include "gateway/twilio_signature.h"
#include "sql/gateway.h"

#define XML_TYPE     "text/xml; charset=utf-8"
#define TWIML_MAX    8192
#define URL_MAX      8192
#define KEY_MAX      1024
#define DIGIT_WAIT_S 10
/* Anybody may call: a line at most so often, with how many there were beyond it. */
#define REFUSAL_LINE_MS 10000
#define WHATSAPP        "whatsapp:"
#define TRIED_AGAIN     "I-Twilio-Idempotency-Token"

/* --- who calls ------------------------------------------------------------------------------- */

static void refuse(struct gateway *g, struct http_exchange *x, const char *why)
{
    uint64_t held;

    service_metric_add(g->service, "hooks_refused", 1);
    if (log_rate_allow(&g->refusals, REFUSAL_LINE_MS, &held))
        log_warn(F(F_STR("path", http_exchange_path(x)), F_STR("peer", http_exchange_peer(x)),
                     F_INT("more", (int64_t)held)),
            "a call that is not Twilio's was refused: %s", why);
    gateway_problem(x, 403, "Not signed by Twilio",
        "X-Twilio-Signature: %s; PUBLIC_URL and TWILIO_AUTH_TOKEN of the gateway have to be those "
        "that "
        "Twilio calls and signs with",
        why);
}

static bool is_text(const struct form *form)
{
    for (size_t i = 0; i < form->n; i++) {
        size_t len = strlen(form->fields[i].value), at = 0, step = 1;
        while (at < len && step) {
            step = utf8_step(form->fields[i].value + at, len - at);
            at += step;
        }
        if (!step)
            return false;
    }
    return true;
}

/* The form that came, if Twilio signed it; else the request has been answered. */
static bool read_signed(struct gateway *g, struct http_exchange *x, struct form *ret_form)
{
    const char *signature = http_exchange_header(x, "X-Twilio-Signature"), *body;
    const char *query = http_exchange_query(x);
    struct buf url = BUF_INIT(URL_MAX);
    size_t len;
    int err;

    if (!g->config->public_url || !g->config->twilio_auth_token) {
        gateway_problem(x, 404, "Nothing listens here",
            "PUBLIC_URL and TWILIO_AUTH_TOKEN of the gateway switch the hooks of Twilio on");
        return false;
    }
    body = http_exchange_body(x, &len);
    if (form_read(body, len, ret_form) != 0) {
        gateway_problem(
            x, 400, "Not a form", "the body has to be application/x-www-form-urlencoded");
        return false;
    }
    buf_addf(
        &url, "%s%s%s%s", g->config->public_url, http_exchange_path(x), *query ? "?" : "", query);
    err = buf_err(&url);
    if (!err)
        err = twilio_signature_check(
            g->config->twilio_auth_token, buf_str(&url), ret_form, signature);
    buf_release(&url);
    if (!err && is_text(ret_form))
        return true;
    form_release(ret_form);
    if (!err)
        gateway_problem(x, 400, "Not a text", "the fields of the form have to be UTF-8");
    else
        refuse(g, x, signature ? "it is not that of this address and this form" : "missing");
    return false;
}

/* The attempt that the address names; 0 when it names none, and then the request is answered. */
static int64_t read_attempt(struct http_exchange *x)
{
    const char *query = http_exchange_query(x), *text = NULL;
    struct form form;
    long long id = 0;
    char *end;

    if (form_read(query, strlen(query), &form) == 0) {
        text = form_get(&form, "attempt");
        errno = 0;
        id = text ? strtoll(text, &end, 10) : 0;
        if (text && (errno || *end || id < 0))
            id = 0;
        form_release(&form);
    }
    if (!id)
        gateway_problem(x, 400, "No attempt", "attempt: the query has to name it by its number");
    return id;
}

/* What makes this call the same one when Twilio sends it again; false: it is too long to be one of
 * Twilio's, and the request has been answered. */
static bool add_event_key(
    struct http_exchange *x, const char *sid, const char *what, struct buf *out)
{
    const char *token = http_exchange_header(x, TRIED_AGAIN);

    if (token)
        buf_addf(out, "twilio:%s", token);
    else
        buf_addf(out, "twilio:%s:%s", sid, what);
    if (!buf_err(out))
        return true;
    gateway_problem(
        x, 400, "Not an event", "%s: at most %d bytes", token ? TRIED_AGAIN : "its id", KEY_MAX);
    return false;
}

static const char *or_none(const char *text)
{
    return text ? text : "";
}

/* --- the status of a message or a call ------------------------------------------------------- */

static void answer_status(struct gateway *g, struct http_exchange *x, const struct db_result *r)
{
    const char *result = or_none(db_text(r, 0, "result"));

    service_metric_add(g->service, "callbacks", 1);
    if (strcmp(result, "unknown") == 0)
        log_warn(
            F(F_STR("path", http_exchange_path(x))), "a callback is of no attempt that is known");
    http_exchange_answer(x, 204, NULL, "", 0);
}

/* Why it was not delivered, by Twilio's code. Returns whether the number itself will never work. */
static bool judge_failure(const char *code_text, struct failure *ret_failure)
{
    int code = code_text ? (int)strtol(code_text, NULL, 10) : 0;
    const struct twilio_error *known = twilio_error_find(code);

    failure_set(ret_failure, ERR_PROTOCOL, "Twilio %d: %s", code,
        known ? known->meaning : "no reason given");
    ret_failure->final = known && known->blame != TWILIO_PASSING;
    return known && known->blame == TWILIO_CONTACT;
}

static void hear_status(struct gateway *g, struct http_exchange *x, enum twilio_resource resource)
{
    struct buf key = BUF_INIT(KEY_MAX);
    struct failure failure;
    struct db_args args;
    struct form form;
    bool contact_dead = false;
    int64_t attempt;

    if (!read_signed(g, x, &form))
        return;
    bool message = resource == TWILIO_MESSAGE;
    const char *sid = form_get(&form, message ? "MessageSid" : "CallSid");
    const char *status = form_get(&form, message ? "MessageStatus" : "CallStatus");
    const char *report = status ? twilio_status_report(resource, status) : NULL;
    failure_clear(&failure);
    if (!sid || !report) {
        gateway_problem(x, 400, "Not a status",
            message ? "MessageSid and MessageStatus: a status that Twilio knows"
                    : "CallSid and CallStatus: a status that Twilio knows");
        form_release(&form);
        return;
    }
    if (!message && strcmp(report, "answered") == 0 &&
        twilio_is_machine(form_get(&form, "AnsweredBy")))
        report = "unanswered";
    if (strcmp(report, "undelivered") == 0)
        contact_dead = judge_failure(form_get(&form, "ErrorCode"), &failure);
    else if (strcmp(report, "unanswered") == 0)
        failure_set(&failure, ERR_PROTOCOL, "Twilio: the call was %s", status);
    attempt = read_attempt(x);
    if (attempt && add_event_key(x, sid, status, &key)) {
        _cleanup_(freep) char *text = failure_json(&failure);
        db_args_init(&args);
        db_arg_int(&args, attempt);
        db_arg_str(&args, sid);
        db_arg_str(&args, report);
        db_arg_str(&args, text);
        db_arg_bool(&args, contact_dead);
        db_arg_str(&args, buf_str(&key));
        hear_send(g, x, &SQL_hear_status, &args, answer_status);
        db_args_release(&args);
    }
    buf_release(&key);
    form_release(&form);
}

void hook_twilio_message(struct gateway *g, struct http_exchange *x)
{
    hear_status(g, x, TWILIO_MESSAGE);
}

void hook_twilio_call(struct gateway *g, struct http_exchange *x)
{
    hear_status(g, x, TWILIO_CALL);
}

/* --- a key that was pressed ------------------------------------------------------------------ */

static void answer_twiml(struct http_exchange *x, struct buf *twiml)
{
    if (buf_err(twiml))
        gateway_problem(x, 500, "Out of memory", "the answer could not be made: send it again");
    else
        http_exchange_answer(x, 200, XML_TYPE, buf_str(twiml), twiml->len);
    buf_release(twiml);
}

/* Says a sentence and hangs up, or asks for a key again, at the address that was just called. */
static void answer_digit(struct gateway *g, struct http_exchange *x, const struct db_result *r)
{
    const char *outcome = or_none(db_text(r, 0, "outcome")), *say = db_text(r, 0, "say");
    bool asks = strcmp(outcome, "again") == 0 || strcmp(outcome, "repeat") == 0;
    struct buf twiml = BUF_INIT(TWIML_MAX), action = BUF_INIT(URL_MAX);

    service_metric_add(g->service, "digits", 1);
    log_info(F(F_STR("outcome", outcome)), "a key was pressed in a call");
    buf_add_str(&twiml, "<Response>");
    if (asks) {
        buf_addf(&action, "%s%s?%s", g->config->public_url, http_exchange_path(x),
            http_exchange_query(x));
        buf_addf(&twiml, "<Gather numDigits=\"1\" timeout=\"%d\" method=\"POST\" action=\"",
            DIGIT_WAIT_S);
        buf_add_xml(&twiml, buf_str(&action));
        buf_add_str(&twiml, "\">");
    }
    if (say || !asks) {
        buf_add_str(&twiml, "<Say>");
        buf_add_xml(&twiml, say ? say : "This call is not known any more.");
        buf_add_str(&twiml, "</Say>");
    }
    buf_add_str(
        &twiml, asks ? "<Say>Press 1 to acknowledge, 2 to escalate now, 3 to hear this again."
                       "</Say></Gather></Response>"
                     : "<Hangup/></Response>");
    buf_release(&action);
    answer_twiml(x, &twiml);
}

void hook_twilio_digits(struct gateway *g, struct http_exchange *x)
{
    struct buf key = BUF_INIT(KEY_MAX), what = BUF_INIT(256);
    struct db_args args;
    struct form form;
    int64_t attempt;

    if (!read_signed(g, x, &form))
        return;
    const char *sid = form_get(&form, "CallSid"), *digit = or_none(form_get(&form, "Digits"));
    attempt = read_attempt(x);
    buf_addf(&what, "digit:%" PRId64 ":%.8s", attempt, digit);
    if (attempt && !sid) {
        gateway_problem(x, 400, "Not a key", "CallSid: the call in which it was pressed");
    } else if (attempt && add_event_key(x, sid, buf_str(&what), &key)) {
        db_args_init(&args);
        db_arg_int(&args, attempt);
        db_arg_str(&args, sid);
        db_arg_str(&args, digit);
        db_arg_str(&args, buf_str(&key));
        hear_send(g, x, &SQL_hear_digit, &args, answer_digit);
        db_args_release(&args);
    }
    buf_release(&what);
    buf_release(&key);
    form_release(&form);
}

/* --- a message that came in ------------------------------------------------------------------ */

static void answer_reply(struct gateway *g, struct http_exchange *x, const struct db_result *r)
{
    const char *say = db_text(r, 0, "say");
    struct buf twiml = BUF_INIT(TWIML_MAX);

    service_metric_add(g->service, "replies", 1);
    log_info(F(F_STR("outcome", db_text(r, 0, "outcome"))), "a message came in");
    buf_add_str(&twiml, "<Response>");
    if (say) {
        buf_add_str(&twiml, "<Message>");
        buf_add_xml(&twiml, say);
        buf_add_str(&twiml, "</Message>");
    }
    buf_add_str(&twiml, "</Response>");
    answer_twiml(x, &twiml);
}

void hook_twilio_reply(struct gateway *g, struct http_exchange *x)
{
    struct buf key = BUF_INIT(KEY_MAX);
    struct db_args args;
    struct form form;

    if (!read_signed(g, x, &form))
        return;
    const char *from = form_get(&form, "From"), *sid = form_get(&form, "MessageSid");
    if (!from || !sid) {
        gateway_problem(x, 400, "Not a message", "From and MessageSid: who sent it, and its id");
    } else if (add_event_key(x, sid, "reply", &key)) {
        bool whatsapp = strncmp(from, WHATSAPP, strlen(WHATSAPP)) == 0;
        db_args_init(&args);
        db_arg_str(&args, whatsapp ? "twilio_whatsapp" : "twilio_sms");
        db_arg_str(&args, whatsapp ? from + strlen(WHATSAPP) : from);
        db_arg_str(&args, or_none(form_get(&form, "Body")));
        db_arg_str(&args, buf_str(&key));
        hear_send(g, x, &SQL_hear_reply, &args, answer_reply);
        db_args_release(&args);
    }
    buf_release(&key);
    form_release(&form);
}
