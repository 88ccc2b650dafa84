/*
 * The libuv loop of a process, timers of ours on it, and work put off to the
 * next turn. Everything runs on one thread.
 */
#ifndef TOCSIN_IO_LOOP_H
#define TOCSIN_IO_LOOP_H

#include <stdint.h>
#include <uv.h>

#include "base/err.h"

/* A one-shot timer. It belongs to its creator and is freed by loop_timer_free(),
 * whose memory goes in the handle's close callback. */
struct loop_timer;

typedef void loop_timer_fn(void *arg);

/* A stopped timer that will call fn(arg). NULL when memory is short. */
struct loop_timer *loop_timer_new(uv_loop_t *loop, loop_timer_fn *fn, void *arg);
/* (Re)starts it; `ms` below 0 counts as 0. */
void loop_timer_start(struct loop_timer *t, int64_t ms);
void loop_timer_stop(struct loop_timer *t);
/* Stops it if need be; NULL does nothing. */
void loop_timer_free(struct loop_timer *t);

#endif
