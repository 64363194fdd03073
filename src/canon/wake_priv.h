/* Waker - takes parked arrivals up again when a key that they wait for has an owner.
 *
 * What is due stands in the database (canon_wait), so nothing is forgotten over a restart. The
 * ledger's thread says when an entry has made something due; the waker, on its engine's thread,
 * then asks what, and has each of them resumed, WAKER_OPEN at a time. What cannot be taken up now
 * (the scripts of its model are not loaded, the ledger is full) is tried again later.
 *
 *     canon.arrive gives key ---> due ---> committed: post ---> look ---> resume ... ---> look
 *     canon.wait, key is there ---^                              ^--- timer, after a failure */
#ifndef KOAN_CANON_WAKE_H
#define KOAN_CANON_WAKE_H

#include <stdbool.h>

struct canon_engine;
struct canon_engine_options;
struct waker;

struct waker *waker_new(struct canon_engine *en, const struct canon_engine_options *o);
/* The scripts are loaded: look now, and from now on. */
void waker_start(struct waker *w);
/* No more looking. */
void waker_stop(struct waker *w);
/* Nothing is under way or posted. */
bool waker_is_idle(const struct waker *w);
/* Stopped and idle. */
void waker_free(struct waker *w);

#endif
