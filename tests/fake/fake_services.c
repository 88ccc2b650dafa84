/* The smaller services: files, Slack, webhooks. */
#include "tests/fake/fake_internal.h"

#include <stdlib.h>

#include "base/json_read.h"

/* --- files -------------------------------------------------------------------------------- */

struct file {
    char *path, *type, *body, *etag, *last_modified;
};

static void file_release(void *state)
{
    struct file *f = state;

    free(f->path);
    free(f->type);
    free(f->body);
    free(f->etag);
    free(f->last_modified);
    free(f);
}

/* RFC 9110, 13.2.2: If-None-Match goes before If-Modified-Since. */
static bool is_unchanged(const struct file *f, const struct fake_request *r)
{
    const char *etag = fake_request_header(r, "If-None-Match");
    const char *since = fake_request_header(r, "If-Modified-Since");

    if (etag)
        return f->etag && strcmp(etag, f->etag) == 0;
    return since && f->last_modified && strcmp(since, f->last_modified) == 0;
}

static bool file_serve(
    struct fake_provider *p, void *state, const struct fake_request *r, struct fake_reply *reply)
{
    const struct file *f = state;

    (void)p;
    if (strcmp(r->path, f->path) != 0 ||
        (strcmp(r->method, "GET") != 0 && strcmp(r->method, "HEAD") != 0))
        return false;
    if (f->etag)
        buf_addf(&reply->headers, "ETag: %s\r\n", f->etag);
    if (f->last_modified)
        buf_addf(&reply->headers, "Last-Modified: %s\r\n", f->last_modified);
    if (is_unchanged(f, r)) {
        reply->status = 304;
        return true;
    }
    buf_addf(&reply->headers, "Content-Type: %s\r\n", f->type);
    buf_add_str(&reply->body, f->body);
    return true;
}

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

int fake_file(struct fake_provider *p, const char *path, const char *content_type, const char *body,
    const char *etag, const char *last_modified)
{
    struct file *f = calloc(1, sizeof(*f));

    if (!f)
        return ERR_NOMEM;
    *f = (struct file){
        strdup(path), strdup(content_type), strdup(body), copy(etag), copy(last_modified)};
    if (!f->path || !f->type || !f->body || (etag && !f->etag) ||
        (last_modified && !f->last_modified)) {
        file_release(f);
        return ERR_NOMEM;
    }
    fake_file_drop(p, path);
    int err = fake_service_add(p, file_serve, f, file_release);
    if (err < 0)
        file_release(f);
    return err;
}

void fake_file_drop(struct fake_provider *p, const char *path)
{
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->services.n; i++) {
        const struct file *f = fake_service_state(p->services.items[i], file_serve);
        if (f && strcmp(f->path, path) == 0) {
            fake_service_remove(p, i);
            break;
        }
    }
    pthread_mutex_unlock(&p->lock);
}

/* --- Slack -------------------------------------------------------------------------------- */

struct bearer {
    char *authorization; /* the header's value */
};

static void bearer_release(void *state)
{
    struct bearer *b = state;

    free(b->authorization);
    free(b);
}

static int bearer_add(struct fake_provider *p, fake_serve_fn *serve, const char *token)
{
    struct bearer *b = calloc(1, sizeof(*b));
    struct buf value = BUF_INIT(1024);

    if (!b)
        return ERR_NOMEM;
    buf_addf(&value, "Bearer %s", token);
    b->authorization = buf_steal(&value);
    int err = b->authorization ? fake_service_add(p, serve, b, bearer_release) : ERR_NOMEM;
    if (err < 0)
        bearer_release(b);
    buf_release(&value);
    return err;
}

static bool is_post_to(const struct fake_request *r, const char *path)
{
    return strcmp(r->method, "POST") == 0 && strcmp(r->path, path) == 0;
}

static bool knows_token(const struct bearer *b, const struct fake_request *r)
{
    const char *authorization = fake_request_header(r, "Authorization");
    return authorization && strcmp(authorization, b->authorization) == 0;
}

static json_t *body_json(const struct fake_request *r)
{
    return json_loadb(r->body, r->body_len, JSON_REJECT_DUPLICATES, NULL);
}

static void deliver(
    struct fake_provider *p, const char *kind, const json_t *id, const char *to, const char *text)
{
    const struct fake_delivery d = {
        .kind = kind, .id = json_string_value(id), .to = to, .text = text ? text : ""};

    if (fake_deliver(p, &d) < 0)
        abort();
}

/* Slack reports its errors inside a 200. */
static bool slack_serve(
    struct fake_provider *p, void *state, const struct fake_request *r, struct fake_reply *reply)
{
    const char *error = NULL;

    if (!is_post_to(r, "/api/chat.postMessage"))
        return false;
    json_t *body = body_json(r);
    const char *channel = json_read_str(body, "channel");
    const char *text = json_read_str(body, "text");
    if (!knows_token(state, r))
        error = "invalid_auth";
    else if (!body)
        error = "invalid_json";
    else if (!channel || channel[0] == '\0')
        error = "channel_not_found";
    else if (!text && !json_object_get(body, "blocks"))
        error = "no_text";
    if (error) {
        fake_reply_json(reply, 200, json_pack("{s:b, s:s}", "ok", 0, "error", error));
    } else {
        json_t *ts = json_sprintf("1700000000.%06llu", (unsigned long long)++p->next_id);
        deliver(p, "slack", ts, channel, text);
        fake_reply_json(reply, 200,
            json_pack("{s:b, s:s, s:o, s:{s:s, s:s}}", "ok", 1, "channel", channel, "ts", ts,
                "message", "type", "message", "text", text ? text : ""));
    }
    json_decref(body);
    return true;
}

int fake_slack(struct fake_provider *p, const char *token)
{
    return bearer_add(p, slack_serve, token);
}

/* --- webhooks ----------------------------------------------------------------------------- */

static bool webhook_serve(
    struct fake_provider *p, void *state, const struct fake_request *r, struct fake_reply *reply)
{
    const char *path = state;
    const char *id = fake_request_header(r, "webhook-id");

    if (!is_post_to(r, path))
        return false;
    const struct fake_delivery d = {
        .kind = "webhook", .id = id ? id : "", .to = path, .text = r->body};
    if (fake_deliver(p, &d) < 0)
        abort();
    reply->status = 200;
    return true;
}

int fake_webhook(struct fake_provider *p, const char *path)
{
    char *state = strdup(path);
    int err = state ? fake_service_add(p, webhook_serve, state, free) : ERR_NOMEM;

    if (err < 0)
        free(state);
    return err;
}
