#include "scheduler/definitions_http.h"

#include <string.h>

#define QUEUE      "worker-escalation"
#define STATUS_MIN 100 /* RFC 9110, section 15 */
#define STATUS_MAX 599

static const char *const payload_keys[] = {"url", "method", "headers", "body", "expect", NULL};
static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", NULL};

static void check_url(const struct definitions_object *o)
{
    const char *url = definitions_required(o, "url");
    struct json_at at = JSON_AT_KEY(o->at, "url");

    if (url && strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        definitions_fault(o->faults, &at, "must begin with http:// or https://");
}

static void check_headers(const struct definitions_object *o)
{
    json_t *headers = json_object_get(o->json, "headers");
    struct json_at at = JSON_AT_KEY(o->at, "headers");
    const char *name;
    json_t *value;

    if (headers && !json_is_object(headers))
        definitions_fault(o->faults, &at, "must be an object: {\"Name\": \"value\"}");
    json_object_foreach(headers, name, value)
    {
        struct json_at header = JSON_AT_KEY(&at, name);
        const char *text = json_string_value(value);
        if (!text || strpbrk(text, "\r\n"))
            definitions_fault(o->faults, &header, "must be a string of one line");
    }
}

static void check_expect(const struct definitions_object *o)
{
    const json_t *expect = json_object_get(o->json, "expect");
    struct json_at at = JSON_AT_KEY(o->at, "expect");
    size_t i;
    json_t *v;

    if (expect && json_array_size(expect) == 0)
        definitions_fault(o->faults, &at, "must be a list of statuses, such as [200, 204]");
    json_array_foreach((json_t *)expect, i, v)
    {
        struct json_at item = JSON_AT_INDEX(&at, i);
        if (!json_is_integer(v) || json_integer_value(v) < STATUS_MIN ||
            json_integer_value(v) > STATUS_MAX)
            definitions_fault(
                o->faults, &item, "must be a status from %d to %d", STATUS_MIN, STATUS_MAX);
    }
}

void definitions_http_check(const struct definitions_object *job)
{
    const json_t *payload = json_object_get(job->json, "payload");
    const char *queue = json_string_value(json_object_get(job->json, "queue"));
    struct json_at at_payload = JSON_AT_KEY(job->at, "payload");
    struct json_at at_queue = JSON_AT_KEY(job->at, "queue");
    struct definitions_object o = {payload, &at_payload, job->faults};

    if (queue && strcmp(queue, QUEUE) != 0)
        definitions_fault(job->faults, &at_queue, "the handler http is of the queue " QUEUE);
    if (!payload) {
        definitions_fault(job->faults, job->at, "\"payload\" is missing: {\"url\": \"https://…\"}");
        return;
    }
    if (!json_is_object(payload))
        return; /* told of already */
    definitions_known_keys(&o, payload_keys);
    check_url(&o);
    (void)definitions_choice(&o, "method", methods, NULL);
    check_headers(&o);
    check_expect(&o);
}
