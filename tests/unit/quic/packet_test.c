/* SPDX-License-Identifier: Apache-2.0 */
/* What belongs to no connection: packets that are read without keys, and tokens. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "quic/quic_packet.h"

#define S 1000000000ull
#define V1 1u
#define V2 0x6b3343cfu

static const uint8_t secret[QUIC_SECRET_BYTES] = "a secret of the test";
static const uint8_t other_secret[QUIC_SECRET_BYTES] = "another secret";

static struct sockaddr_in address(uint32_t ip, uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(ip)}};
}

static struct str bytes_of(const struct sockaddr_in *a)
{
    return str_make((const char *)a, sizeof(*a));
}

static struct quic_cid cid(uint8_t fill)
{
    struct quic_cid c = {.n = QUIC_CID_BYTES};
    memset(c.bytes, fill, c.n);
    return c;
}

static struct quic_packet packet(uint32_t version, const void *token, size_t n)
{
    return (struct quic_packet){.kind = QUIC_PACKET_INITIAL,
                                .version = version,
                                .destination = cid(7),
                                .source = cid(8),
                                .token = str_make(token, n)};
}

static enum err check(const struct quic_packet *p, const struct sockaddr_in *from, uint64_t now_ns,
                      struct quic_cid *ret_original)
{
    return quic_token_check(p, secret, bytes_of(from), now_ns, ret_original);
}

static void test_address_tokens(void **state)
{
    uint8_t token[QUIC_ADDRESS_TOKEN_BYTES];
    const struct sockaddr_in from = address(0x7f000001, 1000);
    const struct sockaddr_in port = address(0x7f000001, 2000);
    const struct sockaddr_in other = address(0x7f000002, 1000);
    struct quic_cid original;
    size_t n = quic_token_make(secret, V1, bytes_of(&from), 100 * S, token);
    assert_in_range(n, 1, sizeof(token));
    struct quic_packet p = packet(V1, token, n);
    assert_int_equal(check(&p, &from, 101 * S, &original), ERR_OK);
    assert_int_equal(original.n, 0);
    assert_int_equal(check(&p, &port, (100 + 86399) * S, &original), ERR_OK);
    /* What it does not prove is as none: nobody is refused for it. */
    assert_int_equal(check(&p, &from, (100 + 86401) * S, &original), ERR_NOT_FOUND);
    assert_int_equal(check(&p, &other, 101 * S, &original), ERR_NOT_FOUND);
    assert_int_equal(quic_token_check(&p, other_secret, bytes_of(&from), 101 * S, &original),
                     ERR_NOT_FOUND);
    struct quic_packet later = packet(V2, token, n);
    assert_int_equal(check(&later, &from, 101 * S, &original), ERR_NOT_FOUND);
    for (size_t i = 0; i < n; i++) {
        token[i] ^= 1;
        assert_int_equal(check(&p, &from, 101 * S, &original), ERR_NOT_FOUND);
        token[i] ^= 1;
    }
    for (size_t i = 0; i < n; i++) {
        struct quic_packet part = packet(V1, token, i);
        assert_int_equal(check(&part, &from, 101 * S, &original), ERR_NOT_FOUND);
    }
    assert_int_equal(check(&p, &from, 101 * S, &original), ERR_OK);
}

/* The token of a Retry stands between its ids and the 16 bytes of its tag. */
static size_t retry(const struct sockaddr_in *from, uint8_t token[QUIC_DATAGRAM_BYTES])
{
    uint8_t bytes[QUIC_DATAGRAM_BYTES];
    const struct quic_packet p = packet(V1, "", 0);
    const struct quic_cid fresh = cid(9);
    size_t n = quic_packet_write_retry(&p, secret, bytes_of(from), &fresh, 100 * S, bytes);
    const size_t at = 5 + 1 + QUIC_CID_BYTES + 1 + QUIC_CID_BYTES;
    assert_in_range(n, at + 17, sizeof(bytes));
    memcpy(token, bytes + at, n - at - 16);
    return n - at - 16;
}

static void test_retry_tokens(void **state)
{
    uint8_t token[QUIC_DATAGRAM_BYTES];
    const struct sockaddr_in from = address(0x7f000001, 1000);
    const struct sockaddr_in port = address(0x7f000001, 2000);
    struct quic_cid original;
    size_t n = retry(&from, token);
    struct quic_packet p = packet(V1, token, n);
    p.destination = cid(9);
    assert_int_equal(check(&p, &from, 129 * S, &original), ERR_OK);
    assert_int_equal(original.n, QUIC_CID_BYTES);
    assert_int_equal(original.bytes[0], 7);
    /* Whoever brings a wrong one would have to be asked again, which no client expects. */
    assert_int_equal(check(&p, &from, 131 * S, &original), ERR_ACCESS);
    assert_int_equal(check(&p, &port, 101 * S, &original), ERR_ACCESS);
    p.destination = cid(10);
    assert_int_equal(check(&p, &from, 101 * S, &original), ERR_ACCESS);
    p.destination = cid(9);
    p.version = V2;
    assert_int_equal(check(&p, &from, 101 * S, &original), ERR_ACCESS);
    p.version = V1;
    for (size_t i = 1; i < n; i++) {
        token[i] ^= 1;
        assert_int_equal(check(&p, &from, 101 * S, &original), ERR_ACCESS);
        token[i] ^= 1;
    }
    assert_int_equal(check(&p, &from, 101 * S, &original), ERR_OK);
}

static void test_resets_are_shorter(void **state)
{
    uint8_t bytes[QUIC_DATAGRAM_BYTES], noise[64] = {0};
    uint8_t token[QUIC_TOKEN_BYTES], other[QUIC_TOKEN_BYTES];
    struct quic_packet p = {.kind = QUIC_PACKET_SHORT, .destination = cid(7)};
    quic_reset_token(secret, &p.destination, token);
    quic_reset_token(other_secret, &p.destination, other);
    assert_memory_not_equal(token, other, sizeof(token));
    for (size_t n = 0; n < 200; n++) {
        size_t m = quic_packet_write_reset(&p, secret, n, noise, sizeof(noise), bytes);
        assert_true(n <= 41 ? m == 0 : m > QUIC_TOKEN_BYTES && m < n);
        assert_true(m == 0 || memcmp(bytes + m - QUIC_TOKEN_BYTES, token, sizeof(token)) == 0);
    }
    p.destination.n = 8; /* none of ours */
    assert_int_equal(quic_packet_write_reset(&p, secret, 100, noise, sizeof(noise), bytes), 0);
}

static void test_without_memory(void **state)
{
    uint8_t token[QUIC_ADDRESS_TOKEN_BYTES];
    const struct sockaddr_in from = address(0x7f000001, 1000);
    struct quic_cid original;
    mem_test_fail_at(1);
    size_t n = quic_token_make(secret, V1, bytes_of(&from), 100 * S, token);
    mem_test_fail_at(0);
    if (n == 0) {
        n = quic_token_make(secret, V1, bytes_of(&from), 100 * S, token);
    }
    const struct quic_packet p = packet(V1, token, n);
    mem_test_fail_at(1);
    enum err e = check(&p, &from, 100 * S, &original);
    mem_test_fail_at(0);
    assert_true(e == ERR_OK || e == ERR_NOT_FOUND);
    assert_int_equal(check(&p, &from, 100 * S, &original), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_tokens),
        cmocka_unit_test(test_retry_tokens),
        cmocka_unit_test(test_resets_are_shorter),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
