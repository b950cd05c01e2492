/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <ctype.h>
#include <cmocka.h>

#include "base/assert.h"
#include "http/authority.h"
#include "http/field.h"
#include "http/method.h"
#include "http/status.h"

/* Every name in three letter cases finds itself, and nothing next to it does. */
static void test_ids(void **state)
{
    (void)state;
    for (unsigned i = 1; i < HTTP_FIELD_COUNT; i++) {
        enum http_field_id id = (enum http_field_id)i;
        struct str lower = http_field_name(id);
        assert_true(str_eq_ci(lower, http_field_title(id)));
        assert_int_equal(http_field_id(lower), id);
        assert_int_equal(http_field_id(http_field_title(id)), id);
        char *copy = malloc(lower.n);
        assert_non_null(copy);
        for (size_t j = 0; j < lower.n; j++) {
            copy[j] = (char)toupper((unsigned char)lower.p[j]);
        }
        assert_int_equal(http_field_id(str_make(copy, lower.n)), id);
        for (size_t j = 0; j < lower.n; j++) {
            char kept = copy[j];
            for (unsigned c = 0; c < 256; c++) {
                copy[j] = (char)c;
                bool is_same = str_eq_ci(str_make(copy, lower.n), lower);
                enum http_field_id got = http_field_id(str_make(copy, lower.n));
                assert_true(is_same ? got == id : got != id);
            }
            copy[j] = kept;
        }
        free(copy);
    }
    assert_int_equal(http_field_id(STR("")), HTTP_FIELD_OTHER);
    assert_int_equal(http_field_id(STR("x-none")), HTTP_FIELD_OTHER);
    assert_true(http_field_is_hop_by_hop(HTTP_FIELD_TE));
    assert_true(http_field_is_forbidden_in_trailer(HTTP_FIELD_TRANSFER_ENCODING));
    assert_false(http_field_is_forbidden_in_trailer(HTTP_FIELD_OTHER));
}

static void test_list(void **state)
{
    (void)state;
    struct http_field v[4];
    struct http_fields f;
    http_fields_init(&f, v, 4);
    assert_int_equal(http_fields_add(&f, STR("X-A"), STR("1")), ERR_OK);
    assert_int_equal(http_fields_add(&f, STR("Vary"), STR("a")), ERR_OK);
    assert_int_equal(http_fields_add(&f, STR("x-b"), STR("2")), ERR_OK);
    assert_int_equal(http_fields_add_id(&f, HTTP_FIELD_VARY, STR("b , \"c,d\",,e")), ERR_OK);
    assert_int_equal(http_fields_add(&f, STR("x-c"), STR("")), ERR_LIMIT);
    assert_int_equal(http_fields_set_id(&f, HTTP_FIELD_ETAG, STR("")), ERR_LIMIT);
    assert_true(http_fields_has_token(&f, HTTP_FIELD_VARY, STR("E")));
    assert_true(http_fields_has_token(&f, HTTP_FIELD_VARY, STR("\"c,d\"")));
    assert_false(http_fields_has_token(&f, HTTP_FIELD_VARY, STR("c")));
    assert_ptr_equal(http_fields_find(&f, STR("X-B")), &v[2]);
    assert_null(http_fields_find(&f, STR("x-d")));
    assert_int_equal(http_fields_remove(&f, STR("x-a")), 1);
    assert_ptr_equal(http_fields_get(&f, HTTP_FIELD_VARY), &v[0]);
    assert_int_equal(http_fields_set_id(&f, HTTP_FIELD_VARY, STR("z")), ERR_OK);
    assert_int_equal(f.n, 2);
    assert_true(str_eq(http_fields_value(&f, HTTP_FIELD_VARY), STR("z")));
    assert_int_equal(http_fields_remove_id(&f, HTTP_FIELD_VARY), 1);
    assert_null(http_fields_get(&f, HTTP_FIELD_VARY));
    assert_int_equal(http_fields_remove_id(&f, HTTP_FIELD_VARY), 0);
    assert_null(http_fields_value(&f, HTTP_FIELD_VARY).p);
    struct str rest = STR(" ,, a;x=\"1\\\",2\" ,b,"), element;
    assert_true(http_list_next(&rest, &element));
    assert_true(str_eq(element, STR("a;x=\"1\\\",2\"")));
    assert_true(http_list_next(&rest, &element));
    assert_true(str_eq(element, STR("b")));
    assert_false(http_list_next(&rest, &element));
}

static void test_small_tables(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HTTP_METHOD_OTHER; i++) {
        assert_int_equal(http_method_of(http_method_text((enum http_method)i)), i);
    }
    assert_int_equal(http_method_of(STR("get")), HTTP_METHOD_OTHER);
    assert_int_equal(http_method_of(STR("OTHER")), HTTP_METHOD_OTHER);
    assert_true(http_method_is_safe(HTTP_GET) && !http_method_is_safe(HTTP_PUT));
    assert_true(http_method_is_idempotent(HTTP_PUT) && !http_method_is_idempotent(HTTP_POST));
    assert_true(str_eq(http_status_reason(100), STR("Continue")));
    assert_true(str_eq(http_status_reason(404), STR("Not Found")));
    assert_true(str_eq(http_status_reason(511), STR("Network Authentication Required")));
    assert_int_equal(http_status_reason(299).n, 0);
    assert_true(!http_status_has_content(204) && http_status_has_content(200));
}

static void test_authority(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        unsigned port;
    } good[] = {{"a", "a", 0},
                {"A.b-c_d~e.:80", "A.b-c_d~e.", 80},
                {"1.2.3.4:65535", "1.2.3.4", 65535},
                {"[::]", "[::]", 0},
                {"[1::8]:1", "[1::8]", 1},
                {"[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", 0}};
    static const char *const bad[] = {"",
                                      ":80",
                                      ".a",
                                      "a:",
                                      "a:0",
                                      "a:65536",
                                      "a:080000",
                                      "a:8 ",
                                      "a b",
                                      "a%41",
                                      "a@b",
                                      "a/b",
                                      "a,b",
                                      "[]",
                                      "[::1",
                                      "[:1]",
                                      "[1:]",
                                      "[1::2::3]",
                                      "[12345::]",
                                      "[::1]:",
                                      "[::1.2.3]",
                                      "[::256.1.1.1]",
                                      "[1:2:3:4:5:6:7:8:9]",
                                      "[1:2:3:4:5:6:7::8]",
                                      "[v1.a]",
                                      "\xc3\xa9"};
    struct str host;
    uint16_t port;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_int_equal(http_authority_parse(str_of(good[i].text), &host, &port), ERR_OK);
        assert_true(str_eq(host, str_of(good[i].host)));
        assert_int_equal(port, good[i].port);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (http_authority_parse(str_of(bad[i]), &host, &port) == ERR_OK) {
            fail_msg("accepted: %s", bad[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_small_tables),
        cmocka_unit_test(test_authority),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
