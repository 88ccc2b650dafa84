/*
 * systemd's readiness protocol (sd_notify(3)): datagrams to $NOTIFY_SOCKET.
 */
#ifndef TOCSIN_SERVICE_SD_NOTIFY_H
#define TOCSIN_SERVICE_SD_NOTIFY_H

#include <stdint.h>

/* Sends "READY=1", "STOPPING=1", "WATCHDOG=1" or the like; does nothing without a socket. */
void sd_notify_send(const char *state);
/* Waits until everything sent has been taken: what comes from a process that has ended by then is
 * nobody's, to systemd (sd_notify_barrier(3)). */
void sd_notify_wait(int timeout_ms);

/* Half of $WATCHDOG_USEC in milliseconds, 0 when systemd does not watch this process. */
int64_t sd_notify_watchdog_ms(void);

#endif
