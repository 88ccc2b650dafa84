/* The provider's life: its thread, its listener, how it is woken and stopped. */
#include "tests/fake/fake_provider.h"
#include "tests/fake/fake_internal.h"

#include <netinet/in.h>
#include <stdlib.h>

#define BACKLOG 1024

int fake_list_add(struct fake_list *list, void *item)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 16;
        void **items = realloc(list->items, cap * sizeof(*items));
        if (!items)
            return ERR_NOMEM;
        list->items = items;
        list->cap = cap;
    }
    list->items[list->n++] = item;
    return 0;
}

static void on_connection(uv_stream_t *listener, int status)
{
    if (status == 0)
        fake_conn_accept(listener->data);
}

static void on_wake(uv_async_t *async)
{
    struct fake_provider *p = async->data;

    pthread_mutex_lock(&p->lock);
    bool stop = p->stop, release = p->release;
    p->release = false;
    pthread_mutex_unlock(&p->lock);

    if (release)
        fake_conns_release_hanging(p);
    if (!stop) {
        fake_callbacks_step(p);
        return;
    }
    fake_conns_close(p);
    fake_callbacks_close(p);
    uv_close((uv_handle_t *)&p->listener, NULL);
    uv_close((uv_handle_t *)&p->wake, NULL);
}

static void *run(void *arg)
{
    struct fake_provider *p = arg;

    uv_run(&p->loop, UV_RUN_DEFAULT);
    return NULL;
}

static int bind_to(struct fake_provider *p, int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    int len = sizeof(address);
    struct buf url = BUF_INIT(64);

    if (uv_tcp_bind(&p->listener, (const struct sockaddr *)&address, 0) != 0 ||
        uv_listen((uv_stream_t *)&p->listener, BACKLOG, on_connection) != 0 ||
        uv_tcp_getsockname(&p->listener, (struct sockaddr *)&address, &len) != 0)
        return ERR_IO;
    p->port = ntohs(address.sin_port);
    buf_addf(&url, "http://127.0.0.1:%d", p->port);
    p->url = buf_steal(&url);
    return p->url ? 0 : ERR_NOMEM;
}

static void init_lock(struct fake_provider *p)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &attr);
    pthread_condattr_destroy(&attr);
}

static void release_all(struct fake_provider *p)
{
    fake_requests_release(p);
    fake_rules_release(p);
    fake_services_release(p);
    fake_deliveries_release(p);
    fake_callbacks_free(p);
    uv_loop_close(&p->loop);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p->url);
    free(p);
}

int fake_provider_new(int port, struct fake_provider **ret_provider)
{
    struct fake_provider *p = calloc(1, sizeof(*p));

    if (!p)
        return ERR_NOMEM;
    init_lock(p);
    uv_loop_init(&p->loop);
    uv_tcp_init(&p->loop, &p->listener);
    uv_async_init(&p->loop, &p->wake, on_wake);
    p->listener.data = p->wake.data = p;

    int err = fake_callbacks_new(p);
    if (err == 0)
        err = bind_to(p, port);
    if (err == 0 && pthread_create(&p->thread, NULL, run, p) != 0)
        err = ERR_IO;
    if (err < 0) {
        p->stop = true;
        uv_async_send(&p->wake);
        uv_run(&p->loop, UV_RUN_DEFAULT);
        release_all(p);
        return err;
    }
    *ret_provider = p;
    return 0;
}

void fake_provider_free(struct fake_provider *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_mutex_unlock(&p->lock);
    uv_async_send(&p->wake);
    pthread_join(p->thread, NULL);
    release_all(p);
}

const char *fake_provider_url(const struct fake_provider *p)
{
    return p->url;
}

int fake_provider_port(const struct fake_provider *p)
{
    return p->port;
}

void fake_release(struct fake_provider *p)
{
    pthread_mutex_lock(&p->lock);
    p->release = true;
    pthread_mutex_unlock(&p->lock);
    uv_async_send(&p->wake);
}
