#include "base/err.h"

const char *err_name(int code)
{
    if (code == 0)
        return "ok";
    switch ((enum err)code) {
    case ERR_NOMEM:
        return "nomem";
    case ERR_INVALID:
        return "invalid";
    case ERR_TOO_LARGE:
        return "too_large";
    case ERR_NOT_FOUND:
        return "not_found";
    case ERR_DENIED:
        return "denied";
    case ERR_IO:
        return "io";
    case ERR_TIMEOUT:
        return "timeout";
    case ERR_PROTOCOL:
        return "protocol";
    case ERR_DB:
        return "db";
    case ERR_DISCONNECTED:
        return "disconnected";
    case ERR_LOST:
        return "lost";
    case ERR_CANCELLED:
        return "cancelled";
    case ERR_BUSY:
        return "busy";
    case ERR_CRYPTO:
        return "crypto";
    }
    return "unknown";
}
