/* Which answer a request gets, and what is recorded of it. */
#include "tests/fake/fake_internal.h"

#include <stdlib.h>

#define HUGE_SIZE ((size_t)50 << 20)
#define DRIP_MS   ((int64_t)20)

struct fake_kept_rule {
    struct fake_rule rule; /* its strings are the fields below */
    char *method, *path, *contains;
    char *headers; /* whole lines with their ends */
    char *body;
    int used;
};

static void rule_free(struct fake_kept_rule *kept)
{
    free(kept->method);
    free(kept->path);
    free(kept->contains);
    free(kept->headers);
    free(kept->body);
    free(kept);
}

static int keep_str(char **ret_copy, const char *text)
{
    if (!text)
        return 0;
    *ret_copy = strdup(text);
    return *ret_copy ? 0 : ERR_NOMEM;
}

static int keep_headers(struct fake_kept_rule *kept, const char *const *headers)
{
    struct buf lines = BUF_INIT(FAKE_ANSWER_MAX);

    for (; headers && *headers; headers++)
        buf_addf(&lines, "%s\r\n", *headers);
    kept->headers = buf_steal(&lines);
    buf_release(&lines);
    return kept->headers ? 0 : ERR_NOMEM;
}

static int keep_body(struct fake_kept_rule *kept, const struct fake_rule *rule)
{
    size_t len = rule->body_len;

    if (len == 0 && rule->body)
        len = strlen(rule->body);
    kept->rule.body_len = len;
    kept->body = malloc(len + 1);
    if (!kept->body)
        return ERR_NOMEM;
    if (len > 0)
        memcpy(kept->body, rule->body, len);
    return 0;
}

int fake_expect(struct fake_provider *p, const struct fake_rule *rule)
{
    struct fake_kept_rule *kept = calloc(1, sizeof(*kept));

    if (!kept)
        return ERR_NOMEM;
    kept->rule = *rule;
    int err = keep_str(&kept->method, rule->method);
    if (err == 0)
        err = keep_str(&kept->path, rule->path);
    if (err == 0)
        err = keep_str(&kept->contains, rule->contains);
    if (err == 0)
        err = keep_headers(kept, rule->headers);
    if (err == 0)
        err = keep_body(kept, rule);
    if (err == 0) {
        pthread_mutex_lock(&p->lock);
        err = fake_list_add(&p->rules, kept);
        pthread_mutex_unlock(&p->lock);
    }
    if (err < 0)
        rule_free(kept);
    return err;
}

static bool path_matches(const char *pattern, const char *path)
{
    size_t n = strlen(pattern);

    if (n > 0 && pattern[n - 1] == '*')
        return strncmp(pattern, path, n - 1) == 0;
    return strcmp(pattern, path) == 0;
}

static bool rule_matches(const struct fake_kept_rule *kept, const struct fake_request *r)
{
    if (kept->rule.times > 0 && kept->used >= kept->rule.times)
        return false;
    if (kept->method && strcmp(kept->method, r->method) != 0)
        return false;
    if (kept->path && !path_matches(kept->path, r->path))
        return false;
    return !kept->contains || strstr(r->query, kept->contains) || strstr(r->body, kept->contains);
}

static struct fake_kept_rule *find_rule(struct fake_provider *p, const struct fake_request *r)
{
    for (size_t i = 0; i < p->rules.n; i++)
        if (rule_matches(p->rules.items[i], r))
            return p->rules.items[i];
    return NULL;
}

/* False when the rule leaves the answer to the services and none has one. */
static bool apply_rule(struct fake_provider *p, struct fake_kept_rule *kept,
    const struct fake_request *r, struct fake_reply *reply)
{
    const struct fake_rule *rule = &kept->rule;
    bool served = rule->accept && fake_services_serve(p, r, reply);

    kept->used++;
    reply->fault = rule->fault;
    reply->delay_ms = rule->delay_ms;
    reply->drip_ms = rule->drip_ms ? rule->drip_ms : DRIP_MS;
    reply->size = rule->size ? rule->size : HUGE_SIZE;
    if (rule->accept && rule->status == 0)
        return served;
    buf_reset(&reply->headers);
    buf_reset(&reply->body);
    reply->status = rule->status ? rule->status : 200;
    buf_add_str(&reply->headers, kept->headers);
    buf_add(&reply->body, kept->body, rule->body_len);
    return true;
}

void fake_answer(struct fake_provider *p, struct fake_record *record, struct fake_reply *reply)
{
    struct fake_kept_rule *kept = find_rule(p, &record->r);

    reply->head = strcmp(record->r.method, "HEAD") == 0;
    record->r.expected =
        kept ? apply_rule(p, kept, &record->r, reply) : fake_services_serve(p, &record->r, reply);
    if (!record->r.expected) {
        reply->status = 404;
        buf_add_str(&reply->body, "nobody expected this request");
    }
    if (fake_list_add(&p->requests, record) < 0)
        abort();
    pthread_cond_broadcast(&p->changed);
}

void fake_rules_release(struct fake_provider *p)
{
    for (size_t i = 0; i < p->rules.n; i++)
        rule_free(p->rules.items[i]);
    free(p->rules.items);
}

void fake_rules_verify(struct fake_provider *p, struct buf *faults)
{
    for (size_t i = 0; i < p->rules.n; i++) {
        const struct fake_kept_rule *kept = p->rules.items[i];
        if (kept->rule.times > 0 && kept->used != kept->rule.times)
            buf_addf(faults, "expected %s %s %d times, came %d times\n",
                kept->method ? kept->method : "any", kept->path ? kept->path : "any path",
                kept->rule.times, kept->used);
    }
}

void fake_reply_init(struct fake_reply *reply)
{
    *reply = (struct fake_reply){.status = 200};
    buf_init(&reply->headers, FAKE_ANSWER_MAX);
    buf_init(&reply->body, FAKE_ANSWER_MAX);
}

void fake_reply_release(struct fake_reply *reply)
{
    buf_release(&reply->headers);
    buf_release(&reply->body);
}

void fake_reply_json(struct fake_reply *reply, int status, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

    reply->status = status;
    buf_add_str(&reply->headers, "Content-Type: application/json; charset=utf-8\r\n");
    buf_add_str(&reply->body, text ? text : "");
    free(text);
    json_decref(json);
}
