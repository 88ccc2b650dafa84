/*
 * A key and a certificate for 127.0.0.1 that nobody has signed but itself, in a directory
 * of their own, made with openssl(1).
 */
#ifndef TOCSIN_TESTS_CERTIFICATE_H
#define TOCSIN_TESTS_CERTIFICATE_H

#include <stdbool.h>

struct certificate {
    char dir[64];
    char key_path[80];
    char path[80];
};

/* False where openssl(1) cannot be had: the test skips. */
bool certificate_make(struct certificate *ret_certificate);
void certificate_remove(struct certificate *c);
/* The text of a file, which must be there. The caller frees it. */
char *certificate_read(const char *path);

#endif
