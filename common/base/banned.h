/*
 * Calls that cut, overflow, guess or block, refused at compile time. Every
 * translation unit is compiled with `-include base/banned.h`.
 */
#ifndef TOCSIN_BASE_BANNED_H
#define TOCSIN_BASE_BANNED_H

/* The headers that declare them come first, so that only uses are refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Under _FORTIFY_SOURCE these are macros to clang, which can only poison plain names. */
#undef sprintf
#undef vsprintf

#pragma GCC poison strcpy strcat strncpy strncat sprintf vsprintf gets atoi atol atoll strtok
#pragma GCC poison rand srand system sleep tmpnam mktemp usleep asctime ctime gmtime localtime

#endif
