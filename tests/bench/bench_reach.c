/*
 * How late messages leave: BENCH_BURST notifications due in the same instant, then BENCH_SPREAD of
 * them over ten seconds, by webhook through one worker-escalation to a provider that takes
 * BENCH_PROVIDER_MS to answer. Two latenesses: until the provider had the request, and until the
 * row said so. Each message is counted at the provider.
 *
 *     BENCH_BURST=10000 BENCH_SPREAD=1000 BENCH_PROVIDER_MS=50
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "support/bench.h"
#include "tests/fake/fake_provider.h"

/* Time to write the rows and to get the worker ready before they are due. */
#define AHEAD_MS 5000

struct bench_reach {
    PGconn *db;
    struct fake_provider *fake;
    pid_t worker;
    size_t told; /* requests of the runs before */
};

static pid_t start_worker(PGconn *db)
{
    static const char *const env[] = {"FEATURE_ALERTS_ENABLED=true", "FEATURE_CHECKIN_ENABLED=true",
        "FEATURE_ESCALATION_ENABLED=true", "WEBHOOK_ALLOW_PRIVATE=true", "HEALTH_WATCH=false",
        NULL};
    struct buf path = BUF_INIT(4096), ready = BUF_INIT(4096);

    buf_addf(&path, "%s/bin/worker-escalation", bench_option_text("BUILD", "build/release"));
    const char *const argv[] = {buf_str(&path), NULL};
    pid_t pid = bench_spawn(argv, env);
    buf_addf(&ready, "SELECT EXISTS (SELECT FROM daemon WHERE pid = %d AND stopped_at IS NULL)",
        (int)pid);
    bench_await(db, buf_str(&ready), 5, 20000);
    buf_release(&path);
    buf_release(&ready);
    return pid;
}

static void set_up(struct bench_reach *b)
{
    int64_t provider_ms = bench_option("BENCH_PROVIDER_MS", 50);

    b->db = bench_connect("bench-reach");
    if (fake_provider_new(0, &b->fake) != 0 || fake_webhook(b->fake, "/hook") != 0 ||
        fake_expect(b->fake,
            &(struct fake_rule){
                .method = "POST", .path = "/hook", .accept = true, .delay_ms = provider_ms}) != 0)
        bench_die("the provider does not start");
    bench_execf(b->db,
        "TRUNCATE notification, incident, ladder_rung, ladder, contact_method, users CASCADE;"
        "INSERT INTO users (id, name) VALUES (1, 'owner');"
        "INSERT INTO contact_method (id, user_id, channel, address)"
        " VALUES (1, 1, 'webhook', '%s/hook');"
        "INSERT INTO ladder (id, key) VALUES (1, 'default');"
        "INSERT INTO ladder_rung (ladder_id, position, after, mode, gate, target, useful_for)"
        " VALUES (1, 1, '-12 minutes', 'message', 'alerts', 'owner', '12 minutes')",
        fake_provider_url(b->fake));
}

/* Plans `n` alerts of which the first is due AHEAD_MS from now, the last `spread_ms` later. Returns
 * the monotonic time of the first. */
static int64_t plan(struct bench_reach *b, int64_t n, int64_t spread_ms)
{
    bench_exec(b->db, "DELETE FROM incident");
    int64_t first_ms = clock_ms() + AHEAD_MS;
    bench_execf(b->db,
        "INSERT INTO incident (kind, user_id, event_id, starts_at, title, ladder_id)"
        " SELECT 'meeting', 1, i, now() + interval '12 minutes %d milliseconds'"
        "  + i * interval '%" PRId64 " microseconds', 'Meeting ' || i, 1"
        " FROM generate_series(0, %" PRId64 " - 1) AS i;"
        "SELECT incident_plan(array_agg(id)) FROM incident;"
        "ANALYZE notification",
        AHEAD_MS, spread_ms * 1000 / n, n);
    if (clock_ms() > first_ms - 500)
        bench_die("planning %" PRId64 " alerts took longer than they wait", n);
    return first_ms;
}

/* What the provider saw: lateness of each request, and whether each came once. */
static void count_requests(struct bench_reach *b, int64_t n, int64_t first_ms, int64_t spread_ms,
    struct bench_series *lateness)
{
    bool *seen = calloc((size_t)n, sizeof(*seen));
    int64_t twice = 0, lost = n;

    if (!seen)
        bench_die("no memory");
    for (size_t i = b->told; i < fake_request_count(b->fake); i++) {
        const struct fake_request *r = fake_request_at(b->fake, i);
        const char *title = strstr(r->body, "\"title\":\"Meeting ");
        int64_t k = title ? strtoll(title + strlen("\"title\":\"Meeting "), NULL, 10) : -1;
        if (k < 0 || k >= n)
            bench_die("a request of nobody: %s", r->body);
        twice += seen[k];
        lost -= !seen[k];
        seen[k] = true;
        int64_t due_ms = first_ms + k * spread_ms / n;
        bench_series_add(lateness, (double)(r->at_ms - due_ms));
    }
    b->told = fake_request_count(b->fake);
    free(seen);
    if (lost || twice)
        bench_die("%" PRId64 " lost, %" PRId64 " sent twice", lost, twice);
}

static int64_t row_lateness(struct bench_reach *b, double share)
{
    struct buf sql = BUF_INIT(512);

    buf_addf(&sql,
        "SELECT percentile_disc(%f) WITHIN GROUP"
        " (ORDER BY extract(epoch FROM sent_at - due_at) * 1000)::bigint FROM notification",
        share);
    int64_t ms = bench_int(b->db, buf_str(&sql));
    buf_release(&sql);
    return ms;
}

/* proc(5), status: the most that the process ever had resident. */
static int64_t peak_kb(pid_t pid)
{
    char path[64], line[256];
    int64_t kb = -1;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        bench_die("%s cannot be read", path);
    while (kb < 0 && fgets(line, sizeof(line), f))
        if (strncmp(line, "VmHWM:", strlen("VmHWM:")) == 0)
            kb = strtoll(line + strlen("VmHWM:"), NULL, 10);
    (void)fclose(f);
    return kb;
}

static void run(struct bench_reach *b, const char *name, int64_t n, int64_t spread_ms)
{
    struct bench_series lateness = {0};

    if (n == 0)
        return;
    int64_t first_ms = plan(b, n, spread_ms);
    int64_t cpu_ns = bench_cpu_ns(b->worker);

    bench_await(b->db, "SELECT NOT EXISTS (SELECT FROM notification WHERE pending)", 100, 300000);
    int64_t took_ms = bench_int(b->db, "SELECT (extract(epoch FROM max(sent_at) - min(due_at))"
                                       " * 1000)::bigint FROM notification");
    cpu_ns = bench_cpu_ns(b->worker) - cpu_ns;
    count_requests(b, n, first_ms, spread_ms, &lateness);
    if (bench_int(b->db, "SELECT count(*) FROM notification WHERE state <> 'accepted'") != 0)
        bench_die("not every notification was accepted");
    printf("%-22s %7" PRId64 " %9.0f %7.0f %7.0f %9" PRId64 " %7" PRId64 " %7" PRId64
           " %9.0f %8.1f %8" PRId64 "\n",
        name, n, bench_series_at(&lateness, 0.5), bench_series_at(&lateness, 0.99),
        bench_series_at(&lateness, 1.0), row_lateness(b, 0.5), row_lateness(b, 0.99),
        row_lateness(b, 1.0), (double)n * 1000.0 / (double)(took_ms > 0 ? took_ms : 1),
        (double)cpu_ns / 1e3 / (double)n, peak_kb(b->worker));
    bench_series_release(&lateness);
}

int main(void)
{
    struct bench_reach b = {0};

    set_up(&b);
    bench_print_settings(b.db);
    b.worker = start_worker(b.db);
    printf("%-22s %7s %9s %7s %7s %9s %7s %7s %9s %8s %8s\n", "", "sent", "asked p50", "p99",
        "max ms", "row p50", "p99", "max ms", "a second", "cpu us", "peak kB");
    run(&b, "due in one instant", bench_option("BENCH_BURST", 10000), 0);
    run(&b, "spread over 10 s", bench_option("BENCH_SPREAD", 1000), 10000);
    bench_end(b.worker);
    fake_provider_free(b.fake);
    PQfinish(b.db);
    return 0;
}
