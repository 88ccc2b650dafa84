/* What came: requests and deliveries, and waiting for them; the registry of services. */
#include "tests/fake/fake_internal.h"

#include <stdlib.h>

#include "base/clock.h"

struct fake_kept_delivery {
    struct fake_delivery d; /* first */
    char *kind, *id, *to, *text, *callback;
};

struct fake_service {
    fake_serve_fn *serve;
    void *state;
    void (*release)(void *state);
};

/* --- what came ---------------------------------------------------------------------------- */

static void *list_at(struct fake_provider *p, const struct fake_list *list, size_t n)
{
    pthread_mutex_lock(&p->lock);
    void *item = n < list->n ? list->items[n] : NULL;
    pthread_mutex_unlock(&p->lock);
    return item;
}

static size_t list_count(struct fake_provider *p, const struct fake_list *list)
{
    pthread_mutex_lock(&p->lock);
    size_t n = list->n;
    pthread_mutex_unlock(&p->lock);
    return n;
}

static bool list_wait(
    struct fake_provider *p, const struct fake_list *list, size_t n, int64_t deadline_ms)
{
    int64_t until = clock_ms() + deadline_ms;
    const struct timespec at = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    int err = 0;

    pthread_mutex_lock(&p->lock);
    while (list->n < n && err == 0)
        err = pthread_cond_timedwait(&p->changed, &p->lock, &at);
    bool enough = list->n >= n;
    pthread_mutex_unlock(&p->lock);
    return enough;
}

void fake_requests_release(struct fake_provider *p)
{
    for (size_t i = 0; i < p->requests.n; i++)
        fake_request_free(p->requests.items[i]);
    free(p->requests.items);
}

size_t fake_request_count(struct fake_provider *p)
{
    return list_count(p, &p->requests);
}

const struct fake_request *fake_request_at(struct fake_provider *p, size_t n)
{
    return list_at(p, &p->requests, n);
}

bool fake_wait_requests(struct fake_provider *p, size_t n, int64_t deadline_ms)
{
    return list_wait(p, &p->requests, n, deadline_ms);
}

bool fake_provider_verify(struct fake_provider *p, struct buf *faults)
{
    size_t before = faults->len;

    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->requests.n; i++) {
        const struct fake_request *r = p->requests.items[i];
        if (!r->expected)
            buf_addf(faults, "unexpected %s %s%s%s %.200s\n", r->method, r->path,
                r->query[0] ? "?" : "", r->query, r->body);
    }
    if (p->malformed > 0)
        buf_addf(faults, "%u requests that are no HTTP/1.1\n", p->malformed);
    fake_rules_verify(p, faults);
    pthread_mutex_unlock(&p->lock);
    return faults->len == before && buf_err(faults) == 0;
}

/* --- deliveries --------------------------------------------------------------------------- */

static void delivery_free(struct fake_kept_delivery *kept)
{
    free(kept->kind);
    free(kept->id);
    free(kept->to);
    free(kept->text);
    free(kept->callback);
    free(kept);
}

int fake_deliver(struct fake_provider *p, const struct fake_delivery *d)
{
    struct fake_kept_delivery *kept = calloc(1, sizeof(*kept));

    if (!kept)
        return ERR_NOMEM;
    kept->d.kind = kept->kind = strdup(d->kind);
    kept->d.id = kept->id = strdup(d->id);
    kept->d.to = kept->to = strdup(d->to);
    kept->d.text = kept->text = strdup(d->text);
    kept->d.callback = kept->callback = strdup(d->callback ? d->callback : "");
    kept->d.at_ms = clock_ms();
    if (!kept->kind || !kept->id || !kept->to || !kept->text || !kept->callback ||
        fake_list_add(&p->deliveries, kept) < 0) {
        delivery_free(kept);
        return ERR_NOMEM;
    }
    pthread_cond_broadcast(&p->changed);
    return 0;
}

void fake_deliveries_release(struct fake_provider *p)
{
    for (size_t i = 0; i < p->deliveries.n; i++)
        delivery_free(p->deliveries.items[i]);
    free(p->deliveries.items);
}

size_t fake_delivery_count(struct fake_provider *p)
{
    return list_count(p, &p->deliveries);
}

const struct fake_delivery *fake_delivery_at(struct fake_provider *p, size_t n)
{
    return list_at(p, &p->deliveries, n);
}

bool fake_wait_deliveries(struct fake_provider *p, size_t n, int64_t deadline_ms)
{
    return list_wait(p, &p->deliveries, n, deadline_ms);
}

size_t fake_delivered(struct fake_provider *p, const char *kind, const char *to)
{
    size_t count = 0;

    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->deliveries.n; i++) {
        const struct fake_delivery *d = p->deliveries.items[i];
        if ((!kind || strcmp(kind, d->kind) == 0) && (!to || strcmp(to, d->to) == 0))
            count++;
    }
    pthread_mutex_unlock(&p->lock);
    return count;
}

/* --- services ----------------------------------------------------------------------------- */

int fake_service_add(
    struct fake_provider *p, fake_serve_fn *serve, void *state, void (*release)(void *state))
{
    struct fake_service *service = calloc(1, sizeof(*service));

    if (!service)
        return ERR_NOMEM;
    *service = (struct fake_service){serve, state, release};
    pthread_mutex_lock(&p->lock);
    int err = fake_list_add(&p->services, service);
    pthread_mutex_unlock(&p->lock);
    if (err < 0)
        free(service);
    return err;
}

bool fake_services_serve(
    struct fake_provider *p, const struct fake_request *r, struct fake_reply *reply)
{
    for (size_t i = 0; i < p->services.n; i++) {
        struct fake_service *service = p->services.items[i];
        if (service->serve(p, service->state, r, reply))
            return true;
    }
    return false;
}

void *fake_service_state(const struct fake_service *service, fake_serve_fn *serve)
{
    return service->serve == serve ? service->state : NULL;
}

void fake_service_remove(struct fake_provider *p, size_t index)
{
    struct fake_service *service = p->services.items[index];

    p->services.n--;
    memmove(&p->services.items[index], &p->services.items[index + 1],
        (p->services.n - index) * sizeof(p->services.items[0]));
    service->release(service->state);
    free(service);
}

void fake_services_release(struct fake_provider *p)
{
    for (size_t i = 0; i < p->services.n; i++) {
        struct fake_service *service = p->services.items[i];
        service->release(service->state);
        free(service);
    }
    free(p->services.items);
}

void fake_set_clock_shift(struct fake_provider *p, int64_t seconds)
{
    pthread_mutex_lock(&p->lock);
    p->clock_shift_s = seconds;
    pthread_mutex_unlock(&p->lock);
}
