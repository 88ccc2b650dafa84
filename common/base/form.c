#include "base/form.h"

#include <stdlib.h>
#include <string.h>

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes [at, end) in place and ends it with a NUL, for which the separator behind it has room. */
static int decode(char *at, const char *end)
{
    char *out = at;

    for (; at < end; at++) {
        char c = *at == '+' ? ' ' : *at;
        if (*at == '%') {
            int high = end - at > 2 ? hex(at[1]) : -1, low = end - at > 2 ? hex(at[2]) : -1;
            if (high < 0 || low < 0)
                return ERR_INVALID;
            c = (char)(high << 4 | low);
            at += 2;
        }
        if (!c)
            return ERR_INVALID;
        *out++ = c;
    }
    *out = '\0';
    return 0;
}

static int read_field(struct form *form, char *at, char *end)
{
    char *equals = memchr(at, '=', (size_t)(end - at));
    int err;

    if (at == end)
        return 0;
    if (form->n == FORM_FIELDS_MAX)
        return ERR_TOO_LARGE;
    form->fields[form->n++] = (struct form_field){.name = at, .value = equals ? equals + 1 : ""};
    err = decode(at, equals ? equals : end);
    return err || !equals ? err : decode(equals + 1, end);
}

int form_read(const char *text, size_t len, struct form *ret_form)
{
    struct form form = {.text = malloc(len + 1)};
    int err = 0;

    if (!form.text)
        return ERR_NOMEM;
    memcpy(form.text, text, len);
    form.text[len] = '\0';
    for (char *at = form.text, *last = at + len; !err && at <= last;) {
        char *end = memchr(at, '&', (size_t)(last - at));
        if (!end)
            end = last;
        err = read_field(&form, at, end);
        at = end + 1;
    }
    if (err) {
        free(form.text);
        return err;
    }
    *ret_form = form;
    return 0;
}

void form_release(struct form *form)
{
    free(form->text);
    *form = (struct form){0};
}

const char *form_get(const struct form *form, const char *name)
{
    for (size_t i = 0; i < form->n; i++)
        if (strcmp(form->fields[i].name, name) == 0)
            return form->fields[i].value;
    return NULL;
}
