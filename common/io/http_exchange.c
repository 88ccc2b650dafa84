#include "io/http_server_private.h"

#include <stdlib.h>
#include <string.h>

#include "io/loop.h"

/* --- an exchange's life ---------------------------------------------------------------------- */

void http_exchange_free(struct http_exchange *x)
{
    for (size_t i = 0; i < x->n_headers; i++) {
        free(x->headers[i].name);
        free(x->headers[i].value);
    }
    if (x->response)
        MHD_destroy_response(x->response);
    buf_release(&x->body);
    free(x->method);
    free(x->uri);
    free(x);
}

void http_exchange_wait(struct http_exchange *x)
{
    struct http_server *s = x->server;

    x->next = s->waiting;
    if (s->waiting)
        s->waiting->prev = x;
    s->waiting = x;
}

static void wait_ends(struct http_exchange *x)
{
    struct http_server *s = x->server;

    if (x->prev)
        x->prev->next = x->next;
    else
        s->waiting = x->next;
    if (x->next)
        x->next->prev = x->prev;
    x->prev = x->next = NULL;
}

/* --- an exchange's words -------------------------------------------------------------------------
 */

const char *http_exchange_method(const struct http_exchange *x)
{
    return x->method;
}

const char *http_exchange_path(const struct http_exchange *x)
{
    return x->uri;
}

const char *http_exchange_query(const struct http_exchange *x)
{
    return x->query;
}

const char *http_exchange_header(const struct http_exchange *x, const char *name)
{
    return x->connection ? MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name) : NULL;
}

const char *http_exchange_body(const struct http_exchange *x, size_t *ret_len)
{
    *ret_len = x->body.len;
    return buf_str(&x->body);
}

const char *http_exchange_peer(const struct http_exchange *x)
{
    return x->peer;
}

void http_exchange_add_header(struct http_exchange *x, const char *name, const char *value)
{
    size_t n = x->n_headers;

    if (n == sizeof(x->headers) / sizeof(*x->headers))
        return;
    x->headers[n].name = strdup(name);
    x->headers[n].value = strdup(value);
    x->n_headers++;
}

static struct MHD_Response *make_response(
    struct http_exchange *x, const char *content_type, const char *body, size_t len)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(len, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
    bool ok = r != NULL;

    if (ok && content_type)
        ok = MHD_add_response_header(r, "Content-Type", content_type) == MHD_YES;
    for (size_t i = 0; ok && i < x->n_headers; i++)
        ok = x->headers[i].name && x->headers[i].value &&
             MHD_add_response_header(r, x->headers[i].name, x->headers[i].value) == MHD_YES;
    if (ok && x->server->quiescent)
        ok = MHD_add_response_header(r, "Connection", "close") == MHD_YES;
    if (r && !ok) {
        MHD_destroy_response(r);
        r = NULL;
    }
    return r;
}

void http_exchange_answer(
    struct http_exchange *x, int status, const char *content_type, const char *body, size_t len)
{
    if (x->server)
        wait_ends(x);
    if (!x->server || !x->connection) { /* nobody waits for it any more */
        http_exchange_free(x);
        return;
    }
    x->status = status;
    x->response = make_response(x, content_type, body, len); /* NULL: the connection is closed */
    x->answered = true;
    if (x->suspended) {
        x->suspended = false;
        MHD_resume_connection(x->connection);
        loop_defer_start(x->server->again);
    }
}
