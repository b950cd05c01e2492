/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of name servers: nobody without the key makes an update look done. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "issuer/dns_update.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t mac[DNS_MAC_BYTES] = {1};
    const struct dns_update update = {.id = 0x1234,
                                      .zone = STR("a.test"),
                                      .name = STR("x.a.test"),
                                      .value = STR("value"),
                                      .key_name = STR("key"),
                                      .key = STR("secret"),
                                      .now_s = 1700000000};
    struct str answer = str_make((const char *)data, size);
    unsigned code = 0;
    bool is_zone = false;
    enum err e = dns_read_update_answer(&update, mac, answer, &code);
    ASSERT(e != ERR_OK && (e != ERR_CONFIG || code != 0));
    e = dns_read_zone_answer(0x1234, STR("a.test"), answer, &is_zone);
    ASSERT(e == ERR_OK || !is_zone);
    return 0;
}
