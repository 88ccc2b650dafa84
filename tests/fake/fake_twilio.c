/* Twilio's Messages and Calls of the 2010-04-01 interface, as its OpenAPI description of
 * them says: parameters, status codes, fields and their types. */
#include "tests/fake/fake_internal.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json_read.h"

#define PAGE_SIZE_DEFAULT 50
#define PAGE_SIZE_MAX     1000

struct twilio {
    char *account;
    char *authorization; /* the header's value */
    char *messages_path; /* "/2010-04-01/Accounts/AC…/Messages" */
    char *calls_path;
    struct fake_list messages; /* json_t */
    struct fake_list calls;
};

/* What differs between the two resources. */
struct resource {
    const char *name; /* of the list in an answer */
    const char *sid_prefix;
    const char *path;
    const char *date_param; /* of list filters */
    struct fake_list *items;
    bool call;
};

static void reply_error(struct fake_reply *reply, int status, int code, const char *message)
{
    fake_reply_json(reply, status,
        json_pack("{s:i, s:s, s:o, s:i}", "code", code, "message", message, "more_info",
            json_sprintf("https://www.twilio.com/docs/errors/%d", code), "status", status));
}

static json_t *rfc2822_now(const struct fake_provider *p)
{
    time_t now = (time_t)(clock_unix_s() + p->clock_shift_s);
    struct tm tm;
    char text[64];

    gmtime_r(&now, &tm);
    strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S +0000", &tm);
    return json_string(text);
}

/* "2026-03-08" */
static json_t *day_now(const struct fake_provider *p)
{
    time_t now = (time_t)(clock_unix_s() + p->clock_shift_s);
    struct tm tm;
    char text[32];

    gmtime_r(&now, &tm);
    strftime(text, sizeof(text), "%Y-%m-%d", &tm);
    return json_string(text);
}

static bool is_e164(const char *to)
{
    if (strncmp(to, "whatsapp:", 9) == 0)
        to += 9;
    size_t digits = to[0] == '+' ? strspn(to + 1, "0123456789") : 0;
    return digits >= 7 && digits <= 15 && to[1] != '0' && to[1 + digits] == '\0';
}

/* Answers what Twilio would refuse; true when it is fit. */
static bool check_create(
    const struct resource *res, const struct fake_request *r, struct fake_reply *reply)
{
    const char *to = fake_request_param(r, "To");
    bool from = fake_request_param(r, "From") ||
                (!res->call && fake_request_param(r, "MessagingServiceSid"));
    bool content = res->call ? fake_request_param(r, "Url") || fake_request_param(r, "Twiml")
                             : fake_request_param(r, "Body") || fake_request_param(r, "ContentSid");

    if (!to || to[0] == '\0')
        reply_error(reply, 400, res->call ? 21201 : 21604, "A 'To' phone number is required.");
    else if (!is_e164(to))
        reply_error(reply, 400, 21211, "The 'To' number is not a valid phone number.");
    else if (!from)
        reply_error(reply, 400, res->call ? 21213 : 21603, "A 'From' phone number is required.");
    else if (!content)
        reply_error(reply, 400, res->call ? 21205 : 21602,
            res->call ? "Url parameter is required." : "Message body is required.");
    else
        return true;
    return false;
}

static json_t *param_json(const struct fake_request *r, const char *name)
{
    const char *value = fake_request_param(r, name);
    return value ? json_string(value) : json_null();
}

static json_t *message_json(const struct fake_request *r)
{
    return json_pack("{s:o, s:s, s:s, s:s, s:n, s:n, s:n, s:n, s:n, s:o}", "body",
        param_json(r, "Body"), "direction", "outbound-api", "num_media", "0", "num_segments", "1",
        "error_code", "error_message", "price", "price_unit", "date_sent", "messaging_service_sid",
        param_json(r, "MessagingServiceSid"));
}

static json_t *call_json(void)
{
    return json_pack("{s:s, s:n, s:n, s:n, s:n, s:n, s:n, s:n, s:n}", "direction", "outbound-api",
        "answered_by", "start_time", "end_time", "duration", "price", "parent_call_sid",
        "forwarded_from", "group_sid");
}

static void create(struct fake_provider *p, struct twilio *t, const struct resource *res,
    const struct fake_request *r, struct fake_reply *reply)
{
    if (!check_create(res, r, reply))
        return;
    json_t *item = res->call ? call_json() : message_json(r);
    json_t *sid = json_sprintf("%s%032llx", res->sid_prefix, (unsigned long long)++p->next_id);
    const char *to = fake_request_param(r, "To");
    const char *text = fake_request_param(r, res->call ? "Twiml" : "Body");

    json_object_set_new(item, "sid", sid);
    json_object_set_new(item, "account_sid", json_string(t->account));
    json_object_set_new(item, "api_version", json_string("2010-04-01"));
    json_object_set_new(item, "status", json_string("queued"));
    json_object_set_new(item, "to", json_string(to));
    json_object_set_new(item, "from", param_json(r, "From"));
    json_object_set_new(item, "date_created", rfc2822_now(p));
    json_object_set_new(item, "date_updated", rfc2822_now(p));
    json_object_set_new(item, "uri", json_sprintf("%s/%s.json", res->path, json_string_value(sid)));
    json_object_set_new(item, "_day", day_now(p));
    const struct fake_delivery d = {
        .kind = res->call                          ? "call"
                : strncmp(to, "whatsapp:", 9) == 0 ? "whatsapp"
                                                   : "sms",
        .id = json_string_value(sid),
        .to = to,
        .text = text ? text : "",
        .callback = fake_request_param(r, "StatusCallback"),
    };
    if (!item || fake_list_add(res->items, item) < 0 || fake_deliver(p, &d) < 0)
        abort();
    json_t *shown = json_copy(item);
    json_object_del(shown, "_day");
    fake_reply_json(reply, 201, shown);
}

/* Days are compared as text; "Day>" and "Day<" include the day itself. */
static bool day_fits(const struct resource *res, const struct fake_request *r, const char *day)
{
    static const char *const forms[] = {"%s", "%s>", "%s<"};

    for (int i = 0; i < 3; i++) {
        struct buf name = BUF_INIT(32);
        buf_add_str(&name, res->date_param);
        buf_add_str(&name, forms[i] + 2);
        const char *limit = fake_request_param(r, buf_str(&name));
        buf_release(&name);
        int order = limit ? strncmp(day, limit, 10) : 0;
        if ((i == 0 && order != 0) || (i == 1 && order < 0) || (i == 2 && order > 0))
            return false;
    }
    return true;
}

static bool item_fits(const struct resource *res, const struct fake_request *r, const json_t *item)
{
    static const char *const filters[][2] = {{"To", "to"}, {"From", "from"}, {"Status", "status"}};

    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        const char *wanted = fake_request_param(r, filters[i][0]);
        const char *is = json_read_str(item, filters[i][1]);
        if (wanted && (!is || strcmp(wanted, is) != 0))
            return false;
    }
    return day_fits(res, r, json_read_str(item, "_day"));
}

static int number_param(const struct fake_request *r, const char *name, int fallback)
{
    const char *text = fake_request_param(r, name);
    return text ? (int)strtol(text, NULL, 10) : fallback;
}

static void list(const struct resource *res, const struct fake_request *r, struct fake_reply *reply)
{
    int size = number_param(r, "PageSize", PAGE_SIZE_DEFAULT);
    int page = number_param(r, "Page", 0), seen = 0;
    json_t *shown = json_array(), *next = json_null();

    size = size < 1 || size > PAGE_SIZE_MAX ? PAGE_SIZE_MAX : size;
    for (size_t i = res->items->n; i-- > 0;) {
        const json_t *item = res->items->items[i];
        if (!item_fits(res, r, item))
            continue;
        if (seen >= page * size && seen < (page + 1) * size) {
            json_t *copy = json_copy(res->items->items[i]);
            json_object_del(copy, "_day");
            json_array_append_new(shown, copy);
        }
        seen++;
    }
    if (seen > (page + 1) * size)
        next = json_sprintf("%s.json?PageSize=%d&Page=%d", res->path, size, page + 1);
    fake_reply_json(reply, 200,
        json_pack("{s:o, s:i, s:i, s:i, s:i, s:o, s:o}", res->name, shown, "page", page,
            "page_size", size, "start", page * size, "end",
            page * size + (int)json_array_size(shown), "uri", json_sprintf("%s.json", res->path),
            "next_page_uri", next));
}

static json_t *find(const struct fake_list *items, const char *sid, size_t len)
{
    for (size_t i = 0; i < items->n; i++) {
        const char *is = json_read_str(items->items[i], "sid");
        if (strlen(is) == len && memcmp(is, sid, len) == 0)
            return items->items[i];
    }
    return NULL;
}

static void one(const struct resource *res, const struct fake_request *r, struct fake_reply *reply)
{
    const char *sid = r->path + strlen(res->path) + 1;
    size_t len = strlen(sid);
    json_t *item = NULL;

    if (len > 5 && strcmp(sid + len - 5, ".json") == 0)
        item = find(res->items, sid, len - 5);
    if (!item) {
        reply_error(reply, 404, 20404, "The requested resource was not found");
        return;
    }
    if (strcmp(r->method, "POST") == 0) {
        const char *status = fake_request_param(r, "Status");
        const char *body = fake_request_param(r, "Body");
        if (status)
            json_object_set_new(item, "status", json_string(status));
        if (body)
            json_object_set_new(item, "body", json_string(body));
    }
    json_t *shown = json_copy(item);
    json_object_del(shown, "_day");
    fake_reply_json(reply, 200, shown);
}

/* Whether the path is the resource's list (1), one of its items (2), or another (0). */
static int place_in(const struct resource *res, const char *path)
{
    size_t n = strlen(res->path);

    if (strncmp(path, res->path, n) != 0)
        return 0;
    return strcmp(path + n, ".json") == 0 ? 1 : path[n] == '/' ? 2 : 0;
}

static bool serve(
    struct fake_provider *p, void *state, const struct fake_request *r, struct fake_reply *reply)
{
    struct twilio *t = state;
    const struct resource resources[] = {
        {"messages", "SM", t->messages_path, "DateSent", &t->messages, false},
        {"calls", "CA", t->calls_path, "StartTime", &t->calls, true},
    };
    const char *authorization = fake_request_header(r, "Authorization");
    bool get = strcmp(r->method, "GET") == 0, post = strcmp(r->method, "POST") == 0;

    for (int i = 0; i < 2; i++) {
        const struct resource *res = &resources[i];
        int place = place_in(res, r->path);
        if (place == 0 || (!get && !post))
            continue;
        if (!authorization || strcmp(authorization, t->authorization) != 0)
            reply_error(reply, 401, 20003, "Authenticate");
        else if (place == 2)
            one(res, r, reply);
        else if (post)
            create(p, t, res, r, reply);
        else
            list(res, r, reply);
        return true;
    }
    return false;
}

static void release(void *state)
{
    struct twilio *t = state;

    for (size_t i = 0; i < t->messages.n; i++)
        json_decref(t->messages.items[i]);
    for (size_t i = 0; i < t->calls.n; i++)
        json_decref(t->calls.items[i]);
    free(t->messages.items);
    free(t->calls.items);
    free(t->account);
    free(t->authorization);
    free(t->messages_path);
    free(t->calls_path);
    free(t);
}

static char *format(const char *before, const char *middle, const char *after)
{
    struct buf b = BUF_INIT(1024);

    buf_addf(&b, "%s%s%s", before, middle, after);
    return buf_steal(&b);
}

/* RFC 7617 */
static char *basic(const char *user, const char *password)
{
    char *plain = format(user, ":", password);
    size_t len = plain ? strlen(plain) : 0;
    size_t size = sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);
    char *coded = malloc(size);
    char *value = NULL;

    if (plain && coded) {
        sodium_bin2base64(
            coded, size, (const unsigned char *)plain, len, sodium_base64_VARIANT_ORIGINAL);
        value = format("Basic ", coded, "");
    }
    free(plain);
    free(coded);
    return value;
}

int fake_twilio(struct fake_provider *p, const char *account_sid, const char *token)
{
    struct twilio *t = calloc(1, sizeof(*t));

    if (!t)
        return ERR_NOMEM;
    t->account = strdup(account_sid);
    t->authorization = basic(account_sid, token);
    t->messages_path = format("/2010-04-01/Accounts/", account_sid, "/Messages");
    t->calls_path = format("/2010-04-01/Accounts/", account_sid, "/Calls");
    int err = ERR_NOMEM;
    if (t->account && t->authorization && t->messages_path && t->calls_path)
        err = fake_service_add(p, serve, t, release);
    if (err < 0)
        release(t);
    return err;
}

static json_t *find_anywhere(struct fake_provider *p, const char *sid)
{
    json_t *item = NULL;

    for (size_t i = 0; i < p->services.n && !item; i++) {
        struct twilio *t = fake_service_state(p->services.items[i], serve);
        if (t && !(item = find(&t->messages, sid, strlen(sid))))
            item = find(&t->calls, sid, strlen(sid));
    }
    return item;
}

int fake_twilio_set_status(
    struct fake_provider *p, const char *sid, const char *status, int error_code)
{
    pthread_mutex_lock(&p->lock);
    json_t *item = find_anywhere(p, sid);
    if (item) {
        json_object_set_new(item, "status", json_string(status));
        json_object_set_new(item, "date_updated", rfc2822_now(p));
        if (error_code != 0)
            json_object_set_new(item, "error_code", json_integer(error_code));
    }
    pthread_mutex_unlock(&p->lock);
    return item ? 0 : ERR_NOT_FOUND;
}
