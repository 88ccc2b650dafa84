#include "io/loop.h"

#include <stdlib.h>

struct loop_timer {
    uv_timer_t handle;
    loop_fn *fn;
    void *arg;
};

struct loop_defer {
    uv_idle_t handle;
    loop_fn *fn;
    void *arg;
};

static void free_handle(uv_handle_t *handle)
{
    free(handle->data);
}

static void timer_fired(uv_timer_t *handle)
{
    struct loop_timer *t = handle->data;
    t->fn(t->arg);
}

struct loop_timer *loop_timer_new(uv_loop_t *loop, loop_fn *fn, void *arg)
{
    struct loop_timer *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->fn = fn;
    t->arg = arg;
    (void)uv_timer_init(loop, &t->handle);
    t->handle.data = t;
    return t;
}

void loop_timer_start(struct loop_timer *t, int64_t ms)
{
    /* The loop's notion of now is as old as this turn: without this a timer fires early. */
    uv_update_time(t->handle.loop);
    (void)uv_timer_start(&t->handle, timer_fired, ms > 0 ? (uint64_t)ms : 0, 0);
}

void loop_timer_stop(struct loop_timer *t)
{
    (void)uv_timer_stop(&t->handle);
}

bool loop_timer_is_active(const struct loop_timer *t)
{
    return uv_is_active((const uv_handle_t *)&t->handle);
}

void loop_timer_free(struct loop_timer *t)
{
    if (t)
        uv_close((uv_handle_t *)&t->handle, free_handle);
}

/* An active idle handle keeps the loop from waiting, so the turn comes at once. */
static void defer_fired(uv_idle_t *handle)
{
    struct loop_defer *d = handle->data;
    (void)uv_idle_stop(handle);
    d->fn(d->arg);
}

struct loop_defer *loop_defer_new(uv_loop_t *loop, loop_fn *fn, void *arg)
{
    struct loop_defer *d = calloc(1, sizeof(*d));
    if (!d)
        return NULL;
    d->fn = fn;
    d->arg = arg;
    (void)uv_idle_init(loop, &d->handle);
    d->handle.data = d;
    return d;
}

void loop_defer_start(struct loop_defer *d)
{
    (void)uv_idle_start(&d->handle, defer_fired);
}

void loop_defer_free(struct loop_defer *d)
{
    if (d)
        uv_close((uv_handle_t *)&d->handle, free_handle);
}
