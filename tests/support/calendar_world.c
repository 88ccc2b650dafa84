#include "tests/support/calendar_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/secret.h"
#include "tests/support/harness_internal.h"

#define SEAL_KEYS_ENV "TOCSIN_SEAL_KEYS=test:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
#define TEXT_MAX      ((size_t)16 << 20)
#define ENV_MAX       32

static const char google_secret[] =
    "{\"client_id\": \"id\", \"client_secret\": \"s&cret\", \"refresh_token\": \"refresh\"}";

static int setup(void **state, int (*harness)(void **state))
{
    struct calendar_world *w = calloc(1, sizeof *w);
    struct buf faults = BUF_INIT(1024);
    void *h = NULL;

    assert_non_null(w);
    if (harness(&h) != 0) {
        free(w);
        return -1;
    }
    w->h = h;
    buf_init(&w->text, TEXT_MAX);
    assert_int_equal(fake_provider_new(0, &w->fake), 0);
    assert_int_equal(secret_ring_parse(strchr(SEAL_KEYS_ENV, '=') + 1, &faults, &w->ring), 0);
    buf_release(&faults);
    *state = w;
    return 0;
}

int calendar_world_setup(void **state)
{
    return setup(state, harness_setup);
}

int calendar_world_setup_alone(void **state)
{
    return setup(state, harness_setup_alone);
}

int calendar_world_teardown(void **state)
{
    struct calendar_world *w = *state;
    struct buf faults = BUF_INIT((size_t)1 << 20);
    void *h = w->h;
    int result = harness_teardown(&h);

    if (!fake_provider_verify(w->fake, &faults)) {
        print_error("%s", buf_str(&faults));
        result = -1;
    }
    fake_provider_free(w->fake);
    secret_ring_free(w->ring);
    buf_release(&w->text);
    buf_release(&faults);
    free(w);
    return result;
}

static const char *keep(struct calendar_world *w, const char *name, const char *value)
{
    char *text = harness_format("%s%s", name, value);
    const char *kept = harness_keep(w->h, text);

    free(text);
    return kept;
}

struct harness_proc *calendar_world_spawn(struct calendar_world *w, const char *const *env)
{
    const char *all[ENV_MAX] = {
        SEAL_KEYS_ENV,
        "CALENDAR_ALLOW_PRIVATE=true",
        "CALENDAR_FETCH_TIMEOUT=10s",
        keep(w, "CALENDAR_FILE_DIR=", harness_dir(w->h)),
        keep(w, "GOOGLE_API_URL=", keep(w, fake_provider_url(w->fake), "/calendar/v3")),
        keep(w, "GOOGLE_TOKEN_URL=", keep(w, fake_provider_url(w->fake), "/token")),
    };
    size_t n = 6;

    for (; env && *env && n < ENV_MAX - 1; env++)
        all[n++] = *env;
    return harness_spawn(w->h, "worker-calendar", NULL, all);
}

int64_t calendar_world_enqueue(struct calendar_world *w)
{
    return harness_int(w->h, "SELECT job_run_enqueue('worker-calendar', 'calendar_sync')");
}

void calendar_world_await_run(struct calendar_world *w, int64_t run_id)
{
    harness_awaitf(w->h, CALENDAR_WORLD_PATIENCE_MS,
        "SELECT EXISTS (SELECT FROM job_run_done WHERE id = %lld)", (long long)run_id);
}

void calendar_world_tick(struct calendar_world *w)
{
    calendar_world_await_run(w, calendar_world_enqueue(w));
}

void calendar_world_next_tick(struct calendar_world *w)
{
    harness_clock_advance(w->h, "1 minute");
    calendar_world_tick(w);
}

int64_t calendar_world_count(struct calendar_world *w, const char *from)
{
    return harness_intf(w->h, "SELECT count(*) FROM %s", from);
}

void calendar_world_expect_pending(
    struct calendar_world *w, const char *title, const char *starts_at)
{
    char *sql = harness_format(
        "SELECT string_agg(DISTINCT to_char(i.starts_at, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), ',')"
        " FROM notification AS n JOIN incident AS i ON i.id = n.incident_id"
        " WHERE n.pending AND i.title = '%s'",
        title);
    const char *found = harness_text(w->h, sql);

    free(sql);
    if (starts_at)
        assert_string_equal(found ? found : "nothing", starts_at);
    else
        assert_null(found);
}

void calendar_world_add_user(struct calendar_world *w, int64_t id)
{
    harness_execf(w->h,
        "INSERT INTO users (id, name) VALUES (%lld, 'owner');"
        "INSERT INTO contact_method (user_id, channel, modes, address)"
        " VALUES (%lld, 'console', '{message,call}', 'owner')",
        (long long)id, (long long)id);
}

void calendar_world_add_ics(struct calendar_world *w, int64_t id, const char *path)
{
    harness_execf(w->h,
        "INSERT INTO calendar_credentials (id, user_id, provider, source)"
        " VALUES (%lld, %lld, 'ics', '%s%s')",
        (long long)id, (long long)id, *path == '/' ? fake_provider_url(w->fake) : "", path);
}

void calendar_world_add_google(struct calendar_world *w, int64_t id, const char *calendar)
{
    struct buf sealed = BUF_INIT(4096);

    assert_int_equal(secret_seal(w->ring, "calendar_credentials.sealed", google_secret,
                         strlen(google_secret), &sealed),
        0);
    harness_execf(w->h,
        "INSERT INTO calendar_credentials (id, user_id, provider, source, sealed)"
        " VALUES (%lld, %lld, 'google', '%s', '%s')",
        (long long)id, (long long)id, calendar, buf_str(&sealed));
    buf_release(&sealed);
}

static const char *time_text(struct calendar_world *w, int minutes, const char *format)
{
    char *sql = harness_format("SELECT to_char(date_trunc('minute', now()) + interval '%d minutes',"
                               " '%s')",
        minutes, format);
    const char *text;

    harness_exec(w->h, "SET TimeZone = 'UTC'");
    text = harness_text(w->h, sql);
    free(sql);
    return text;
}

const char *calendar_text_ics_time(struct calendar_world *w, int minutes)
{
    return time_text(w, minutes, "YYYYMMDD\"T\"HH24MISS\"Z\"");
}

const char *calendar_text_time(struct calendar_world *w, int minutes)
{
    return time_text(w, minutes, "YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"");
}

void calendar_text_begin(struct calendar_world *w)
{
    buf_reset(&w->text);
    buf_add_str(&w->text, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n");
}

void calendar_text_event(struct calendar_world *w, const char *uid, int minutes, const char *lines)
{
    buf_addf(&w->text,
        "BEGIN:VEVENT\r\nUID:%s\r\nSUMMARY:%s\r\nDTSTART:%s\r\nDURATION:PT30M\r\n%sEND:VEVENT\r\n",
        uid, uid, calendar_text_ics_time(w, minutes), lines ? lines : "");
}

const char *calendar_text_end(struct calendar_world *w)
{
    buf_add_str(&w->text, "END:VCALENDAR\r\n");
    assert_int_equal(buf_err(&w->text), 0);
    return buf_str(&w->text);
}

void calendar_world_serve(struct calendar_world *w, const char *path, const char *text)
{
    assert_int_equal(fake_file(w->fake, path, "text/calendar", text, NULL, NULL), 0);
}

void calendar_world_expect(struct calendar_world *w, const struct fake_rule *rule)
{
    assert_int_equal(fake_expect(w->fake, rule), 0);
}

void calendar_world_give_token(struct calendar_world *w, const char *token, int times)
{
    char *body = harness_format(
        "{\"access_token\": \"%s\", \"expires_in\": 3599, \"token_type\": \"Bearer\"}", token);

    calendar_world_expect(w, &(struct fake_rule){.method = "POST",
                                 .path = "/token",
                                 .contains = "refresh_token=refresh",
                                 .times = times,
                                 .body = body});
    free(body);
}

size_t calendar_world_requests(struct calendar_world *w, const char *path)
{
    size_t n = 0;

    for (size_t i = 0; i < fake_request_count(w->fake); i++)
        n += strcmp(fake_request_at(w->fake, i)->path, path) == 0;
    return n;
}
