/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/certificate_int.h"

#include <gnutls/ocsp.h>
#include <gnutls/x509-ext.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"

#define RSA_BITS_MIN 2048
#define FEATURE_STATUS_REQUEST 5 /* the number of its extension, RFC 6066 8 */

enum err crypto_err(int gnutls_code)
{
    switch (gnutls_code) {
    case GNUTLS_E_MEMORY_ERROR:
        return ERR_NOMEM;
    case GNUTLS_E_UNSUPPORTED_SIGNATURE_ALGORITHM:
    case GNUTLS_E_UNKNOWN_PK_ALGORITHM:
    case GNUTLS_E_ECC_UNSUPPORTED_CURVE:
    case GNUTLS_E_UNIMPLEMENTED_FEATURE:
        return ERR_UNSUPPORTED;
    default:
        return ERR_SYNTAX;
    }
}

static void core_unref(struct certificate_core *core)
{
    if (!core || atomic_fetch_sub_explicit(&core->ref_count, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (unsigned i = 0; i < core->pcert_count; i++) {
        gnutls_pcert_deinit(&core->pcerts[i]);
    }
    for (unsigned i = 0; i < core->crt_count; i++) {
        gnutls_x509_crt_deinit(core->crts[i]);
    }
    if (core->key) {
        gnutls_privkey_deinit(core->key);
    }
    certificate_secret_destroy(core->secret);
    for (size_t i = 0; i < core->name_count; i++) {
        mem_free((char *)(uintptr_t)core->names[i].p);
    }
    mem_free(core->names);
    mem_free((char *)(uintptr_t)core->ocsp_url.p);
    mem_free(core);
}

static enum err read_chain(struct certificate_core *core, struct str pem, struct fault *fault)
{
    gnutls_datum_t data = datum_of(pem);
    gnutls_x509_crt_t *list = NULL;
    unsigned count = 0;
    int r = gnutls_x509_crt_list_import2(&list, &count, &data, GNUTLS_X509_FMT_PEM,
                                         GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);
    if (r == GNUTLS_E_CERTIFICATE_LIST_UNSORTED) {
        return fault_set(fault, ERR_CONFIG,
                         "the chain is out of order: each certificate must be followed by the one "
                         "that signed it");
    }
    if (r < 0) {
        return fault_set(fault, crypto_err(r), "no certificate could be read: %s",
                         gnutls_strerror(r));
    }
    enum err e = ERR_OK;
    for (unsigned i = 0; i < count; i++) {
        if (i < CERTIFICATE_CHAIN_MAX) {
            core->crts[core->crt_count++] = list[i];
        } else {
            gnutls_x509_crt_deinit(list[i]);
            e = ERR_LIMIT;
        }
    }
    gnutls_free(list);
    if (e) {
        return fault_set(fault, e, "the chain has more than %d certificates",
                         CERTIFICATE_CHAIN_MAX);
    }
    for (unsigned i = 0; i < core->crt_count; i++) {
        r = gnutls_pcert_import_x509(&core->pcerts[i], core->crts[i], 0);
        if (r < 0) {
            return fault_set(fault, crypto_err(r), "certificate %u of the chain: %s", i + 1,
                             gnutls_strerror(r));
        }
        core->pcert_count++;
    }
    return ERR_OK;
}

/* The first block that is a private key of any form, from its BEGIN to the end of its END line. */
static struct str find_key(struct str pem)
{
    static const char begin[] = "-----BEGIN ", mark[] = "PRIVATE KEY-----", end[] = "-----END ";
    const char *at = pem.p, *stop = pem.p + pem.n;
    while (at && (at = memmem(at, (size_t)(stop - at), begin, sizeof(begin) - 1)) != NULL) {
        const char *line_end = memchr(at, '\n', (size_t)(stop - at));
        size_t n = (size_t)((line_end ? line_end : stop) - at);
        if (memmem(at, n, mark, sizeof(mark) - 1)) {
            const char *last = memmem(at, (size_t)(stop - at), end, sizeof(end) - 1);
            const char *last_end = last ? memchr(last, '\n', (size_t)(stop - last)) : NULL;
            return str_make(at, (size_t)((last_end ? last_end : stop) - at));
        }
        at = line_end;
    }
    return STR("");
}

static bool contains(struct str s, struct str what)
{
    return s.n && memmem(s.p, s.n, what.p, what.n) != NULL;
}

static enum err read_key(struct certificate_core *core, struct str pem, struct fault *fault)
{
    struct str block = find_key(pem);
    if (block.n == 0) {
        return fault_set(fault, ERR_SYNTAX, "there is no private key in PEM form");
    }
    if (contains(block, STR("BEGIN ENCRYPTED ")) || contains(block, STR(",ENCRYPTED"))) {
        return fault_set(fault, ERR_UNSUPPORTED,
                         "the private key is encrypted: decrypt it, for example with 'openssl pkey "
                         "-in old.pem -out new.pem'");
    }
    gnutls_datum_t data = datum_of(block);
    int r = gnutls_privkey_init(&core->key);
    if (r >= 0) {
        r = gnutls_privkey_import_x509_raw(core->key, &data, GNUTLS_X509_FMT_PEM, NULL, 0);
    }
    if (r < 0) {
        return fault_set(fault, crypto_err(r), "the private key could not be read: %s",
                         gnutls_strerror(r));
    }
    return ERR_OK;
}

static enum err check_curve(struct certificate_core *core, struct fault *fault)
{
    gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
    gnutls_datum_t x = {NULL, 0}, y = {NULL, 0};
    int r = gnutls_pubkey_export_ecc_raw(core->pcerts[0].pubkey, &curve, &x, &y);
    gnutls_free(x.data);
    gnutls_free(y.data);
    if (r < 0 || (curve != GNUTLS_ECC_CURVE_SECP256R1 && curve != GNUTLS_ECC_CURVE_SECP384R1)) {
        return fault_set(fault, ERR_UNSUPPORTED,
                         "the key is on the curve %s; browsers take P-256 and P-384",
                         r < 0 ? "?" : gnutls_ecc_curve_get_name(curve));
    }
    return ERR_OK;
}

static enum err check_kind(struct certificate_core *core, struct fault *fault)
{
    unsigned bits = 0;
    int algorithm = gnutls_privkey_get_pk_algorithm(core->key, &bits);
    if (algorithm == GNUTLS_PK_ECDSA) {
        core->kind = CERTIFICATE_ECDSA;
        return check_curve(core, fault);
    }
    if (algorithm == GNUTLS_PK_EDDSA_ED25519) {
        core->kind = CERTIFICATE_ED25519;
        return ERR_OK;
    }
    if (algorithm != GNUTLS_PK_RSA) {
        return fault_set(fault, ERR_UNSUPPORTED, "keys of the kind %s are not served",
                         gnutls_pk_get_name((gnutls_pk_algorithm_t)algorithm));
    }
    core->kind = CERTIFICATE_RSA;
    if (bits < RSA_BITS_MIN) {
        return fault_set(fault, ERR_UNSUPPORTED, "the RSA key has %u bits, and %d is the least",
                         bits, RSA_BITS_MIN);
    }
    return ERR_OK;
}

static enum err check_match(struct certificate_core *core, struct fault *fault)
{
    uint8_t of_leaf[32], of_key[32];
    size_t n = sizeof(of_leaf), key_n = sizeof(of_key);
    gnutls_pubkey_t public_key;
    int r = gnutls_pubkey_init(&public_key);
    if (r < 0) {
        return ERR_NOMEM;
    }
    r = gnutls_pubkey_import_privkey(public_key, core->key, 0, 0);
    if (r >= 0) {
        r = gnutls_pubkey_get_key_id(public_key, GNUTLS_KEYID_USE_SHA256, of_key, &key_n);
    }
    gnutls_pubkey_deinit(public_key);
    if (r >= 0) {
        r = gnutls_pubkey_get_key_id(core->pcerts[0].pubkey, GNUTLS_KEYID_USE_SHA256, of_leaf, &n);
    }
    if (r < 0) {
        return fault_set(fault, crypto_err(r), "the key: %s", gnutls_strerror(r));
    }
    if (memcmp(of_leaf, of_key, sizeof(of_leaf)) != 0) {
        return fault_set(fault, ERR_CONFIG,
                         "the private key does not belong to the (first) certificate");
    }
    return ERR_OK;
}

static enum err read_ocsp_url(struct certificate_core *core)
{
    gnutls_datum_t url = {NULL, 0};
    int r = GNUTLS_E_UNKNOWN_ALGORITHM;
    for (unsigned i = 0; r == GNUTLS_E_UNKNOWN_ALGORITHM; i++) {
        /* This code says that entry `i` is there and of another kind. */
        r = gnutls_x509_crt_get_authority_info_access(core->crts[0], i, GNUTLS_IA_OCSP_URI, &url,
                                                      NULL);
    }
    if (r < 0) {
        return r == GNUTLS_E_MEMORY_ERROR ? ERR_NOMEM : ERR_OK;
    }
    char *copy = mem_dup(url.data, url.size);
    if (copy) {
        core->ocsp_url = str_make(copy, url.size);
    }
    gnutls_free(url.data);
    return copy ? ERR_OK : ERR_NOMEM;
}

/* The TLS feature extension (RFC 7633) names what a ServerHello must bring. */
static enum err read_features(struct certificate_core *core)
{
    gnutls_x509_tlsfeatures_t features;
    unsigned feature;
    if (gnutls_x509_tlsfeatures_init(&features) < 0) {
        return ERR_NOMEM;
    }
    if (gnutls_x509_crt_get_tlsfeatures(core->crts[0], features, 0, NULL) >= 0) {
        for (unsigned i = 0; gnutls_x509_tlsfeatures_get(features, i, &feature) >= 0; i++) {
            core->must_staple |= feature == FEATURE_STATUS_REQUEST;
        }
    }
    gnutls_x509_tlsfeatures_deinit(features);
    return ERR_OK;
}

static enum err read_facts(struct certificate_core *core, struct fault *fault)
{
    gnutls_x509_crt_t leaf = core->crts[0];
    size_t n = sizeof(core->fingerprint);
    time_t from = gnutls_x509_crt_get_activation_time(leaf);
    time_t until = gnutls_x509_crt_get_expiration_time(leaf);
    int r = gnutls_x509_crt_get_fingerprint(leaf, GNUTLS_DIG_SHA256, core->fingerprint, &n);
    if (r >= 0 && core->crt_count > 1) {
        n = sizeof(core->issuer_key_hash);
        r = gnutls_x509_crt_get_key_id(core->crts[1], GNUTLS_KEYID_USE_SHA256,
                                       core->issuer_key_hash, &n);
    }
    core->serial_bytes = sizeof(core->serial);
    if (r >= 0) {
        r = gnutls_x509_crt_get_serial(leaf, core->serial, &core->serial_bytes);
    }
    if (r < 0 || from == (time_t)-1 || until == (time_t)-1) {
        return fault_set(fault, r < 0 ? crypto_err(r) : ERR_SYNTAX,
                         "the certificate is malformed: %s",
                         r < 0 ? gnutls_strerror(r) : "it has no time of validity");
    }
    core->not_before_s = from;
    core->not_after_s = until;
    core->authority_key_id_bytes = sizeof(core->authority_key_id);
    if (gnutls_x509_crt_get_authority_key_id(leaf, core->authority_key_id,
                                             &core->authority_key_id_bytes, NULL) < 0) {
        core->authority_key_id_bytes = 0;
    }
    enum err e = read_ocsp_url(core);
    if (!e) {
        e = read_features(core);
    }
    return e ? e : certificate_read_names(core, leaf, fault);
}

enum err certificate_wrap(struct certificate_core *core, struct certificate **ret_cert)
{
    struct certificate *c = mem_zalloc(1, sizeof(*c));
    if (!c) {
        core_unref(core);
        return ERR_NOMEM;
    }
    c->magic = CERTIFICATE_MAGIC;
    atomic_init(&c->ref_count, 1);
    c->core = core;
    *ret_cert = c;
    return ERR_OK;
}

static enum err take_key(struct certificate_core *core, struct str pem, struct fault *fault)
{
    enum err e = read_key(core, pem, fault);
    if (!e) {
        e = check_match(core, fault);
    }
    if (!e) {
        e = check_kind(core, fault);
    }
    if (!e) {
        e = certificate_hide_key(core);
        if (e) {
            fault_set(fault, e, "the private key: %s", err_text(e));
        }
    }
    return e;
}

/* `key_pem` NULL: without. */
static enum err create(struct str chain_pem, const struct str *key_pem,
                       struct certificate **ret_cert, struct fault *reterr_fault)
{
    if (chain_pem.n > CERTIFICATE_PEM_BYTES_MAX ||
        (key_pem && key_pem->n > CERTIFICATE_PEM_BYTES_MAX)) {
        return fault_set(reterr_fault, ERR_LIMIT, "the file is too long for a certificate");
    }
    fault_set(reterr_fault, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    struct certificate_core *core = mem_zalloc(1, sizeof(*core));
    if (!core) {
        return ERR_NOMEM;
    }
    atomic_init(&core->ref_count, 1);
    enum err e = read_chain(core, chain_pem, reterr_fault);
    if (!e) {
        e = read_facts(core, reterr_fault);
    }
    if (!e && key_pem) {
        e = take_key(core, *key_pem, reterr_fault);
    }
    if (e) {
        core_unref(core);
        return e;
    }
    return certificate_wrap(core, ret_cert);
}

enum err certificate_create(struct str chain_pem, struct str key_pem, struct certificate **ret_cert,
                            struct fault *reterr_fault)
{
    return create(chain_pem, &key_pem, ret_cert, reterr_fault);
}

enum err certificate_create_public(struct str chain_pem, struct certificate **ret_cert,
                                   struct fault *reterr_fault)
{
    return create(chain_pem, NULL, ret_cert, reterr_fault);
}

struct certificate *certificate_ref(struct certificate *c)
{
    ASSERT_MAGIC(c, CERTIFICATE_MAGIC);
    atomic_fetch_add_explicit(&c->ref_count, 1, memory_order_relaxed);
    return c;
}

void certificate_unref(struct certificate *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->ref_count, 1, memory_order_acq_rel) != 1) {
        return;
    }
    ASSERT_MAGIC(c, CERTIFICATE_MAGIC);
    c->magic = 0;
    mem_free(c->staple.response.data);
    core_unref(c->core);
    mem_free(c);
}

size_t certificate_name_count(const struct certificate *c)
{
    return c->core->name_count;
}

struct str certificate_name(const struct certificate *c, size_t i)
{
    ASSERT(i < c->core->name_count);
    return c->core->names[i];
}

enum certificate_key certificate_key_kind(const struct certificate *c)
{
    return c->core->kind;
}

int64_t certificate_not_before_s(const struct certificate *c)
{
    return c->core->not_before_s;
}

int64_t certificate_not_after_s(const struct certificate *c)
{
    return c->core->not_after_s;
}

bool certificate_has_same_chain(const struct certificate *a, const struct certificate *b)
{
    const struct certificate_core *x = a->core, *y = b->core;
    bool is_same = x->pcert_count == y->pcert_count;
    for (unsigned i = 0; is_same && i < x->pcert_count; i++) {
        const gnutls_datum_t *p = &x->pcerts[i].cert, *q = &y->pcerts[i].cert;
        is_same = p->size == q->size && memcmp(p->data, q->data, p->size) == 0;
    }
    return is_same;
}

const uint8_t *certificate_fingerprint(const struct certificate *c)
{
    return c->core->fingerprint;
}

const uint8_t *certificate_issuer_key_hash(const struct certificate *c)
{
    return c->core->crt_count > 1 ? c->core->issuer_key_hash : NULL;
}

struct str certificate_ocsp_url(const struct certificate *c)
{
    return c->core->ocsp_url;
}

int64_t certificate_staple_from_s(const struct certificate *c)
{
    return c->staple_from_s;
}

bool certificate_must_staple(const struct certificate *c)
{
    return c->core->must_staple;
}

int64_t certificate_staple_until_s(const struct certificate *c)
{
    return c->staple.response.data ? c->staple.exptime : 0;
}

struct str certificate_authority_key_id(const struct certificate *c)
{
    return str_make((const char *)c->core->authority_key_id, c->core->authority_key_id_bytes);
}

struct str certificate_serial(const struct certificate *c)
{
    return str_make((const char *)c->core->serial, c->core->serial_bytes);
}
