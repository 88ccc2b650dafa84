/*
 * Twilio's error codes: which of them may pass, and which mean that a number will never work.
 */
#ifndef TOCSIN_BASE_TWILIO_ERROR_H
#define TOCSIN_BASE_TWILIO_ERROR_H

#include <stdbool.h>
#include <stddef.h>

enum twilio_blame {
    TWILIO_PASSING, /* congestion or a moment's trouble: the same request may work later */
    TWILIO_REQUEST, /* this request cannot work, the number is not to blame */
    TWILIO_CONTACT, /* this number cannot be reached this way, now or later */
    TWILIO_ACCOUNT, /* our account, sender or credentials: nothing works through them */
};

struct twilio_error {
    int code;
    enum twilio_blame blame;
    const char *meaning;
};

/* Source: www.twilio.com/docs/api/errors. A code that is not in the table is judged by its HTTP
 * status: NULL. */
const struct twilio_error *twilio_error_find(int code);
/* For tests: the table, in ascending order of code. */
const struct twilio_error *twilio_error_table(size_t *ret_n);

#endif
