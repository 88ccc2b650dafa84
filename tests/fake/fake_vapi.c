/* Vapi: calls are made, listed and fetched. What was asked for comes back as it was sent. */
#include "tests/fake/fake_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/json_read.h"

struct vapi {
    char *authorization; /* the header's value */
    json_t *calls;       /* the newest first */
};

static void vapi_release(void *state)
{
    struct vapi *v = state;

    free(v->authorization);
    json_decref(v->calls);
    free(v);
}

static void refuse(struct fake_reply *reply, int status, const char *message, const char *error)
{
    fake_reply_json(reply, status,
        json_pack("{s:s, s:s, s:i}", "message", message, "error", error, "statusCode", status));
}

static void create(
    struct fake_provider *p, struct vapi *v, const struct fake_request *r, struct fake_reply *reply)
{
    json_t *call = json_loadb(r->body, r->body_len, JSON_REJECT_DUPLICATES, NULL);
    const char *number = json_string_value(json_read_get(call, "customer", "number", NULL));

    if (!number) {
        refuse(reply, 400, "customer.number is required", "Bad Request");
    } else {
        json_t *id =
            json_sprintf("00000000-0000-4000-8000-%012llx", (unsigned long long)++p->next_id);
        const struct fake_delivery d = {
            .kind = "vapi", .id = json_string_value(id), .to = number, .text = r->body};

        if (fake_deliver(p, &d) < 0 || json_object_set_new(call, "id", id) != 0 ||
            json_object_set_new(call, "type", json_string("outboundPhoneCall")) != 0 ||
            json_object_set_new(call, "status", json_string("queued")) != 0 ||
            json_array_insert(v->calls, 0, call) != 0)
            abort();
        fake_reply_json(reply, 201, json_incref(call));
    }
    json_decref(call);
}

static json_t *find(const struct vapi *v, const char *id)
{
    json_t *call;
    size_t i;

    json_array_foreach(v->calls, i, call)
    {
        if (strcmp(json_read_str(call, "id"), id) == 0)
            return call;
    }
    return NULL;
}

static bool vapi_serve(
    struct fake_provider *p, void *state, const struct fake_request *r, struct fake_reply *reply)
{
    struct vapi *v = state;
    const char *authorization = fake_request_header(r, "Authorization");
    bool one = strncmp(r->path, "/call/", strlen("/call/")) == 0;
    bool post = strcmp(r->method, "POST") == 0;

    if ((!one && strcmp(r->path, "/call") != 0) || (!post && strcmp(r->method, "GET") != 0) ||
        (one && post))
        return false;
    if (!authorization || strcmp(authorization, v->authorization) != 0) {
        refuse(reply, 401, "Invalid Key", "Unauthorized");
    } else if (post) {
        create(p, v, r, reply);
    } else if (one) {
        json_t *call = find(v, r->path + strlen("/call/"));
        if (call)
            fake_reply_json(reply, 200, json_incref(call));
        else
            refuse(reply, 404, "Couldn't Find Call", "Not Found");
    } else {
        fake_reply_json(reply, 200, json_incref(v->calls));
    }
    return true;
}

int fake_vapi(struct fake_provider *p, const char *token)
{
    struct vapi *v = calloc(1, sizeof(*v));
    struct buf value = BUF_INIT(1024);

    if (!v)
        return ERR_NOMEM;
    buf_addf(&value, "Bearer %s", token);
    v->authorization = buf_steal(&value);
    v->calls = json_array();
    int err =
        v->authorization && v->calls ? fake_service_add(p, vapi_serve, v, vapi_release) : ERR_NOMEM;
    if (err < 0)
        vapi_release(v);
    buf_release(&value);
    return err;
}

int fake_vapi_end(struct fake_provider *p, const char *id, const char *ended_reason)
{
    int err = ERR_NOT_FOUND;

    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->services.n && err == ERR_NOT_FOUND; i++) {
        const struct vapi *v = fake_service_state(p->services.items[i], vapi_serve);
        json_t *call = v ? find(v, id) : NULL;

        if (call && json_object_set_new(call, "status", json_string("ended")) == 0 &&
            json_object_set_new(call, "endedReason", json_string(ended_reason)) == 0)
            err = 0;
    }
    pthread_mutex_unlock(&p->lock);
    return err;
}
