/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to name servers; that a real one agrees is shown end to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/digest.h"
#include "issuer/dns_update.h"

#define NOW_S 1700000000

static const struct dns_update update = {.id = 0x1234,
                                         .zone = STR("a.test"),
                                         .name = STR("_acme-challenge.A.test"),
                                         .value = STR("value"),
                                         .key_name = STR("key."),
                                         .key = STR("secret"),
                                         .now_s = NOW_S};

/* "3key0" + "hmac-sha256" as names on the wire. */
#define KEY_NAME "\3key\0"
#define ALGORITHM "\13hmac-sha256\0"
#define TIME "\0\0\x65\x53\xf1\0\1\x2c" /* NOW_S, then 300 s */

static void test_update_on_the_wire(void **state)
{
    static const char expected[] =
        "\x12\x34\x28\0\0\1\0\0\0\1\0\1"
        "\1a\4test\0\0\6\0\1"
        "\17_acme-challenge\1a\4test\0\0\20\0\1\0\0\0\74\0\6\5value" KEY_NAME
        "\0\372\0\377\0\0\0\0\0\75" ALGORITHM TIME "\0\40";
    struct buf out;
    uint8_t mac[DNS_MAC_BYTES];
    buf_init(&out, 0);
    assert_int_equal(dns_put_update(&update, &out, mac), ERR_OK);
    size_t n = sizeof(expected) - 1;
    assert_int_equal(out.n, n + DNS_MAC_BYTES + 6);
    assert_memory_equal(out.p, expected, n);
    assert_memory_equal(out.p + n, mac, DNS_MAC_BYTES);
    assert_memory_equal(out.p + n + DNS_MAC_BYTES, "\x12\x34\0\0\0\0", 6);
    buf_done(&out);
    struct dns_update removal = update;
    removal.is_removal = true;
    assert_int_equal(dns_put_update(&removal, &out, mac), ERR_OK);
    assert_non_null(memmem(out.p, out.n, "\0\20\0\376\0\0\0\0\0\6\5value", 16));
    buf_done(&out);
}

static void test_names_that_cannot_be(void **state)
{
    char label[65], name[300];
    struct dns_update u = update;
    struct buf out;
    uint8_t mac[DNS_MAC_BYTES];
    memset(label, 'x', 64);
    label[64] = '\0';
    for (size_t i = 0; i < sizeof(name); i++) {
        name[i] = i % 10 == 9 ? '.' : 'y';
    }
    const struct str bad[] = {str_of(label), STR("a..b"), STR(".a"), str_make(name, 289)};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        buf_init(&out, 0);
        u.name = bad[i];
        assert_int_equal(dns_put_update(&u, &out, mac), ERR_SYNTAX);
        assert_int_equal(dns_put_zone_query(1, bad[i], &out), ERR_SYNTAX);
        buf_done(&out);
    }
}

/* What a server that knows the key says (RFC 8945 5.4.1). */
static void put_answer(const uint8_t mac[DNS_MAC_BYTES], unsigned code, struct buf *out)
{
    static const char variables[] = KEY_NAME "\0\377\0\0\0\0" ALGORITHM TIME "\0\0\0\0";
    static const char record[] = KEY_NAME "\0\372\0\377\0\0\0\0\0\75" ALGORITHM TIME "\0\40";
    uint8_t answer_mac[DNS_MAC_BYTES];
    struct buf text;
    char header[] = "\x12\x34\xa8\0\0\1\0\0\0\0\0\0\1a\4test\0\0\6\0\1";
    header[3] = (char)code;
    buf_init(&text, 0);
    buf_add(&text, "\0\40", 2);
    buf_add(&text, mac, DNS_MAC_BYTES);
    buf_add(&text, header, sizeof(header) - 1);
    buf_add(&text, variables, sizeof(variables) - 1);
    assert_int_equal(digest_hmac(update.key, buf_str(&text), answer_mac), ERR_OK);
    buf_done(&text);
    header[11] = 1;
    buf_add(out, header, sizeof(header) - 1);
    buf_add(out, record, sizeof(record) - 1);
    buf_add(out, answer_mac, DNS_MAC_BYTES);
    buf_add(out, "\x12\x34\0\0\0\0", 6);
}

static void test_only_the_right_answer_counts(void **state)
{
    struct buf out, answer;
    uint8_t mac[DNS_MAC_BYTES];
    unsigned code = 99;
    buf_init(&out, 0);
    buf_init(&answer, 0);
    assert_int_equal(dns_put_update(&update, &out, mac), ERR_OK);
    put_answer(mac, 0, &answer);
    assert_int_equal(dns_read_update_answer(&update, mac, buf_str(&answer), &code), ERR_OK);
    assert_int_equal(code, 0);
    for (size_t n = 0; n < answer.n; n++) {
        struct str cut = str_make(answer.p, n);
        assert_int_not_equal(dns_read_update_answer(&update, mac, cut, &code), ERR_OK);
    }
    for (size_t bit = 0; bit < answer.n * 8; bit++) {
        answer.p[bit / 8] ^= (char)(1 << bit % 8);
        enum err e = dns_read_update_answer(&update, mac, buf_str(&answer), &code);
        /* Class and time to live of the record, the original identifier and the case of names are
         * not signed as they stand. */
        if (!e) {
            size_t behind = answer.n - bit / 8 - 1;
            bool is_record = behind >= 6 + DNS_MAC_BYTES;
            bool is_id = behind == 4 || behind == 5;
            assert_true(is_record || is_id);
        }
        answer.p[bit / 8] ^= (char)(1 << bit % 8);
    }
    /* Another key, another request, another time. */
    struct dns_update other = update;
    other.key = STR("secre7");
    assert_int_equal(dns_read_update_answer(&other, mac, buf_str(&answer), &code), ERR_ACCESS);
    mac[0] ^= 1;
    assert_int_equal(dns_read_update_answer(&update, mac, buf_str(&answer), &code), ERR_ACCESS);
    mac[0] ^= 1;
    other = update;
    other.now_s += 301;
    assert_int_equal(dns_read_update_answer(&other, mac, buf_str(&answer), &code), ERR_ACCESS);
    buf_clear(&answer);
    put_answer(mac, 5, &answer);
    assert_int_equal(dns_read_update_answer(&update, mac, buf_str(&answer), &code), ERR_CONFIG);
    assert_int_equal(code, 5);
    /* Success that nobody signed is no success. */
    const struct str bare = str_make("\x12\x34\xa8\0\0\0\0\0\0\0\0\0", 12);
    assert_int_equal(dns_read_update_answer(&update, mac, bare, &code), ERR_ACCESS);
    buf_done(&out);
    buf_done(&answer);
}

static void test_zone_answers(void **state)
{
#define QUESTION "\1a\4test\0\0\6\0\1"
    static const struct {
        struct str answer;
        enum err error;
        bool is_zone;
    } cases[] = {
        {STR("\0\7\x84\0\0\1\0\1\0\0\0\0" QUESTION "\xc0\x0c\0\6\0\1\0\0\0\1\0\0"), ERR_OK, true},
        {STR("\0\7\x84\0\0\1\0\1\0\0\0\0" QUESTION "\1A\4TEST\0\0\6\0\1\0\0\0\1\0\0"), ERR_OK,
         true},
        {STR("\0\7\x84\0\0\1\0\1\0\0\0\0" QUESTION "\xc0\x0e\0\6\0\1\0\0\0\1\0\0"), ERR_OK, false},
        {STR("\0\7\x84\0\0\1\0\1\0\0\0\0" QUESTION "\xc0\x0c\0\5\0\1\0\0\0\1\0\0"), ERR_OK, false},
        {STR("\0\7\x84\3\0\1\0\0\0\0\0\0" QUESTION), ERR_OK, false},
        {STR("\0\7\x84\5\0\1\0\0\0\0\0\0" QUESTION), ERR_ACCESS, false},
        {STR("\0\x08\x84\0\0\1\0\0\0\0\0\0" QUESTION), ERR_SYNTAX, false}, /* another query */
        {STR("\0\7\x04\0\0\1\0\0\0\0\0\0" QUESTION), ERR_SYNTAX, false},   /* no answer */
        /* A name that points to itself, and one that points ahead. */
        {STR("\0\7\x84\0\0\1\0\1\0\0\0\0" QUESTION "\xc0\x18\0\6\0\1\0\0\0\1\0\0"), ERR_SYNTAX,
         false},
        {STR("\0\7\x84\0\0\1\0\1\0\0\0\0" QUESTION "\xc0\x30\0\6\0\1\0\0\0\1\0\0"), ERR_SYNTAX,
         false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bool is_zone = false;
        enum err e = dns_read_zone_answer(7, STR("a.test"), cases[i].answer, &is_zone);
        if (e != cases[i].error || is_zone != cases[i].is_zone) {
            fail_msg("case %zu: %s", i, err_name(e));
        }
    }
}

static void test_keys(void **state)
{
    static const char *const bad[] = {"", "=", "a", "a b", "-_-_", "AAAA=A"};
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(dns_read_key(STR("+/+/c2U="), &out), ERR_OK);
    assert_int_equal(out.n, 5);
    assert_memory_equal(out.p,
                        "\xfb\xff\xbf"
                        "se",
                        5);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(dns_read_key(str_of(bad[i]), &out), ERR_SYNTAX);
    }
    buf_done(&out);
}

static void test_no_memory(void **state)
{
    for (unsigned long n = 1;; n++) {
        struct buf out, answer;
        uint8_t mac[DNS_MAC_BYTES] = {0};
        unsigned code;
        buf_init(&out, 0);
        buf_init(&answer, 0);
        put_answer(mac, 0, &answer);
        mem_test_fail_at(n);
        enum err e = dns_put_update(&update, &out, mac);
        memset(mac, 0, sizeof(mac));
        if (!e) {
            e = dns_read_update_answer(&update, mac, buf_str(&answer), &code);
        }
        bool is_over = mem_test_fail_at(0) < n;
        assert_int_equal(e, is_over ? ERR_OK : ERR_NOMEM);
        buf_done(&out);
        buf_done(&answer);
        if (is_over) {
            assert_true(n > 3);
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_update_on_the_wire),
        cmocka_unit_test(test_names_that_cannot_be),
        cmocka_unit_test(test_only_the_right_answer_counts),
        cmocka_unit_test(test_zone_answers),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
