/* SPDX-License-Identifier: Apache-2.0 */
/* The local CA, requests and staples, judged by GnuTLS and by the openssl program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/csr.h"
#include "rig.h"

#define DAY_S 86400

static char folder[] = "/tmp/crypto_ca_XXXXXX";

static void put_file(const char *name, struct str bytes)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.p, 1, bytes.n, f), bytes.n);
    fclose(f);
}

static void get_file(const char *name, struct buf *out)
{
    char path[64], bytes[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    buf_clear(out);
    for (size_t n; (n = fread(bytes, 1, sizeof(bytes), f)) > 0;) {
        buf_add(out, bytes, n);
    }
    fclose(f);
}

/* Runs a command of openssl in the folder; its output goes to `out`, or away. */
static int openssl(struct buf *out, const char *arguments)
{
    char line[1024], bytes[4096];
    snprintf(line, sizeof(line), "cd %s && openssl %s 2>&1", folder, arguments);
    FILE *f = popen(line, "r");
    assert_non_null(f);
    if (out) {
        buf_clear(out);
    }
    for (size_t n; (n = fread(bytes, 1, sizeof(bytes), f)) > 0;) {
        if (out) {
            buf_add(out, bytes, n);
        }
    }
    return pclose(f);
}

static bool contains(const struct buf *b, const char *text)
{
    return b->n && memmem(b->p, b->n, text, strlen(text)) != NULL;
}

static gnutls_x509_crt_t crt_of(const struct buf *pem)
{
    gnutls_x509_crt_t crt;
    gnutls_datum_t data = {(unsigned char *)pem->p, (unsigned)pem->n};
    gnutls_x509_crt_init(&crt);
    assert_int_equal(gnutls_x509_crt_import(crt, &data, GNUTLS_X509_FMT_PEM), 0);
    return crt;
}

static void test_leaf_is_good_to_others(void **state)
{
    static const struct str names[] = {STR("a.localhost"), STR("*.b.localhost"), STR("127.0.0.1"),
                                       STR("::1")};
    const struct local_ca_order order = {names, COUNT_OF(names), 30};
    struct local_ca *ca;
    struct buf root, leaf, key, text;
    unsigned status = 1;
    buf_init(&root, 0);
    buf_init(&leaf, 0);
    buf_init(&key, 0);
    buf_init(&text, 0);
    assert_int_equal(local_ca_create(STR("host.example"), time(NULL), &ca), ERR_OK);
    assert_int_equal(local_ca_export_certificate(ca, &root), ERR_OK);
    assert_int_equal(local_ca_issue(ca, &order, time(NULL), &leaf, &key), ERR_OK);
    gnutls_x509_crt_t root_crt = crt_of(&root), leaf_crt = crt_of(&leaf);
    assert_int_equal(gnutls_x509_crt_verify(leaf_crt, &root_crt, 1, 0, &status), 0);
    assert_int_equal(status, 0);
    assert_true(gnutls_x509_crt_check_hostname(leaf_crt, "a.localhost"));
    assert_true(gnutls_x509_crt_check_hostname(leaf_crt, "x.b.localhost"));
    assert_true(gnutls_x509_crt_check_hostname(leaf_crt, "127.0.0.1"));
    assert_false(gnutls_x509_crt_check_hostname(leaf_crt, "b.localhost"));
    assert_int_equal(gnutls_x509_crt_get_ca_status(leaf_crt, NULL), 0);
    gnutls_x509_crt_deinit(root_crt);
    gnutls_x509_crt_deinit(leaf_crt);
    put_file("root.pem", buf_str(&root));
    put_file("leaf.pem", buf_str(&leaf));
    put_file("leaf.key", buf_str(&key));
    assert_int_equal(openssl(&text, "verify -x509_strict -purpose sslserver -verify_hostname "
                                    "x.b.localhost -CAfile root.pem leaf.pem"),
                     0);
    assert_int_equal(openssl(&text, "verify -x509_strict -purpose sslserver -verify_ip ::1 -CAfile "
                                    "root.pem leaf.pem"),
                     0);
    assert_int_not_equal(openssl(NULL, "verify -purpose sslclient -CAfile root.pem leaf.pem"), 0);
    assert_int_equal(openssl(&text, "x509 -in root.pem -noout -text"), 0);
    assert_true(contains(&text, "CN = Selenia local root host.example"));
    assert_true(contains(&text, "CA:TRUE, pathlen:0"));
    assert_int_equal(openssl(&text, "pkey -in leaf.key -check -noout"), 0);
    local_ca_destroy(ca);
    buf_done(&root);
    buf_done(&leaf);
    buf_done(&key);
    buf_done(&text);
}

static void test_root_comes_back(void **state)
{
    static const struct str name = STR("a.test");
    struct local_ca_order order = {&name, 1, 90};
    struct world *w = world_get();
    struct local_ca *ca, *again;
    struct buf root, key, leaf, leaf_key;
    struct certificate *c;
    struct fault fault;
    int64_t now_s = time(NULL);
    buf_init(&root, 0);
    buf_init(&key, 0);
    buf_init(&leaf, 0);
    buf_init(&leaf_key, 0);
    assert_int_equal(local_ca_create(STR("h"), now_s, &ca), ERR_OK);
    assert_int_equal(local_ca_export_certificate(ca, &root), ERR_OK);
    assert_int_equal(local_ca_export_key(ca, &key), ERR_OK);
    assert_int_equal(local_ca_import(buf_str(&root), buf_str(&key), &again, &fault), ERR_OK);
    assert_true(local_ca_not_after_s(again) == local_ca_not_after_s(ca));
    assert_true(local_ca_not_after_s(ca) > now_s + 3640LL * DAY_S);
    /* A leaf never outlives its root. */
    int64_t late_s = local_ca_not_after_s(ca) - 10 * DAY_S;
    assert_int_equal(local_ca_issue(again, &order, late_s, &leaf, &leaf_key), ERR_OK);
    assert_int_equal(certificate_create(buf_str(&leaf), buf_str(&leaf_key), &c, &fault), ERR_OK);
    assert_true(certificate_not_after_s(c) == local_ca_not_after_s(ca));
    assert_true(certificate_not_before_s(c) == late_s - 3600);
    certificate_unref(c);
    assert_int_equal(local_ca_issue(again, &order, local_ca_not_after_s(ca), &leaf, &leaf_key),
                     ERR_TIMEOUT);
    order.days = 6;
    assert_int_equal(local_ca_issue(again, &order, now_s, &leaf, &leaf_key), ERR_RANGE);
    order.days = 91;
    assert_int_equal(local_ca_issue(again, &order, now_s, &leaf, &leaf_key), ERR_RANGE);
    static const struct str bad = STR("a b");
    order = (struct local_ca_order){&bad, 1, 7};
    assert_int_equal(local_ca_issue(again, &order, now_s, &leaf, &leaf_key), ERR_SYNTAX);
    order.name_count = 0;
    assert_int_equal(local_ca_issue(again, &order, now_s, &leaf, &leaf_key), ERR_RANGE);
    local_ca_destroy(again);
    assert_int_equal(local_ca_import(buf_str(&w->root_pem), buf_str(&key), &again, &fault),
                     ERR_CONFIG);
    buf_clear(&leaf);
    buf_clear(&leaf_key);
    order = (struct local_ca_order){&name, 1, 7};
    assert_int_equal(local_ca_issue(ca, &order, now_s, &leaf, &leaf_key), ERR_OK);
    assert_int_equal(local_ca_import(buf_str(&leaf), buf_str(&leaf_key), &again, &fault),
                     ERR_CONFIG);
    assert_int_equal(local_ca_import(STR(""), STR(""), &again, &fault), ERR_SYNTAX);
    for (unsigned long n = 1, made = n; made >= n; n++) {
        mem_test_fail_at(n);
        enum err e = local_ca_issue(ca, &order, now_s, &leaf, &leaf_key);
        made = mem_test_fail_at(0);
        assert_int_equal(e, made >= n ? ERR_NOMEM : ERR_OK);
        buf_clear(&leaf);
        buf_clear(&leaf_key);
    }
    local_ca_destroy(ca);
    buf_done(&root);
    buf_done(&key);
    buf_done(&leaf);
    buf_done(&leaf_key);
}

static void test_requests(void **state)
{
    static const struct str names[] = {STR("a.test"), STR("*.a.test"), STR("192.0.2.1")};
    static const struct str bad = STR("a\0b");
    uint8_t authorization[32];
    for (int kind = PRIVATE_KEY_P256; kind <= PRIVATE_KEY_RSA_2048; kind++) {
        struct private_key *key;
        struct buf der, text, pem;
        buf_init(&der, 0);
        buf_init(&text, 0);
        buf_init(&pem, 0);
        memset(authorization, 0xa5, sizeof(authorization));
        assert_int_equal(private_key_create(kind, &key), ERR_OK);
        assert_int_equal(csr_create(key, names, COUNT_OF(names), &der), ERR_OK);
        put_file("request.der", buf_str(&der));
        assert_int_equal(openssl(&text, "req -inform DER -in request.der -verify -noout -text"), 0);
        assert_true(contains(&text, "DNS:a.test, DNS:*.a.test, IP Address:192.0.2.1"));
        assert_int_equal(csr_create(key, &bad, 1, &der), ERR_SYNTAX);
        assert_int_equal(csr_create(key, NULL, 0, &der), ERR_RANGE);
        assert_int_equal(csr_create_challenge(key, STR("a.test"), authorization, time(NULL), &pem),
                         ERR_OK);
        put_file("challenge.pem", buf_str(&pem));
        assert_int_equal(openssl(&text, "x509 -in challenge.pem -noout -text"), 0);
        assert_true(contains(&text, "1.3.6.1.5.5.7.1.31: critical"));
        assert_true(contains(&text, "DNS:a.test"));
        gnutls_x509_crt_t crt = crt_of(&pem);
        uint8_t value[64];
        size_t n = sizeof(value);
        unsigned is_critical = 0;
        assert_int_equal(gnutls_x509_crt_get_extension_by_oid(crt, "1.3.6.1.5.5.7.1.31", 0, value,
                                                              &n, &is_critical),
                         0);
        assert_int_equal(n, 34);
        assert_memory_equal(value, "\x04\x20", 2);
        assert_memory_equal(value + 2, authorization, 32);
        gnutls_x509_crt_deinit(crt);
        /* It serves, as the challenge needs. */
        struct certificate *c;
        struct fault fault;
        struct buf key_pem;
        buf_init(&key_pem, 0);
        assert_int_equal(private_key_export(key, &key_pem), ERR_OK);
        assert_int_equal(certificate_create(buf_str(&pem), buf_str(&key_pem), &c, &fault), ERR_OK);
        certificate_unref(c);
        buf_done(&key_pem);
        private_key_destroy(key);
        buf_done(&der);
        buf_done(&text);
        buf_done(&pem);
    }
}

/* A leaf with its issuer behind it, and the files with which openssl answers about it. */
static struct certificate *chain_create(const struct local_ca *ca, const char *prefix)
{
    static const struct str name = STR("www.example.com");
    const struct local_ca_order order = {&name, 1, 30};
    struct buf chain, key, root_key;
    struct certificate *c = NULL;
    struct fault fault;
    char file[32];
    buf_init(&chain, 0);
    buf_init(&key, 0);
    buf_init(&root_key, 0);
    assert_int_equal(local_ca_issue(ca, &order, time(NULL), &chain, &key), ERR_OK);
    assert_int_equal(local_ca_export_certificate(ca, &chain), ERR_OK);
    assert_int_equal(certificate_create(buf_str(&chain), buf_str(&key), &c, &fault), ERR_OK);
    buf_clear(&chain);
    assert_int_equal(local_ca_export_certificate(ca, &chain), ERR_OK);
    assert_int_equal(local_ca_export_key(ca, &root_key), ERR_OK);
    snprintf(file, sizeof(file), "%s.pem", prefix);
    put_file(file, buf_str(&chain));
    snprintf(file, sizeof(file), "%s.key", prefix);
    put_file(file, buf_str(&root_key));
    buf_done(&chain);
    buf_done(&key);
    buf_done(&root_key);
    return c;
}

/* What the responder of `prefix` says about `c`. */
static void ocsp_answer(const struct certificate *c, const char *prefix, char letter,
                        const char *days, struct buf *out)
{
    struct buf request, line;
    char arguments[256];
    struct str serial = certificate_serial(c);
    buf_init(&request, 0);
    buf_init(&line, 0);
    assert_int_equal(certificate_ocsp_request(c, &request), ERR_OK);
    put_file("request.der", buf_str(&request));
    buf_printf(&line, "%c\t400101000000Z\t%s\t", letter, letter == 'R' ? "250101000000Z" : "");
    for (size_t i = 0; i < serial.n; i++) {
        buf_printf(&line, "%02X", (unsigned char)serial.p[i]);
    }
    buf_add_str(&line, STR("\tunknown\t/CN=www.example.com\n"));
    put_file("index.txt", buf_str(&line));
    snprintf(arguments, sizeof(arguments),
             "ocsp -index index.txt -CA %s.pem -rsigner %s.pem -rkey %s.key -reqin request.der "
             "-respout answer.der %s",
             prefix, prefix, prefix, days);
    assert_int_equal(openssl(&line, arguments), 0);
    get_file("answer.der", out);
    buf_done(&request);
    buf_done(&line);
}

/* EDGE.md, row 28: what the issuer takes back is not served as good. */
static void test_staples(void **state)
{
    struct world *w = world_get();
    struct certificate *c = chain_create(w->root, "one"), *stapled = NULL;
    struct certificate *second = chain_create(w->root, "one");
    struct certificate *foreign = chain_create(w->other_root, "two");
    struct fault fault = {""};
    struct buf answer;
    int64_t now_s = time(NULL);
    buf_init(&answer, 0);
    assert_non_null(certificate_issuer_key_hash(c));
    ocsp_answer(c, "one", 'V', "-ndays 3", &answer);
    assert_int_equal(certificate_staple(c, buf_str(&answer), now_s, &stapled, &fault), ERR_OK);
    assert_true(certificate_staple_until_s(stapled) > now_s + 2 * DAY_S);
    assert_int_equal(certificate_staple_until_s(c), 0);
    assert_memory_equal(certificate_fingerprint(c), certificate_fingerprint(stapled), 32);
    /* Served to clients of both versions. */
    struct rig r;
    rig_start(&r, &(struct rig_config){.no_tickets = true});
    certificate_store_unref(r.store);
    assert_int_equal(certificate_store_create(&stapled, 1, 0, &r.store), ERR_OK);
    for (int i = 0; i < 2; i++) {
        struct link l;
        gnutls_datum_t seen = {NULL, 0};
        link_connect(&l, &r,
                     &(struct link_config){.priority = i ? "NORMAL:-VERS-ALL:+VERS-TLS1.3"
                                                         : "NORMAL:-VERS-ALL:+VERS-TLS1.2",
                                           .sni = "www.example.com"});
        assert_true(link_is_up(&l));
        assert_int_equal(gnutls_ocsp_status_request_get(l.client, &seen), 0);
        assert_true(str_eq(str_make((char *)seen.data, seen.size), buf_str(&answer)));
        link_close(&l);
    }
    /* But not when it is over. */
    struct link late;
    gnutls_datum_t seen = {NULL, 0};
    w->now_s += 4 * DAY_S;
    link_connect(&late, &r, &(struct link_config){.sni = "www.example.com"});
    w->now_s -= 4 * DAY_S;
    assert_true(link_is_up(&late));
    assert_int_not_equal(gnutls_ocsp_status_request_get(late.client, &seen), 0);
    link_close(&late);
    rig_stop(&r);
    certificate_unref(stapled);

    stapled = NULL;
    assert_int_equal(certificate_staple(c, buf_str(&answer), now_s + 4 * DAY_S, &stapled, &fault),
                     ERR_TIMEOUT);
    assert_int_equal(certificate_staple(c, buf_str(&answer), now_s - DAY_S, &stapled, &fault),
                     ERR_TIMEOUT);
    assert_int_equal(certificate_staple(second, buf_str(&answer), now_s, &stapled, &fault),
                     ERR_CONFIG);
    assert_int_equal(certificate_staple(foreign, buf_str(&answer), now_s, &stapled, &fault),
                     ERR_ACCESS);
    assert_int_equal(certificate_staple(w->ecdsa, buf_str(&answer), now_s, &stapled, &fault),
                     ERR_UNSUPPORTED);
    assert_int_equal(certificate_staple(c, STR(""), now_s, &stapled, &fault), ERR_SYNTAX);
    assert_int_equal(certificate_staple(c, STR("\x30\x03\x0a\x01\x06"), now_s, &stapled, &fault),
                     ERR_SYNTAX); /* "unauthorized" */
    answer.p[answer.n - 5] ^= 1;
    assert_int_not_equal(certificate_staple(c, buf_str(&answer), now_s, &stapled, &fault), ERR_OK);
    ocsp_answer(c, "one", 'R', "-ndays 3", &answer);
    assert_int_equal(certificate_staple(c, buf_str(&answer), now_s, &stapled, &fault),
                     ERR_CANCELLED);
    assert_non_null(strstr(fault.text, "revoked"));
    for (unsigned long n = 1; n <= 2; n++) {
        ocsp_answer(c, "one", 'V', "-ndays 3", &answer);
        mem_test_fail_at(n);
        assert_int_equal(certificate_staple(c, buf_str(&answer), now_s, &stapled, &fault),
                         ERR_NOMEM);
        mem_test_fail_at(0);
    }
    assert_null(stapled);
    certificate_unref(c);
    certificate_unref(second);
    certificate_unref(foreign);
    buf_done(&answer);
}

/* What a process needs that asks the responder and has no key. */
static void test_public_half(void **state)
{
    struct world *w = world_get();
    struct certificate *c = chain_create(w->root, "one"), *other = chain_create(w->root, "one");
    struct certificate *half = NULL;
    struct fault fault = {""};
    struct buf chain, asked, asked_again;
    buf_init(&chain, 0);
    buf_init(&asked, 0);
    buf_init(&asked_again, 0);
    assert_int_equal(certificate_put_chain(c, &chain), ERR_OK);
    assert_null(memmem(chain.p, chain.n, "PRIVATE", 7));
    assert_int_equal(certificate_create_public(buf_str(&chain), &half, &fault), ERR_OK);
    assert_memory_equal(certificate_fingerprint(half), certificate_fingerprint(c), 32);
    assert_true(certificate_has_same_chain(half, c));
    assert_false(certificate_has_same_chain(half, other));
    assert_false(certificate_has_same_chain(w->ecdsa, c));
    assert_false(certificate_must_staple(half));
    assert_int_equal(certificate_ocsp_request(c, &asked), ERR_OK);
    assert_int_equal(certificate_ocsp_request(half, &asked_again), ERR_OK);
    assert_true(asked.n > 0 && str_eq(buf_str(&asked), buf_str(&asked_again)));
    certificate_unref(half);
    assert_int_equal(certificate_put_chain(w->ecdsa, &chain), ERR_UNSUPPORTED);
    assert_int_equal(certificate_create_public(STR("no PEM"), &half, &fault), ERR_SYNTAX);
    for (unsigned long n = 1;; n++) {
        half = NULL;
        mem_test_fail_at(n);
        enum err e = certificate_create_public(buf_str(&chain), &half, &fault);
        bool is_over = mem_test_fail_at(0) < n;
        certificate_unref(half);
        assert_int_equal(e, is_over ? ERR_OK : ERR_NOMEM);
        if (is_over) {
            break;
        }
    }
    certificate_unref(c);
    certificate_unref(other);
    buf_done(&chain);
    buf_done(&asked);
    buf_done(&asked_again);
}

static int setup(void **state)
{
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    static const char *const files[] = {"root.pem",   "leaf.pem",      "leaf.key", "request.der",
                                        "answer.der", "challenge.pem", "one.pem",  "one.key",
                                        "two.pem",    "two.key",       "index.txt"};
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        char path[64];
        snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
        unlink(path);
    }
    world_free();
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaf_is_good_to_others),
        cmocka_unit_test(test_root_comes_back),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_staples),
        cmocka_unit_test(test_public_half),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
