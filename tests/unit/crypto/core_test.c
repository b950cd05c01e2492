/* SPDX-License-Identifier: Apache-2.0 */
/* What lies below and beside TLS: hashes, seals, secrets, hellos, signatures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>

#include "base/assert.h"
#include "base/base64.h"
#include "base/base64url.h"
#include "base/mem.h"
#include "crypto/aead.h"
#include "crypto/client_hello.h"
#include "crypto/digest.h"
#include "crypto/sha256.h"
#include "crypto/jws.h"
#include "crypto/secret.h"
#include "crypto/signature.h"
#include "crypto/start.h"

static void expect_hex(const uint8_t *bytes, const char *hex)
{
    char text[SIGNATURE_BYTES * 2 + 1];
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
    assert_string_equal(text, hex);
}

/* FIPS 180-4, RFC 7693 (256-bit from the reference program), RFC 4231, RFC 5869. */
static void test_digests(void **state)
{
    uint8_t hash[DIGEST_BYTES_MAX], again[DIGEST_BYTES_MAX];
    struct str text = STR("abc");
    static const char *const wanted[] = {
        [DIGEST_SHA256] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        [DIGEST_SHA384] = ("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
                           "8086072ba1e7cc2358baeca134c825a7"),
        [DIGEST_BLAKE2B] = "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319",
        [DIGEST_SHA1] = "a9993e364706816aba3e25717850c26c9cd0d89d",
    };
    for (int kind = DIGEST_SHA256; kind <= DIGEST_SHA1; kind++) {
        struct digest *d;
        assert_int_equal(digest_of(kind, text, hash), ERR_OK);
        expect_hex(hash, wanted[kind]);
        assert_int_equal(digest_bytes(kind), strlen(wanted[kind]) / 2);
        assert_int_equal(digest_create(kind, &d), ERR_OK);
        digest_add(d, STR("a"));
        digest_add(d, STR(""));
        digest_add(d, STR("bc"));
        digest_finish(d, again);
        assert_memory_equal(hash, again, digest_bytes(kind));
        mem_test_fail_at(1);
        assert_int_equal(digest_create(kind, &d), ERR_NOMEM);
        mem_test_fail_at(0);
    }
    assert_int_equal(digest_hmac(STR("Jefe"), STR("what do ya want for nothing?"), hash), ERR_OK);
    expect_hex(hash, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    char key[22];
    memset(key, 0x0b, sizeof(key));
    assert_int_equal(digest_derive(str_make(key, sizeof(key)), STR(""), hash, 42), ERR_OK);
    expect_hex(hash, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
                     "9d201395faa4b61a96c8");
}

static void test_seals(void **state)
{
    static const uint8_t key[AEAD_KEY_BYTES] = {1, 2, 3}, other[AEAD_KEY_BYTES] = {4};
    struct buf sealed, open;
    buf_init(&sealed, 0);
    buf_init(&open, 0);
    for (int kind = AEAD_AES_256_GCM; kind <= AEAD_CHACHA20_POLY1305; kind++) {
        for (size_t n = 0; n < 70; n += 23) {
            char plain[70] = "what is sealed";
            buf_clear(&sealed);
            buf_clear(&open);
            assert_int_equal(aead_seal(kind, key, STR("about"), str_make(plain, n), &sealed),
                             ERR_OK);
            assert_int_equal(sealed.n, n + AEAD_NONCE_BYTES + AEAD_TAG_BYTES);
            assert_int_equal(aead_open(kind, key, STR("about"), buf_str(&sealed), &open), ERR_OK);
            assert_true(str_eq(buf_str(&open), str_make(plain, n)));
            assert_int_equal(aead_open(kind, other, STR("about"), buf_str(&sealed), &open),
                             ERR_ACCESS);
            assert_int_equal(aead_open(kind, key, STR("else"), buf_str(&sealed), &open),
                             ERR_ACCESS);
            for (size_t i = 0; i < sealed.n; i++) {
                sealed.p[i] ^= 1;
                assert_int_equal(aead_open(kind, key, STR("about"), buf_str(&sealed), &open),
                                 ERR_ACCESS);
                sealed.p[i] ^= 1;
                assert_int_equal(aead_open(kind, key, STR("about"), str_make(sealed.p, i), &open),
                                 ERR_ACCESS);
            }
            assert_int_equal(open.n, n);
        }
    }
    buf_done(&sealed);
    buf_done(&open);
}

static size_t mapped_bytes;
static bool has_none;

static void *test_map(size_t bytes, enum secret_kind *ret_kind)
{
    if (has_none) {
        return NULL;
    }
    mapped_bytes += bytes;
    *ret_kind = SECRET_LOCKED;
    return mem_zalloc(1, bytes);
}

static void test_unmap(void *pages, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        assert_int_equal(((char *)pages)[i], 0); /* wiped before it goes */
    }
    mapped_bytes -= bytes;
    mem_free(pages);
}

static void test_secrets(void **state)
{
    static const struct secret_memory_ops ops = {test_map, test_unmap};
    struct secret *s = secret_create(STR("on the heap"));
    assert_int_equal(secret_count(SECRET_HEAP), 1);
    secret_destroy(s);
    secret_set_memory(&ops);
    s = secret_create(STR("locked"));
    struct secret *random = secret_create_random(32), *more = secret_create_random(32);
    assert_true(str_eq(secret_str(s), STR("locked")));
    assert_false(secret_eq(secret_str(random).p, secret_str(more).p, 32));
    assert_int_equal(secret_count(SECRET_LOCKED), 3);
    assert_int_equal(mapped_bytes, 6 + 64);
    has_none = true;
    struct secret *spare = secret_create(STR("no page left"));
    assert_int_equal(secret_count(SECRET_HEAP), 1);
    secret_destroy(spare);
    secret_destroy(s);
    secret_destroy(random);
    secret_destroy(more);
    secret_destroy(NULL);
    assert_int_equal(mapped_bytes, 0);
    assert_int_equal(secret_count(SECRET_HEAP) + secret_count(SECRET_LOCKED), 0);
    for (unsigned long n = 1; n <= 2; n++) {
        mem_test_fail_at(n);
        assert_null(secret_create(STR("x")));
        mem_test_fail_at(0);
    }
    secret_set_memory(NULL);
}

/* RFC 4648 10, without padding; RFC 7515 C. */
static void test_base64url(void **state)
{
    static const struct {
        struct str bytes, text;
    } cases[] = {
        {STR(""), STR("")},           {STR("f"), STR("Zg")},
        {STR("fo"), STR("Zm8")},      {STR("foo"), STR("Zm9v")},
        {STR("foob"), STR("Zm9vYg")}, {STR("\x03\xec\xff\xe0\xc1"), STR("A-z_4ME")},
    };
    static const struct str bad[] = {STR("Z"),    STR("Zg=="), STR("Zh"),   STR("Zm9"),
                                     STR("A+z/"), STR("Zm 8"), STR("Zm8\n")};
    struct buf out;
    buf_init(&out, 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        buf_clear(&out);
        base64url_encode(&out, cases[i].bytes);
        assert_true(str_eq(buf_str(&out), cases[i].text));
        buf_clear(&out);
        assert_int_equal(base64url_decode(&out, cases[i].text), ERR_OK);
        assert_true(str_eq(buf_str(&out), cases[i].bytes));
    }
    buf_clear(&out);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(base64url_decode(&out, bad[i]), ERR_SYNTAX);
        assert_int_equal(out.n, 0);
    }
    buf_done(&out);
}

/* RFC 4648 10: one text for each run of bytes. */
static void test_base64(void **state)
{
    static const struct {
        struct str bytes, text;
    } cases[] = {
        {STR(""), STR("")},
        {STR("f"), STR("Zg==")},
        {STR("fo"), STR("Zm8=")},
        {STR("foo"), STR("Zm9v")},
        {STR("foob"), STR("Zm9vYg==")},
        {STR("\x03\xec\xff\xe0\xc1"), STR("A+z/4ME=")},
    };
    static const struct str bad[] = {STR("Z"),    STR("Zg"),       STR("Zg="),  STR("Zh=="),
                                     STR("Zm9="), STR("A-z_"),     STR("Zm 8"), STR("===="),
                                     STR("Z==="), STR("Zg==Zg=="), STR("=Zg="), STR("Zm8\n")};
    uint8_t bytes[16];
    char text[16];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(BASE64_TEXT_BYTES(cases[i].bytes.n), cases[i].text.n);
        base64_encode(cases[i].bytes, text);
        assert_memory_equal(text, cases[i].text.p, cases[i].text.n);
        assert_int_equal(base64_bytes(cases[i].text), cases[i].bytes.n);
        assert_int_equal(base64_decode(cases[i].text, bytes), ERR_OK);
        assert_memory_equal(bytes, cases[i].bytes.p, cases[i].bytes.n);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(base64_decode(bad[i], bytes), ERR_SYNTAX);
    }
}

/* Every length around the block, in pieces of any size: what GnuTLS says, on both ways. */
static void test_sha256(void **state)
{
    static uint8_t bytes[1000];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    }
    for (size_t n = 0; n <= sizeof(bytes); n += n < 200 ? 1 : 37) {
        uint8_t wanted[32], hash[32];
        struct str s = str_make((const char *)bytes, n);
        assert_int_equal(digest_of(DIGEST_SHA256, s, wanted), ERR_OK);
        sha256_of_portable(s, hash);
        assert_memory_equal(hash, wanted, sizeof(hash));
        for (size_t step = 1; step <= n + 1; step = step * 3 + 1) {
            struct sha256 h;
            sha256_init(&h);
            for (size_t at = 0; at < n; at += step) {
                sha256_add(&h, bytes + at, n - at < step ? n - at : step);
            }
            sha256_finish(&h, hash);
            assert_memory_equal(hash, wanted, sizeof(hash));
        }
    }
}

static void put16(struct buf *b, size_t value)
{
    buf_add_char(b, (char)(value >> 8));
    buf_add_char(b, (char)value);
}

static void put_extension(struct buf *b, size_t type, struct str data)
{
    put16(b, type);
    put16(b, data.n);
    buf_add_str(b, data);
}

/* A hello with these suites and extensions. */
static void make_hello(struct buf *out, struct str suites, const struct buf *extensions)
{
    static const char random[34] = {3, 3};
    buf_clear(out);
    buf_add(out, random, sizeof(random));
    buf_add_char(out, 0);
    put16(out, suites.n);
    buf_add_str(out, suites);
    buf_add_str(out, STR("\1\0"));
    put16(out, extensions->n);
    buf_add_str(out, buf_str(extensions));
}

static void test_hellos(void **state)
{
    struct client_hello h;
    struct buf ext, body;
    buf_init(&ext, 0);
    buf_init(&body, 0);
    put_extension(&ext, 0,
                  STR("\0\x0c\0\0\x09"
                      "A.b-C.dE."));
    put_extension(&ext, 13, STR("\0\6\4\3\x08\x04\x08\x07"));
    put_extension(&ext, 16, STR("\0\x0c\2h2\x08http/1.1"));
    put_extension(&ext, 43, STR("\4\x03\x04\x03\x03"));
    put_extension(&ext, 0x0a0a, STR(""));
    put_extension(&ext, 0x0a0a, STR("unknown ones are not looked at"));
    put_extension(&ext, 42, STR(""));
    put_extension(&ext, 41, STR("\0\x0c\0\6ticket\0\0\0\0rest"));
    make_hello(&body, STR("\x13\1"), &ext);
    assert_int_equal(client_hello_parse(&h, buf_str(&body)), ERR_OK);
    assert_true(str_eq(h.sni, STR("a.b-c.de")));
    assert_true(h.offers_tls13 && h.offers_early_data);
    assert_true(h.takes_ecdsa && h.takes_rsa && h.takes_ed25519);
    assert_int_equal(h.alpn_count, 2);
    assert_true(client_hello_offers(&h, STR("h2")) && client_hello_offers(&h, STR("http/1.1")));
    assert_false(client_hello_offers(&h, STR("h3")));
    assert_true(str_eq(h.ticket, STR("ticket")));
    /* However it is cut, it is malformed, and nothing outside of it is read. */
    for (size_t n = 0; n < body.n; n++) {
        char *copy = mem_alloc(n);
        memcpy(copy, body.p, n);
        enum err e = client_hello_parse(&h, str_make(copy, n));
        assert_int_equal(e, n == 41 ? ERR_OK : ERR_SYNTAX); /* there it ends without extensions */
        mem_free(copy);
    }
    buf_add_char(&body, 0);
    assert_int_equal(client_hello_parse(&h, buf_str(&body)), ERR_SYNTAX);
    /* Without TLS 1.3 the suites count as well. */
    buf_clear(&ext);
    put_extension(&ext, 13, STR("\0\4\4\3\x08\x04"));
    make_hello(&body, STR("\xc0\x2f"), &ext);
    assert_int_equal(client_hello_parse(&h, buf_str(&body)), ERR_OK);
    assert_true(h.takes_rsa && !h.takes_ecdsa);
    make_hello(&body, STR("\xc0\x2b"), &ext);
    assert_int_equal(client_hello_parse(&h, buf_str(&body)), ERR_OK);
    assert_true(h.takes_ecdsa && !h.takes_rsa);
    /* What means nothing to us stands before what counts. */
    static const struct {
        struct str suites;
        bool prefers_chacha;
    } cases[] = {
        {STR("\x0a\x0a\x13\3\x13\1"), true}, {STR("\x13\1\x13\3"), false},
        {STR("\xcc\xa9\xc0\x2b"), true},     {STR("\xc0\x30\xcc\xa8"), false},
        {STR("\0\xff\x5a\x5a"), false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        make_hello(&body, cases[i].suites, &ext);
        assert_int_equal(client_hello_parse(&h, buf_str(&body)), ERR_OK);
        assert_int_equal(h.prefers_chacha, cases[i].prefers_chacha);
    }
    put_extension(&ext, 13, STR("\0\2\4\3"));
    make_hello(&body, STR("\xc0\x2b"), &ext);
    assert_int_equal(client_hello_parse(&h, buf_str(&body)), ERR_SYNTAX); /* twice */
    buf_done(&ext);
    buf_done(&body);
}

static void test_hello_names(void **state)
{
    static const struct {
        struct str name;
        bool is_good;
    } cases[] = {
        {STR("a"), true},      {STR("a_b.test"), true}, {STR("127.0.0.1"), true},
        {STR(""), false},      {STR("."), false},       {STR("a..b"), false},
        {STR(".a"), false},    {STR("a b"), false},     {STR("a\0b"), false},
        {STR("*.a"), false},   {STR("a/../b"), false},  {STR("\xc3\xbc"), false},
        {STR("[::1]"), false}, {STR("a:443"), false},   {STR("a.."), false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct client_hello h;
        struct buf ext, body, name;
        buf_init(&ext, 0);
        buf_init(&body, 0);
        buf_init(&name, 0);
        put16(&name, cases[i].name.n + 3);
        buf_add_char(&name, 0);
        put16(&name, cases[i].name.n);
        buf_add_str(&name, cases[i].name);
        put_extension(&ext, 0, buf_str(&name));
        make_hello(&body, STR("\x13\1"), &ext);
        assert_int_equal(client_hello_parse(&h, buf_str(&body)),
                         cases[i].is_good ? ERR_OK : ERR_SYNTAX);
        buf_done(&ext);
        buf_done(&body);
        buf_done(&name);
    }
}

static void test_es256(void **state)
{
    struct private_key *key, *back;
    struct buf pem, jwk, thumbprint, second;
    uint8_t signature[JWS_ES256_BYTES];
    struct fault fault;
    buf_init(&pem, 0);
    buf_init(&jwk, 0);
    buf_init(&thumbprint, 0);
    buf_init(&second, 0);
    for (int i = 0; i < 40; i++) { /* so that short numbers come up */
        assert_int_equal(private_key_create(PRIVATE_KEY_P256, &key), ERR_OK);
        buf_clear(&pem);
        assert_int_equal(private_key_export(key, &pem), ERR_OK);
        assert_int_equal(private_key_import(buf_str(&pem), &back, &fault), ERR_OK);
        assert_int_equal(private_key_kind(back), PRIVATE_KEY_P256);
        assert_int_equal(jws_sign_es256(key, STR("to sign"), signature), ERR_OK);
        /* Checked with the key that is read back, by the library's own verification. */
        gnutls_datum_t der, data = {(unsigned char *)"to sign", 7};
        gnutls_datum_t r = {signature, 32}, s = {signature + 32, 32};
        gnutls_x509_privkey_t x509;
        gnutls_privkey_t private;
        gnutls_pubkey_t public;
        gnutls_datum_t text = {(unsigned char *)pem.p, (unsigned)pem.n};
        assert_int_equal(gnutls_encode_rs_value(&der, &r, &s), 0);
        gnutls_x509_privkey_init(&x509);
        assert_int_equal(gnutls_x509_privkey_import(x509, &text, GNUTLS_X509_FMT_PEM), 0);
        gnutls_privkey_init(&private);
        gnutls_privkey_import_x509(private, x509, 0);
        gnutls_pubkey_init(&public);
        gnutls_pubkey_import_privkey(public, private, 0, 0);
        assert_true(gnutls_pubkey_verify_data2(public, GNUTLS_SIGN_ECDSA_SHA256, 0, &data, &der) >=
                    0);
        gnutls_pubkey_deinit(public);
        gnutls_privkey_deinit(private);
        gnutls_x509_privkey_deinit(x509);
        gnutls_free(der.data);
        buf_clear(&thumbprint);
        buf_clear(&second);
        buf_clear(&jwk);
        assert_int_equal(jws_put_thumbprint(key, &thumbprint), ERR_OK);
        assert_int_equal(jws_put_thumbprint(back, &second), ERR_OK);
        assert_true(str_eq(buf_str(&thumbprint), buf_str(&second)));
        assert_int_equal(thumbprint.n, 43);
        assert_int_equal(jws_put_jwk(key, &jwk), ERR_OK);
        assert_int_equal(jwk.n, strlen("{'crv':'P-256','kty':'EC','x':'','y':''}") + 86);
        private_key_destroy(key);
        private_key_destroy(back);
    }
    buf_done(&pem);
    buf_done(&jwk);
    buf_done(&thumbprint);
    buf_done(&second);
    assert_int_equal(private_key_import(STR("nonsense"), &key, &fault), ERR_SYNTAX);
    mem_test_fail_at(1);
    assert_int_equal(private_key_create(PRIVATE_KEY_P256, &key), ERR_NOMEM);
    mem_test_fail_at(0);
}

/* RFC 8032 7.1, tests 2 and 3. */
static void test_signatures(void **state)
{
    static const struct {
        struct str seed, text;
        const char *public_key, *signature;
    } cases[] = {
        {STR("\x4c\xcd\x08\x9b\x28\xff\x96\xda\x9d\xb6\xc3\x46\xec\x11\x4e\x0f\x5b\x8a\x31\x9f"
             "\x35\xab\xa6\x24\xda\x8c\xf6\xed\x4f\xb8\xa6\xfb"),
         STR("\x72"), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
         "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
        {STR("\xc5\xaa\x8d\xf4\x3f\x9f\x83\x7b\xed\xb7\x44\x2f\x31\xdc\xb7\xb1\x66\xd3\x85\x35"
             "\x07\x6f\x09\x4b\x85\xce\x3a\x2e\x0b\x44\x58\xf7"),
         STR("\xaf\x82"), "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
         "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
    };
    uint8_t public_key[SIGNATURE_PUBLIC_BYTES], signature[SIGNATURE_BYTES];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct secret *seed = secret_create(cases[i].seed);
        signature_public(seed, public_key);
        expect_hex(public_key, cases[i].public_key);
        signature_sign(seed, cases[i].text, signature);
        expect_hex(signature, cases[i].signature);
        assert_true(signature_verify(public_key, cases[i].text, signature));
        assert_false(signature_verify(public_key, STR("else"), signature));
        for (size_t k = 0; k < SIGNATURE_BYTES; k++) {
            signature[k] ^= 1;
            assert_false(signature_verify(public_key, cases[i].text, signature));
            signature[k] ^= 1;
        }
        secret_destroy(seed);
    }
}

static int setup(void **state)
{
    return crypto_start(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digests), cmocka_unit_test(test_seals),
        cmocka_unit_test(test_secrets), cmocka_unit_test(test_base64url),
        cmocka_unit_test(test_base64),  cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_hellos),  cmocka_unit_test(test_hello_names),
        cmocka_unit_test(test_es256),   cmocka_unit_test(test_signatures),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
