/*
 * Timers on the libuv loop, and work put off to the next turn. Everything of a
 * process runs on one thread.
 */
#ifndef TOCSIN_IO_LOOP_H
#define TOCSIN_IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"

typedef void loop_fn(void *arg);

/* A one-shot timer. It belongs to its creator; the memory goes in the handle's close callback. */
struct loop_timer;

/* A stopped timer that will call fn(arg). NULL when memory is short. */
struct loop_timer *loop_timer_new(uv_loop_t *loop, loop_fn *fn, void *arg);
/* (Re)starts it; `ms` below 0 counts as 0. */
void loop_timer_start(struct loop_timer *t, int64_t ms);
void loop_timer_stop(struct loop_timer *t);
bool loop_timer_is_active(const struct loop_timer *t);
/* Stops it if need be; NULL does nothing. */
void loop_timer_free(struct loop_timer *t);

/* Work for the next turn of the loop, however often it is asked for in this one. */
struct loop_defer;

struct loop_defer *loop_defer_new(uv_loop_t *loop, loop_fn *fn, void *arg);
/* Calls fn(arg) once in the next turn, which does not wait for anything else. */
void loop_defer_start(struct loop_defer *d);
void loop_defer_free(struct loop_defer *d);

#endif
