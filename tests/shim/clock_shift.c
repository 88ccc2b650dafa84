/*
 * A host whose clock is wrong, for LD_PRELOAD: the clock of the day is CLOCK_SHIFT_S seconds off,
 * while the monotonic clock goes on as it is.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t shift_s(void)
{
    const char *text = getenv("CLOCK_SHIFT_S");

    return text ? (time_t)strtol(text, NULL, 10) : 0;
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): ours have names */
int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
    int err = (int)syscall(SYS_clock_gettime, clock, ret_time);

    if (err == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        ret_time->tv_sec += shift_s();
    return err;
}

int gettimeofday(struct timeval *restrict ret_time, void *restrict zone)
{
    int err = (int)syscall(SYS_gettimeofday, ret_time, zone);

    if (err == 0)
        ret_time->tv_sec += shift_s();
    return err;
}

time_t time(time_t *ret_time)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (ret_time)
        *ret_time = now.tv_sec;
    return now.tv_sec;
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
