/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side before it speaks: what it is made of, and what is refused. Handshakes with
 * other people's servers are in tests/e2e/test_proxy.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "crypto/tls_client.h"
#include "crypto/tls_conn.h"

static void test_hello(void **state)
{
    const struct tls_client_config config = {
        .name = STR("up.test"), .verifies = false, .alpn = STR("http/1.1")};
    struct tls_client *client;
    struct tls_conn *conn;
    struct fault fault;
    struct buf out;
    char plain[16];
    size_t n;
    (void)state;
    assert_int_equal(tls_client_create(&config, &client, &fault), ERR_OK);
    assert_int_equal(tls_client_open(client, &conn), ERR_OK);
    tls_client_unref(client); /* the connection holds one */
    struct tls_input nothing = {.p = ""};
    buf_init(&out, 0);
    assert_int_equal(tls_conn_read(conn, &nothing, plain, sizeof(plain), &out, &n), ERR_AGAIN);
    assert_true(out.n > 100 && out.p[0] == 22);
    assert_non_null(memmem(out.p, out.n, "up.test", 7));
    assert_non_null(memmem(out.p, out.n, "http/1.1", 8));
    assert_false(tls_conn_is_handshaken(conn));
    buf_clear(&out);
    struct tls_input page = {.p = "HTTP/1.1 200 OK\r\n\r\n", .n = 19};
    enum err e = tls_conn_read(conn, &page, plain, sizeof(plain), &out, &n);
    assert_true(e != ERR_OK && e != ERR_AGAIN);
    assert_int_equal(tls_conn_read(conn, &page, plain, sizeof(plain), &out, &n), e);
    buf_done(&out);
    tls_conn_destroy(conn);
}

static void test_wrong(void **state)
{
    static const struct tls_client_config wrong[] = {
        {.name = STR("a"), .verifies = true, .ca_pem = STR("nothing")},
        {.name = STR("a"), .cert_pem = STR("nothing"), .key_pem = STR("nothing")},
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct tls_client *client;
        struct fault fault;
        assert_int_equal(tls_client_create(&wrong[i], &client, &fault), ERR_CONFIG);
        assert_true(strlen(fault.text) > 10);
    }
}

static void test_allocation_failures(void **state)
{
    const struct tls_client_config config = {
        .name = STR("192.0.2.1"), .verifies = false, .alpn = STR("http/1.1")};
    unsigned long count = 0;
    (void)state;
    for (unsigned long i = 0; i <= count; i++) {
        struct tls_client *client = NULL;
        struct tls_conn *conn = NULL;
        struct fault fault;
        (void)mem_test_fail_at(i);
        enum err e = tls_client_create(&config, &client, &fault);
        e = e ? e : tls_client_open(client, &conn);
        unsigned long made = mem_test_fail_at(0);
        count = i == 0 ? made : count;
        assert_int_equal(e, i ? ERR_NOMEM : ERR_OK);
        tls_conn_destroy(conn);
        tls_client_unref(client);
    }
    assert_true(count >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
