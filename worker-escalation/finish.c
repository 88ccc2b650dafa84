#include "worker-escalation/finish.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/failure_json.h"
#include "base/log.h"

void finish_list_push(struct finish_list *list, struct delivery *d)
{
    d->next = NULL;
    if (list->tail)
        list->tail->next = d;
    else
        list->head = d;
    list->tail = d;
    list->n++;
}

struct delivery *finish_list_pop(struct finish_list *list)
{
    struct delivery *d = list->head;

    if (!d)
        return NULL;
    list->head = d->next;
    if (!list->head)
        list->tail = NULL;
    list->n--;
    d->next = NULL;
    return d;
}

/* All that an open circuit holds comes back at the same moment: a line at most so often, with how
 * many there were beyond it. */
#define HELD_LINE_MS 10000

/* --- the statement ------------------------------------------------------------------------ */

/* The arrays of the statement, one element a delivery. */
struct columns {
    int64_t *id, *fence, *http_status, *retry_after_ms, *poll_ms, *elapsed_ms;
    const char **outcome, **provider_id, **failure, **url;
    bool *contact_dead;
    size_t n;
};

static bool columns_init(struct columns *c, size_t n)
{
    int64_t **ints[] = {
        &c->id, &c->fence, &c->http_status, &c->retry_after_ms, &c->poll_ms, &c->elapsed_ms};
    const char ***texts[] = {&c->outcome, &c->provider_id, &c->failure, &c->url};
    bool ok = true;

    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
        *ints[i] = calloc(n + 1, sizeof **ints[i]);
        ok = ok && *ints[i];
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        *texts[i] = calloc(n + 1, sizeof **texts[i]);
        ok = ok && *texts[i];
    }
    c->contact_dead = calloc(n + 1, sizeof *c->contact_dead);
    return ok && c->contact_dead;
}

static void columns_release(struct columns *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free((char *)c->failure[i]);
        free((char *)c->url[i]);
    }
    free(c->id);
    free(c->fence);
    free(c->http_status);
    free(c->retry_after_ms);
    free(c->poll_ms);
    free(c->elapsed_ms);
    free(c->outcome);
    free(c->provider_id);
    free(c->failure);
    free(c->url);
    free(c->contact_dead);
}

/* An address as the delivery log keeps it: without its query, which may hold a secret. */
static char *log_url(const struct delivery *d)
{
    const char *address = d->message.address;

    if (!d->channel || !d->channel->logs_delivery || !address)
        return NULL;
    return strndup(address, strcspn(address, "?#"));
}

static void columns_add(struct columns *c, const struct delivery *d)
{
    const struct outcome *o = &d->outcome;
    size_t i = c->n++;

    c->id[i] = d->message.notification_id;
    c->fence[i] = d->fence;
    c->outcome[i] = outcome_name(o->kind);
    c->provider_id[i] = o->provider_id[0] ? o->provider_id : NULL;
    c->http_status[i] = o->http_status;
    c->failure[i] = failure_json(&o->failure);
    c->retry_after_ms[i] = o->failure.retry_after_ms;
    c->poll_ms[i] = o->poll_ms;
    c->contact_dead[i] = o->contact_dead;
    c->elapsed_ms[i] = o->elapsed_ms;
    c->url[i] = log_url(d);
}

void finish_args(const struct finish_list *list, int64_t daemon_id, struct db_args *args)
{
    struct columns c;

    if (columns_init(&c, list->n)) {
        for (const struct delivery *d = list->head; d; d = d->next)
            columns_add(&c, d);
        db_arg_int(args, daemon_id);
        db_arg_ints(args, c.id, c.n);
        db_arg_ints(args, c.fence, c.n);
        db_arg_strs(args, c.outcome, c.n);
        db_arg_strs(args, c.provider_id, c.n);
        db_arg_ints(args, c.http_status, c.n);
        db_arg_strs(args, c.failure, c.n);
        db_arg_ints(args, c.retry_after_ms, c.n);
        db_arg_ints(args, c.poll_ms, c.n);
        db_arg_bools(args, c.contact_dead, c.n);
        db_arg_ints(args, c.elapsed_ms, c.n);
        db_arg_strs(args, c.url, c.n);
    } else {
        args->err = ERR_NOMEM;
    }
    columns_release(&c);
}

/* --- the answer --------------------------------------------------------------------------- */

static const char *successor_text(const char *successor)
{
    if (!successor)
        return "";
    if (strcmp(successor, "next_channel") == 0)
        return "; the next channel takes over";
    if (strcmp(successor, "next_rung") == 0)
        return "; the next rung takes over";
    if (strcmp(successor, "again") == 0)
        return "; nobody is left to tell, so it is tried again";
    return "; nobody is left to tell";
}

#define FIELDS(d)                                                                                  \
    F_INT("notification_id", (d)->message.notification_id),                                        \
        F_INT("incident_id", (d)->message.incident_id), F_STR("channel", (d)->message.channel),    \
        F_INT("attempt", (d)->attempt)

static void log_accepted(const struct delivery *d, int64_t lateness_ms)
{
    const struct message *m = &d->message;
    const char *provider_id = d->outcome.provider_id[0] ? d->outcome.provider_id : NULL;

    log_info(F(FIELDS(d), F_INT("lateness_ms", lateness_ms), F_STR("provider_id", provider_id)),
        "%s to %s accepted (%s)%s%s%s", message_label(m), m->person, m->channel,
        m->title ? ": \"" : "", m->title ? m->title : "", m->title ? "\"" : "");
}

static void log_held(const struct delivery *d, struct log_rate *held_lines)
{
    uint64_t more;

    if (log_rate_allow(held_lines, HELD_LINE_MS, &more))
        log_info(F(FIELDS(d), F_INT("more", (int64_t)more)),
            "%s to %s held: the circuit of %s is open", message_label(&d->message),
            d->message.person, d->message.channel);
}

static void read_row(const struct delivery *d, const struct db_result *r, int row, json_t *lateness,
    struct log_rate *held_lines, struct finish_news *news)
{
    const struct message *m = &d->message;
    const struct failure *f = &d->outcome.failure;
    const char *result = db_text(r, row, "result"), *state = db_text(r, row, "state");
    const char *successor = db_text(r, row, "successor");
    int64_t retry_ms = db_int(r, row, "retry_in_ms");

    if (strcmp(result, "lost") == 0) {
        news->lost++;
        log_warn(F(FIELDS(d)), "%s to %s: the claim was lost, its result is thrown away",
            message_label(m), m->person);
    } else if (!state) {
        return; /* reported before */
    } else if (strcmp(state, "accepted") == 0) {
        news->accepted++;
        lateness_add(lateness, m->kind, m->channel, db_int(r, row, "lateness_ms"));
        log_accepted(d, db_int(r, row, "lateness_ms"));
    } else if (strcmp(state, "sending") == 0) {
        if (news->next_in_ms < 0 || retry_ms < news->next_in_ms)
            news->next_in_ms = retry_ms;
        if (d->outcome.kind == OUTCOME_DIVERTED)
            news->diverted++;
        else
            news->retried++;
        if (d->outcome.kind == OUTCOME_DIVERTED)
            log_held(d, held_lines);
        else if (f->code)
            log_failure(LOG_LEVEL_WARN, f, F(FIELDS(d), F_INT("retry_in_ms", retry_ms)),
                "%s to %s not delivered yet (%s)", message_label(m), m->person, m->channel);
    } else if (strcmp(state, "failed") == 0) {
        news->failed++;
        news->due_now = news->due_now || successor;
        if (d->outcome.kind == OUTCOME_DIVERTED)
            log_info(F(FIELDS(d)), "%s to %s: the circuit of %s is open%s", message_label(m),
                m->person, m->channel, successor_text(successor));
        else
            log_failure(LOG_LEVEL_ERROR, f, F(FIELDS(d)), "%s to %s failed (%s)%s",
                message_label(m), m->person, m->channel, successor_text(successor));
    } else {
        log_info(F(FIELDS(d)), "%s to %s %s (%s)", message_label(m), m->person, state, m->channel);
    }
}

static int find_row(const struct db_result *r, int64_t id, int hint)
{
    int n = db_rows(r);

    for (int i = 0; i < n; i++) {
        int row = (hint + i) % n;
        if (db_int(r, row, "id") == id)
            return row;
    }
    return -1;
}

void finish_read(const struct finish_list *list, const struct db_result *r, json_t *lateness,
    struct log_rate *held_lines, struct finish_news *ret_news)
{
    struct finish_news news = {.next_in_ms = -1};
    int hint = 0;

    for (const struct delivery *d = list->head; d; d = d->next) {
        int row = find_row(r, d->message.notification_id, hint);
        if (row < 0)
            continue;
        hint = row + 1;
        read_row(d, r, row, lateness, held_lines, &news);
    }
    *ret_news = news;
}
