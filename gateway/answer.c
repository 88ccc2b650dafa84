#include <stdlib.h>
#include <string.h>

#include "gateway/gateway.h"

#define DETAIL_MAX    2048
#define OUT_OF_MEMORY "{\"title\": \"Out of memory\", \"status\": 503}"

static void answer(struct http_exchange *x, int status, const char *type, json_t *body)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

    if (text)
        http_exchange_answer(x, status, type, text, strlen(text));
    else
        http_exchange_answer(
            x, 503, "application/problem+json", OUT_OF_MEMORY, strlen(OUT_OF_MEMORY));
    free(text);
    json_decref(body);
}

void gateway_problem(struct http_exchange *x, int status, const char *title, const char *fmt, ...)
{
    struct buf detail = BUF_INIT(DETAIL_MAX);
    va_list args;

    va_start(args, fmt);
    buf_vaddf(&detail, fmt, args);
    va_end(args);
    answer(x, status, "application/problem+json",
        json_pack("{s:s, s:s, s:i, s:s}", "type", "about:blank", "title", title, "status", status,
            "detail", buf_str(&detail)));
    buf_release(&detail);
}

void gateway_answer_json(struct http_exchange *x, int status, json_t *body)
{
    answer(x, status, "application/json", body);
}
