/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/secret.h"
#include "rig.h"

#define DAY_S 86400

/* A certificate by hand, signed by itself, with one alternative name of any bytes. */
static void self_signed(gnutls_pk_algorithm_t algorithm, unsigned bits, struct str name,
                        struct buf *chain, struct buf *key_out)
{
    gnutls_x509_crt_t crt;
    gnutls_x509_privkey_t key;
    gnutls_datum_t pem;
    gnutls_x509_crt_init(&crt);
    gnutls_x509_privkey_init(&key);
    assert_int_equal(gnutls_x509_privkey_generate(key, algorithm, bits, 0), 0);
    gnutls_x509_crt_set_version(crt, 3);
    gnutls_x509_crt_set_serial(crt, "\x01", 1);
    gnutls_x509_crt_set_activation_time(crt, world_get()->now_s);
    gnutls_x509_crt_set_expiration_time(crt, world_get()->now_s + DAY_S);
    gnutls_x509_crt_set_key(crt, key);
    gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, "ignored.test", 12);
    if (name.n) {
        /* dNSName in a SEQUENCE; the API of GnuTLS would not take every byte. */
        uint8_t der[128] = {0x30, (uint8_t)(name.n + 2), 0x82, (uint8_t)name.n};
        memcpy(der + 4, name.p, name.n);
        assert_int_equal(gnutls_x509_crt_set_extension_by_oid(crt, "2.5.29.17", der, name.n + 4, 0),
                         0);
    }
    assert_int_equal(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA512, 0), 0);
    assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem), 0);
    buf_clear(chain);
    buf_add(chain, pem.data, pem.size);
    gnutls_free(pem.data);
    assert_int_equal(
        gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem),
        0);
    buf_clear(key_out);
    buf_add(key_out, pem.data, pem.size);
    gnutls_free(pem.data);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}

static void expect(struct str chain, struct str key, enum err wanted, const char *words)
{
    struct certificate *c = NULL;
    struct fault fault = {""};
    enum err e = certificate_create(chain, key, &c, &fault);
    if (e != wanted || (words && !strstr(fault.text, words))) {
        print_message("%s: %s, not %s and '%s'\n", err_name(e), fault.text, err_name(wanted),
                      words ? words : "");
    }
    assert_int_equal(e, wanted);
    assert_true(!words || strstr(fault.text, words));
    certificate_unref(c);
}

static void test_facts(void **state)
{
    struct world *w = world_get();
    struct certificate *c = w->ecdsa;
    assert_int_equal(certificate_key_kind(c), CERTIFICATE_ECDSA);
    assert_int_equal(certificate_key_kind(w->rsa), CERTIFICATE_RSA);
    assert_int_equal(certificate_name_count(c), 2);
    assert_true(str_eq(certificate_name(c, 0), STR("www.example.com")));
    assert_true(str_eq(certificate_name(c, 1), STR("*.example.com")));
    assert_true(str_eq(certificate_name(w->other, 1), STR("127.0.0.1")));
    assert_int_equal(certificate_not_before_s(c), w->now_s - 3600);
    assert_int_equal(certificate_not_after_s(c), w->now_s + 30 * DAY_S);
    assert_null(certificate_issuer_key_hash(c));
    assert_int_equal(certificate_ocsp_url(c).n, 0);
    assert_int_equal(certificate_serial(c).n, 16);
    assert_int_equal(certificate_authority_key_id(c).n, 20);
    assert_memory_not_equal(certificate_fingerprint(c), certificate_fingerprint(w->rsa), 32);
    assert_int_equal(certificate_staple_until_s(c), 0);
}

static void test_keys_are_secrets(void **state)
{
    struct world *w = world_get();
    static const struct str name = STR("a.test");
    size_t before = secret_count(SECRET_HEAP);
    struct certificate *c = world_issue(w->root, &name, 1, false);
    assert_int_equal(secret_count(SECRET_HEAP), before + 1);
    certificate_unref(c);
    assert_int_equal(secret_count(SECRET_HEAP), before);
}

static void test_keys(void **state)
{
    struct world *w = world_get();
    struct buf chain, key, other, both;
    buf_init(&chain, 0);
    buf_init(&key, 0);
    buf_init(&other, 0);
    buf_init(&both, 0);
    self_signed(GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP521R1), STR("a.test"),
                &chain, &key);
    expect(buf_str(&chain), buf_str(&key), ERR_UNSUPPORTED, "SECP521R1");
    self_signed(GNUTLS_PK_RSA, 1024, STR("a.test"), &chain, &key);
    expect(buf_str(&chain), buf_str(&key), ERR_UNSUPPORTED, "1024 bits");
    self_signed(GNUTLS_PK_EDDSA_ED25519, 0, STR("a.test"), &chain, &key);
    expect(buf_str(&chain), buf_str(&key), ERR_OK, NULL);
    self_signed(GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1), STR("a.test"),
                &other, &key);
    expect(buf_str(&other), buf_str(&key), ERR_OK, NULL);
    expect(buf_str(&chain), buf_str(&key), ERR_CONFIG, "does not belong");
    /* Key and chain in one file, in either order. */
    buf_add_str(&both, buf_str(&other));
    buf_add_str(&both, buf_str(&key));
    expect(buf_str(&both), buf_str(&both), ERR_OK, NULL);
    buf_clear(&both);
    buf_add_str(&both, STR("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
                           "-----END EC PARAMETERS-----\n"));
    buf_add_str(&both, buf_str(&key));
    buf_add_str(&both, buf_str(&other));
    expect(buf_str(&both), buf_str(&both), ERR_OK, NULL);
    expect(buf_str(&other), STR(""), ERR_SYNTAX, "no private key");
    expect(STR(""), buf_str(&key), ERR_SYNTAX, "no certificate");
    expect(STR("-----BEGIN CERTIFICATE-----"), buf_str(&key), ERR_SYNTAX, "no certificate");
    expect(buf_str(&other), STR("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n"), ERR_UNSUPPORTED,
           "encrypted");
    expect(buf_str(&other),
           STR("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
               "DEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"),
           ERR_UNSUPPORTED, "encrypted");
    expect(buf_str(&other), STR("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
           ERR_SYNTAX, "private key");
    /* Two certificates that do not belong together. */
    buf_clear(&both);
    buf_add_str(&both, buf_str(&other));
    buf_add_str(&both, buf_str(&w->root_pem));
    expect(buf_str(&both), buf_str(&key), ERR_CONFIG, "order");
    buf_done(&chain);
    buf_done(&key);
    buf_done(&other);
    buf_done(&both);
}

/* EDGE.md, row 29. */
static void test_names(void **state)
{
    static const struct {
        struct str name;
        enum err e;
    } cases[] = {
        {STR("a.test"), ERR_OK},
        {STR("A_b-1.TEST"), ERR_OK},
        {STR("*.a.test"), ERR_OK},
        {STR("localhost"), ERR_OK},
        {STR("xn--bcher-kva.test"), ERR_OK},
        {STR("www.bank.test\0.evil.test"), ERR_SYNTAX},
        {STR("\0"), ERR_SYNTAX},
        {STR("b\xc3\xbc"
             "cher.test"),
         ERR_SYNTAX},
        {STR("a..test"), ERR_SYNTAX},
        {STR(".test"), ERR_SYNTAX},
        {STR("a.test."), ERR_SYNTAX},
        {STR("*"), ERR_SYNTAX},
        {STR("*."), ERR_SYNTAX},
        {STR("a.*.test"), ERR_SYNTAX},
        {STR("a*.test"), ERR_SYNTAX},
        {STR("*.*.test"), ERR_SYNTAX},
        {STR("a test"), ERR_SYNTAX},
        {STR("-a.test"), ERR_SYNTAX},
        {STR("a/b.test"), ERR_SYNTAX},
        {STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test"), ERR_SYNTAX},
    };
    struct buf chain, key;
    struct certificate *c;
    buf_init(&chain, 0);
    buf_init(&key, 0);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        self_signed(GNUTLS_PK_EDDSA_ED25519, 0, cases[i].name, &chain, &key);
        expect(buf_str(&chain), buf_str(&key), cases[i].e, cases[i].e ? "name" : NULL);
    }
    /* The common name counts for nothing. */
    self_signed(GNUTLS_PK_EDDSA_ED25519, 0, STR(""), &chain, &key);
    assert_int_equal(certificate_create(buf_str(&chain), buf_str(&key), &c, NULL), ERR_OK);
    assert_int_equal(certificate_name_count(c), 0);
    certificate_unref(c);
    buf_done(&chain);
    buf_done(&key);
}

static void test_store(void **state)
{
    struct world *w = world_get();
    static const struct certificate_wish all = {true, true, true, false},
                                         rsa = {false, false, true, false},
                                         none = {false, false, false, false};
    struct certificate *const list[] = {w->rsa, w->ecdsa, w->other};
    struct certificate_store *s;
    assert_int_equal(certificate_store_create(list, 3, SIZE_MAX, &s), ERR_OK);
    assert_ptr_equal(certificate_store_find(s, STR("www.example.com"), &all), w->ecdsa);
    assert_ptr_equal(certificate_store_find(s, STR("www.example.com"), &rsa), w->rsa);
    assert_ptr_equal(certificate_store_find(s, STR("x.example.com"), &all), w->ecdsa);
    assert_null(certificate_store_find(s, STR("x.y.example.com"), &all));
    assert_null(certificate_store_find(s, STR("example.com"), &all));
    assert_null(certificate_store_find(s, STR(".example.com"), &all));
    assert_null(certificate_store_find(s, STR(""), &all));
    assert_null(certificate_store_find(s, STR("other.test"), &rsa));
    assert_null(certificate_store_find(s, STR("www.example.com"), &none));
    assert_ptr_equal(certificate_store_find(s, STR("127.0.0.1"), &all), w->other);
    certificate_store_unref(s);
    assert_int_equal(certificate_store_create(list, 3, 2, &s), ERR_OK);
    assert_ptr_equal(certificate_store_find(s, STR(""), &all), w->other);
    assert_null(certificate_store_find(s, STR("unknown"), &rsa));
    certificate_store_unref(s);
    assert_int_equal(certificate_store_create(NULL, 0, SIZE_MAX, &s), ERR_OK);
    assert_null(certificate_store_find(s, STR("www.example.com"), &all));
    certificate_store_unref(s);
    for (unsigned long n = 1; n <= 3; n++) {
        mem_test_fail_at(n);
        assert_int_equal(certificate_store_create(list, 3, 0, &s), ERR_NOMEM);
        mem_test_fail_at(0);
    }
}

static void test_allocation_failures(void **state)
{
    struct buf chain, key;
    bool is_done = false;
    buf_init(&chain, 0);
    buf_init(&key, 0);
    self_signed(GNUTLS_PK_EDDSA_ED25519, 0, STR("a.test"), &chain, &key);
    for (unsigned long n = 1; !is_done; n++) {
        struct certificate *c = NULL;
        struct fault fault;
        mem_test_fail_at(n);
        enum err e = certificate_create(buf_str(&chain), buf_str(&key), &c, &fault);
        is_done = mem_test_fail_at(0) < n;
        assert_int_equal(e, is_done ? ERR_OK : ERR_NOMEM);
        certificate_unref(c);
    }
    buf_done(&chain);
    buf_done(&key);
}

static int teardown(void **state)
{
    world_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_keys_are_secrets),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_store),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
