#include "io/curl_engine.h"

#include <stdlib.h>

/* Connections kept for reuse when nothing runs over them. */
#define IDLE_CONNECTIONS_MAX 256L

struct curl_engine {
    uv_loop_t *loop;
    uv_timer_t timer;
    CURLM *multi;
    CURLSH *share; /* TLS sessions, which curl would keep a transfer long */
    bool closing;
    struct watch *watches;
};

/* One socket of curl's. */
struct watch {
    uv_poll_t poll;
    struct curl_engine *engine;
    curl_socket_t fd;
    struct watch *prev, *next;
};

/* Hands finished transfers to their owners, any of which may free the engine. */
static void collect(struct curl_engine *e)
{
    CURLMsg *message;
    int left;

    while (!e->closing && (message = curl_multi_info_read(e->multi, &left)) != NULL) {
        struct curl_transfer *t = NULL;
        CURLcode code = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        if (!t->kept)
            curl_multi_remove_handle(e->multi, t->easy);
        t->over(t, code);
    }
}

static void act(struct curl_engine *e, curl_socket_t fd, int events)
{
    int running;

    (void)curl_multi_socket_action(e->multi, fd, events, &running);
    collect(e);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    int flags = 0;

    if (status < 0)
        flags = CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(w->engine, w->fd, flags);
}

static void free_watch(uv_handle_t *handle)
{
    free(handle->data);
}

static struct watch *watch_new(struct curl_engine *e, curl_socket_t fd)
{
    struct watch *w = calloc(1, sizeof(*w));

    if (!w)
        return NULL;
    if (uv_poll_init_socket(e->loop, &w->poll, fd) != 0) {
        free(w);
        return NULL;
    }
    w->poll.data = w;
    w->engine = e;
    w->fd = fd;
    w->next = e->watches;
    if (w->next)
        w->next->prev = w;
    e->watches = w;
    return w;
}

static void watch_close(struct watch *w)
{
    if (w->prev)
        w->prev->next = w->next;
    else
        w->engine->watches = w->next;
    if (w->next)
        w->next->prev = w->prev;
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, free_watch);
}

/* CURLMOPT_SOCKETFUNCTION: what curl wants to know about a socket. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct curl_engine *e = arg;
    struct watch *w = socket_arg;
    int events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            curl_multi_assign(e->multi, fd, NULL);
            watch_close(w);
        }
        return 0;
    }
    if (!w) {
        w = watch_new(e, fd);
        if (!w)
            return -1;
        curl_multi_assign(e->multi, fd, w);
    }
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    return uv_poll_start(&w->poll, events, on_poll) == 0 ? 0 : -1;
}

static void arm(struct curl_engine *e, long ms);

/* curl tells a deadline once. If the loop's clock ran behind and the timer came too
 * early, nobody would set it again: ask. */
static void on_timer(uv_timer_t *timer)
{
    struct curl_engine *e = timer->data;
    long ms = -1;

    act(e, CURL_SOCKET_TIMEOUT, 0);
    if (e->closing || uv_is_active((uv_handle_t *)&e->timer))
        return;
    curl_multi_timeout(e->multi, &ms);
    arm(e, ms);
}

static void arm(struct curl_engine *e, long ms)
{
    if (ms < 0) {
        uv_timer_stop(&e->timer);
        return;
    }
    uv_update_time(e->loop);
    uv_timer_start(&e->timer, on_timer, (uint64_t)ms, 0);
}

/* CURLMOPT_TIMERFUNCTION */
static int on_timeout_change(CURLM *multi, long ms, void *arg)
{
    struct curl_engine *e = arg;

    (void)multi;
    if (!e->closing)
        arm(e, ms);
    return 0;
}

static int set_up_curl(struct curl_engine *e)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return ERR_IO;
    e->multi = curl_multi_init();
    e->share = curl_share_init();
    if (!e->multi || !e->share) {
        if (e->multi)
            curl_multi_cleanup(e->multi);
        if (e->share)
            curl_share_cleanup(e->share);
        curl_global_cleanup();
        return ERR_NOMEM;
    }
    curl_share_setopt(e->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    curl_multi_setopt(e->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(e->multi, CURLMOPT_SOCKETDATA, e);
    curl_multi_setopt(e->multi, CURLMOPT_TIMERFUNCTION, on_timeout_change);
    curl_multi_setopt(e->multi, CURLMOPT_TIMERDATA, e);
    curl_multi_setopt(e->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS_MAX);
    return 0;
}

int curl_engine_new(uv_loop_t *loop, struct curl_engine **ret_engine)
{
    struct curl_engine *e = calloc(1, sizeof(*e));

    if (!e)
        return ERR_NOMEM;
    e->loop = loop;
    int err = set_up_curl(e);
    if (err < 0) {
        free(e);
        return err;
    }
    uv_timer_init(loop, &e->timer);
    e->timer.data = e;
    *ret_engine = e;
    return 0;
}

/* A transfer that ended the engine from its over() still has its easy handle. */
static void free_engine(uv_handle_t *handle)
{
    struct curl_engine *e = handle->data;

    curl_share_cleanup(e->share);
    curl_global_cleanup();
    free(e);
}

void curl_engine_free(struct curl_engine *e)
{
    if (!e)
        return;
    e->closing = true;
    curl_multi_cleanup(e->multi);
    while (e->watches)
        watch_close(e->watches);
    uv_close((uv_handle_t *)&e->timer, free_engine);
}

CURLSH *curl_engine_share(struct curl_engine *e)
{
    return e->share;
}

int curl_engine_start(struct curl_engine *e, struct curl_transfer *t)
{
    switch (curl_multi_add_handle(e->multi, t->easy)) {
    case CURLM_OK:
        return 0;
    case CURLM_OUT_OF_MEMORY:
        return ERR_NOMEM;
    default: /* the rest of curl's codes are wrong use or its own faults */
        return ERR_IO;
    }
}

void curl_engine_remove(struct curl_engine *e, struct curl_transfer *t)
{
    curl_multi_remove_handle(e->multi, t->easy);
}
