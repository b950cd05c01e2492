/* SPDX-License-Identifier: Apache-2.0 */
/*
 * websocket_agree: every way of masking of this machine does what the rule of RFC 6455 5.3 says, in
 * place and into other memory, from every alignment, and touches nothing around. A plain program,
 * because cmocka is not there for the machines it is cross-compiled for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "http/websocket_mask_int.h"

#define BYTES_MAX 300
#define AROUND 64

static char from[BYTES_MAX + 2 * AROUND], to[BYTES_MAX + 2 * AROUND], want[BYTES_MAX + 2 * AROUND];

static bool agrees(websocket_mask_fn *mask, size_t start, size_t n, bool is_in_place)
{
    const uint8_t key[4] = {0x12, 0x9a, 0x00, 0xff};
    uint32_t word;
    memcpy(&word, key, 4);
    memset(to, 'o', sizeof(to));
    if (is_in_place) {
        memcpy(to, from, sizeof(to));
    }
    memcpy(want, to, sizeof(want));
    for (size_t i = 0; i < n; i++) {
        want[start + i] = (char)((uint8_t)from[start + i] ^ key[i % 4]);
    }
    /* In two parts, the key turned between them. */
    size_t first = n / 3;
    const char *source = is_in_place ? to : from;
    mask(to + start, source + start, first, word);
    mask(to + start + first, source + start + first, n - first, websocket_mask_rotate(word, first));
    return memcmp(to, want, sizeof(to)) == 0;
}

int main(void)
{
    unsigned count = 0;
    for (size_t i = 0; i < sizeof(from); i++) {
        from[i] = (char)(i * 131 + i / 7);
    }
    for (unsigned simd = 0; simd < H1_SIMD_COUNT; simd++) {
        websocket_mask_fn *mask = websocket_mask_of((enum h1_simd)simd);
        if (!mask) {
            continue;
        }
        count++;
        for (size_t start = AROUND; start < AROUND + 33; start++) {
            for (size_t n = 0; n <= BYTES_MAX - 33; n++) {
                if (!agrees(mask, start, n, true) || !agrees(mask, start, n, false)) {
                    printf("%s is wrong: start %zu, %zu bytes\n", h1_simd_name((enum h1_simd)simd),
                           start, n);
                    return EXIT_FAILURE;
                }
            }
        }
        printf("right: %s\n", h1_simd_name((enum h1_simd)simd));
    }
#if defined(__aarch64__)
    if (!websocket_mask_of(H1_SIMD_NEON)) {
        printf("neon was not among them\n");
        return EXIT_FAILURE;
    }
#endif
    return count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
