/*
 * The reference of the queue: a loop of bare libpq that sends the same two statements as the
 * worker, the finish of the last batch and the next claim down the pipeline as one transaction.
 * No loop of events, no driver, no handlers, nothing that survives a failure: what the SQL
 * itself allows. It stays when nothing is left, so that its CPU time can be read.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/bench.h"
#include "sql/common.h"

#define BATCH 1000

struct reference {
    PGconn *db;
    char daemon[24];
    char *ids, *fences; /* array literals of what is in hand */
    bool holds;
};

static void check(PGconn *db, int ok)
{
    if (!ok)
        bench_die("%s", PQerrorMessage(db));
}

static PGresult *next_result(PGconn *db, ExecStatusType expected)
{
    PGresult *r = PQgetResult(db);

    if (PQresultStatus(r) != expected)
        bench_die("%s", PQerrorMessage(db));
    return r;
}

static void end_of_statement(PGconn *db)
{
    if (PQgetResult(db))
        bench_die("more results than statements");
}

static void append(char **at, const char *text, char separator)
{
    size_t len = strlen(text);

    *(*at)++ = separator;
    memcpy(*at, text, len);
    *at += len;
}

static int take_claim(struct reference *f)
{
    PGresult *r = next_result(f->db, PGRES_TUPLES_OK);
    int n = PQntuples(r);
    char *ids = f->ids, *fences = f->fences;

    for (int i = 0; i < n; i++) {
        append(&ids, PQgetvalue(r, i, 0), i ? ',' : '{');
        append(&fences, PQgetvalue(r, i, 1), i ? ',' : '{');
    }
    memcpy(ids, "}", 2);
    memcpy(fences, "}", 2);
    PQclear(r);
    end_of_statement(f->db);
    f->holds = n > 0;
    return n;
}

static int turn(struct reference *f)
{
    const char *finish[] = {f->ids, f->fences, f->daemon};
    bool finishes = f->holds;
    const char *claim[] = {"bench", "1000", f->daemon, NULL, finishes ? "t" : "f", NULL, NULL};

    if (finishes)
        check(f->db, PQsendQueryPrepared(f->db, SQL_finish_runs.name, 3, finish, NULL, NULL, 0));
    check(f->db, PQsendQueryPrepared(f->db, SQL_claim_runs.name, 7, claim, NULL, NULL, 0));
    check(f->db, PQpipelineSync(f->db));
    if (finishes) {
        PQclear(next_result(f->db, PGRES_COMMAND_OK));
        end_of_statement(f->db);
    }
    int n = take_claim(f);
    PQclear(next_result(f->db, PGRES_PIPELINE_SYNC));
    return n;
}

static void prepare(PGconn *db, const struct db_stmt *stmt)
{
    PGresult *r = PQprepare(db, stmt->name, stmt->text, 0, NULL);

    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        bench_die("%s", PQerrorMessage(db));
    PQclear(r);
}

int main(void)
{
    struct reference f = {.db = bench_connect("bench_reference")};

    int64_t daemon = bench_int(f.db, "INSERT INTO daemon (executable, host, pid, version)"
                                     " VALUES ('bench', 'bench', 1, '') RETURNING id");
    (void)snprintf(f.daemon, sizeof(f.daemon), "%" PRId64, daemon);
    f.ids = malloc(BATCH * 24);
    f.fences = malloc(BATCH * 24);
    if (!f.ids || !f.fences)
        bench_die("out of memory");
    prepare(f.db, &SQL_claim_runs);
    prepare(f.db, &SQL_finish_runs);
    check(f.db, PQenterPipelineMode(f.db));
    while (turn(&f) > 0 || f.holds)
        ;
    (void)pause();
    return 0;
}
