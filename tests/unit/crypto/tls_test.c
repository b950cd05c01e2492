/* SPDX-License-Identifier: Apache-2.0 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "rig.h"

#define TLS12_ONLY "NORMAL:-VERS-ALL:+VERS-TLS1.2"
#define TLS13_ONLY "NORMAL:-VERS-ALL:+VERS-TLS1.3"
#define NO_ECDSA                                                                                   \
    ":-SIGN-ECDSA-SHA256:-SIGN-ECDSA-SHA384:-SIGN-ECDSA-SHA512:-SIGN-ECDSA-SECP256R1-SHA256"       \
    ":-SIGN-ECDSA-SECP384R1-SHA384:-SIGN-ECDSA-SECP521R1-SHA512"

static const char *const versions[] = {TLS12_ONLY, TLS13_ONLY};

static void test_versions_and_facts(void **state)
{
    struct rig r;
    struct link l;
    rig_start(&r, &(struct rig_config){
                      .policy = {.alpn = {STR("h2"), STR("http/1.1")}, .alpn_count = 2}});
    for (int i = 0; i < 2; i++) {
        link_connect(&l, &r,
                     &(struct link_config){.priority = versions[i],
                                           .sni = "WWW.example.com",
                                           .alpn = {"http/1.1", "h2"}});
        assert_true(link_is_up(&l));
        assert_int_equal(tls_conn_version(l.conn), i == 0 ? TLS_VERSION_12 : TLS_VERSION_13);
        assert_true(str_eq(tls_conn_alpn(l.conn), STR("h2")));
        assert_true(str_eq(tls_conn_sni(l.conn), STR("www.example.com")));
        assert_string_equal(tls_conn_cipher(l.conn), gnutls_ciphersuite_get(l.client));
        assert_false(tls_conn_is_resumed(l.conn));
        assert_ptr_equal(tls_conn_policy(l.conn), r.policy);
        uint8_t ours[32], theirs[32];
        assert_int_equal(tls_conn_export(l.conn, STR("EXPORTER-test"), ours, 32), ERR_OK);
        gnutls_prf_rfc5705(l.client, 13, "EXPORTER-test", 0, NULL, 32, (char *)theirs);
        assert_memory_equal(ours, theirs, 32);
        link_close(&l);
    }
    rig_stop(&r);
}

static void test_only_modern_versions_and_ciphers(void **state)
{
    static const char *const refused[] = {
        "NORMAL:-VERS-ALL:+VERS-TLS1.1:+VERS-TLS1.0",
        TLS12_ONLY ":-KX-ALL:+RSA",
        TLS12_ONLY ":-KX-ALL:+DHE-RSA",
        TLS12_ONLY ":-CIPHER-ALL:+AES-128-CBC:+AES-256-CBC",
        TLS12_ONLY ":-CIPHER-ALL:+AES-128-CCM",
        TLS13_ONLY ":-GROUP-ALL:+GROUP-FFDHE2048",
    };
    struct rig r;
    struct link l;
    rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        link_connect(&l, &r, &(struct link_config){.priority = refused[i]});
        assert_false(tls_conn_is_handshaken(l.conn));
        assert_int_not_equal(l.server_error, ERR_AGAIN);
        assert_int_equal(l.client_error, GNUTLS_E_FATAL_ALERT_RECEIVED);
        assert_true(tls_conn_error_text(l.conn)[0] != '\0');
        link_close(&l);
    }
    link_connect(&l, &r, &(struct link_config){.priority = refused[0]});
    assert_int_equal(l.server_error, ERR_UNSUPPORTED);
    link_close(&l);
    rig_stop(&r);
}

static void test_min_version_and_ciphers_of_a_policy(void **state)
{
    const struct str ciphers[] = {STR("CHACHA20-POLY1305"), STR("AES-256-GCM")};
    struct rig r;
    struct link l;
    rig_start(
        &r, &(struct rig_config){
                .policy = {.min_version = TLS_VERSION_13, .ciphers = ciphers, .cipher_count = 2}});
    link_connect(&l, &r, &(struct link_config){.priority = TLS12_ONLY});
    assert_int_equal(l.server_error, ERR_UNSUPPORTED);
    link_close(&l);
    link_connect(&l, &r, &(struct link_config){.priority = "NORMAL"});
    assert_true(link_is_up(&l));
    assert_int_equal(gnutls_cipher_get(l.client), GNUTLS_CIPHER_CHACHA20_POLY1305);
    link_close(&l);
    rig_stop(&r);
    struct tls_policy *p = NULL;
    struct fault fault;
    const struct str bad[] = {STR("3DES")};
    const struct tls_policy_config config = {.ciphers = bad, .cipher_count = 1};
    assert_int_equal(tls_policy_create(&config, &p, &fault), ERR_CONFIG);
    assert_non_null(strstr(fault.text, "3DES"));
}

static void test_alpn_without_overlap_is_refused(void **state)
{
    struct rig r;
    struct link l;
    rig_start(&r, &(struct rig_config){.policy = {.alpn = {STR("h2")}, .alpn_count = 1}});
    for (int i = 0; i < 2; i++) {
        link_connect(&l, &r, &(struct link_config){.priority = versions[i], .alpn = {"ftp"}});
        assert_int_equal(l.server_error, ERR_UNSUPPORTED);
        assert_int_equal(gnutls_alert_get(l.client), GNUTLS_A_NO_APPLICATION_PROTOCOL);
        link_close(&l);
        link_connect(&l, &r, &(struct link_config){.priority = versions[i]});
        assert_true(link_is_up(&l)); /* a client that says nothing gets through */
        assert_int_equal(tls_conn_alpn(l.conn).n, 0);
        link_close(&l);
    }
    rig_stop(&r);
}

static void test_names_choose_certificates(void **state)
{
    static const struct {
        const char *sni, *host;
    } cases[] = {
        {"www.example.com", "www.example.com"},
        {"a.example.com", "a.example.com"},
        {"other.test", "other.test"},
        {"example.com", "fallback.test"},
        {"a.b.example.com", "fallback.test"},
        {"unknown.test", "fallback.test"},
        {NULL, "fallback.test"},
    };
    struct rig r;
    struct link l;
    rig_start(&r, &(struct rig_config){.no_tickets = true});
    for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
        link_connect(&l, &r,
                     &(struct link_config){.priority = versions[i & 1], .sni = cases[i / 2].sni});
        assert_true(link_is_up(&l));
        assert_true(link_server_is(&l, cases[i / 2].host));
        link_close(&l);
    }
    rig_stop(&r);
}

static void test_ecdsa_where_the_client_can(void **state)
{
    static const struct {
        const char *priority;
        gnutls_pk_algorithm_t key;
    } cases[] = {
        {TLS12_ONLY, GNUTLS_PK_ECDSA},
        {TLS13_ONLY, GNUTLS_PK_ECDSA},
        {TLS12_ONLY NO_ECDSA, GNUTLS_PK_RSA},
        {TLS13_ONLY NO_ECDSA, GNUTLS_PK_RSA},
        {TLS12_ONLY ":-ECDHE-ECDSA", GNUTLS_PK_RSA},
        {TLS12_ONLY ":-ECDHE-RSA", GNUTLS_PK_ECDSA},
    };
    struct rig r;
    struct link l;
    rig_start(&r, &(struct rig_config){.no_tickets = true});
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        link_connect(
            &l, &r, &(struct link_config){.priority = cases[i].priority, .sni = "www.example.com"});
        assert_true(link_is_up(&l));
        assert_int_equal(link_server_key(&l), cases[i].key);
        link_close(&l);
    }
    /* This name has no RSA certificate, and neither has the default. */
    link_connect(
        &l, &r, &(struct link_config){.priority = TLS12_ONLY ":-ECDHE-ECDSA", .sni = "other.test"});
    assert_int_equal(l.server_error, ERR_NOT_FOUND);
    link_close(&l);
    rig_stop(&r);
}

static void test_the_owner_refuses_a_name(void **state)
{
    struct rig r;
    struct link l;
    rig_start(&r, &(struct rig_config){.no_tickets = true});
    r.refuse = ERR_NOT_FOUND;
    link_connect(&l, &r, &(struct link_config){.sni = "www.example.com"});
    assert_int_equal(l.server_error, ERR_NOT_FOUND);
    assert_int_equal(gnutls_alert_get(l.client), GNUTLS_A_UNRECOGNIZED_NAME);
    /* The error stays. */
    struct tls_input in = {"x", 1, false};
    char plain[16];
    size_t n;
    assert_int_equal(tls_conn_read(l.conn, &in, plain, sizeof(plain), &l.to_client, &n),
                     ERR_NOT_FOUND);
    assert_int_equal(link_server_write(&l, STR("x")), ERR_NOT_FOUND);
    link_close(&l);
    rig_stop(&r);
}

static void test_retry_asks_the_owner_once(void **state)
{
    struct rig r;
    struct link l;
    rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
    /* The client sends a share for P-521 first, which the server does not have. */
    link_connect(&l, &r,
                 &(struct link_config){.priority = TLS13_ONLY
                                       ":-GROUP-ALL:+GROUP-SECP521R1:+GROUP-SECP384R1",
                                       .sni = "www.example.com"});
    assert_true(link_is_up(&l));
    assert_int_equal(r.hello_count, 1);
    link_close(&l);
    rig_stop(&r);
}

static void test_client_certificates(void **state)
{
    struct world *w = world_get();
    enum { NONE, GOOD, STRANGER };
    static const struct {
        enum tls_client_auth mode;
        int sends;
        bool is_let_in;
    } cases[] = {
        {TLS_CLIENT_OFF, NONE, true},           {TLS_CLIENT_OFF, GOOD, true},
        {TLS_CLIENT_OPTIONAL, NONE, true},      {TLS_CLIENT_OPTIONAL, GOOD, true},
        {TLS_CLIENT_OPTIONAL, STRANGER, false}, {TLS_CLIENT_REQUIRE, NONE, false},
        {TLS_CLIENT_REQUIRE, GOOD, true},       {TLS_CLIENT_REQUIRE, STRANGER, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
        struct rig r;
        struct link l;
        int sends = cases[i / 2].sends;
        enum tls_client_auth mode = cases[i / 2].mode;
        struct tls_client_certificate about;
        rig_start(&r, &(struct rig_config){
                          .policy = {.client_auth = mode, .client_ca_pem = buf_str(&w->root_pem)}});
        link_connect(&l, &r,
                     &(struct link_config){.priority = versions[i & 1],
                                           .sni = "www.example.com",
                                           .pem = sends == GOOD ? &w->client_pem
                                                  : sends       ? &w->stranger_pem
                                                                : NULL,
                                           .key_pem = sends == GOOD ? &w->client_key_pem
                                                                    : &w->stranger_key_pem});
        enum err e = tls_conn_client_certificate(l.conn, &about);
        if (!cases[i / 2].is_let_in) {
            assert_false(tls_conn_is_handshaken(l.conn));
            assert_int_equal(l.server_error, ERR_ACCESS);
            assert_int_equal(e, ERR_NOT_FOUND);
            if (sends == NONE) {
                struct buf ignored;
                buf_init(&ignored, 0);
                link_client_read(&l, &ignored); /* TLS 1.3 clients are done before they learn it */
                assert_int_equal(gnutls_alert_get(l.client), i & 1 ? GNUTLS_A_CERTIFICATE_REQUIRED
                                                                   : GNUTLS_A_HANDSHAKE_FAILURE);
                buf_done(&ignored);
            }
        } else {
            assert_true(link_is_up(&l));
            bool is_seen = sends == GOOD && mode != TLS_CLIENT_OFF;
            assert_int_equal(e, is_seen ? ERR_OK : ERR_NOT_FOUND);
            assert_int_equal(about.is_present, is_seen);
            if (is_seen) {
                assert_true(str_eq(about.issuer, STR("CN=Selenia local root one")));
                assert_true(str_eq(about.serial, STR("11")));
                assert_true(about.not_after_s > w->now_s);
            }
        }
        link_close(&l);
        rig_stop(&r);
    }
}

static void test_client_certificates_never_fail_open(void **state)
{
    static const struct str pems[] = {
        STR(""), STR("\n"), STR("garbage"),
        STR("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
        STR("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")};
    for (size_t i = 0; i < COUNT_OF(pems); i++) {
        struct tls_policy *p = NULL;
        struct fault fault = {""};
        struct tls_policy_config config = {.client_auth = TLS_CLIENT_OPTIONAL,
                                           .client_ca_pem = pems[i]};
        assert_int_not_equal(tls_policy_create(&config, &p, &fault), ERR_OK);
        assert_true(fault.text[0] != '\0');
        config.client_auth = TLS_CLIENT_REQUIRE;
        assert_int_not_equal(tls_policy_create(&config, &p, &fault), ERR_OK);
        assert_null(p);
    }
}

static void test_bytes_one_at_a_time(void **state)
{
    struct world *w = world_get();
    for (int i = 0; i < 2; i++) {
        struct rig r;
        struct link l;
        rig_start(&r, &(struct rig_config){.policy = {.client_auth = TLS_CLIENT_REQUIRE,
                                                      .client_ca_pem = buf_str(&w->root_pem)}});
        link_open(&l, &r,
                  &(struct link_config){.priority = versions[i],
                                        .sni = "www.example.com",
                                        .pem = &w->client_pem,
                                        .key_pem = &w->client_key_pem});
        l.step_bytes = 1;
        link_pump(&l);
        assert_true(link_is_up(&l));
        link_client_write(&l, STR("hello"));
        link_feed_server(&l);
        assert_true(str_eq(buf_str(&l.got), STR("hello")));
        link_close(&l);
        rig_stop(&r);
    }
}

static void test_large_data_both_ways(void **state)
{
    size_t n = 300 * 1000;
    char *bytes = mem_alloc(n);
    struct rig r;
    struct link l;
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (char)(i * 7 + i / 251);
    }
    rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
    for (int i = 0; i < 2; i++) {
        struct buf got;
        buf_init(&got, 0);
        link_connect(&l, &r, &(struct link_config){.priority = versions[i]});
        l.step_bytes = 1000;
        link_client_write(&l, str_make(bytes, n));
        link_feed_server(&l);
        assert_int_equal(l.got.n, n);
        assert_memory_equal(l.got.p, bytes, n);
        /* Pieces of every size, many of them small: the records are full nevertheless. */
        struct str pieces[200];
        size_t at = 0, count = 0, before = l.to_client.n;
        while (count < 199) {
            size_t part = count * 13 % 2000;
            pieces[count++] = str_make(bytes + at, part);
            at += part;
        }
        pieces[count++] = str_make(bytes + at, n - at);
        assert_int_equal(tls_conn_write(l.conn, pieces, count, &l.to_client), ERR_OK);
        size_t records = n / TLS_RECORD_BYTES + 3;
        assert_true(l.to_client.n - before <= n + records * TLS_RECORD_OVERHEAD);
        assert_int_equal(link_client_read(&l, &got), GNUTLS_E_AGAIN);
        assert_int_equal(got.n, n);
        assert_memory_equal(got.p, bytes, n);
        buf_done(&got);
        link_close(&l);
    }
    rig_stop(&r);
    mem_free(bytes);
}

static void test_reading_in_small_pieces_keeps_the_rest(void **state)
{
    struct rig r;
    struct link l;
    rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
    link_connect(&l, &r, &(struct link_config){.priority = TLS13_ONLY});
    link_client_write(&l, STR("abcdefghij"));
    link_client_write(&l, STR("KLM"));
    struct tls_input in = {l.to_server.p, l.to_server.n, false};
    char plain[4];
    size_t n = 0;
    struct buf got;
    buf_init(&got, 0);
    assert_int_equal(tls_conn_read(l.conn, &in, plain, sizeof(plain), &l.to_client, &n), ERR_OK);
    assert_int_equal(n, 4);
    assert_int_equal(tls_conn_pending_bytes(l.conn), 6);
    assert_true(in.n > 0); /* the second record waits with the caller */
    buf_add(&got, plain, n);
    while (tls_conn_read(l.conn, &in, plain, sizeof(plain), &l.to_client, &n) == ERR_OK) {
        buf_add(&got, plain, n);
    }
    assert_true(str_eq(buf_str(&got), STR("abcdefghijKLM")));
    assert_int_equal(tls_conn_pending_bytes(l.conn), 0);
    buf_done(&got);
    link_close(&l);
    rig_stop(&r);
}

static void test_ends(void **state)
{
    struct rig r;
    struct link l;
    struct buf got;
    rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
    for (int i = 0; i < 2; i++) {
        /* The client says goodbye; what the server still has to say arrives. */
        buf_init(&got, 0);
        link_connect(&l, &r, &(struct link_config){.priority = versions[i]});
        link_client_write(&l, STR("last"));
        gnutls_bye(l.client, GNUTLS_SHUT_WR);
        link_feed_server(&l);
        assert_int_equal(l.server_error, ERR_EOF);
        assert_true(str_eq(buf_str(&l.got), STR("last")));
        assert_int_equal(link_server_write(&l, STR("answer")), ERR_OK);
        tls_conn_close(l.conn, &l.to_client);
        size_t n = l.to_client.n;
        tls_conn_close(l.conn, &l.to_client);
        assert_int_equal(l.to_client.n, n);
        assert_int_equal(link_server_write(&l, STR("x")), ERR_CLOSED);
        assert_int_equal(link_client_read(&l, &got), 0);
        assert_true(str_eq(buf_str(&got), STR("answer")));
        buf_done(&got);
        link_close(&l);

        /* It just goes away: that is told from an end. */
        link_connect(&l, &r, &(struct link_config){.priority = versions[i]});
        link_client_write(&l, STR("cut"));
        l.is_client_gone = true;
        link_feed_server(&l);
        assert_int_equal(l.server_error, ERR_RESET);
        assert_true(str_eq(buf_str(&l.got), STR("cut")));
        link_close(&l);

        /* Within the handshake. */
        link_open(&l, &r, &(struct link_config){.priority = versions[i]});
        l.client_error = gnutls_handshake(l.client);
        l.is_client_gone = true;
        link_feed_server(&l);
        assert_int_equal(l.server_error, ERR_RESET);
        link_close(&l);

        /* Before its first byte. */
        link_open(&l, &r, &(struct link_config){.priority = versions[i]});
        l.is_client_gone = true;
        link_feed_server(&l);
        assert_int_equal(l.server_error, ERR_RESET);
        link_close(&l);
    }
    rig_stop(&r);
}

static void test_writing_before_the_handshake_takes_nothing(void **state)
{
    struct rig r;
    struct link l;
    rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
    link_open(&l, &r, &(struct link_config){.sni = NULL});
    assert_int_equal(link_server_write(&l, STR("early")), ERR_AGAIN);
    tls_conn_close(l.conn, &l.to_client);
    assert_int_equal(l.to_client.n, 0);
    link_close(&l);
    rig_stop(&r);
}

static void test_garbage_is_refused(void **state)
{
    static const struct str texts[] = {
        STR("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        STR("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"),
        STR("\x15\x03\x01\x00\x02\x02\x28"),
        STR("\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10\x01\x00\x80\x03\x00\x80\x07\x00\xc0\x06"
            "\x00\x40\x02\x00\x80\x04\x00\x80\x00\x00\x04\x00\xfe\xff\x00\x00\x0a\x00\xfe\xfe"
            "\x00\x00\x09\x00\x00\x64\x00\x00\x62"),
        STR("\x17\x03\x03\xff\xff aaaaaaaaaaaaaaaaaaaaaaaaa"),
    };
    struct rig r;
    struct link l;
    rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        link_open(&l, &r, &(struct link_config){.sni = NULL});
        buf_add_str(&l.to_server, texts[i]);
        l.is_client_gone = true;
        link_feed_server(&l);
        assert_int_not_equal(l.server_error, ERR_AGAIN);
        assert_int_not_equal(l.server_error, ERR_EOF);
        assert_false(tls_conn_is_handshaken(l.conn));
        link_close(&l);
    }
    rig_stop(&r);
}

/* Every byte of a whole conversation is changed once: the server ends it, or (where the byte was
 * of no account, as in the legacy version of a record) goes on; nothing wrong ever comes out. */
static void test_mutated_bytes(void **state)
{
    struct rig r;
    rig_start(&r, &(struct rig_config){.no_tickets = true});
    for (int i = 0; i < 2; i++) {
        for (size_t at = 0, is_inside = 1; is_inside; at += at < 300 ? 3 : 17) {
            struct link l;
            size_t seen = 0;
            is_inside = 0;
            link_open(&l, &r,
                      &(struct link_config){.priority = versions[i], .sni = "www.example.com"});
            for (int turn = 0; turn < 6; turn++) {
                if (!l.is_client_done && (!l.client_error || l.client_error == GNUTLS_E_AGAIN)) {
                    l.client_error = gnutls_handshake(l.client);
                    l.is_client_done = l.client_error == 0;
                }
                if (l.is_client_done && turn == 4) {
                    link_client_write(&l, STR("the plaintext"));
                }
                if (at >= seen && at < seen + l.to_server.n) {
                    l.to_server.p[at - seen] ^= 0x15;
                    is_inside = 1;
                }
                seen += l.to_server.n;
                link_feed_server(&l);
            }
            if (l.got.n) {
                assert_true(str_eq(buf_str(&l.got), STR("the plaintext")));
            }
            link_close(&l);
        }
    }
    rig_stop(&r);
}

static void test_renegotiation_is_refused(void **state)
{
    struct rig r;
    struct link l;
    rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
    link_connect(&l, &r, &(struct link_config){.priority = TLS12_ONLY});
    assert_true(link_is_up(&l));
    assert_int_equal(gnutls_handshake(l.client), GNUTLS_E_AGAIN);
    link_feed_server(&l);
    assert_int_equal(l.server_error, ERR_UNSUPPORTED);
    link_close(&l);
    rig_stop(&r);
}

static void test_keys_change_on_the_way(void **state)
{
    struct rig r;
    struct link l;
    struct buf got;
    buf_init(&got, 0);
    rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
    link_connect(&l, &r, &(struct link_config){.priority = TLS13_ONLY});
    assert_int_equal(gnutls_session_key_update(l.client, GNUTLS_KU_PEER), 0);
    link_client_write(&l, STR("under new keys"));
    link_feed_server(&l);
    assert_true(str_eq(buf_str(&l.got), STR("under new keys")));
    assert_int_equal(link_server_write(&l, STR("here too")), ERR_OK);
    link_client_read(&l, &got);
    assert_true(str_eq(buf_str(&got), STR("here too")));
    /* A client that does nothing else is stopped. */
    for (int i = 0; i < 100 && l.server_error == ERR_AGAIN; i++) {
        assert_int_equal(gnutls_session_key_update(l.client, 0), 0);
        link_feed_server(&l);
    }
    assert_int_equal(l.server_error, ERR_LIMIT);
    buf_done(&got);
    link_close(&l);
    rig_stop(&r);
}

static void test_the_store_changes_under_connections(void **state)
{
    struct world *w = world_get();
    struct rig r;
    struct link l, next;
    struct certificate *const one[] = {w->other};
    rig_start(&r, &(struct rig_config){.no_tickets = true});
    link_connect(&l, &r, &(struct link_config){.sni = "www.example.com"});
    certificate_store_unref(r.store);
    assert_int_equal(certificate_store_create(one, 1, 0, &r.store), ERR_OK);
    link_connect(&next, &r, &(struct link_config){.sni = "www.example.com"});
    assert_true(link_server_is(&next, "other.test"));
    link_client_write(&l, STR("still here"));
    link_feed_server(&l);
    assert_true(str_eq(buf_str(&l.got), STR("still here")));
    link_close(&l);
    link_close(&next);
    rig_stop(&r);
}

static void test_allocation_failures(void **state)
{
    struct rig r;
    struct link l;
    bool is_up = false;
    rig_start(&r, &(struct rig_config){.policy = {.alpn = {STR("h2")}, .alpn_count = 1}});
    for (unsigned long n = 1; !is_up; n++) {
        assert_true(n < 1000);
        struct tls_conn *spare = NULL;
        mem_test_fail_at(n);
        enum err e = tls_conn_create(r.server, NULL, 0, &spare);
        mem_test_fail_at(0);
        assert_true(e == ERR_OK || e == ERR_NOMEM);
        tls_conn_destroy(spare);
        link_open(&l, &r, &(struct link_config){.sni = "www.example.com", .alpn = {"h2"}});
        l.client_error = gnutls_handshake(l.client);
        struct tls_input in = {l.to_server.p, l.to_server.n, false};
        char plain[64];
        size_t got;
        mem_test_fail_at(n);
        e = tls_conn_read(l.conn, &in, plain, sizeof(plain), &l.to_client, &got);
        is_up = mem_test_fail_at(0) < n;
        assert_int_equal(e, is_up ? ERR_AGAIN : ERR_NOMEM);
        link_close(&l);
    }
    rig_stop(&r);
}

/* The allocations of GnuTLS itself: its functions are variables that a program may set. */
static gnutls_alloc_function real_malloc;
static gnutls_calloc_function real_calloc;
static gnutls_realloc_function real_realloc;
static unsigned long library_count, library_fail_at;

/* GnuTLS 3.7.9 loses a buffer at one such failure; our own are searched for leaks above. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

static void watch_leaks(bool is_on)
{
    void (*change)(void) = is_on ? __lsan_enable : __lsan_disable;
    if (change) {
        change();
    }
}

static bool library_fails(void)
{
    return ++library_count == library_fail_at;
}

static void *failing_malloc(size_t n)
{
    return library_fails() ? NULL : real_malloc(n);
}

static void *failing_calloc(size_t count, size_t n)
{
    return library_fails() ? NULL : real_calloc(count, n);
}

static void *failing_realloc(void *p, size_t n)
{
    return library_fails() ? NULL : real_realloc(p, n);
}

/* Each allocation of a handshake and a request fails once: the connection ends or works, and
 * no wrong byte comes out. Without client certificates: checking them, GnuTLS 3.7.9 crashes when a
 * name cannot be allocated (gnutls_x509_dn_init). */
static void test_allocation_failures_of_the_library(void **state)
{
    struct rig r;
    rig_start(&r, &(struct rig_config){.policy = {.alpn_count = 0}});
    real_malloc = gnutls_malloc;
    real_calloc = gnutls_calloc;
    real_realloc = gnutls_realloc;
    for (int i = 0; i < 2; i++) {
        unsigned long made = 1;
        for (unsigned long n = 0; n <= made; n++) { /* 0: to count */
            struct link l;
            link_open(&l, &r,
                      &(struct link_config){.priority = versions[i], .sni = "www.example.com"});
            library_count = 0;
            for (int turn = 0; turn < 6; turn++) {
                if (!l.is_client_done && (!l.client_error || l.client_error == GNUTLS_E_AGAIN)) {
                    l.client_error = gnutls_handshake(l.client);
                    l.is_client_done = l.client_error == 0;
                }
                if (l.is_client_done && turn == 4) {
                    ssize_t ignored = gnutls_record_send(l.client, "request", 7);
                    (void)ignored;
                }
                gnutls_malloc = failing_malloc;
                gnutls_calloc = failing_calloc;
                gnutls_realloc = failing_realloc;
                library_fail_at = n;
                watch_leaks(false);
                link_feed_server(&l);
                watch_leaks(true);
                gnutls_malloc = real_malloc;
                gnutls_calloc = real_calloc;
                gnutls_realloc = real_realloc;
            }
            made = library_count > made ? library_count : made;
            assert_true(l.got.n == 0 || str_eq(buf_str(&l.got), STR("request")));
            link_close(&l);
        }
        assert_true(made > 50);
    }
    rig_stop(&r);
}

static void test_allocation_failures_of_policies(void **state)
{
    const struct str ciphers[] = {STR("AES-128-GCM")};
    const struct tls_policy_config config = {.alpn = {STR("h2"), STR("http/1.1")},
                                             .alpn_count = 2,
                                             .ciphers = ciphers,
                                             .cipher_count = 1,
                                             .client_auth = TLS_CLIENT_REQUIRE,
                                             .client_ca_pem = buf_str(&world_get()->root_pem)};
    bool is_done = false;
    for (unsigned long n = 1; !is_done; n++) {
        struct tls_policy *p = NULL;
        struct fault fault;
        mem_test_fail_at(n);
        enum err e = tls_policy_create(&config, &p, &fault);
        is_done = mem_test_fail_at(0) < n;
        assert_int_equal(e, is_done ? ERR_OK : ERR_NOMEM);
        tls_policy_unref(p);
        struct tls_server *server = NULL;
        const struct tls_server_config server_config = {.hooks = {.on_client_hello = NULL}};
        mem_test_fail_at(n);
        e = tls_server_create(&server_config, &server);
        assert_int_equal(e, mem_test_fail_at(0) < n ? ERR_OK : ERR_NOMEM);
        tls_server_destroy(server);
    }
}

/* The bar is 32 KiB for all of an idle connection; this is the share of TLS. */
static void test_memory_of_an_idle_connection(void **state)
{
    enum { CONNECTIONS = 200 };
    static struct tls_conn *conns[CONNECTIONS];
    struct rig r;
    rig_start(&r, &(struct rig_config){.policy = {.alpn = {STR("h2")}, .alpn_count = 1}});
    for (int i = 0; i < 2; i++) {
        size_t before = 0;
        for (int k = -10; k < CONNECTIONS; k++) {
            struct link l;
            before = k == 0 ? mallinfo2().uordblks : before;
            link_connect(&l, &r,
                         &(struct link_config){
                             .priority = versions[i], .sni = "www.example.com", .alpn = {"h2"}});
            assert_true(link_is_up(&l));
            link_client_write(&l, STR("request"));
            link_feed_server(&l);
            assert_int_equal(link_server_write(&l, STR("answer")), ERR_OK);
            struct tls_conn *kept = l.conn;
            l.conn = NULL;
            link_close(&l);
            if (k < 0) {
                tls_conn_destroy(kept); /* what is allocated once is there by now */
            } else {
                conns[k] = kept;
            }
        }
        size_t after = mallinfo2().uordblks;
        for (int k = 0; k < CONNECTIONS; k++) {
            tls_conn_destroy(conns[k]);
        }
        if (before == 0) {
            rig_stop(&r);
            skip(); /* the sanitizers have a heap of their own */
        }
        assert_true((after - before) / CONNECTIONS < 14 * 1024);
    }
    rig_stop(&r);
}

static int teardown(void **state)
{
    world_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions_and_facts),
        cmocka_unit_test(test_only_modern_versions_and_ciphers),
        cmocka_unit_test(test_min_version_and_ciphers_of_a_policy),
        cmocka_unit_test(test_alpn_without_overlap_is_refused),
        cmocka_unit_test(test_names_choose_certificates),
        cmocka_unit_test(test_ecdsa_where_the_client_can),
        cmocka_unit_test(test_the_owner_refuses_a_name),
        cmocka_unit_test(test_retry_asks_the_owner_once),
        cmocka_unit_test(test_client_certificates),
        cmocka_unit_test(test_client_certificates_never_fail_open),
        cmocka_unit_test(test_bytes_one_at_a_time),
        cmocka_unit_test(test_large_data_both_ways),
        cmocka_unit_test(test_reading_in_small_pieces_keeps_the_rest),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_writing_before_the_handshake_takes_nothing),
        cmocka_unit_test(test_garbage_is_refused),
        cmocka_unit_test(test_mutated_bytes),
        cmocka_unit_test(test_renegotiation_is_refused),
        cmocka_unit_test(test_keys_change_on_the_way),
        cmocka_unit_test(test_the_store_changes_under_connections),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_allocation_failures_of_the_library),
        cmocka_unit_test(test_allocation_failures_of_policies),
        cmocka_unit_test(test_memory_of_an_idle_connection),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
