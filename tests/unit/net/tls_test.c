/* SPDX-License-Identifier: Apache-2.0 */
/* What a connection becomes behind its TLS handshake, with GnuTLS as the client. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>
#include <gnutls/gnutls.h>

#include "../http/h2_wire.h"
#include "crypto/certificate.h"
#include "crypto/certificate_store.h"
#include "crypto/local_ca.h"
#include "crypto/tls_policy.h"
#include "crypto/tls_server.h"
#include "rig.h"

static struct rig rig;
static struct client client;
static struct certificate_store *store;
static struct tls_policy *policy;
static gnutls_session_t session;
static gnutls_certificate_credentials_t credentials;
static struct buf plain;

static enum err on_hello(void *context, void *user, const struct client_hello *hello,
                         struct tls_choice *ret_choice)
{
    *ret_choice = (struct tls_choice){policy, store, false};
    return ERR_OK;
}

static void make_store(void)
{
    struct local_ca *ca;
    struct buf chain, key;
    struct certificate *certificate;
    struct fault fault;
    const struct str name = STR("a.test");
    const struct local_ca_order order = {&name, 1, 30};
    buf_init(&chain, 0);
    buf_init(&key, 0);
    assert_int_equal(local_ca_create(STR("net"), time(NULL), &ca), ERR_OK);
    assert_int_equal(local_ca_issue(ca, &order, time(NULL), &chain, &key), ERR_OK);
    assert_int_equal(certificate_create(buf_str(&chain), buf_str(&key), &certificate, &fault),
                     ERR_OK);
    assert_int_equal(certificate_store_create(&certificate, 1, 0, &store), ERR_OK);
    certificate_unref(certificate);
    local_ca_destroy(ca);
    buf_done(&chain);
    buf_done(&key);
}

static void start(void)
{
    struct server_limits limits = rig_limits();
    struct fault fault;
    struct tls_server *tls;
    const struct tls_policy_config config = {.alpn = {STR("h2"), STR("http/1.1")}, .alpn_count = 2};
    const struct tls_server_config server = {.hooks = {.on_client_hello = on_hello}};
    limits.speaks_h2 = true;
    limits.speaks_h2c = true;
    limits.stream_count_max = 100;
    rig_start(&rig, &limits);
    make_store();
    assert_int_equal(tls_policy_create(&config, &policy, &fault), ERR_OK);
    assert_int_equal(tls_server_create(&server, &tls), ERR_OK);
    assert_int_equal(server_set_tls(rig.server, tls), ERR_OK);
    server_unlisten(rig.server, rig.listener);
    assert_int_equal(server_listen(rig.server, rig.listen_fd, true, &rig.listener), ERR_OK);
    buf_init(&plain, 0);
}

/* Lets both sides work until nothing moves any more. */
static void pump(void)
{
    for (int idle = 0; idle < 3;) {
        char block[16384];
        rig_settle(&rig);
        ssize_t n = gnutls_record_recv(session, block, sizeof(block));
        if (n > 0) {
            buf_add(&plain, block, (size_t)n);
            idle = 0;
        } else {
            idle++;
        }
    }
}

static void connect_with(const char *alpn)
{
    client_open(&rig, &client);
    assert_int_equal(fcntl(client.fd, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_NONBLOCK), 0);
    assert_int_equal(gnutls_certificate_allocate_credentials(&credentials), 0);
    gnutls_set_default_priority(session);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_server_name_set(session, GNUTLS_NAME_DNS, "a.test", 6);
    if (alpn) {
        const gnutls_datum_t name = {(unsigned char *)(uintptr_t)alpn, (unsigned)strlen(alpn)};
        gnutls_alpn_set_protocols(session, &name, 1, 0);
    }
    gnutls_transport_set_int(session, client.fd);
    int rv = GNUTLS_E_AGAIN;
    for (int i = 0; i < 20 && rv == GNUTLS_E_AGAIN; i++) {
        rv = gnutls_handshake(session);
        rig_settle(&rig);
    }
    assert_int_equal(rv, 0);
}

static void say(struct str bytes)
{
    assert_int_equal(gnutls_record_send(session, bytes.p, bytes.n), (ssize_t)bytes.n);
    pump();
}

static void stop(void)
{
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    client_close(&client);
    rig_stop(&rig);
    tls_policy_unref(policy);
    certificate_store_unref(store);
    buf_done(&plain);
}

static void test_h2(void **state)
{
    struct buf out;
    bool is_ended;
    buf_init(&out, 0);
    start();
    connect_with("h2");
    wire_hello(&out);
    wire_put_u32(&out, WIRE_WINDOW_UPDATE, 0, INT32_MAX - 65535);
    wire_put(&out, WIRE_SETTINGS, 0, 0, str_make("\0\4\x7f\xff\xff\xff", 6));
    wire_request(&out, 1, WIRE_END_STREAM, "GET", "/y", "");
    wire_request(&out, 3, WIRE_END_STREAM, "GET", "/f", "");
    wire_request(&out, 5, 0, "POST", "/k", "");
    wire_put(&out, WIRE_DATA, WIRE_END_STREAM, 5, STR("kept"));
    say(buf_str(&out));
    assert_int_equal(wire_body(buf_str(&plain), 1, &is_ended), 6);
    assert_int_equal(wire_body(buf_str(&plain), 3, &is_ended), RIG_FILE_BYTES);
    assert_true(is_ended);
    assert_int_equal(wire_body(buf_str(&plain), 5, &is_ended), 4);
    assert_int_equal(rig.ended_well, 3);
    buf_done(&out);
    stop();
}

static void test_h1(void **state)
{
    static const char *const alpns[] = {"http/1.1", NULL};
    for (size_t i = 0; i < COUNT_OF(alpns); i++) {
        start();
        connect_with(alpns[i]);
        say(STR("GET /n HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_true(str_starts_with(buf_str(&plain), STR("HTTP/1.1 200 OK\r\n")));
        stop();
    }
}

/* Only ALPN makes HTTP/2 here: the preface alone does not. */
static void test_preface_without_alpn(void **state)
{
    start();
    connect_with(NULL);
    say(STR(WIRE_PREFACE));
    assert_false(str_starts_with(buf_str(&plain), STR("HTTP/1.1 200")));
    assert_int_equal(wire_count(buf_str(&plain), WIRE_SETTINGS, 0, NULL), 0);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h2),
        cmocka_unit_test(test_h1),
        cmocka_unit_test(test_preface_without_alpn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
