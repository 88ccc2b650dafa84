/*
 * Walking text that may not be UTF-8. What leaves for a log, a row or an XML
 * document has to be.
 */
#ifndef TOCSIN_BASE_UTF8_H
#define TOCSIN_BASE_UTF8_H

#include <stddef.h>

/* U+FFFD, which stands where a byte was no character, and the sign of a cut. */
#define UTF8_REPLACEMENT "\xEF\xBF\xBD"
#define UTF8_ELLIPSIS    "\xE2\x80\xA6"

/* Bytes of the character at `s`, of which `len` bytes can be read: 1 to 4, or 0
 * when they are not a well-formed sequence (Unicode 15, table 3-7: no overlong
 * forms, no surrogates, nothing above U+10FFFF). */
size_t utf8_step(const char *s, size_t len);

/* The longest prefix of s[0..len) that has at most `max` bytes and does not end
 * within a character. */
size_t utf8_clip(const char *s, size_t len, size_t max);

#endif
