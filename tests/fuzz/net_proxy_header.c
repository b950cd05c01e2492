/* SPDX-License-Identifier: Apache-2.0 */
/* A header is the same however it is cut, reads no byte behind itself, and written again it reads
 * back as the same. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "net/proxy_header.h"

static bool is_same(const struct socket_address *a, const struct socket_address *b)
{
    uint8_t x[SOCKET_ADDRESS_BYTES_MAX], y[SOCKET_ADDRESS_BYTES_MAX];
    size_t n = socket_address_bytes(a, x);
    return n == socket_address_bytes(b, y) && memcmp(x, y, n) == 0 &&
           socket_address_port(a) == socket_address_port(b);
}

static void check_written(const struct proxy_header *h, unsigned version)
{
    struct proxy_header again;
    char out[PROXY_HEADER_WRITTEN_MAX];
    size_t n = proxy_header_write(version, &h->source, &h->destination, out);
    ASSERT(proxy_header_read(out, n, &again) == ERR_OK && again.bytes == n);
    ASSERT(again.has_addresses);
    ASSERT(is_same(&again.source, &h->source) && is_same(&again.destination, &h->destination));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct proxy_header whole, part;
    enum err e = proxy_header_read((const char *)data, n, &whole);
    for (size_t i = 0; i < n && i < 300; i++) {
        char *cut = malloc(i ? i : 1); /* so that a byte too many is seen */
        ASSERT(cut);
        memcpy(cut, data, i);
        enum err of_part = proxy_header_read(cut, i, &part);
        bool is_early = !e && i < whole.bytes;
        ASSERT(!is_early || of_part == ERR_AGAIN);
        ASSERT(of_part != ERR_AGAIN || part.bytes > i);
        ASSERT(of_part == ERR_AGAIN || of_part == e);
        free(cut);
    }
    if (!e) {
        ASSERT(whole.bytes <= n && whole.bytes <= PROXY_HEADER_BYTES_MAX);
        if (whole.has_addresses) {
            check_written(&whole, 1);
            check_written(&whole, 2);
        }
    }
    return 0;
}
