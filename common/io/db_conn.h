/*
 * One asynchronous libpq connection in pipeline mode on the libuv loop, which
 * reconnects by itself. Statements queue up, go down the wire together and are
 * answered in order. Notifications arrive on the same connection.
 */
#ifndef TOCSIN_IO_DB_CONN_H
#define TOCSIN_IO_DB_CONN_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/failure.h"

/* A statement of sql/queries, embedded at build time. */
struct db_stmt {
    const char *name; /* the file's, unique */
    const char *text;
    int n_params; /* the highest $n in the text */
};

#define DB_PARAMS_MAX 24

/* Parameters of one statement as text; NULL is SQL's NULL. Built, sent and
 * released by the caller: db_conn_send() copies. */
struct db_args {
    int n;
    int err;
    size_t at[DB_PARAMS_MAX]; /* offset into `text` + 1; 0 is NULL */
    struct buf text;
};

/* Bytes of all parameters of one statement together. */
#define DB_ARGS_BYTES_MAX ((size_t)64 << 20)

void db_args_init(struct db_args *a);
void db_args_release(struct db_args *a);
void db_arg_int(struct db_args *a, int64_t v);
void db_arg_bool(struct db_args *a, bool v);
void db_arg_str(struct db_args *a, const char *s); /* NULL: SQL's NULL */
void db_arg_null(struct db_args *a);
/* Arrays in PostgreSQL's text form. In db_arg_strs() a NULL element is NULL. */
void db_arg_ints(struct db_args *a, const int64_t *v, size_t n);
void db_arg_bools(struct db_args *a, const bool *v, size_t n);
void db_arg_strs(struct db_args *a, const char *const *v, size_t n);

/* What a statement came to. Valid until the callback, or the step, returns. */
struct db_result {
    int err;       /* 0, ERR_DB, ERR_DISCONNECTED, ERR_CANCELLED */
    PGresult *res; /* NULL unless PostgreSQL answered */
    char sqlstate[6];
    const char *message; /* PostgreSQL's, or ours where it did not answer; never NULL */
};

/* For a callback that keeps what it was given: the result moves to the caller, who ends with
 * db_result_release(). */
struct db_result db_result_take(struct db_result *r);
void db_result_release(struct db_result *r);

int db_rows(const struct db_result *r);
/* How many rows an INSERT, UPDATE or DELETE touched. */
int64_t db_affected(const struct db_result *r);
bool db_is_null(const struct db_result *r, int row, const char *column);
/* By column name: NULL for SQL's NULL, and for a column that is not there. */
const char *db_text(const struct db_result *r, int row, const char *column);
int64_t db_int(const struct db_result *r, int row, const char *column); /* 0 for NULL */
bool db_bool(const struct db_result *r, int row, const char *column);   /* false for NULL */
/* The same by position, for results of many rows: db_column() asks for it once, -1 for a column
 * that is not there. */
int db_column(const struct db_result *r, const char *column);
const char *db_text_at(const struct db_result *r, int row, int column);
int64_t db_int_at(const struct db_result *r, int row, int column);
/* The failure that a result stands for. Classes 08, 40, 53, 55, 57 and 58 may pass. */
void db_failure(const struct db_result *r, const struct db_stmt *stmt, struct failure *f);

typedef void db_done_fn(void *arg, struct db_result *r);

enum db_flag {
    DB_WITH_NEXT = 1, /* one transaction with the statement sent next */
    DB_RETRY = 2,     /* idempotent: sent again after a reconnect, instead of failing */
};

struct db_conn_options {
    const char *dsn;              /* libpq's, several hosts allowed */
    const char *application_name; /* the executable */
    bool prepare;                 /* by name; false for a pooler in transaction mode */
    bool listen;                  /* LISTEN on the channels given */
    const char *const *channels;  /* NULL-terminated; NULL: none */
    int64_t patience_ms;          /* without a connection for this long: give up */
    int64_t connect_timeout_ms;   /* one try, every host of it */
    int64_t statement_timeout_ms; /* set on the session */
};

struct db_conn;

struct db_conn_events {
    void (*up)(void *arg); /* a session is ready, the first and after each reconnect */
    void (*down)(
        void *arg, const char *why); /* it was lost; what was in flight has been answered */
    void (*waits)(void *arg, const char *why); /* the very first try failed, others follow */
    void (*notified)(void *arg, const char *channel, const char *payload);
    void (*gave_up)(void *arg, const char *why); /* patience is over; no more tries */
    void *arg;
};

/* Starts to connect. Strings of the options are copied. ERR_NOMEM, or ERR_INVALID
 * with libpq's complaint in `fault` when the DSN cannot be parsed. */
MUST_CHECK int db_conn_new(uv_loop_t *loop, const struct db_conn_options *options,
    const struct db_conn_events *events, struct buf *fault, struct db_conn **ret_conn);

/* Answers everything outstanding with ERR_CANCELLED and closes. NULL does nothing. */
void db_conn_free(struct db_conn *c);

bool db_conn_is_up(const struct db_conn *c);
/* Statements that wait for their answer, sent or not. */
size_t db_conn_pending(const struct db_conn *c);
/* Where it is connected ("host:port/database"), for log lines; never a password. */
const char *db_conn_where(const struct db_conn *c);

/*
 * Queues a statement; `done` (may be NULL) is called exactly once, from the loop,
 * never from here. Statements flushed in one turn travel together. Every
 * statement is a transaction of its own unless DB_WITH_NEXT ties it to the next
 * one: then both commit or neither, and when one fails the other is answered
 * with ERR_DB as well (sqlstate 25P02 for one that came after). Without DB_RETRY, a
 * statement in flight when the connection breaks is answered ERR_DISCONNECTED:
 * its outcome is unknown. ERR_NOMEM, or the error of the arguments.
 */
MUST_CHECK int db_conn_send(struct db_conn *c, const struct db_stmt *stmt,
    const struct db_args *args, unsigned flags, db_done_fn *done, void *arg);

/* Drops what `arg` sent: statements that have not left are taken back, the answers of the
 * others, when they come, are thrown away. */
void db_conn_forget(struct db_conn *c, const void *arg);

#endif
