/*
 * A form as browsers and providers post it, and the query of an address: name=value&…,
 * application/x-www-form-urlencoded (WHATWG URL Standard, section 5.1).
 */
#ifndef TOCSIN_BASE_FORM_H
#define TOCSIN_BASE_FORM_H

#include <stddef.h>

#include "base/err.h"

#define FORM_FIELDS_MAX 128

struct form_field {
    const char *name, *value; /* decoded */
};

struct form {
    struct form_field fields[FORM_FIELDS_MAX];
    size_t n;
    char *text; /* what the fields point into */
};

/* Reads `len` bytes. ERR_INVALID: a NUL or a half percent-escape; ERR_TOO_LARGE: more fields than
 * a form has; ERR_NOMEM. After an error there is nothing to release. */
MUST_CHECK int form_read(const char *text, size_t len, struct form *ret_form);
void form_release(struct form *form);
/* The first field of that name, NULL: there is none. */
const char *form_get(const struct form *form, const char *name);

#endif
