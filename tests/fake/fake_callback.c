/* Requests that the provider makes itself: status callbacks, in any order, repeated. */
#include "tests/fake/fake_internal.h"

#include <stdlib.h>

#include "base/clock.h"
#include "io/http_client.h"

struct callback {
    char *url;
    char *body;
    char **headers; /* NULL-terminated */
    long status;
};

struct fake_callbacks {
    struct fake_provider *p;
    struct http_client *http; /* of the provider's thread */
    struct fake_list items;   /* struct callback */
    size_t kept_from;         /* the first that was not sent */
    struct fake_list queue;   /* struct callback, in the order of sending */
    size_t next;
    bool busy;
};

static void callback_free(struct callback *cb)
{
    for (char **h = cb->headers; h && *h; h++)
        free(*h);
    free(cb->headers);
    free(cb->url);
    free(cb->body);
    free(cb);
}

int fake_callbacks_new(struct fake_provider *p)
{
    p->callbacks = calloc(1, sizeof(*p->callbacks));
    if (!p->callbacks)
        return ERR_NOMEM;
    p->callbacks->p = p;
    return http_client_new(&p->loop, "TwilioProxy/1.1", &p->callbacks->http);
}

static int keep_headers(struct callback *cb, const char *const *headers)
{
    size_t n = 0;

    while (headers && headers[n])
        n++;
    cb->headers = calloc(n + 1, sizeof(*cb->headers));
    if (!cb->headers)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        cb->headers[i] = strdup(headers[i]);
        if (!cb->headers[i])
            return ERR_NOMEM;
    }
    return 0;
}

int fake_callback(
    struct fake_provider *p, const char *url, const char *const *headers, const char *body)
{
    struct callback *cb = calloc(1, sizeof(*cb));

    if (!cb)
        return ERR_NOMEM;
    cb->url = strdup(url);
    cb->body = strdup(body);
    int err = cb->url && cb->body ? keep_headers(cb, headers) : ERR_NOMEM;
    pthread_mutex_lock(&p->lock);
    int number = (int)p->callbacks->items.n;
    if (err == 0)
        err = fake_list_add(&p->callbacks->items, cb);
    pthread_mutex_unlock(&p->lock);
    if (err < 0) {
        callback_free(cb);
        return err;
    }
    return number;
}

void fake_callbacks_send(struct fake_provider *p, enum fake_order order)
{
    struct fake_callbacks *c = p->callbacks;

    pthread_mutex_lock(&p->lock);
    size_t from = c->kept_from, n = c->items.n - from;
    for (size_t i = 0; i < n; i++) {
        void *cb = c->items.items[from + (order == FAKE_REVERSED ? n - 1 - i : i)];
        for (int times = order == FAKE_TWICE ? 2 : 1; times > 0; times--)
            if (fake_list_add(&c->queue, cb) < 0)
                abort();
    }
    c->kept_from = c->items.n;
    pthread_mutex_unlock(&p->lock);
    uv_async_send(&p->wake);
}

static void on_done(void *arg, const struct http_response *response)
{
    struct fake_callbacks *c = arg;
    struct fake_provider *p = c->p;

    pthread_mutex_lock(&p->lock);
    struct callback *cb = c->queue.items[c->next++];
    cb->status = response->status;
    c->busy = false;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    fake_callbacks_step(p);
}

void fake_callbacks_step(struct fake_provider *p)
{
    struct fake_callbacks *c = p->callbacks;
    struct http_call *call;

    pthread_mutex_lock(&p->lock);
    struct callback *cb = !c->busy && c->next < c->queue.n ? c->queue.items[c->next] : NULL;
    if (cb)
        c->busy = true;
    pthread_mutex_unlock(&p->lock);
    if (!cb)
        return;
    const struct http_request request = {
        .method = "POST",
        .url = cb->url,
        .headers = (const char *const *)cb->headers,
        .body = cb->body,
        .body_len = strlen(cb->body),
        .allow_private = true,
    };
    if (http_client_send(c->http, &request, on_done, c, &call) < 0)
        abort();
}

bool fake_callbacks_wait(struct fake_provider *p, int64_t deadline_ms)
{
    int64_t until = clock_ms() + deadline_ms;
    const struct timespec at = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    const struct fake_callbacks *c = p->callbacks;
    int err = 0;

    pthread_mutex_lock(&p->lock);
    while (c->next < c->queue.n && err == 0)
        err = pthread_cond_timedwait(&p->changed, &p->lock, &at);
    bool idle = c->next == c->queue.n;
    pthread_mutex_unlock(&p->lock);
    return idle;
}

long fake_callback_status(struct fake_provider *p, int number)
{
    long status = 0;

    pthread_mutex_lock(&p->lock);
    if (number >= 0 && (size_t)number < p->callbacks->items.n)
        status = ((const struct callback *)p->callbacks->items.items[number])->status;
    pthread_mutex_unlock(&p->lock);
    return status;
}

void fake_callbacks_close(struct fake_provider *p)
{
    if (!p->callbacks)
        return;
    http_client_free(p->callbacks->http);
    p->callbacks->http = NULL;
}

void fake_callbacks_free(struct fake_provider *p)
{
    struct fake_callbacks *c = p->callbacks;

    if (!c)
        return;
    for (size_t i = 0; i < c->items.n; i++)
        callback_free(c->items.items[i]);
    free(c->items.items);
    free(c->queue.items);
    free(c);
}
