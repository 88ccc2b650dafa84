#include "io/db_conn_private.h"

#include <stdlib.h>
#include <string.h>

/* --- requests ---------------------------------------------------------------------------- */

void db_request_list_push(struct db_request_list *list, struct db_request *r)
{
    r->next = NULL;
    if (list->tail)
        list->tail->next = r;
    else
        list->head = r;
    list->tail = r;
    list->count++;
}

static struct db_request *list_pop(struct db_request_list *list)
{
    struct db_request *r = list->head;
    list->head = r->next;
    if (!list->head)
        list->tail = NULL;
    list->count--;
    r->next = NULL;
    return r;
}

static void request_free(struct db_request *r)
{
    db_result_release(&r->result);
    free(r);
}

static void request_answer(struct db_request *r)
{
    if (r->done)
        r->done(r->arg, &r->result);
    request_free(r);
}

static void request_set_error(struct db_request *r, int err, const char *sqlstate, const char *msg)
{
    db_result_release(&r->result);
    r->answered = true;
    r->result.err = err;
    r->result.message = msg;
    memset(r->result.sqlstate, 0, sizeof(r->result.sqlstate));
    memcpy(r->result.sqlstate, sqlstate, strnlen(sqlstate, sizeof(r->result.sqlstate) - 1));
}

int db_conn_send(struct db_conn *c, const struct db_stmt *stmt, const struct db_args *args,
    unsigned flags, db_done_fn *done, void *arg)
{
    int n = args ? args->n : 0;
    size_t len = args ? args->text.len : 0;

    if (args && args->err)
        return args->err;
    if (args && buf_err(&args->text))
        return buf_err(&args->text);
    if (n != stmt->n_params)
        return ERR_INVALID;
    struct db_request *r = malloc(sizeof(*r) + len);
    if (!r)
        return ERR_NOMEM;
    *r = (struct db_request){
        .stmt = stmt, .flags = flags, .done = done, .arg = arg, .n = n, .result.message = ""};
    if (len)
        memcpy(r->text, args->text.data, len);
    for (int i = 0; i < n; i++)
        r->values[i] = args->at[i] ? r->text + args->at[i] - 1 : NULL;
    db_request_list_push(&c->queued, r);
    loop_defer_start(c->flush);
    return 0;
}

void db_conn_forget(struct db_conn *c, const void *arg)
{
    struct db_request_list kept = {0};

    while (c->queued.head) {
        struct db_request *r = list_pop(&c->queued);
        if (r->done && r->arg == arg && !(r->flags & DB_WITH_NEXT))
            request_free(r);
        else
            db_request_list_push(&kept, r);
    }
    c->queued = kept;
    for (struct db_request *r = c->sent.head; r; r = r->next)
        if (r->arg == arg)
            r->done = NULL;
    for (struct db_request *r = c->queued.head; r; r = r->next)
        if (r->arg == arg)
            r->done = NULL;
}

/* --- sending ------------------------------------------------------------------------------ */

int db_wire_push(struct db_conn *c, enum wire_kind kind, struct db_request *request)
{
    if (c->wires_len == c->wires_cap) {
        size_t cap = c->wires_cap ? c->wires_cap * 2 : 64;
        struct wire *grown = malloc(cap * sizeof(*grown));
        if (!grown)
            return ERR_NOMEM;
        for (size_t i = 0; i < c->wires_len; i++)
            grown[i] = c->wires[(c->wires_head + i) % c->wires_cap];
        free(c->wires);
        c->wires = grown;
        c->wires_cap = cap;
        c->wires_head = 0;
    }
    c->wires[(c->wires_head + c->wires_len++) % c->wires_cap] = (struct wire){kind, request};
    return 0;
}

static bool is_prepared(const struct db_conn *c, const struct db_stmt *stmt)
{
    for (size_t i = 0; i < c->prepared_len; i++)
        if (c->prepared[i] == stmt)
            return true;
    return false;
}

static void forget_prepared(struct db_conn *c, const struct db_stmt *stmt)
{
    for (size_t i = 0; i < c->prepared_len; i++)
        if (c->prepared[i] == stmt)
            c->prepared[i--] = c->prepared[--c->prepared_len];
}

/* Prepares in a transaction of its own, so that no failure beside it takes it along. */
static bool prepare(struct db_conn *c, struct db_request *r)
{
    if (is_prepared(c, r->stmt))
        return true;
    if (c->prepared_len == c->prepared_cap) {
        size_t cap = c->prepared_cap ? c->prepared_cap * 2 : 32;
        void *grown = realloc(c->prepared, cap * sizeof(*c->prepared));
        if (!grown)
            return false;
        c->prepared = grown;
        c->prepared_cap = cap;
    }
    c->prepared[c->prepared_len++] = r->stmt;
    return PQsendPrepare(c->pg, r->stmt->name, r->stmt->text, r->n, NULL) &&
           db_wire_push(c, WIRE_PREPARE, r) == 0 && PQpipelineSync(c->pg) &&
           db_wire_push(c, WIRE_PREPARE_SYNC, r) == 0;
}

static bool execute(struct db_conn *c, struct db_request *r)
{
    int ok = c->prepare
                 ? PQsendQueryPrepared(c->pg, r->stmt->name, r->n, r->values, NULL, NULL, 0)
                 : PQsendQueryParams(c->pg, r->stmt->text, r->n, NULL, r->values, NULL, NULL, 0);
    return ok && db_wire_push(c, WIRE_EXECUTE, r) == 0;
}

/* The last statement of the transaction that starts at `first`; NULL while it is not whole. */
static struct db_request *group_end(struct db_request *first)
{
    while (first && (first->flags & DB_WITH_NEXT))
        first = first->next;
    return first;
}

bool db_conn_flush(struct db_conn *c)
{
    struct db_request *end;

    while ((end = group_end(c->queued.head)) != NULL) {
        if (c->prepare)
            for (struct db_request *r = c->queued.head;; r = r->next) {
                if (!prepare(c, r))
                    return false;
                if (r == end)
                    break;
            }
        for (;;) {
            struct db_request *r = list_pop(&c->queued);
            db_request_list_push(&c->sent, r);
            if (!execute(c, r))
                return false;
            if (r == end)
                break;
        }
        if (!PQpipelineSync(c->pg) || db_wire_push(c, WIRE_SYNC, end) != 0)
            return false;
    }
    db_link_watch(c);
    return true;
}

/* --- answers ------------------------------------------------------------------------------ */

static void result_set(struct db_result *result, PGresult *res)
{
    const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    result->res = res;
    switch (PQresultStatus(res)) {
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
        result->err = 0;
        result->message = "";
        break;
    case PGRES_PIPELINE_ABORTED:
        result->err = ERR_DB;
        result->message = "rolled back with the statement before it";
        memcpy(result->sqlstate, "25P02", sizeof("25P02"));
        break;
    default: /* FATAL_ERROR, and what no statement of ours asks for, such as COPY */
        result->err = ERR_DB;
        result->message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
        if (!result->message)
            result->message = PQresultErrorMessage(res);
        if (sqlstate)
            memcpy(result->sqlstate, sqlstate, sizeof(result->sqlstate) - 1);
        break;
    }
}

/* The first answer counts: what follows a failed PREPARE is only its echo. */
static void request_set_result(struct db_request *r, PGresult *res)
{
    if (r->answered) {
        PQclear(res);
        return;
    }
    r->answered = true;
    result_set(&r->result, res);
}

/* What was sent in the belief that `stmt` was prepared fails of the same reason, not of its echo.
 */
static void prepare_failed(struct db_conn *c, const struct db_stmt *stmt, const char *sqlstate)
{
    forget_prepared(c, stmt);
    for (struct db_request *r = c->sent.head; r; r = r->next)
        if (r->stmt == stmt && !r->answered)
            request_set_error(r, ERR_DB, sqlstate, "the statement could not be prepared");
}

/* A transaction has ended: either all of its statements hold, or none does. */
static bool answer_group(struct db_conn *c, const struct db_request *end)
{
    bool failed = false, outdated = false, last = false;

    for (const struct db_request *r = c->sent.head;; r = r->next) {
        failed |= r->result.err != 0;
        outdated |= !strcmp(r->result.sqlstate, "26000") || !strcmp(r->result.sqlstate, "0A000");
        if (r == end)
            break;
    }
    while (!last) {
        struct db_request *r = list_pop(&c->sent);
        last = r == end;
        if (failed && r->result.err == 0)
            request_set_error(r, ERR_DB, "25P02", "rolled back with the statement after it");
        request_answer(r);
    }
    /* The session's prepared statements no longer fit the schema, or are gone. */
    return !(outdated && c->prepare);
}

/* Takes one result, or the NULL that ends the results of one statement. */
static bool take_result(struct db_conn *c, PGresult *res)
{
    struct wire *w = &c->wires[c->wires_head];
    bool synced = PQresultStatus(res) == PGRES_PIPELINE_SYNC;

    switch (w->kind) {
    case WIRE_SETUP:
        if (res && PQresultStatus(res) != PGRES_COMMAND_OK &&
            PQresultStatus(res) != PGRES_TUPLES_OK) {
            PQclear(res);
            return false;
        }
        PQclear(res);
        break;
    case WIRE_PREPARE:
        if (res && PQresultStatus(res) != PGRES_COMMAND_OK) {
            request_set_result(w->request, res);
            prepare_failed(c, w->request->stmt, w->request->result.sqlstate);
        } else {
            PQclear(res);
        }
        break;
    case WIRE_EXECUTE:
        if (res)
            request_set_result(w->request, res);
        break;
    case WIRE_SETUP_SYNC:
    case WIRE_PREPARE_SYNC:
    case WIRE_SYNC:
        if (res && !synced) { /* the commit itself failed */
            if (w->kind == WIRE_SYNC && w->request->result.err == 0) {
                db_result_release(&w->request->result);
                result_set(&w->request->result, res);
            } else {
                PQclear(res);
            }
            return true;
        }
        PQclear(res);
        break;
    }
    if (w->kind == WIRE_SETUP_SYNC || w->kind == WIRE_PREPARE_SYNC || w->kind == WIRE_SYNC) {
        if (!synced)
            return true;
    } else if (res) {
        return true;
    }
    struct wire done = *w;
    c->wires_head = (c->wires_head + 1) % c->wires_cap;
    c->wires_len--;
    if (done.kind == WIRE_SETUP_SYNC)
        db_link_ready(c);
    return done.kind != WIRE_SYNC || answer_group(c, done.request);
}

bool db_conn_read(struct db_conn *c)
{
    if (!PQconsumeInput(c->pg))
        return false;
    while (c->wires_len && !PQisBusy(c->pg)) {
        PGresult *res = PQgetResult(c->pg);
        if (!res && PQstatus(c->pg) == CONNECTION_BAD)
            return false;
        enum wire_kind kind = c->wires[c->wires_head].kind;
        if (!res && (kind == WIRE_SETUP_SYNC || kind == WIRE_PREPARE_SYNC || kind == WIRE_SYNC))
            break; /* the sync itself has not arrived */
        if (!take_result(c, res))
            return false;
    }
    PGnotify *n;
    while ((n = PQnotifies(c->pg)) != NULL) {
        if (c->events.notified)
            c->events.notified(c->events.arg, n->relname, n->extra);
        PQfreemem(n);
    }
    return PQstatus(c->pg) == CONNECTION_OK;
}

void db_conn_answer_lost(struct db_conn *c, int err, const char *message)
{
    struct db_request_list lost = c->sent, again = {0}, failed = {0};

    c->sent = (struct db_request_list){0};
    c->wires_len = 0;
    c->prepared_len = 0;
    while (lost.head) { /* a transaction is sent again when all of its statements may be */
        bool retry = err == ERR_DISCONNECTED;
        struct db_request *end = group_end(lost.head), *r;
        for (r = lost.head; r; r = r == end ? NULL : r->next)
            retry &= (r->flags & DB_RETRY) != 0;
        do {
            r = list_pop(&lost);
            db_request_list_push(retry ? &again : &failed, r);
        } while (r != end && lost.head);
    }
    for (struct db_request *r = again.head; r; r = r->next) {
        db_result_release(&r->result);
        r->result = (struct db_result){.message = ""};
        r->answered = false;
    }
    if (again.tail) {
        again.tail->next = c->queued.head;
        c->queued.head = again.head;
        if (!c->queued.tail)
            c->queued.tail = again.tail;
        c->queued.count += again.count;
    }
    while (failed.head) {
        struct db_request *r = list_pop(&failed);
        request_set_error(r, err, "", message);
        request_answer(r);
    }
}

/* --- life --------------------------------------------------------------------------------- */

static void flush_turn(void *arg)
{
    struct db_conn *c = arg;
    if (c->state == DB_LINK_UP && !db_conn_flush(c))
        db_link_lost(c, PQerrorMessage(c->pg));
}

static void free_channels(char **channels)
{
    for (size_t i = 0; channels && channels[i]; i++)
        free(channels[i]);
    free(channels);
}

static char **copy_channels(const char *const *channels)
{
    size_t n = 0;
    while (channels && channels[n])
        n++;
    char **copy = calloc(n + 1, sizeof(*copy));
    for (size_t i = 0; copy && i < n; i++)
        if (!(copy[i] = strdup(channels[i]))) {
            free_channels(copy);
            return NULL;
        }
    return copy;
}

int db_conn_new(uv_loop_t *loop, const struct db_conn_options *options,
    const struct db_conn_events *events, struct buf *fault, struct db_conn **ret_conn)
{
    char *complaint = NULL;
    PQconninfoOption *parsed = PQconninfoParse(options->dsn, &complaint);
    if (!parsed) {
        buf_add_str(fault, complaint ? complaint : "out of memory");
        PQfreemem(complaint);
        return ERR_INVALID;
    }
    PQconninfoFree(parsed);

    struct db_conn *c = calloc(1, sizeof(*c));
    if (!c)
        return ERR_NOMEM;
    c->loop = loop;
    c->events = *events;
    c->prepare = options->prepare;
    c->patience_ms = options->patience_ms;
    c->connect_timeout_ms = options->connect_timeout_ms;
    c->statement_timeout_ms = options->statement_timeout_ms;
    c->dsn = strdup(options->dsn);
    c->application_name = strdup(options->application_name);
    c->channels = copy_channels(options->listen ? options->channels : NULL);
    c->flush = loop_defer_new(loop, flush_turn, c);
    if (!c->dsn || !c->application_name || !c->channels || !c->flush || db_link_init(c) != 0) {
        db_conn_free(c);
        return ERR_NOMEM;
    }
    *ret_conn = c;
    return 0;
}

void db_conn_free(struct db_conn *c)
{
    if (!c)
        return;
    db_link_release(c);
    db_conn_answer_lost(c, ERR_CANCELLED, "the process is ending");
    while (c->queued.head) {
        struct db_request *r = list_pop(&c->queued);
        request_set_error(r, ERR_CANCELLED, "", "the process is ending");
        request_answer(r);
    }
    loop_defer_free(c->flush);
    free_channels(c->channels);
    free(c->wires);
    free(c->prepared);
    free(c->dsn);
    free(c->application_name);
    free(c);
}

bool db_conn_is_up(const struct db_conn *c)
{
    return c->state == DB_LINK_UP;
}

size_t db_conn_pending(const struct db_conn *c)
{
    return c->queued.count + c->sent.count;
}

const char *db_conn_where(const struct db_conn *c)
{
    return buf_str(&c->where);
}
