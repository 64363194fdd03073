/* Notify - tells systemd (or whoever set NOTIFY_SOCKET) how we are: READY=1, STOPPING=1,
 * WATCHDOG=1.
 *
 * One datagram each, fire and forget: a supervisor that does not listen never delays us. */
#ifndef KOAN_APP_NOTIFY_H
#define KOAN_APP_NOTIFY_H

#include <stdint.h>

/* "READY=1\nSTATUS=serving". Does nothing without NOTIFY_SOCKET. */
void notify_send(const char *words);
/* How often WATCHDOG=1 is wanted, in ms: half of WATCHDOG_USEC; 0: never. */
uint64_t notify_watchdog_ms(void);

#endif
