/* SPDX-License-Identifier: Apache-2.0 */
/* What is said to the Origin CA, and what is made of its answers. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "issuer/origin.h"

static const struct str names[] = {STR("a.example.com"), STR("*.b.example.com")};

static void test_request(void **state)
{
    struct buf out;
    buf_init(&out, 0);
    assert_int_equal(origin_write(names, 2, STR("0123"), 90, &out), ERR_OK);
    json_t *root = json_loadb(out.p, out.n, 0, NULL);
    assert_non_null(root);
    const json_t *hostnames = json_object_get(root, "hostnames");
    assert_int_equal(json_array_size(hostnames), 2);
    assert_string_equal(json_string_value(json_array_get(hostnames, 1)), "*.b.example.com");
    assert_string_equal(json_string_value(json_object_get(root, "request_type")), "origin-ecc");
    assert_int_equal(json_integer_value(json_object_get(root, "requested_validity")), 90);
    assert_string_equal(json_string_value(json_object_get(root, "csr")),
                        "-----BEGIN CERTIFICATE REQUEST-----\nMDEyMw==\n"
                        "-----END CERTIFICATE REQUEST-----\n");
    json_decref(root);
    buf_done(&out);
}

static const struct {
    unsigned status;
    const char *body;
    const char *certificate; /* NULL: refused, with */
    const char *words;
} answers[] = {
    {200, "{\"success\":true,\"errors\":[],\"result\":{\"certificate\":\"PEM\\n\",\"id\":\"1\"}}",
     "PEM\n", NULL},
    {200, "{\"success\":false,\"errors\":[{\"code\":1010,\"message\":\"no\\nzone\"}]}", NULL,
     "status 200, code 1010: no zone"},
    {403, "{\"success\":false,\"errors\":[{\"code\":9109,\"message\":\"Invalid token\"}]}", NULL,
     "status 403, code 9109: Invalid token"},
    {502, "<html>", NULL, "status 502"},
    {500, "{\"success\":true,\"result\":{\"certificate\":\"PEM\"}}", NULL, "status 500"},
    {200, "", NULL, "status 200"},
    {200, "[]", NULL, "status 200"},
    {200, "{\"success\":true,\"result\":[]}", NULL, "status 200"},
    {200, "{\"success\":true,\"result\":{\"certificate\":7}}", NULL, "status 200"},
    {200, "{\"success\":\"true\",\"errors\":{},\"result\":{\"certificate\":\"x\"}}", NULL,
     "status 200"},
    {200, "{\"errors\":[{\"message\":7}]}", NULL, "status 200"},
};

static void test_answers(void **state)
{
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        const struct web_answer answer = {.status = answers[i].status,
                                          .body = str_of(answers[i].body)};
        char reason[ORIGIN_REASON_BYTES];
        struct buf out;
        buf_init(&out, 0);
        enum err e = origin_read(&answer, &out, reason);
        if (answers[i].certificate) {
            assert_int_equal(e, ERR_OK);
            assert_true(str_eq(buf_str(&out), str_of(answers[i].certificate)));
        } else {
            assert_int_equal(e, ERR_SYNTAX);
            assert_int_equal(out.n, 0);
            if (!strstr(reason, answers[i].words)) {
                fail_msg("answer %zu: %s", i, reason);
            }
        }
        buf_done(&out);
    }
    /* A message without an end is cut. */
    struct buf body, out;
    char reason[ORIGIN_REASON_BYTES];
    buf_init(&body, 0);
    buf_init(&out, 0);
    buf_add_str(&body, STR("{\"errors\":[{\"message\":\""));
    for (unsigned i = 0; i < 5000; i++) {
        buf_add_char(&body, 'x');
    }
    buf_add_str(&body, STR("\"}]}"));
    const struct web_answer answer = {.status = 400, .body = buf_str(&body)};
    assert_int_equal(origin_read(&answer, &out, reason), ERR_SYNTAX);
    assert_true(strlen(reason) < 300);
    buf_done(&body);
    buf_done(&out);
}

static void test_no_memory(void **state)
{
    for (unsigned long n = 1;; n++) {
        const struct web_answer answer = {.status = 200, .body = str_of(answers[0].body)};
        char reason[ORIGIN_REASON_BYTES];
        struct buf out;
        buf_init(&out, 0);
        mem_test_fail_at(n);
        enum err e = origin_write(names, 2, STR("0123"), 90, &out);
        if (!e) {
            buf_clear(&out);
            e = origin_read(&answer, &out, reason);
        }
        bool is_over = mem_test_fail_at(0) < n;
        buf_done(&out);
        assert_int_equal(e, is_over ? ERR_OK : ERR_NOMEM);
        if (is_over) {
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
