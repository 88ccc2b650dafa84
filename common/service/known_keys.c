/*
 * Every key that some executable knows, so that one file can configure them all and a slip of the
 * pen in it is still found. A test compares it with the tables.
 */
#include "service/service.h"

const char *const service_known_keys[] = {
    NULL,
};
