#include "base/failure_json.h"

#include <jansson.h>

char *failure_json(const struct failure *f)
{
    json_t *json;
    char *text;

    if (!f->code)
        return NULL;
    json = json_pack(
        "{s:s, s:s, s:b}", "code", err_name(f->code), "detail", f->detail, "final", f->final);
    if (json && f->sqlstate[0])
        (void)json_object_set_new(json, "sqlstate", json_string(f->sqlstate));
    if (json && f->http_status)
        (void)json_object_set_new(json, "http_status", json_integer(f->http_status));
    text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text;
}
