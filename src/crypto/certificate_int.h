/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdatomic.h>

#include "crypto/certificate.h"

#define CERTIFICATE_MAGIC 0x63657274u
#define SERIAL_BYTES_MAX 64
#define KEY_ID_BYTES_MAX 64

/* What certificates that differ in their staple alone have in common. */
struct certificate_core {
    atomic_uint ref_count;
    gnutls_x509_crt_t crts[CERTIFICATE_CHAIN_MAX];
    gnutls_pcert_st pcerts[CERTIFICATE_CHAIN_MAX];
    unsigned crt_count;
    unsigned pcert_count;
    gnutls_privkey_t key; /* a handle on `secret` */
    struct certificate_secret *secret;
    enum certificate_key kind;
    struct str *names; /* each one a block of its own */
    size_t name_count;
    int64_t not_before_s;
    int64_t not_after_s;
    uint8_t fingerprint[CERTIFICATE_FINGERPRINT_BYTES];
    uint8_t issuer_key_hash[32];
    struct str ocsp_url;
    bool must_staple;
    uint8_t serial[SERIAL_BYTES_MAX];
    size_t serial_bytes;
    uint8_t authority_key_id[KEY_ID_BYTES_MAX];
    size_t authority_key_id_bytes;
};

struct certificate {
    uint32_t magic;
    atomic_uint ref_count;
    struct certificate_core *core;
    int64_t staple_from_s;
    gnutls_ocsp_data_st staple; /* response.data NULL: none; memory of mem_alloc */
};

/* Moves the key of the core into a secret, where it stays. */
enum err certificate_hide_key(struct certificate_core *core) MUST_CHECK;
void certificate_secret_destroy(struct certificate_secret *s);

/* Reads the names of `leaf` into the core. */
enum err certificate_read_names(struct certificate_core *core, gnutls_x509_crt_t leaf,
                                struct fault *reterr_fault) MUST_CHECK;

/* Whether `name` is a host name in ASCII, perhaps with a first label "*". */
bool certificate_name_is_legal(struct str name);

/* Another handle on `core`, whose reference it takes, also when it fails. */
enum err certificate_wrap(struct certificate_core *core, struct certificate **ret_cert) MUST_CHECK;

/* Maps a failure of GnuTLS to the nearest error. */
enum err crypto_err(int gnutls_code);

static inline gnutls_datum_t datum_of(struct str s)
{
    return (gnutls_datum_t){(unsigned char *)(uintptr_t)s.p, (unsigned)s.n};
}
