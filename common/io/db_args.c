/*
 * Parameters of a statement and the values of its result, all as text.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/db_conn.h"

void db_args_init(struct db_args *a)
{
    a->n = 0;
    a->err = 0;
    buf_init(&a->text, DB_ARGS_BYTES_MAX);
}

void db_args_release(struct db_args *a)
{
    buf_release(&a->text);
    a->n = 0;
}

/* Begins the next parameter; its text is then added to a->text and ended with a NUL. */
static bool begin(struct db_args *a)
{
    if (a->n == DB_PARAMS_MAX) {
        a->err = ERR_TOO_LARGE;
        return false;
    }
    a->at[a->n++] = a->text.len + 1;
    return true;
}

void db_arg_null(struct db_args *a)
{
    if (begin(a))
        a->at[a->n - 1] = 0;
}

void db_arg_str(struct db_args *a, const char *s)
{
    if (!s) {
        db_arg_null(a);
        return;
    }
    if (begin(a))
        buf_add(&a->text, s, strlen(s) + 1);
}

/* Decimal digits without printf: batches of a thousand ids are the hot path. */
static void add_int(struct buf *b, int64_t v)
{
    char digits[20];
    size_t n = sizeof(digits);
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    do {
        digits[--n] = (char)('0' + u % 10);
        u /= 10;
    } while (u);
    if (v < 0)
        buf_add_char(b, '-');
    buf_add(b, digits + n, sizeof(digits) - n);
}

void db_arg_int(struct db_args *a, int64_t v)
{
    if (!begin(a))
        return;
    add_int(&a->text, v);
    buf_add_char(&a->text, '\0');
}

void db_arg_bool(struct db_args *a, bool v)
{
    db_arg_str(a, v ? "t" : "f");
}

void db_arg_ints(struct db_args *a, const int64_t *v, size_t n)
{
    if (!begin(a))
        return;
    buf_add_char(&a->text, '{');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(&a->text, ',');
        add_int(&a->text, v[i]);
    }
    buf_add(&a->text, "}", 2);
}

void db_arg_bools(struct db_args *a, const bool *v, size_t n)
{
    if (!begin(a))
        return;
    buf_add_char(&a->text, '{');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(&a->text, ',');
        buf_add_char(&a->text, v[i] ? 't' : 'f');
    }
    buf_add(&a->text, "}", 2);
}

/* An element of an array literal: always quoted, `"` and `\` escaped (PostgreSQL 8.15.6). */
static void add_quoted(struct buf *b, const char *s)
{
    buf_add_char(b, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            buf_add_char(b, '\\');
        buf_add_char(b, *s);
    }
    buf_add_char(b, '"');
}

void db_arg_strs(struct db_args *a, const char *const *v, size_t n)
{
    if (!begin(a))
        return;
    buf_add_char(&a->text, '{');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(&a->text, ',');
        if (v[i])
            add_quoted(&a->text, v[i]);
        else
            buf_add_str(&a->text, "NULL");
    }
    buf_add(&a->text, "}", 2);
}

struct db_result db_result_take(struct db_result *r)
{
    struct db_result taken = *r;
    r->res = NULL;
    return taken;
}

void db_result_release(struct db_result *r)
{
    PQclear(r->res);
    r->res = NULL;
    r->message = "";
}

int db_rows(const struct db_result *r)
{
    return r->res ? PQntuples(r->res) : 0;
}

int64_t db_affected(const struct db_result *r)
{
    return r->res ? strtoll(PQcmdTuples(r->res), NULL, 10) : 0;
}

int db_column(const struct db_result *r, const char *column)
{
    return r->res ? PQfnumber(r->res, column) : -1;
}

const char *db_text_at(const struct db_result *r, int row, int column)
{
    if (column < 0 || PQgetisnull(r->res, row, column))
        return NULL;
    return PQgetvalue(r->res, row, column);
}

int64_t db_int_at(const struct db_result *r, int row, int column)
{
    const char *text = db_text_at(r, row, column);
    return text ? strtoll(text, NULL, 10) : 0;
}

const char *db_text(const struct db_result *r, int row, const char *column)
{
    return db_text_at(r, row, db_column(r, column));
}

bool db_is_null(const struct db_result *r, int row, const char *column)
{
    return db_text(r, row, column) == NULL;
}

int64_t db_int(const struct db_result *r, int row, const char *column)
{
    return db_int_at(r, row, db_column(r, column));
}

bool db_bool(const struct db_result *r, int row, const char *column)
{
    const char *text = db_text(r, row, column);
    return text && *text == 't';
}

/* Connection, rollback, resources, object state, operator intervention, system error: the
 * classes of PostgreSQL's appendix A that another try may find gone. */
static bool may_pass(const char *sqlstate)
{
    static const char *const classes[] = {"08", "40", "53", "55", "57", "58"};
    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++)
        if (strncmp(sqlstate, classes[i], 2) == 0)
            return true;
    return false;
}

void db_failure(const struct db_result *r, const struct db_stmt *stmt, struct failure *f)
{
    failure_set(f, r->err ? r->err : ERR_DB, "%s: %s", stmt->name, r->message);
    memcpy(f->sqlstate, r->sqlstate, sizeof(f->sqlstate));
    f->final = r->err == ERR_DB && !may_pass(r->sqlstate);
    f->ambiguous = r->err == ERR_DISCONNECTED;
}
