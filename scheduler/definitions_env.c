#include "scheduler/definitions_env.h"

#include <string.h>

#define NAME_CHARS     "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789"
#define NAME_LEN_MAX   128
#define DEFAULT_STARTS ":-"

/* One ${…} that starts at `p`. Returns what follows it, or NULL with a reason in `fault`. */
static const char *expand_one(
    const char *p, definitions_env_fn *env, struct buf *out, struct buf *fault)
{
    const char *name = p + 2;
    const char *end = strchr(name, '}');
    size_t len = strspn(name, NAME_CHARS);
    struct buf copy = BUF_INIT(NAME_LEN_MAX);
    const char *value;

    if (!end) {
        buf_add_str(fault, "`${` is not closed; write `$$` for a plain dollar sign");
        return NULL;
    }
    if (len == 0 || len > NAME_LEN_MAX ||
        (name + len != end && strncmp(name + len, DEFAULT_STARTS, 2) != 0)) {
        buf_add_str(fault, "write ${NAME} or ${NAME:-default}");
        return NULL;
    }
    buf_add(&copy, name, len);
    value = env(buf_str(&copy));
    if (value && *value) {
        buf_add_str(out, value);
    } else if (name + len != end) {
        buf_add(out, name + len + 2, (size_t)(end - name) - len - 2);
    } else {
        buf_addf(fault, "the environment variable %s is not set; set it, or write ${%s:-default}",
            buf_str(&copy), buf_str(&copy));
        end = NULL;
    }
    buf_release(&copy);
    return end ? end + 1 : NULL;
}

int definitions_env_expand(
    const char *text, definitions_env_fn *env, struct buf *out, struct buf *fault)
{
    while (*text) {
        size_t plain = strcspn(text, "$");
        buf_add(out, text, plain);
        text += plain;
        if (*text != '$')
            break;
        if (text[1] == '{') {
            text = expand_one(text, env, out, fault);
            if (!text)
                return ERR_INVALID;
        } else {
            buf_add_char(out, '$');
            text += text[1] == '$' ? 2 : 1;
        }
    }
    return buf_err(out);
}
