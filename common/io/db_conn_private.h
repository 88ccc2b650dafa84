/*
 * What db_conn.c (statements and answers) and db_link.c (connecting, the socket,
 * reconnecting) share.
 */
#ifndef TOCSIN_IO_DB_CONN_PRIVATE_H
#define TOCSIN_IO_DB_CONN_PRIVATE_H

#include "base/backoff.h"
#include "io/db_conn.h"
#include "io/loop.h"

struct db_request {
    struct db_request *next;
    const struct db_stmt *stmt;
    unsigned flags;
    db_done_fn *done;
    void *arg;
    struct db_result result;
    bool answered;
    int n;
    const char *values[DB_PARAMS_MAX];
    char text[]; /* where the values point */
};

struct db_request_list {
    struct db_request *head, *tail;
    size_t count;
};

enum wire_kind {
    WIRE_SETUP,      /* a statement that makes the session */
    WIRE_SETUP_SYNC, /* the session is ready */
    WIRE_PREPARE,    /* for `request`, the next to be sent */
    WIRE_PREPARE_SYNC,
    WIRE_EXECUTE, /* `request` */
    WIRE_SYNC,    /* the end of a transaction, `request` its last statement */
};

/* One answer that PostgreSQL owes, in the order of the pipeline. */
struct wire {
    enum wire_kind kind;
    struct db_request *request;
};

enum db_link_state {
    DB_LINK_WAITING,    /* until the next try */
    DB_LINK_CONNECTING, /* PQconnectPoll() */
    DB_LINK_SETUP,      /* LISTEN and session settings are under way */
    DB_LINK_UP,
    DB_LINK_OVER, /* patience is over */
};

struct db_conn {
    uv_loop_t *loop;
    struct db_conn_events events;
    char *dsn;
    char *application_name;
    char **channels;
    bool prepare;
    int64_t patience_ms, connect_timeout_ms, statement_timeout_ms;

    enum db_link_state state;
    PGconn *pg;
    uv_poll_t *poll; /* for the descriptor `fd` */
    int fd;
    int poll_events;
    struct loop_timer *retry;   /* the next try, and the end of this one */
    struct loop_timer *silence; /* an answer is owed for too long */
    struct backoff backoff;
    int64_t down_since_ms;
    unsigned tries; /* rotates the hosts */
    struct buf where;
    struct buf why; /* the last failure to connect */

    struct loop_defer *flush;
    struct db_request_list queued; /* not sent */
    struct db_request_list sent;   /* in the order of the pipeline */
    struct wire *wires;            /* a ring */
    size_t wires_cap, wires_head, wires_len;
    const struct db_stmt **prepared;
    size_t prepared_len, prepared_cap;
};

/* db_conn.c */
void db_request_list_push(struct db_request_list *list, struct db_request *r);
MUST_CHECK int db_wire_push(struct db_conn *c, enum wire_kind kind, struct db_request *request);
/* Sends what is queued, as whole transactions. False: the connection is broken. */
bool db_conn_flush(struct db_conn *c);
/* Reads every answer that has arrived. False: the connection is broken. */
bool db_conn_read(struct db_conn *c);
/* The connection is gone: sends again what may be sent again, answers the rest. */
void db_conn_answer_lost(struct db_conn *c, int err, const char *message);

/* db_link.c */
MUST_CHECK int db_link_init(struct db_conn *c);
void db_link_release(struct db_conn *c);
/* Watches the socket for what libpq wants now. */
void db_link_watch(struct db_conn *c);
/* The session is made. */
void db_link_ready(struct db_conn *c);
/* Closes the connection, answers what was in flight and plans the next try. */
void db_link_lost(struct db_conn *c, const char *why);

#endif
