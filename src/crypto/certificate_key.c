/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The private key of a certificate lies in a secret, as raw numbers. GnuTLS gets a key whose
 * functions build the real one for the length of one signature; it wipes what it frees. That costs
 * two microseconds a signature, because raw numbers need no decoding.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "crypto/certificate_int.h"
#include "crypto/secret.h"

#define NUMBERS_MAX 8
#define RSA_NUMBERS 8
#define CURVE_NUMBERS 3

/* The numbers follow one another in the secret: for RSA m, e, d, p, q, u, e1, e2; else x, y, k. */
struct certificate_secret {
    struct secret *secret;
    uint32_t bytes[NUMBERS_MAX];
    size_t count;
    gnutls_ecc_curve_t curve;
    gnutls_pk_algorithm_t algorithm;
    unsigned bits;
};

/* Builds the real key; the caller ends it with gnutls_privkey_deinit. */
static int key_open(const struct certificate_secret *s, gnutls_privkey_t *ret_key)
{
    gnutls_datum_t n[NUMBERS_MAX];
    struct str rest = secret_str(s->secret);
    for (size_t i = 0; i < s->count; i++) {
        n[i] = datum_of(str_sub(rest, 0, s->bytes[i]));
        rest = str_sub(rest, s->bytes[i], rest.n);
    }
    int r = gnutls_privkey_init(ret_key);
    if (r < 0) {
        return r;
    }
    r = s->count == RSA_NUMBERS
            ? gnutls_privkey_import_rsa_raw(*ret_key, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5],
                                            &n[6], &n[7])
            : gnutls_privkey_import_ecc_raw(*ret_key, s->curve, &n[0], &n[1], &n[2]);
    if (r < 0) {
        gnutls_privkey_deinit(*ret_key);
    }
    return r;
}

static int on_sign_data(gnutls_privkey_t handle, gnutls_sign_algorithm_t algorithm, void *context,
                        unsigned flags, const gnutls_datum_t *data, gnutls_datum_t *ret_signature)
{
    gnutls_privkey_t key;
    int r = key_open(context, &key);
    (void)handle;
    if (r >= 0) {
        r = gnutls_privkey_sign_data2(key, algorithm, flags, data, ret_signature);
        gnutls_privkey_deinit(key);
    }
    return r;
}

static int on_sign_hash(gnutls_privkey_t handle, gnutls_sign_algorithm_t algorithm, void *context,
                        unsigned flags, const gnutls_datum_t *hash, gnutls_datum_t *ret_signature)
{
    gnutls_privkey_t key;
    int r = key_open(context, &key);
    (void)handle;
    if (r >= 0) {
        r = gnutls_privkey_sign_hash2(key, algorithm, flags, hash, ret_signature);
        gnutls_privkey_deinit(key);
    }
    return r;
}

static int on_info(gnutls_privkey_t handle, unsigned flags, void *context)
{
    const struct certificate_secret *s = context;
    (void)handle;
    if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO) {
        return (int)s->algorithm;
    }
    if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO_BITS) {
        return (int)s->bits;
    }
    if (flags & GNUTLS_PRIVKEY_INFO_HAVE_SIGN_ALGO) {
        gnutls_sign_algorithm_t algorithm = GNUTLS_FLAGS_TO_SIGN_ALGO(flags);
        return gnutls_sign_supports_pk_algorithm(algorithm, s->algorithm) != 0;
    }
    return -1;
}

void certificate_secret_destroy(struct certificate_secret *s)
{
    if (s) {
        secret_destroy(s->secret);
        mem_free(s);
    }
}

static enum err secret_fill(struct certificate_secret *s, const gnutls_datum_t *numbers)
{
    struct buf all;
    buf_init(&all, 0);
    size_t total = 0;
    for (size_t i = 0; i < s->count; i++) {
        s->bytes[i] = numbers[i].size;
        total += numbers[i].size;
    }
    if (!buf_reserve(&all, total)) { /* at once: growing would leave copies behind */
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < s->count; i++) {
        buf_add(&all, numbers[i].data, numbers[i].size);
    }
    s->secret = secret_create(buf_str(&all));
    secret_wipe(all.p, all.n);
    buf_done(&all);
    return s->secret ? ERR_OK : ERR_NOMEM;
}

static enum err secret_read(struct certificate_secret *s, gnutls_privkey_t key)
{
    gnutls_datum_t n[NUMBERS_MAX] = {{NULL, 0}};
    s->algorithm = (gnutls_pk_algorithm_t)gnutls_privkey_get_pk_algorithm(key, &s->bits);
    s->count = s->algorithm == GNUTLS_PK_RSA ? RSA_NUMBERS : CURVE_NUMBERS;
    int r = s->count == RSA_NUMBERS
                ? gnutls_privkey_export_rsa_raw(key, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5],
                                                &n[6], &n[7])
                : gnutls_privkey_export_ecc_raw(key, &s->curve, &n[0], &n[1], &n[2]);
    enum err e = r < 0 ? crypto_err(r) : secret_fill(s, n);
    for (size_t i = 0; i < NUMBERS_MAX; i++) {
        if (n[i].data) {
            secret_wipe(n[i].data, n[i].size);
        }
        gnutls_free(n[i].data);
    }
    return e;
}

enum err certificate_hide_key(struct certificate_core *core)
{
    gnutls_privkey_t handle = NULL;
    struct certificate_secret *s = mem_zalloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    core->secret = s;
    enum err e = secret_read(s, core->key);
    if (e) {
        return e;
    }
    if (gnutls_privkey_init(&handle) < 0) {
        return ERR_NOMEM;
    }
    int r =
        gnutls_privkey_import_ext4(handle, s, on_sign_data, on_sign_hash, NULL, NULL, on_info, 0);
    if (r < 0) {
        gnutls_privkey_deinit(handle);
        return crypto_err(r);
    }
    gnutls_privkey_deinit(core->key);
    core->key = handle;
    return ERR_OK;
}
