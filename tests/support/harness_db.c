/*
 * The test's database: a clone of a template that is migrated once a schema.
 */
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "harness_internal.h"
#include "sql/schema.h"

#define KEY_BYTES      8
#define KEY_TEXT       (2 * KEY_BYTES + 1)
#define MIGRATE_MS     60000
#define ROWS_BYTES_MAX ((size_t)16 << 20)

/* A clock of ours stands before pg_catalog's; the shift is what a test moves. */
static const char CLOCK[] =
    "CREATE TABLE public.test_clock (shift interval NOT NULL);"
    "INSERT INTO public.test_clock VALUES ('0');"
    "GRANT SELECT ON public.test_clock TO PUBLIC;"
    "CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql STABLE AS"
    " $$ SELECT pg_catalog.now() + (SELECT shift FROM public.test_clock) $$";

/* --- connecting ------------------------------------------------------------------------------ */

static void quiet_notice(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

/* The last of equal keywords counts, so what is put first can be overridden after `dbname`. */
static PGconn *connect_to(const char *server, const char *name, const char *role)
{
    const char *keys[] = {"dbname", "dbname", role ? "user" : NULL, NULL};
    const char *values[] = {server, name, role, NULL};
    PGconn *conn = PQconnectdbParams(keys, values, 1);

    if (PQstatus(conn) == CONNECTION_OK) {
        PQsetNoticeProcessor(conn, quiet_notice, NULL);
        return conn;
    }
    print_error("%s", PQerrorMessage(conn));
    PQfinish(conn);
    return NULL;
}

static bool quietly(PGconn *conn, const char *sql)
{
    PGresult *res = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(res);
    bool ok = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;

    if (!ok)
        print_error("%s\n    %s\n", PQerrorMessage(conn), sql);
    PQclear(res);
    return ok;
}

/* libpq's keywords of the cluster's DSN, with database and user replaced. */
static char *dsn_for(const char *server, const char *name, const char *role)
{
    char *error = NULL;
    PQconninfoOption *options = PQconninfoParse(server, &error);
    struct buf dsn = BUF_INIT(4096);
    char *text;

    if (!options) {
        print_error("%s", error);
        PQfreemem(error);
        abort();
    }
    for (PQconninfoOption *o = options; o->keyword; o++) {
        const char *value = o->val;

        if (strcmp(o->keyword, "dbname") == 0)
            value = name;
        else if (role && strcmp(o->keyword, "user") == 0)
            value = role;
        if (value)
            buf_addf(&dsn, "%s%s=%s", dsn.len ? " " : "", o->keyword, value);
    }
    PQconninfoFree(options);
    text = buf_steal(&dsn);
    if (!text)
        abort();
    return text;
}

/* --- the template ---------------------------------------------------------------------------- */

static void template_key(char ret_hex[static KEY_TEXT])
{
    crypto_generichash_state hash;
    unsigned char key[crypto_generichash_BYTES_MIN];

    (void)crypto_generichash_init(&hash, NULL, 0, sizeof key);
    (void)crypto_generichash_update(&hash, (const unsigned char *)CLOCK, sizeof CLOCK);
    for (const struct schema_file *file = schema_files; file->name; file++)
        (void)crypto_generichash_update(
            &hash, (const unsigned char *)file->text, strlen(file->text) + 1);
    (void)crypto_generichash_final(&hash, key, sizeof key);
    sodium_bin2hex(ret_hex, KEY_TEXT, key, KEY_BYTES);
}

static bool migrate(struct harness *h, const char *name)
{
    char *dsn = dsn_for(h->server, name, NULL);
    char *env = harness_format("TOCSIN_DATABASE_URL=%s", dsn);
    const char *output = "";
    int code = harness_run(h, "tocsin-migrate", NULL, (const char *const[]){env, NULL}, &output);

    free(dsn);
    free(env);
    if (code != 0)
        print_error("tocsin-migrate: exit code %d\n%s", code, output);
    return code == 0;
}

static bool fill_template(struct harness *h, const char *name)
{
    char *path = harness_format("ALTER DATABASE %s SET search_path = public, pg_catalog", name);
    PGconn *conn = connect_to(h->server, name, NULL);
    bool ok = conn && quietly(conn, CLOCK) && quietly(conn, path);

    free(path);
    PQfinish(conn);
    return ok && migrate(h, name);
}

/* Under the lock: makes the template unless it is there. It gets its name when it is whole. */
static bool make_template(struct harness *h, const char *name)
{
    char *find = harness_format("SELECT FROM pg_database WHERE datname = '%s'", name);
    char *drop = harness_format("DROP DATABASE IF EXISTS %s_new WITH (FORCE)", name);
    char *create = harness_format("CREATE DATABASE %s_new TEMPLATE template0", name);
    char *rename = harness_format("ALTER DATABASE %s_new RENAME TO %s", name, name);
    char *fresh = harness_format("%s_new", name);
    PGresult *res = PQexec(h->maintenance, find);
    bool ok =
        PQntuples(res) == 1 || (quietly(h->maintenance, drop) && quietly(h->maintenance, create) &&
                                   fill_template(h, fresh) && quietly(h->maintenance, rename));

    PQclear(res);
    free(find);
    free(drop);
    free(create);
    free(rename);
    free(fresh);
    return ok;
}

bool harness_clone(struct harness *h)
{
    char key[KEY_TEXT];
    char *template;
    char *create;
    bool ok;

    if (sodium_init() < 0)
        return false;
    template_key(key);
    template = harness_format("tocsin_template_%s", key);
    h->name = harness_format("tocsin_test_%d_%llx", (int)getpid(), (unsigned long long)clock_us());
    create = harness_format("CREATE DATABASE %s TEMPLATE %s STRATEGY wal_log", h->name, template);
    h->maintenance = connect_to(h->server, "postgres", NULL);
    ok = h->maintenance && quietly(h->maintenance, "SELECT pg_advisory_lock(7)") &&
         make_template(h, template) && quietly(h->maintenance, create) &&
         quietly(h->maintenance, "SELECT pg_advisory_unlock(7)");
    free(create);
    create = harness_format("ALTER DATABASE %s SET search_path = public, pg_catalog", h->name);
    ok = ok && quietly(h->maintenance, create);
    free(create);
    free(template);
    if (ok)
        h->conn = connect_to(h->server, h->name, NULL);
    return h->conn != NULL;
}

void harness_drop(struct harness *h)
{
    for (size_t i = 0; i < HARNESS_CONNS_MAX; i++)
        PQfinish(h->conns[i]);
    PQfinish(h->conn);
    if (h->maintenance && !h->cluster) {
        char *drop = harness_format("DROP DATABASE IF EXISTS %s WITH (FORCE)", h->name);

        (void)quietly(h->maintenance, drop);
        free(drop);
    }
    PQfinish(h->maintenance);
}

/* --- statements ------------------------------------------------------------------------------ */

const char *harness_dsn(struct harness *h, const char *role)
{
    char *dsn = dsn_for(h->server, h->name, role);
    const char *kept = harness_keep(h, dsn);

    free(dsn);
    return kept;
}

PGconn *harness_connect(struct harness *h, const char *role)
{
    PGconn *conn = connect_to(h->server, h->name, role);

    if (!conn)
        harness_fail(h, "cannot connect as %s", role ? role : "the superuser");
    for (size_t i = 0; i < HARNESS_CONNS_MAX; i++) {
        if (!h->conns[i]) {
            h->conns[i] = conn;
            return conn;
        }
    }
    PQfinish(conn);
    harness_fail(h, "more than %d connections", HARNESS_CONNS_MAX);
}

void harness_disconnect(struct harness *h, PGconn *conn)
{
    for (size_t i = 0; i < HARNESS_CONNS_MAX; i++)
        if (h->conns[i] == conn)
            h->conns[i] = NULL;
    PQfinish(conn);
}

static PGresult *query(struct harness *h, const char *sql)
{
    PGresult *res = PQexec(h->conn, sql);
    ExecStatusType status = PQresultStatus(res);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        PQclear(res);
        harness_fail(h, "%s    in: %s", PQerrorMessage(h->conn), sql);
    }
    return res;
}

static char *vformat(const char *fmt, va_list args) PRINTF_LIKE(1, 0);
static char *vformat(const char *fmt, va_list args)
{
    char *text = NULL;

    if (vasprintf(&text, fmt, args) < 0)
        abort();
    return text;
}

void harness_exec(struct harness *h, const char *sql)
{
    PQclear(query(h, sql));
}

void harness_execf(struct harness *h, const char *fmt, ...)
{
    va_list args;
    char *sql;

    va_start(args, fmt);
    sql = vformat(fmt, args);
    va_end(args);
    harness_exec(h, sql);
    free(sql);
}

const char *harness_text(struct harness *h, const char *sql)
{
    PGresult *res = query(h, sql);
    const char *text = NULL;

    if (PQntuples(res) > 0 && !PQgetisnull(res, 0, 0))
        text = harness_keep(h, PQgetvalue(res, 0, 0));
    PQclear(res);
    return text;
}

int64_t harness_int(struct harness *h, const char *sql)
{
    const char *text = harness_text(h, sql);

    if (!text)
        harness_fail(h, "no value: %s", sql);
    return strtoll(text, NULL, 10);
}

int64_t harness_intf(struct harness *h, const char *fmt, ...)
{
    va_list args;
    char *sql;
    int64_t value;

    va_start(args, fmt);
    sql = vformat(fmt, args);
    va_end(args);
    value = harness_int(h, sql);
    free(sql);
    return value;
}

bool harness_bool(struct harness *h, const char *sql)
{
    const char *text = harness_text(h, sql);

    if (!text)
        harness_fail(h, "no value: %s", sql);
    return strcmp(text, "t") == 0;
}

const char *harness_rows(struct harness *h, const char *sql)
{
    PGresult *res = query(h, sql);
    struct buf rows = BUF_INIT(ROWS_BYTES_MAX);
    const char *kept;

    for (int row = 0; row < PQntuples(res); row++) {
        for (int column = 0; column < PQnfields(res); column++)
            buf_addf(&rows, "%s%s", column ? "|" : row ? "\n" : "", PQgetvalue(res, row, column));
    }
    PQclear(res);
    kept = harness_keep(h, buf_str(&rows));
    buf_release(&rows);
    return kept;
}

void harness_refused(struct harness *h, const char *role, const char *sqlstate, const char *sql)
{
    PGconn *conn = harness_connect(h, role);
    PGresult *res = PQexec(conn, sql);
    const char *got = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    char *seen = harness_format("%s", got ? got : "success");

    PQclear(res);
    harness_disconnect(h, conn);
    if (strcmp(seen, sqlstate) != 0)
        harness_fail(h, "as %s, %s instead of %s: %s", role, seen, sqlstate, sql);
    free(seen);
}

/* --- waiting and the clock ------------------------------------------------------------------- */

struct sql_condition {
    struct harness *h;
    const char *sql;
};

static bool sql_is_true(void *arg)
{
    const struct sql_condition *c = arg;
    PGresult *res = query(c->h, c->sql);
    bool yes = PQntuples(res) > 0 && strcmp(PQgetvalue(res, 0, 0), "t") == 0;

    PQclear(res);
    return yes;
}

void harness_await(struct harness *h, int64_t deadline_ms, const char *sql)
{
    struct sql_condition c = {h, sql};

    harness_await_that(h, deadline_ms, sql_is_true, &c, sql);
}

void harness_awaitf(struct harness *h, int64_t deadline_ms, const char *fmt, ...)
{
    va_list args;
    char *sql;

    va_start(args, fmt);
    sql = vformat(fmt, args);
    va_end(args);
    harness_await(h, deadline_ms, sql);
    free(sql);
}

void harness_clock_advance(struct harness *h, const char *interval)
{
    struct buf pids = BUF_INIT(4096);

    buf_addf(&pids, "%d", (int)getpid());
    for (struct harness_proc *p = h->procs; p; p = p->next)
        if (harness_proc_alive(p))
            buf_addf(&pids, ",%d", (int)p->pid);
    harness_execf(h,
        "BEGIN;"
        "UPDATE public.test_clock SET shift = shift + interval '%s';"
        "UPDATE daemon SET heartbeat_at = heartbeat_at + interval '%s'"
        " WHERE stopped_at IS NULL AND pid IN (%s);"
        "COMMIT",
        interval, interval, buf_str(&pids));
    buf_release(&pids);
}
