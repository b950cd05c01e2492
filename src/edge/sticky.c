/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/sticky.h"

#include "base/base64url.h"
#include "crypto/digest.h"

#define MAC_BYTES 32
#define MARK_MAC_BYTES 16

static uint8_t sticky_key[STICKY_KEY_BYTES];

void sticky_set_key(const uint8_t key[STICKY_KEY_BYTES])
{
    memcpy(sticky_key, key, sizeof(sticky_key));
}

enum err sticky_mark(struct str backend, struct str endpoint, char ret_mark[STICKY_MARK_BYTES])
{
    uint8_t mac[MAC_BYTES];
    struct buf text;
    buf_init(&text, 0);
    buf_add_str(&text, backend);
    buf_add_char(&text, '\0'); /* no name holds one */
    buf_add_str(&text, endpoint);
    enum err e = text.is_failed ? ERR_NOMEM
                                : digest_hmac(str_make((const char *)sticky_key, STICKY_KEY_BYTES),
                                              buf_str(&text), mac);
    buf_clear(&text);
    if (!e) {
        base64url_encode(&text, str_make((const char *)mac, MARK_MAC_BYTES));
        e = text.is_failed ? ERR_NOMEM : ERR_OK;
    }
    if (!e) {
        memcpy(ret_mark, text.p, STICKY_MARK_BYTES);
    }
    buf_done(&text);
    return e;
}
