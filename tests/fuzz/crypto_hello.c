/* SPDX-License-Identifier: Apache-2.0 */
/* What a ClientHello yields lies within it, and names are host names. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "crypto/client_hello.h"

static void check_within(struct str part, struct str whole)
{
    ASSERT(part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct client_hello h;
    struct str body = str_make((const char *)data, n);
    if (client_hello_parse(&h, body)) {
        return 0;
    }
    check_within(h.ticket, body);
    for (size_t i = 0; i < h.alpn_count; i++) {
        check_within(h.alpn[i], body);
        ASSERT(h.alpn[i].n > 0 && client_hello_offers(&h, h.alpn[i]));
    }
    ASSERT(strlen(h.sni_text) == h.sni.n);
    for (size_t i = 0; i < h.sni.n; i++) {
        char c = h.sni.p[i];
        ASSERT(ascii_lower(c) == c && c > ' ' && c < 0x7f && c != '/' && c != '*');
    }
    return 0;
}
