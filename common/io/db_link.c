/*
 * The link below a db_conn: connecting without blocking, watching the socket,
 * noticing that it broke, trying again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/db_conn_private.h"

#define RETRY_FIRST_MS 200
#define RETRY_MAX_MS   5000
/* Beyond the statement time-out: then the server, or the way to it, is dead. */
#define SILENCE_EXTRA_MS 10000

static void plan_retry(struct db_conn *c);

/* --- the socket --------------------------------------------------------------------------- */

static void free_poll(uv_handle_t *handle)
{
    free(handle);
}

/* Always before libpq closes the descriptor. */
static void unwatch(struct db_conn *c)
{
    if (c->poll) {
        (void)uv_poll_stop(c->poll);
        uv_close((uv_handle_t *)c->poll, free_poll);
    }
    c->poll = NULL;
    c->fd = -1;
    c->poll_events = 0;
}

static void connect_step(struct db_conn *c);

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct db_conn *c = handle->data;

    (void)events;
    if (c->state == DB_LINK_CONNECTING) {
        connect_step(c);
        return;
    }
    if (status < 0 || PQflush(c->pg) < 0 || !db_conn_read(c)) {
        db_link_lost(c, PQerrorMessage(c->pg));
        return;
    }
    loop_timer_stop(c->silence); /* it is counted from what was heard last */
    db_link_watch(c);
}

static bool watch(struct db_conn *c, int events)
{
    int fd = PQsocket(c->pg);

    if (fd != c->fd || !c->poll) {
        unwatch(c);
        if (fd < 0 || !(c->poll = malloc(sizeof(*c->poll))))
            return false;
        if (uv_poll_init(c->loop, c->poll, fd) < 0) {
            free(c->poll);
            c->poll = NULL;
            return false;
        }
        c->poll->data = c;
        c->fd = fd;
    }
    if (events == c->poll_events)
        return true;
    c->poll_events = events;
    return uv_poll_start(c->poll, events, on_poll) == 0;
}

void db_link_watch(struct db_conn *c)
{
    int unsent = PQflush(c->pg);

    if (unsent < 0 || !watch(c, UV_READABLE | (unsent ? UV_WRITABLE : 0))) {
        db_link_lost(c, PQerrorMessage(c->pg));
        return;
    }
    if (!c->wires_len)
        loop_timer_stop(c->silence);
    else if (!loop_timer_is_active(c->silence)) /* what is sent meanwhile is no sign of life */
        loop_timer_start(c->silence, c->statement_timeout_ms + SILENCE_EXTRA_MS);
}

/* --- connecting --------------------------------------------------------------------------- */

/* One more turn to the left of a comma-separated list, so that a host that
 * swallows packets is not the only one that is ever tried. */
static char *rotate(const char *list, unsigned turns)
{
    struct buf b = BUF_INIT(65536);
    size_t n = 1, skip;
    const char *at = list;

    for (const char *p = list; *p; p++)
        n += *p == ',';
    for (skip = turns % n; skip; skip--)
        at = strchr(at, ',') + 1;
    buf_add_str(&b, at);
    if (at != list) {
        buf_add_char(&b, ',');
        buf_add(&b, list, (size_t)(at - list) - 1);
    }
    return buf_steal(&b);
}

/* The DSN as keywords and values, the hosts rotated, and what every session of ours has. */
static PGconn *connect_start(struct db_conn *c)
{
    const char *keys[64], *values[64];
    char *rotated[3] = {NULL, NULL, NULL};
    size_t n = 0, n_rotated = 0;
    PQconninfoOption *options = PQconninfoParse(c->dsn, NULL);

    for (PQconninfoOption *o = options; o && o->keyword && n < 56; o++) {
        if (!o->val || !*o->val)
            continue;
        keys[n] = o->keyword;
        values[n] = o->val;
        if (strchr(o->val, ',') &&
            (!strcmp(o->keyword, "host") || !strcmp(o->keyword, "hostaddr") ||
                !strcmp(o->keyword, "port"))) {
            rotated[n_rotated] = rotate(o->val, c->tries);
            if (rotated[n_rotated])
                values[n] = rotated[n_rotated];
            n_rotated++;
        }
        n++;
    }
    keys[n] = "fallback_application_name";
    values[n++] = c->application_name;
    keys[n] = NULL;
    values[n] = NULL;
    PGconn *pg = PQconnectStartParams(keys, values, 0);
    PQconninfoFree(options);
    for (size_t i = 0; i < n_rotated; i++)
        free(rotated[i]);
    return pg;
}

static bool send_setup(struct db_conn *c, const char *text, int n, const char *const *values)
{
    return PQsendQueryParams(c->pg, text, n, NULL, values, NULL, NULL, 0) &&
           db_wire_push(c, WIRE_SETUP, NULL) == 0;
}

/* Plans are made once and by index: every statement is written for one, and a plan that was made
 * while a queue stood empty, or for an array of a thousand ids, would read the whole table once
 * the queue has filled (docs/PERFORMANCE.md).
 *
 * A pooler in transaction mode gives the next transaction to another session: settings of
 * a session belong on the role there, and nothing listens. */
static bool setup_session(struct db_conn *c)
{
    struct buf ms = BUF_INIT(32), text = BUF_INIT(256);
    bool ok = true;

    if (c->prepare) {
        buf_addf(&ms, "%lld", (long long)c->statement_timeout_ms);
        const char *values[] = {buf_str(&ms)};
        ok = send_setup(c,
            "SELECT set_config('statement_timeout', $1, false), "
            "set_config('idle_in_transaction_session_timeout', '60s', false), "
            "set_config('timezone', 'UTC', false), set_config('datestyle', 'ISO', false), "
            "set_config('plan_cache_mode', 'force_generic_plan', false), "
            "set_config('enable_seqscan', 'off', false), "
            "set_config('enable_bitmapscan', 'off', false), set_config('jit', 'off', false)",
            1, values);
    }
    for (size_t i = 0; ok && c->channels[i]; i++) {
        char *name = PQescapeIdentifier(c->pg, c->channels[i], strlen(c->channels[i]));
        buf_reset(&text);
        buf_addf(&text, "LISTEN %s", name ? name : "");
        ok = name && send_setup(c, buf_str(&text), 0, NULL);
        PQfreemem(name);
    }
    buf_release(&ms);
    buf_release(&text);
    return ok && PQpipelineSync(c->pg) && db_wire_push(c, WIRE_SETUP_SYNC, NULL) == 0;
}

/* What PostgreSQL says unasked, such as why it ends the session, would else go to stderr as it is.
 */
static void on_notice(void *arg, const char *message)
{
    (void)arg;
    log_debug(F_NONE, "PostgreSQL says: %.*s", (int)strcspn(message, "\n"), message);
}

static void connected(struct db_conn *c)
{
    (void)PQsetNoticeProcessor(c->pg, on_notice, NULL);
    buf_reset(&c->where);
    buf_addf(&c->where, "%s:%s/%s", PQhost(c->pg), PQport(c->pg), PQdb(c->pg));
    c->state = DB_LINK_SETUP;
    if (PQsetnonblocking(c->pg, 1) != 0 || !PQenterPipelineMode(c->pg) || !setup_session(c)) {
        db_link_lost(c, PQerrorMessage(c->pg));
        return;
    }
    db_link_watch(c);
}

void db_link_ready(struct db_conn *c)
{
    c->state = DB_LINK_UP;
    c->down_since_ms = -1;
    backoff_reset(&c->backoff);
    loop_timer_stop(c->retry);
    loop_defer_start(c->flush);
    if (c->events.up)
        c->events.up(c->events.arg);
}

static void connect_step(struct db_conn *c)
{
    /* libpq may close this descriptor and go on with another host's. */
    unwatch(c);
    switch (PQconnectPoll(c->pg)) {
    case PGRES_POLLING_OK:
        connected(c);
        return;
    case PGRES_POLLING_READING:
        if (!watch(c, UV_READABLE))
            db_link_lost(c, "cannot watch the socket");
        return;
    case PGRES_POLLING_WRITING:
        if (!watch(c, UV_WRITABLE))
            db_link_lost(c, "cannot watch the socket");
        return;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
        break;
    }
    db_link_lost(c, PQerrorMessage(c->pg));
}

static void connect_begin(struct db_conn *c)
{
    c->state = DB_LINK_CONNECTING;
    loop_timer_start(c->retry, c->connect_timeout_ms);
    c->pg = connect_start(c);
    c->tries++;
    if (!c->pg || PQstatus(c->pg) == CONNECTION_BAD) {
        db_link_lost(c, c->pg ? PQerrorMessage(c->pg) : "out of memory");
        return;
    }
    /* The first wait is for writing (PQconnectPoll, libpq's manual 34.1). */
    if (!watch(c, UV_WRITABLE))
        db_link_lost(c, "cannot watch the socket");
}

static void on_retry_timer(void *arg)
{
    struct db_conn *c = arg;

    if (c->state == DB_LINK_WAITING)
        connect_begin(c);
    else
        db_link_lost(c, "timed out while connecting");
}

static void on_silence(void *arg)
{
    db_link_lost(arg, "no answer within the statement time-out");
}

/* --- losing it ---------------------------------------------------------------------------- */

static void plan_retry(struct db_conn *c)
{
    int64_t down_ms = clock_ms() - c->down_since_ms;
    int64_t wait_ms = backoff_next_ms(&c->backoff);

    if (down_ms >= c->patience_ms) {
        c->state = DB_LINK_OVER;
        if (c->events.gave_up)
            c->events.gave_up(c->events.arg, buf_str(&c->why));
        return;
    }
    c->state = DB_LINK_WAITING;
    if (c->tries == 1 && c->where.len == 0 && c->events.waits)
        c->events.waits(c->events.arg, buf_str(&c->why));
    if (wait_ms > c->patience_ms - down_ms)
        wait_ms = c->patience_ms - down_ms;
    loop_timer_start(c->retry, wait_ms);
}

void db_link_lost(struct db_conn *c, const char *why)
{
    bool was_up = c->state == DB_LINK_UP;
    size_t len = strcspn(why, "\n");

    buf_reset(&c->why);
    buf_add(&c->why, why, len);
    if (!len)
        buf_add_str(&c->why, "the server closed the connection");
    unwatch(c);
    PQfinish(c->pg);
    c->pg = NULL;
    loop_timer_stop(c->silence);
    loop_timer_stop(c->retry);
    c->state = DB_LINK_WAITING;
    if (c->down_since_ms < 0)
        c->down_since_ms = clock_ms();
    db_conn_answer_lost(c, ERR_DISCONNECTED, buf_str(&c->why));
    if (was_up && c->events.down)
        c->events.down(c->events.arg, buf_str(&c->why));
    plan_retry(c);
}

int db_link_init(struct db_conn *c)
{
    c->fd = -1;
    c->state = DB_LINK_WAITING;
    c->backoff = (struct backoff){.first_ms = RETRY_FIRST_MS, .max_ms = RETRY_MAX_MS};
    buf_init(&c->where, 1024);
    buf_init(&c->why, 4096);
    c->retry = loop_timer_new(c->loop, on_retry_timer, c);
    c->silence = loop_timer_new(c->loop, on_silence, c);
    if (!c->retry || !c->silence)
        return ERR_NOMEM;
    c->down_since_ms = clock_ms();
    loop_timer_start(c->retry, 0);
    return 0;
}

void db_link_release(struct db_conn *c)
{
    c->state = DB_LINK_OVER;
    unwatch(c);
    PQfinish(c->pg);
    c->pg = NULL;
    loop_timer_free(c->retry);
    loop_timer_free(c->silence);
    buf_release(&c->where);
    buf_release(&c->why);
}
