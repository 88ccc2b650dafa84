#include "service/sentry_envelope.h"

#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"

#define ID_BYTES  16
#define ID_SIZE   (2 * ID_BYTES + 1)
#define TIME_SIZE sizeof "9999-12-31T23:59:59"
#define MASK      "(secret)"
#define LETTERS   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS    "0123456789"
/* A shorter text stands in many a word. */
#define SECRET_MIN  4
#define LIMIT_MAX_S 86400

/* --- where ---------------------------------------------------------------------------------- */

int sentry_dsn_parse(const char *dsn, struct buf *url, struct buf *auth)
{
    size_t scheme = strncmp(dsn, "https://", 8) == 0 ? 8 : strncmp(dsn, "http://", 7) == 0 ? 7 : 0;
    const char *key = dsn + scheme;
    size_t key_len = strspn(key, LETTERS DIGITS);
    const char *at = strchr(key, '@'); /* after the key an old DSN has ":secret" */
    const char *project = strrchr(key, '/');

    if (scheme == 0 || key_len == 0 || !at || !project || project < at || project == at + 1 ||
        (key[key_len] != '@' && key[key_len] != ':') || project[1] == '\0' ||
        project[1 + strspn(project + 1, LETTERS DIGITS)] != '\0')
        return ERR_INVALID;
    if (url)
        buf_addf(url, "%.*s%.*s/api/%s/envelope/", (int)scheme, dsn, (int)(project - at - 1),
            at + 1, project + 1);
    if (auth)
        buf_addf(auth,
            "Sentry sentry_version=7, sentry_client=tocsin/" TOCSIN_VERSION ", sentry_key=%.*s",
            (int)key_len, key);
    return 0;
}

/* --- what ----------------------------------------------------------------------------------- */

static void mask(const struct sentry_source *source, const char *text, struct buf *out)
{
    while (*text) {
        size_t found = 0;

        for (size_t i = 0; i < source->n_secrets; i++) {
            size_t len = strlen(source->secrets[i]);
            if (len >= SECRET_MIN && len > found && strncmp(text, source->secrets[i], len) == 0)
                found = len;
        }
        if (found)
            buf_add_str(out, MASK);
        else
            buf_add_char(out, *text);
        text += found ? found : 1;
    }
}

/* NULL when memory is short or the text is no UTF-8. */
static json_t *masked(const struct sentry_source *source, const char *text)
{
    struct buf clean = BUF_INIT(SENTRY_EVENT_MAX);
    json_t *json = NULL;

    mask(source, text, &clean);
    if (buf_err(&clean) == 0)
        json = json_string(buf_str(&clean));
    buf_release(&clean);
    return json ? json : json_string("(not UTF-8)");
}

static json_t *field_value(const struct sentry_source *source, const struct log_field *field)
{
    switch (field->type) {
    case LOG_TYPE_INT:
        return json_integer(field->v.i);
    case LOG_TYPE_BOOL:
        return json_boolean(field->v.b);
    case LOG_TYPE_STR:
        break;
    }
    return field->v.s ? masked(source, field->v.s) : NULL;
}

static json_t *extra(
    const struct sentry_source *source, const struct log_event *event, int64_t dropped)
{
    json_t *json = json_object();

    for (int list = 0; list < 2; list++) {
        for (size_t i = 0; i < event->n_fields[list]; i++) {
            const struct log_field *field = &event->fields[list][i];
            /* A NULL value sets nothing. */
            (void)json_object_set_new(json, field->key, field_value(source, field));
        }
    }
    if (dropped > 0)
        (void)json_object_set_new(json, "dropped_before", json_integer(dropped));
    return json;
}

static json_t *make_event(const struct sentry_source *source, const struct log_event *event,
    int64_t dropped, const char *id)
{
    time_t at = (time_t)event->unix_s;
    struct tm utc;
    char stamp[TIME_SIZE] = "";

    if (!gmtime_r(&at, &utc) || strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc) == 0)
        return NULL;
    return json_pack("{s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:{s:o, s:o}, s:{s:s}, s:o}", "event_id",
        id, "timestamp", json_sprintf("%s.%03dZ", stamp, event->ms), "platform", "c", "level",
        "error", "logger", event->exe, "server_name", source->server_name, "release",
        source->release, "logentry", "message",
        masked(source, event->fmt ? event->fmt : event->msg), "formatted",
        masked(source, event->msg), "tags", "executable", event->exe, "extra",
        extra(source, event, dropped));
}

int sentry_envelope_write(const struct sentry_source *source, const struct log_event *event,
    int64_t dropped, struct buf *ret_envelope)
{
    _cleanup_(json_decrefp) json_t *json = NULL;
    _cleanup_(freep) char *payload = NULL;
    unsigned char random[ID_BYTES];
    char id[ID_SIZE];

    randombytes_buf(random, sizeof random);
    (void)sodium_bin2hex(id, sizeof id, random, sizeof random);
    json = make_event(source, event, dropped, id);
    payload = json ? json_dumps(json, JSON_COMPACT) : NULL;
    if (!payload)
        return ERR_NOMEM;
    buf_addf(ret_envelope, "{\"event_id\":\"%s\"}\n", id);
    buf_addf(ret_envelope,
        "{\"type\":\"event\",\"length\":%zu,\"content_type\":\"application/json\"}\n%s\n",
        strlen(payload), payload);
    return buf_err(ret_envelope);
}

/* --- when ----------------------------------------------------------------------------------- */

/* Whether a list "error;transaction" is about errors; an empty one is about everything. */
static bool concerns_errors(const char *list, size_t len)
{
    static const char *const ours[] = {"error", "default"};

    if (len == 0)
        return true;
    for (size_t at = 0; at < len;) {
        size_t word = strcspn(list + at, ";");

        if (word > len - at)
            word = len - at;
        for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
            if (word == strlen(ours[i]) && memcmp(list + at, ours[i], word) == 0)
                return true;
        }
        at += word + 1;
    }
    return false;
}

int64_t sentry_rate_limits_ms(const char *header)
{
    int64_t longest = 0;

    /* "60:error;default:organization:reason, 2700::key" */
    while (*header) {
        char *end;
        long long seconds;

        header += strspn(header, " ,");
        seconds = strtoll(header, &end, 10);
        if (end != header && *end == ':' && seconds > longest &&
            concerns_errors(end + 1, strcspn(end + 1, ":,")))
            longest = seconds > LIMIT_MAX_S ? LIMIT_MAX_S : seconds;
        header += strcspn(header, ",");
    }
    return longest * 1000;
}
