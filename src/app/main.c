#include <stdio.h>

int main(void)
{
    puts("koan " KOAN_VERSION);
    return 0;
}
