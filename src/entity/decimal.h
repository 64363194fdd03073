/* Decimal - exact numbers of up to 38 digits as text, and keys that sort like them.
 *
 * Normal form: "-12.5", "0", "1000": no plus, no leading zeros, no zeros behind the last digit of
 * the fraction, no "-0". The key of a normal form is text whose byte order is the order of the
 * numbers, so that SQLite can index and compare it:
 *
 *     zero        "1"
 *     positive    "2" EE DIGITS       EE = 50 + exponent, where 0.DIGITS x 10^exponent
 *     negative    "0" EE' DIGITS' "~" the same with every digit taken from 9 */
#ifndef KOAN_ENTITY_DECIMAL_H
#define KOAN_ENTITY_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>

enum { DECIMAL_DIGITS = 38, DECIMAL_TEXT = 2 * DECIMAL_DIGITS + 8 };

/* false when it is not a decimal or has over 38 digits. Input: [+-] digits [. digits]. */
bool decimal_normal(const char *s, size_t n, char out[DECIMAL_TEXT]);
/* `normal` is a normal form. */
void decimal_key(const char *normal, char out[DECIMAL_TEXT]);
/* The normal form that a key was made from. */
void decimal_from_key(const char *key, char out[DECIMAL_TEXT]);

#endif
