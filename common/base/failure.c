#include "base/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

void failure_clear(struct failure *f)
{
    *f = (struct failure){.retry_after_ms = -1};
}

static bool cannot_pass(int code)
{
    return code == ERR_INVALID || code == ERR_DENIED || code == ERR_TOO_LARGE || code == ERR_CRYPTO;
}

/* Control characters become spaces and bytes that are not UTF-8 question marks:
 * the text goes into a row, and PostgreSQL refuses the whole row otherwise. */
static void make_printable(char *s, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t step = utf8_step(s + i, len - i);
        if (step == 0)
            s[i] = '?';
        else if (step == 1 && ((unsigned char)s[i] < 0x20 || s[i] == 0x7F))
            s[i] = ' ';
        i += step ? step : 1;
    }
}

void failure_set(struct failure *f, int code, const char *fmt, ...)
{
    struct failure made = {.code = code, .final = cannot_pass(code), .retry_after_ms = -1};
    va_list args;

    /* The arguments may point into *f. */
    va_start(args, fmt);
    int wanted = vsnprintf(made.detail, sizeof(made.detail), fmt, args);
    va_end(args);

    size_t len = strlen(made.detail);
    if (wanted >= (int)sizeof(made.detail)) {
        size_t ellipsis = strlen(UTF8_ELLIPSIS);
        len = utf8_clip(made.detail, len, sizeof(made.detail) - 1 - ellipsis);
        make_printable(made.detail, len);
        memcpy(made.detail + len, UTF8_ELLIPSIS, ellipsis + 1);
    } else {
        make_printable(made.detail, len);
    }
    *f = made;
}
