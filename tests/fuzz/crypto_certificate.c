/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text of any kind as chain and key, and a good certificate with some of its bytes changed: a
 * refusal has a sentence, and what is taken has legal names only.
 */
#include <string.h>

#include "base/assert.h"
#include "crypto/certificate.h"
#include "crypto/local_ca.h"

#include <gnutls/gnutls.h>

static struct buf chain, key;

static void make_template(void)
{
    static const struct str names[] = {STR("www.example.com"), STR("*.example.com"),
                                       STR("192.0.2.1")};
    const struct local_ca_order order = {names, COUNT_OF(names), 30};
    struct local_ca *ca;
    if (chain.n) {
        return;
    }
    ASSERT(local_ca_create(STR("fuzz"), 1700000000, &ca) == ERR_OK);
    ASSERT(local_ca_issue(ca, &order, 1700000000, &chain, &key) == ERR_OK);
    local_ca_destroy(ca);
}

static void check(struct str chain_pem, struct str key_pem)
{
    struct certificate *c = NULL;
    struct fault fault = {""};
    enum err e = certificate_create(chain_pem, key_pem, &c, &fault);
    ASSERT(e ? c == NULL && fault.text[0] : c != NULL);
    for (size_t i = 0; c && i < certificate_name_count(c); i++) {
        struct str name = certificate_name(c, i);
        ASSERT(name.n > 0 && name.n <= 253);
        for (size_t k = 0; k < name.n; k++) {
            ASSERT(name.p[k] > ' ' && name.p[k] < 0x7f && ascii_lower(name.p[k]) == name.p[k]);
        }
    }
    certificate_unref(c);
}

/* (place, new byte) three bytes each, in the DER form. */
static void check_edits(const uint8_t *data, size_t n)
{
    gnutls_datum_t pem = {(unsigned char *)chain.p, (unsigned)chain.n}, der, edited;
    ASSERT(gnutls_pem_base64_decode2("CERTIFICATE", &pem, &der) == 0);
    for (; n >= 3; data += 3, n -= 3) {
        der.data[((size_t)data[0] << 8 | data[1]) % der.size] = data[2];
    }
    ASSERT(gnutls_pem_base64_encode2("CERTIFICATE", &der, &edited) == 0);
    check(str_make((char *)edited.data, edited.size), str_make(key.p, key.n));
    gnutls_free(der.data);
    gnutls_free(edited.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    make_template();
    if (n > 8192 || n == 0) {
        return 0;
    }
    struct str text = str_make((const char *)data + 1, n - 1);
    switch (data[0] % 4) {
    case 0:
        check(text, text);
        break;
    case 1:
        check(text, buf_str(&key));
        break;
    case 2:
        check(buf_str(&chain), text);
        break;
    case 3:
        check_edits(data + 1, n - 1);
        break;
    }
    return 0;
}
