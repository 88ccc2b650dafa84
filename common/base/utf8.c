#include "base/utf8.h"

#include <stdbool.h>

static bool tail(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

/* Whether the byte after the lead excludes overlong forms, surrogates and what
 * lies above U+10FFFF. */
static bool second_fits(unsigned char lead, unsigned char second)
{
    switch (lead) {
    case 0xE0:
        return second >= 0xA0;
    case 0xED:
        return second <= 0x9F;
    case 0xF0:
        return second >= 0x90;
    case 0xF4:
        return second <= 0x8F;
    default:
        return true;
    }
}

size_t utf8_step(const char *s, size_t len)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t n;

    if (len == 0)
        return 0;
    if (u[0] < 0x80)
        return 1;
    if (u[0] >= 0xC2 && u[0] <= 0xDF)
        n = 2;
    else if (u[0] >= 0xE0 && u[0] <= 0xEF)
        n = 3;
    else if (u[0] >= 0xF0 && u[0] <= 0xF4)
        n = 4;
    else
        return 0;
    if (n > len || !second_fits(u[0], u[1]))
        return 0;
    for (size_t i = 1; i < n; i++) {
        if (!tail(u[i]))
            return 0;
    }
    return n;
}

size_t utf8_clip(const char *s, size_t len, size_t max)
{
    if (len <= max)
        return len;
    size_t end = max;
    for (int back = 0; back < 3 && end > 0 && tail((unsigned char)s[end]); back++)
        end--;
    return tail((unsigned char)s[end]) ? max : end;
}
