/*
 * Error codes. A function that can fail returns 0 or a negative enum err and is
 * marked MUST_CHECK; outputs named ret_… are untouched on failure.
 */
#ifndef TOCSIN_BASE_ERR_H
#define TOCSIN_BASE_ERR_H

#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

enum err {
    ERR_NOMEM = -1,         /* an allocation failed */
    ERR_INVALID = -2,       /* input that breaks its grammar or its bounds */
    ERR_TOO_LARGE = -3,     /* a declared ceiling would be passed */
    ERR_NOT_FOUND = -4,     /* the named thing does not exist */
    ERR_DENIED = -5,        /* refused by a rule of ours, such as a private address */
    ERR_IO = -6,            /* the operating system or the network refused */
    ERR_TIMEOUT = -7,       /* a deadline passed */
    ERR_PROTOCOL = -8,      /* the peer said something that its protocol forbids */
    ERR_DB = -9,            /* PostgreSQL answered with an error; see the sqlstate */
    ERR_DISCONNECTED = -10, /* the connection was lost, or never made */
    ERR_LOST = -11,         /* the claim belongs to somebody else by now */
    ERR_CANCELLED = -12,    /* given up on purpose: drain, or the caller's wish */
    ERR_BUSY = -13,         /* no room now; ask again later */
    ERR_CRYPTO = -14,       /* a seal that does not open, or an unknown key */
};

/* The lower-case name of a code ("timeout"), "ok" for 0, "unknown" for any other. */
const char *err_name(int code);

#endif
