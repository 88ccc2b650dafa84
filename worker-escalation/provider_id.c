#include "worker-escalation/provider_id.h"

#include <string.h>

static bool is_plain(const char *part)
{
    return part && *part &&
           part[strspn(
               part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")] == '\0';
}

bool provider_id_set(struct outcome *out, const char *first, const char *second)
{
    size_t len = first ? strlen(first) : 0;
    size_t more = second ? strlen(second) + 1 : 0;

    if (!is_plain(first) || (second && !is_plain(second)) || len + more >= sizeof out->provider_id)
        return false;
    memcpy(out->provider_id, first, len + 1);
    if (second) {
        out->provider_id[len] = ':';
        memcpy(out->provider_id + len + 1, second, more);
    }
    return true;
}
