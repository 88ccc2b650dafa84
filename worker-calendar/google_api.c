#include "worker-calendar/google_api.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_read.h"

/* Bytes of an error's body that are looked at. */
#define ERROR_MAX ((size_t)256 << 10)
/* Asked for per page; the most that the API gives. */
#define PAGE_SIZE "2500"

static const char *const rate_limits[] = {
    "rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded"};

static bool is_rate_limit(const char *reason)
{
    for (size_t i = 0; i < sizeof(rate_limits) / sizeof(rate_limits[0]); i++)
        if (strcmp(reason, rate_limits[i]) == 0)
            return true;
    return false;
}

/* {"error": {"message", "errors": [{"reason"}]}}; "" where there is none. */
static void read_error(const json_t *answer, const char **ret_reason, const char **ret_message)
{
    const json_t *error = json_read_get(answer, "error", NULL);
    const json_t *first = json_array_get(json_read_get(error, "errors", NULL), 0);
    const char *reason = json_read_str(first, "reason");
    const char *message = json_read_str(error, "message");
    *ret_reason = reason ? reason : "";
    *ret_message = message ? message : "";
}

static json_t *parse_error(const char *body, size_t len)
{
    json_t *answer = NULL;
    return json_read(body, len, ERROR_MAX, NULL, &answer) == 0 ? answer : NULL;
}

static enum google_verdict verdict_of(
    long status, const char *reason, bool used_token, bool *ret_final)
{
    *ret_final = false;
    if (status == 401)
        return GOOGLE_REFRESH;
    if (status == 404)
        return GOOGLE_DEAD;
    /* A sync token that is not even well-formed is a 400. */
    if (used_token && (status == 410 || status == 400))
        return GOOGLE_FULL_SYNC;
    if (status == 429 || status >= 500 || (status == 403 && is_rate_limit(reason)))
        return GOOGLE_FAILED;
    *ret_final = true;
    return GOOGLE_FAILED;
}

enum google_verdict google_events_verdict(
    long status, const char *body, size_t len, bool used_token, struct failure *failure)
{
    if (status == 200)
        return GOOGLE_OK;
    json_t *answer = parse_error(body, len);
    const char *reason, *message;
    bool final;
    read_error(answer, &reason, &message);
    enum google_verdict verdict = verdict_of(status, reason, used_token, &final);
    failure_set(failure, ERR_PROTOCOL, "Google answered %ld%s%s%s%s", status, *reason ? " " : "",
        reason, *message ? ": " : "", message);
    failure->http_status = (int)status;
    failure->final = final || verdict == GOOGLE_DEAD;
    json_decref(answer);
    return verdict;
}

static void add_parameter(struct buf *b, const char *name, const char *value)
{
    buf_addf(b, "&%s=", name);
    buf_add_percent(b, value);
}

static void add_instant(struct buf *b, const char *name, int64_t utc)
{
    struct buf text = BUF_INIT(64);
    civil_time_add_utc(&text, utc);
    add_parameter(b, name, buf_str(&text));
    buf_release(&text);
}

void google_events_url(const struct google_query *q, struct buf *ret_url)
{
    buf_addf(ret_url, "%s/calendars/", q->base);
    buf_add_percent(ret_url, q->calendar);
    buf_add_str(ret_url,
        "/events?singleEvents=true&maxResults=" PAGE_SIZE "&maxAttendees=1&eventTypes=default");
    if (q->sync_token) {
        add_parameter(ret_url, "syncToken", q->sync_token);
    } else {
        add_instant(ret_url, "timeMin", q->window_start);
        add_instant(ret_url, "timeMax", q->window_end);
    }
    if (q->page_token)
        add_parameter(ret_url, "pageToken", q->page_token);
}

struct page_reading {
    struct civil_zones *civil;
    const struct civil_zone *user_zone;
    struct event_list *list;
};

/* The first instant at which the zone's clocks show midnight of the day, or are past it. */
static int64_t day_start(const struct civil_zone *zone, int64_t day)
{
    struct civil_instants at;
    civil_time_to_utc(zone, day * CIVIL_DAY_S, &at);
    return at.first;
}

/* {"date"}, or {"dateTime"} with its offset. */
static int read_when(
    const struct page_reading *p, const json_t *when, int64_t *ret_utc, bool *ret_day)
{
    const char *date = json_read_str(when, "date");
    const char *time = json_read_str(when, "dateTime");
    int64_t day;
    if (time) {
        *ret_day = false;
        return civil_time_parse_instant(time, ret_utc);
    }
    if (!date || civil_time_parse_date(date, &day))
        return ERR_INVALID;
    *ret_utc = day_start(p->user_zone, day);
    *ret_day = true;
    return 0;
}

static bool is_declined(const json_t *item)
{
    const json_t *attendees = json_object_get(item, "attendees");
    for (size_t i = 0; i < json_array_size(attendees); i++) {
        const json_t *a = json_array_get(attendees, i);
        const char *response = json_read_str(a, "responseStatus");
        if (json_read_bool(a, "self", false) && response && strcmp(response, "declined") == 0)
            return true;
    }
    return false;
}

static void read_item(const struct page_reading *p, const json_t *item)
{
    const char *id = json_read_str(item, "id");
    const char *status = json_read_str(item, "status");
    const char *series = json_read_str(item, "recurringEventId");
    struct calendar_event e = {0};
    bool end_is_day;
    if (!id || !*id || strlen(id) > EVENT_ID_MAX || (series && strlen(series) > EVENT_ID_MAX))
        return;
    if (status && strcmp(status, "cancelled") == 0) {
        event_list_delete(p->list, id);
        return;
    }
    e.uid = series && *series ? series : id;
    e.instance = e.uid == id ? "" : id;
    if (read_when(p, json_object_get(item, "start"), &e.starts_at, &e.all_day)) {
        event_list_keep(p->list, e.uid);
        return;
    }
    if (read_when(p, json_object_get(item, "end"), &e.ends_at, &end_is_day))
        e.ends_at = e.starts_at;
    e.title = json_read_str(item, "summary");
    e.declined = is_declined(item);
    if (status && strcmp(status, "tentative") == 0)
        e.status = CALENDAR_EVENT_TENTATIVE;
    event_list_add(p->list, &e);
}

static int copy_token(const json_t *answer, const char *key, char **ret_token)
{
    const char *text = json_read_str(answer, key);
    if (!text || !*text)
        return 0;
    if (strlen(text) > GOOGLE_TOKEN_MAX)
        return ERR_TOO_LARGE;
    *ret_token = strdup(text);
    return *ret_token ? 0 : ERR_NOMEM;
}

int google_page_read(const char *body, size_t len, struct civil_zones *civil,
    const struct civil_zone *user_zone, struct event_list *list, struct buf *fault,
    struct google_page *ret_page)
{
    struct page_reading p = {civil, user_zone, list};
    struct google_page page = {0};
    json_t *answer = NULL;
    int err = json_read(body, len, len, fault, &answer);
    if (err)
        return err;
    const json_t *items = json_object_get(answer, "items");
    if (!json_is_object(answer) || (items && !json_is_array(items))) {
        buf_add_str(fault, "a page of events is an object with items");
        err = ERR_INVALID;
    }
    for (size_t i = 0; !err && i < json_array_size(items); i++)
        read_item(&p, json_array_get(items, i));
    if (!err)
        err = event_list_err(list);
    if (!err)
        err = copy_token(answer, "nextPageToken", &page.next_page);
    if (!err)
        err = copy_token(answer, "nextSyncToken", &page.next_sync);
    json_decref(answer);
    if (err)
        google_page_release(&page);
    else
        *ret_page = page;
    return err;
}

void google_page_release(struct google_page *page)
{
    free(page->next_page);
    free(page->next_sync);
    *page = (struct google_page){0};
}

int google_refresh_body(const char *secret, size_t len, struct buf *ret_body)
{
    static const char *const names[] = {"client_id", "client_secret", "refresh_token"};
    json_t *json = NULL;
    int err = json_read(secret, len, GOOGLE_TOKEN_ANSWER_MAX, NULL, &json);
    if (err)
        return err == ERR_NOMEM ? err : ERR_INVALID;
    buf_add_str(ret_body, "grant_type=refresh_token");
    for (size_t i = 0; !err && i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = json_read_str(json, names[i]);
        if (value && *value)
            add_parameter(ret_body, names[i], value);
        else
            err = ERR_INVALID;
    }
    json_decref(json);
    return err ? err : buf_err(ret_body);
}

static enum google_verdict refused_token(long status, const json_t *answer, struct failure *failure)
{
    const char *error = json_read_str(answer, "error");
    const char *why = json_read_str(answer, "error_description");
    failure_set(failure, ERR_PROTOCOL, "the token endpoint answered %ld%s%s%s%s", status,
        error ? " " : "", error ? error : "", why ? ": " : "", why ? why : "");
    failure->http_status = (int)status;
    if (status == 429 || status >= 500)
        return GOOGLE_FAILED;
    failure->final = true;
    return error && strcmp(error, "invalid_grant") == 0 ? GOOGLE_DEAD : GOOGLE_FAILED;
}

enum google_verdict google_token_read(long status, const char *body, size_t len,
    struct buf *ret_token, int64_t *ret_expires_ms, struct failure *failure)
{
    enum google_verdict verdict = GOOGLE_FAILED;
    json_t *answer = NULL;
    if (json_read(body, len, GOOGLE_TOKEN_ANSWER_MAX, NULL, &answer))
        answer = NULL;
    const char *token = json_read_str(answer, "access_token");
    int64_t expires_s = json_read_int(answer, "expires_in", 0);
    if (status != 200) {
        verdict = refused_token(status, answer, failure);
    } else if (!token || !*token || strlen(token) > GOOGLE_TOKEN_MAX || strpbrk(token, "\r\n")) {
        failure_set(failure, ERR_PROTOCOL, "the token endpoint answered without an access token");
    } else {
        buf_add_str(ret_token, token);
        *ret_expires_ms = expires_s > 0 && expires_s < 86400 ? expires_s * 1000 : 0;
        verdict = GOOGLE_OK;
    }
    json_decref(answer);
    return verdict;
}
