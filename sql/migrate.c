/*
 * tocsin-migrate: brings a database to the schema of this build. The migrations
 * and the runbook are embedded; each is applied in one transaction, under one
 * advisory lock, and remembered with its checksum.
 */
#include <getopt.h>
#include <libpq-fe.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/schema.h"

#define CHECKSUM_BYTES 16
#define CHECKSUM_TEXT  (2 * CHECKSUM_BYTES + 1)
#define VERSION_TEXT   12

/* sysexits.h: EX_USAGE, EX_TEMPFAIL and EX_CONFIG. */
enum migrate_exit {
    MIGRATE_DONE = 0,
    MIGRATE_FAILED = 1,
    MIGRATE_USAGE = 64,
    MIGRATE_NO_DATABASE = 75,
    MIGRATE_REFUSED = 78,
};

enum migrate_mode { MODE_APPLY, MODE_DRY_RUN, MODE_STATUS };

/* "tocs": no other lock of an application in this database should have this number. */
#define SQL_LOCK "SELECT pg_advisory_lock(1953456995)"

#define SQL_CREATE_BOOKS                                                                           \
    "CREATE TABLE IF NOT EXISTS schema_migration ("                                                \
    " version int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,"                        \
    " applied_at timestamptz NOT NULL DEFAULT now());"                                             \
    "CREATE TABLE IF NOT EXISTS schema_runbook ("                                                  \
    " name text PRIMARY KEY, checksum text NOT NULL,"                                              \
    " applied_at timestamptz NOT NULL DEFAULT now());"                                             \
    "GRANT SELECT ON schema_migration TO PUBLIC"

#define SQL_HAS_BOOKS "SELECT to_regclass('schema_migration') IS NOT NULL"

#define SQL_LIST_MIGRATIONS                                                                        \
    "SELECT version, name, checksum, to_char(applied_at AT TIME ZONE 'UTC',"                       \
    " 'YYYY-MM-DD HH24:MI') || ' UTC' FROM schema_migration ORDER BY version"

#define SQL_LIST_RUNBOOK "SELECT name, checksum FROM schema_runbook"

#define SQL_ADD_MIGRATION                                                                          \
    "INSERT INTO schema_migration (version, name, checksum) VALUES ($1, $2, $3)"

#define SQL_SET_RUNBOOK                                                                            \
    "INSERT INTO schema_runbook (name, checksum) VALUES ($1, $2)"                                  \
    " ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now()"

/* What the database says of itself. */
struct books {
    PGresult *migrations;
    PGresult *runbook;
};

static void checksum(const char *text, char ret_hex[static CHECKSUM_TEXT])
{
    unsigned char hash[CHECKSUM_BYTES];

    (void)crypto_generichash(hash, sizeof hash, (const unsigned char *)text, strlen(text), NULL, 0);
    sodium_bin2hex(ret_hex, CHECKSUM_TEXT, hash, sizeof hash);
}

/* The 1-based line of the `position`th character of a UTF-8 text. */
static int line_at(const char *text, long position)
{
    int line = 1;

    for (long seen = 0; *text && seen < position; text++) {
        if (((unsigned char)*text & 0xc0) != 0x80)
            seen++;
        if (*text == '\n' && seen < position)
            line++;
    }
    return line;
}

static const char *directory_of(const struct schema_file *file)
{
    return file->kind == SCHEMA_MIGRATION ? "sql/migrations" : "sql/runbook";
}

static void report_failure(const struct schema_file *file, const PGresult *res)
{
    const char *position = PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION);
    const char *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
    const char *context = PQresultErrorField(res, PG_DIAG_CONTEXT);
    const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

    fprintf(stderr, "%s/%s.sql:", directory_of(file), file->name);
    if (position)
        fprintf(stderr, "%d:", line_at(file->text, strtol(position, NULL, 10)));
    fprintf(stderr, " %s\n", message ? message : PQresultErrorMessage(res));
    if (detail)
        fprintf(stderr, "    %s\n", detail);
    if (context)
        fprintf(stderr, "    %s\n", context);
}

/* Runs a statement that must succeed; NULL after saying why it did not. */
static PGresult *run(PGconn *conn, const char *sql, int n_params, const char *const *params)
{
    PGresult *res = n_params ? PQexecParams(conn, sql, n_params, NULL, params, NULL, NULL, 0)
                             : PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(res);

    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        return res;
    fprintf(stderr, "tocsin-migrate: %s", PQerrorMessage(conn));
    PQclear(res);
    return NULL;
}

static bool run_quietly(PGconn *conn, const char *sql, int n_params, const char *const *params)
{
    PGresult *res = run(conn, sql, n_params, params);

    PQclear(res);
    return res != NULL;
}

/* --- what is there ------------------------------------------------------------------------- */

static void books_release(struct books *books)
{
    PQclear(books->migrations);
    PQclear(books->runbook);
    *books = (struct books){0};
}

/* A database that was never migrated reads as empty books: both results stay NULL. */
static bool books_read(PGconn *conn, struct books *ret_books)
{
    struct books books = {0};
    PGresult *res = run(conn, SQL_HAS_BOOKS, 0, NULL);
    bool there = res && strcmp(PQgetvalue(res, 0, 0), "t") == 0;

    if (!res)
        return false;
    PQclear(res);
    if (there) {
        books.migrations = run(conn, SQL_LIST_MIGRATIONS, 0, NULL);
        books.runbook = books.migrations ? run(conn, SQL_LIST_RUNBOOK, 0, NULL) : NULL;
        if (!books.runbook) {
            books_release(&books);
            return false;
        }
    }
    *ret_books = books;
    return true;
}

static int books_landed(const struct books *books)
{
    return books->migrations ? PQntuples(books->migrations) : 0;
}

static const struct schema_file *migration_of(long version)
{
    for (const struct schema_file *file = schema_files; file->name; file++)
        if (file->kind == SCHEMA_MIGRATION && file->version == version)
            return file;
    return NULL;
}

/* Says what is wrong with each landed migration; false when anything is. */
static bool books_agree(const struct books *books)
{
    char hex[CHECKSUM_TEXT];
    bool agree = true;

    for (int row = 0; row < books_landed(books); row++) {
        long version = strtol(PQgetvalue(books->migrations, row, 0), NULL, 10);
        const char *name = PQgetvalue(books->migrations, row, 1);
        const struct schema_file *file = migration_of(version);

        if (!file) {
            fprintf(stderr,
                "tocsin-migrate: the database has migration %s, which this tool does not know "
                "(it ends at %d): use the tool of a newer release\n",
                name, SCHEMA_VERSION);
            agree = false;
            continue;
        }
        checksum(file->text, hex);
        if (version != row + 1 || strcmp(file->name, name) != 0) {
            fprintf(stderr, "tocsin-migrate: migration %d is %s in the database and %s here\n",
                row + 1, name, file->name);
            agree = false;
        } else if (strcmp(hex, PQgetvalue(books->migrations, row, 2)) != 0) {
            fprintf(stderr,
                "tocsin-migrate: %s/%s.sql was edited after it landed (%s); "
                "take the edit back and add a new migration\n",
                directory_of(file), name, PQgetvalue(books->migrations, row, 3));
            agree = false;
        }
    }
    return agree;
}

static bool runbook_is_current(const struct books *books, const struct schema_file *file)
{
    char hex[CHECKSUM_TEXT];

    checksum(file->text, hex);
    for (int row = 0; books->runbook && row < PQntuples(books->runbook); row++)
        if (strcmp(PQgetvalue(books->runbook, row, 0), file->name) == 0)
            return strcmp(PQgetvalue(books->runbook, row, 1), hex) == 0;
    return false;
}

static bool is_pending(const struct books *books, const struct schema_file *file)
{
    switch (file->kind) {
    case SCHEMA_MIGRATION:
        return file->version > books_landed(books);
    case SCHEMA_RUNBOOK:
        return !runbook_is_current(books, file);
    }
    return false;
}

/* --- what is done -------------------------------------------------------------------------- */

static bool remember(PGconn *conn, const struct schema_file *file)
{
    char hex[CHECKSUM_TEXT];
    char version[VERSION_TEXT];

    checksum(file->text, hex);
    if (file->kind == SCHEMA_RUNBOOK)
        return run_quietly(conn, SQL_SET_RUNBOOK, 2, (const char *const[]){file->name, hex});
    snprintf(version, sizeof version, "%d", file->version);
    return run_quietly(conn, SQL_ADD_MIGRATION, 3, (const char *const[]){version, file->name, hex});
}

static bool apply(PGconn *conn, const struct schema_file *file)
{
    PGresult *res;
    bool ok;

    if (!run_quietly(conn, "BEGIN", 0, NULL))
        return false;
    res = PQexec(conn, file->text);
    ok = PQresultStatus(res) == PGRES_COMMAND_OK || PQresultStatus(res) == PGRES_TUPLES_OK;
    if (!ok)
        report_failure(file, res);
    PQclear(res);
    if (ok && PQtransactionStatus(conn) != PQTRANS_INTRANS) {
        fprintf(stderr, "%s/%s.sql: it ends the transaction that it runs in\n", directory_of(file),
            file->name);
        ok = false;
    }
    if (ok && remember(conn, file) && run_quietly(conn, "COMMIT", 0, NULL)) {
        printf("applied %s/%s.sql\n", directory_of(file), file->name);
        return true;
    }
    (void)run_quietly(conn, "ROLLBACK", 0, NULL);
    return false;
}

static int apply_pending(PGconn *conn, const struct books *books, enum migrate_mode mode)
{
    int n = 0;

    for (const struct schema_file *file = schema_files; file->name; file++) {
        if (!is_pending(books, file))
            continue;
        n++;
        if (mode == MODE_DRY_RUN)
            printf("would apply %s/%s.sql\n", directory_of(file), file->name);
        else if (!apply(conn, file))
            return MIGRATE_FAILED;
    }
    if (n == 0)
        printf("nothing to do: the schema is at %d\n", SCHEMA_VERSION);
    return MIGRATE_DONE;
}

static int show_status(const struct books *books)
{
    for (const struct schema_file *file = schema_files; file->name; file++) {
        bool pending = is_pending(books, file);
        const char *when = pending ? "pending" : "current";

        if (!pending && file->kind == SCHEMA_MIGRATION)
            when = PQgetvalue(books->migrations, file->version - 1, 3);
        printf("%-15s %-32s %s\n", file->kind == SCHEMA_MIGRATION ? "migration" : "runbook",
            file->name, when);
    }
    return MIGRATE_DONE;
}

static int migrate(PGconn *conn, enum migrate_mode mode)
{
    struct books books = {0};
    int code = MIGRATE_FAILED;

    if (!run_quietly(conn, "SET client_min_messages = warning", 0, NULL))
        return MIGRATE_FAILED;
    if (mode == MODE_APPLY &&
        (!run_quietly(conn, SQL_LOCK, 0, NULL) || !run_quietly(conn, SQL_CREATE_BOOKS, 0, NULL)))
        return MIGRATE_FAILED;
    if (!books_read(conn, &books))
        return MIGRATE_FAILED;
    if (!books_agree(&books))
        code = MIGRATE_REFUSED;
    else if (mode == MODE_STATUS)
        code = show_status(&books);
    else
        code = apply_pending(conn, &books, mode);
    books_release(&books);
    return code;
}

/* --- the command line ---------------------------------------------------------------------- */

static void help(FILE *out)
{
    fputs("tocsin-migrate: bring a database to the schema of this release\n"
          "\n"
          "    tocsin-migrate [--dsn DSN] [--status | --dry-run]\n"
          "\n"
          "  --dsn DSN    where; else TOCSIN_DATABASE_URL, else libpq's PG… variables\n"
          "  --status     list what has landed and what is pending\n"
          "  --dry-run    say what would be applied, apply nothing\n"
          "  --version    print the release and the schema that it brings\n"
          "  --help       print this\n"
          "\n"
          "Exit codes: 0 done; 1 a migration failed; 75 no connection; 78 refused, because a\n"
          "landed migration was edited or the database is newer than this tool.\n",
        out);
}

static int connect_and_migrate(const char *dsn, enum migrate_mode mode)
{
    PGconn *conn;
    int code;

    if (!dsn)
        dsn = getenv("TOCSIN_DATABASE_URL");
    conn = PQconnectdbParams((const char *const[]){"dbname", "fallback_application_name", NULL},
        (const char *const[]){dsn ? dsn : "", "tocsin-migrate", NULL}, 1);
    if (PQstatus(conn) == CONNECTION_OK) {
        code = migrate(conn, mode);
        if (PQstatus(conn) != CONNECTION_OK)
            code = MIGRATE_NO_DATABASE;
    } else {
        fprintf(stderr, "tocsin-migrate: %s", PQerrorMessage(conn));
        code = MIGRATE_NO_DATABASE;
    }
    PQfinish(conn);
    return code;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"dsn", required_argument, NULL, 'd'},
        {"status", no_argument, NULL, 's'},
        {"dry-run", no_argument, NULL, 'n'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    enum migrate_mode mode = MODE_APPLY;
    const char *dsn = NULL;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'd':
            dsn = optarg;
            break;
        case 's':
            mode = MODE_STATUS;
            break;
        case 'n':
            mode = MODE_DRY_RUN;
            break;
        case 'v':
            printf("tocsin-migrate %s, schema %d\n", TOCSIN_VERSION, SCHEMA_VERSION);
            return MIGRATE_DONE;
        case 'h':
            help(stdout);
            return MIGRATE_DONE;
        default:
            help(stderr);
            return MIGRATE_USAGE;
        }
    }
    if (optind != argc) {
        help(stderr);
        return MIGRATE_USAGE;
    }
    if (sodium_init() < 0) {
        fputs("tocsin-migrate: libsodium does not start\n", stderr);
        return MIGRATE_FAILED;
    }
    return connect_and_migrate(dsn, mode);
}
