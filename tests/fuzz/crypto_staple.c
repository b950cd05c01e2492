/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of OCSP responders: nobody without the key of the issuer makes a certificate good, or
 * takes one back. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "crypto/certificate.h"
#include "crypto/local_ca.h"
#include "crypto/start.h"

#define NOW_S 1700000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A certificate with its issuer behind it. */
static struct certificate *make_certificate(void)
{
    static const struct str name = STR("a.test");
    const struct local_ca_order order = {&name, 1, 30};
    struct local_ca *ca;
    struct certificate *c;
    struct fault fault;
    struct buf chain, key;
    buf_init(&chain, 0);
    buf_init(&key, 0);
    enum err e = crypto_start(NULL);
    e = e ? e : local_ca_create(STR("here"), NOW_S, &ca);
    e = e ? e : local_ca_issue(ca, &order, NOW_S, &chain, &key);
    e = e ? e : local_ca_export_certificate(ca, &chain);
    e = e ? e : certificate_create_public(buf_str(&chain), &c, &fault);
    ASSERT(e == ERR_OK);
    local_ca_destroy(ca);
    buf_done(&chain);
    buf_done(&key);
    return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct certificate *certificate;
    struct certificate *stapled;
    struct fault fault = {""};
    if (!certificate) {
        certificate = make_certificate();
    }
    enum err e = certificate_staple(certificate, str_make((const char *)data, size), NOW_S,
                                    &stapled, &fault);
    ASSERT(e != ERR_OK && e != ERR_CANCELLED);
    ASSERT(memchr(fault.text, '\0', sizeof(fault.text)) && fault.text[0]);
    return 0;
}
