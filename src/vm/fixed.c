/* Numbers with a fixed number of decimals.
 *
 * v * 10^d is, exactly, p + rest: p is the product as a double, rest what fma() says was rounded
 * away. Below 2^53 p has a whole part and a fraction, both exact; rest is less than half of the
 * last place of p, so it decides only where the fraction is exactly one half. A half that is exact
 * goes to the even neighbour, as printf has it. */
#include <math.h>
#include <string.h>

#include "vm/vm_priv.h"

static uint64_t round_exactly(double size, double power)
{
    double p = size * power, rest = fma(size, power, -p), whole = floor(p), part = p - whole;
    uint64_t n = (uint64_t)whole;
    if (part > 0.5 || (part == 0.5 && (rest > 0 || (rest == 0 && n % 2 == 1))))
        n++;
    return n;
}

size_t vm_fixed(double v, int decimals, char text[VM_FIXED_ROOM])
{
    static const double power[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    double size = fabs(v);
    if (!(size * power[decimals] < 0x1p52)) /* not a number either */
        return 0;
    uint64_t n = round_exactly(size, power[decimals]);
    char *end = text + VM_FIXED_ROOM, *p = end;
    for (int i = 0; i < decimals; i++, n /= 10)
        *--p = (char)('0' + n % 10);
    if (decimals > 0)
        *--p = '.';
    do {
        *--p = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    if (signbit(v))
        *--p = '-';
    memmove(text, p, (size_t)(end - p));
    return (size_t)(end - p);
}
