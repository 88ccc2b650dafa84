/*
 * libcurl's multi interface driven by the libuv loop: sockets by uv_poll, curl's
 * one timer by uv_timer. The clients of each protocol start transfers on it.
 */
#ifndef TOCSIN_IO_CURL_ENGINE_H
#define TOCSIN_IO_CURL_ENGINE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"

struct curl_engine;

/* One transfer, embedded in the call of a client, which owns it. */
struct curl_transfer {
    CURL *easy;
    bool allow_private;
    const char *private_setting; /* static, or NULL */
    bool denied;                 /* an address was refused */
    bool kept; /* stays on the engine after over(), because its connection is used on */
    int err;   /* set by a callback that stopped the transfer; else 0 */
    char error[CURL_ERROR_SIZE];
    /* Called with the connection ready and nothing of this request sent; false stops it.
     * curl calls it again for every redirect and for a request that it repeats. */
    bool (*ready)(struct curl_transfer *t);
    /* The transfer is over and, unless it is kept, off the engine. May free it, and the
     * engine too. */
    void (*over)(struct curl_transfer *t, CURLcode code);
};

/* ERR_NOMEM or ERR_IO. */
MUST_CHECK int curl_engine_new(uv_loop_t *loop, struct curl_engine **ret_engine);
/* Every transfer must be over or removed. Memory goes when libuv has closed the
 * handles; NULL does nothing. */
void curl_engine_free(struct curl_engine *e);

/* Creates t->easy with what holds for every protocol: deadlines, no signals, no proxy but
 * a configured one, TLS 1.2 with verification, and the check of every address. ERR_NOMEM. */
MUST_CHECK int curl_transfer_init(struct curl_transfer *t, struct curl_engine *e,
    int64_t connect_timeout_ms, int64_t total_timeout_ms);
/* Frees the easy handle of a transfer that is not on the engine. */
void curl_transfer_release(struct curl_transfer *t);

/* What transfers of an engine have in common. Owned by the engine. */
CURLSH *curl_engine_share(struct curl_engine *e);

/* over() is called later from the loop, never from here. ERR_NOMEM or ERR_IO. */
MUST_CHECK int curl_engine_start(struct curl_engine *e, struct curl_transfer *t);
/* Takes a transfer off without calling over(). */
void curl_engine_remove(struct curl_engine *e, struct curl_transfer *t);

/* The error that a curl code stands for, 0 for success, and what to tell about it: never
 * an address's path or a header, because they may hold secrets. */
int curl_transfer_err(const struct curl_transfer *t, CURLcode code, struct buf *detail);

#endif
