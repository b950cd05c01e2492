/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "net/proxy_header.h"

static struct proxy_header h;

static enum err read_all(const char *p, size_t n)
{
    return proxy_header_read(p, n, &h);
}

static void expect_text(const struct socket_address *a, const char *want)
{
    char text[SOCKET_ADDRESS_TEXT_BYTES];
    assert_true(str_eq(str_make(text, socket_address_text(a, text)), str_of(want)));
}

static void test_lines(void **state)
{
    static const char tcp4[] = "PROXY TCP4 192.0.2.1 198.51.100.2 4242 443\r\nGET";
    static const char tcp6[] = "PROXY TCP6 2001:db8::1 ::1 0 65535\r\n";
    static const char unknown[] = "PROXY UNKNOWN whatever it says\r\n";
    (void)state;
    assert_int_equal(read_all(tcp4, sizeof(tcp4) - 1), ERR_OK);
    assert_int_equal(h.bytes, sizeof(tcp4) - 4);
    assert_true(h.has_addresses);
    expect_text(&h.source, "192.0.2.1:4242");
    expect_text(&h.destination, "198.51.100.2:443");
    assert_int_equal(read_all(tcp6, sizeof(tcp6) - 1), ERR_OK);
    expect_text(&h.source, "[2001:db8::1]:0");
    assert_int_equal(read_all(unknown, sizeof(unknown) - 1), ERR_OK);
    assert_false(h.has_addresses);
}

static void test_wrong_lines(void **state)
{
    static const char *const wrong[] = {
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 123456\r\n",
        "PROXY TCP4 ::1 ::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 localhost 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1\t192.0.2.2 1 2\r\n",
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_int_equal(read_all(wrong[i], strlen(wrong[i])), ERR_SYNTAX);
    }
    char endless[200] = "PROXY TCP6 ";
    memset(endless + 11, '1', sizeof(endless) - 11);
    assert_int_equal(read_all(endless, 106), ERR_AGAIN);
    assert_int_equal(read_all(endless, sizeof(endless)), ERR_SYNTAX);
    assert_int_equal(read_all("PROXX", 5), ERR_NOT_FOUND);
    assert_int_equal(read_all("GET / HTTP/1.1\r\n", 16), ERR_NOT_FOUND);
    assert_int_equal(read_all("PRO", 3), ERR_AGAIN);
    assert_int_equal(read_all("", 0), ERR_AGAIN);
    assert_int_equal(read_all("\r\n\r\n", 4), ERR_AGAIN);
    assert_int_equal(read_all("\r\n\r\nG", 5), ERR_NOT_FOUND);
}

static size_t binary(char *out, char command, char family, const char *rest, size_t n)
{
    memcpy(out, "\r\n\r\n\0\r\nQUIT\n", 12);
    out[12] = command;
    out[13] = family;
    out[14] = (char)(n >> 8);
    out[15] = (char)n;
    memcpy(out + 16, rest, n);
    return 16 + n;
}

#define V4 "\xc0\x00\x02\x01\xc6\x33\x64\x02\x10\x92\x01\xbb"

static void test_binary(void **state)
{
    static const char long_rest[5000] = V4;
    char b[6000];
    (void)state;
    size_t n = binary(b, 0x21, 0x11, V4, 12);
    assert_int_equal(read_all(b, n), ERR_OK);
    assert_int_equal(h.bytes, n);
    expect_text(&h.source, "192.0.2.1:4242");
    expect_text(&h.destination, "198.51.100.2:443");
    assert_int_equal(read_all(b, n - 1), ERR_AGAIN);
    assert_int_equal(h.bytes, n);
    assert_int_equal(read_all(b, 15), ERR_AGAIN);
    assert_int_equal(h.bytes, 16);
    /* Extensions that fit, and one that says that it is longer than what is there. */
    n = binary(b, 0x21, 0x11, V4 "\x04\x00\x02qq\x05\x00\x00", 20);
    assert_int_equal(read_all(b, n), ERR_OK);
    n = binary(b, 0x21, 0x11, V4 "\x04\x00\x03qq", 17);
    assert_int_equal(read_all(b, n), ERR_SYNTAX);
    n = binary(b, 0x21, 0x11, V4 "\x04\x00", 14);
    assert_int_equal(read_all(b, n), ERR_SYNTAX);
    n = binary(b, 0x21, 0x11, V4, 11);
    assert_int_equal(read_all(b, n), ERR_SYNTAX);
    n = binary(b, 0x21, 0x21, V4, 12);
    assert_int_equal(read_all(b, n), ERR_SYNTAX);
    n = binary(b, 0x20, 0x11, V4, 12);
    assert_int_equal(read_all(b, n), ERR_OK);
    assert_false(h.has_addresses);
    n = binary(b, 0x21, 0x31, V4, 12);
    assert_int_equal(read_all(b, n), ERR_OK);
    assert_false(h.has_addresses);
    n = binary(b, 0x11, 0x11, V4, 12);
    assert_int_equal(read_all(b, n), ERR_SYNTAX);
    n = binary(b, 0x22, 0x11, V4, 12);
    assert_int_equal(read_all(b, n), ERR_SYNTAX);
    n = binary(b, 0x21, 0x11, long_rest, sizeof(long_rest));
    assert_int_equal(read_all(b, n), ERR_LIMIT);
    assert_int_equal(read_all(b, 16), ERR_LIMIT);
}

static void expect_written(const char *from, const char *to, bool has_addresses)
{
    struct socket_address a, b;
    char out[PROXY_HEADER_WRITTEN_MAX];
    assert_int_equal(socket_address_ip(str_of(from), 4242, &a), ERR_OK);
    assert_int_equal(socket_address_ip(str_of(to), 443, &b), ERR_OK);
    for (unsigned version = 1; version <= 2; version++) {
        size_t n = proxy_header_write(version, &a, &b, out);
        assert_int_equal(read_all(out, n), ERR_OK);
        assert_int_equal(h.bytes, n);
        assert_int_equal(h.has_addresses, has_addresses);
    }
}

static void test_written(void **state)
{
    struct socket_address a, local;
    char out[PROXY_HEADER_WRITTEN_MAX];
    (void)state;
    expect_written("192.0.2.1", "192.0.2.2", true);
    expect_written("2001:db8:1111:2222:3333:4444:5555:6666",
                   "2001:db8:7777:8888:9999:aaaa:bbbb:cccc", true);
    expect_written("192.0.2.1", "::1", false);
    assert_int_equal(socket_address_unix(STR("/a"), &local), ERR_OK);
    assert_int_equal(socket_address_ip(STR("192.0.2.1"), 1, &a), ERR_OK);
    assert_int_equal(read_all(out, proxy_header_write(1, &local, &a, out)), ERR_OK);
    assert_false(h.has_addresses);
    assert_int_equal(read_all(out, proxy_header_write(2, &local, &local, out)), ERR_OK);
    assert_false(h.has_addresses);
    size_t n = proxy_header_write(1, &a, &a, out);
    assert_true(str_eq(str_make(out, n), STR("PROXY TCP4 192.0.2.1 192.0.2.1 1 1\r\n")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_wrong_lines),
        cmocka_unit_test(test_binary),
        cmocka_unit_test(test_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
