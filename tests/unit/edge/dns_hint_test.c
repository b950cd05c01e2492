/* SPDX-License-Identifier: Apache-2.0 */
/* Which records are proposed for the DNS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "edge/dns_hint.h"

#define HEAD                                                                                       \
    "# Records for the DNS, which save clients the way over http and tell them of HTTP/3 at "      \
    "once:\n"
#define HOOK "tls: {acme: {dns: {exec: /hook}}}"

static const struct {
    const char *server;
    const char *host;
    const char *records;
} cases[] = {
    {"", "domains: example.com", HEAD "# example.com. 3600 IN HTTPS 1 . alpn=\"h3,h2\"\n"},
    {"protocols: [h1, h2]", "domains: example.com",
     HEAD "# example.com. 3600 IN HTTPS 1 . alpn=\"h2\"\n"},
    {"protocols: [h3, h2]", "domains: example.com",
     HEAD "# example.com. 3600 IN HTTPS 1 . alpn=\"h3,h2\" no-default-alpn\n"},
    {"protocols: [h1]", "domains: example.com", HEAD "# example.com. 3600 IN HTTPS 1 .\n"},
    {"listen: [80, 8443]", "domains: example.com",
     HEAD "# _8443._https.example.com. 3600 IN HTTPS 1 example.com. alpn=\"h3,h2\"\n"},
    {"listen: [\"127.0.0.1:443\", \"[::1]:443\", \"https://8444\"]", "domains: a.example.com",
     HEAD "# a.example.com. 3600 IN HTTPS 1 . alpn=\"h3,h2\"\n"
          "# _8444._https.a.example.com. 3600 IN HTTPS 1 a.example.com. alpn=\"h3,h2\"\n"},
    {HOOK, "domains: [.example.com, \"*.example.net\"]",
     HEAD "# example.com. 3600 IN HTTPS 1 . alpn=\"h3,h2\"\n"
          "# *.example.com. 3600 IN HTTPS 1 . alpn=\"h3,h2\"\n"
          "# *.example.net. 3600 IN HTTPS 1 . alpn=\"h3,h2\"\n"},
    {"listen: [8443], " HOOK, "domains: \"*.example.net\"", ""},
    {"", "domains: [default, localhost, 192.0.2.1, \"[2001:db8::1]\", a.local]", ""},
    {"listen: [80]", "domains: example.com", ""},
    {"listen: [\"https://127.0.0.1:0\"]", "domains: example.com", ""},
    {"", "domains: example.com\n    ssl: off", ""},
};

static enum err load(size_t i, struct site **ret_site)
{
    char text[512];
    struct diag_list diags;
    struct settings *settings = NULL;
    snprintf(text, sizeof(text), "server: {%s}\nhosts:\n  - %s\n    respond: {body: x}\n",
             cases[i].server, cases[i].host);
    diag_list_init(&diags);
    enum err e = settings_load_text("test", str_of(text), NULL, &settings, &diags);
    if (!e) {
        e = site_create(settings, NULL, ret_site, &diags);
        if (e) {
            settings_destroy(settings);
        }
    }
    diag_list_done(&diags);
    return e;
}

static void test_records(void **state)
{
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct site *site;
        struct buf out;
        buf_init(&out, 0);
        if (load(i, &site) != ERR_OK) {
            fail_msg("case %zu does not load", i);
        }
        dns_hint_print(site, &out);
        if (!str_eq(buf_str(&out), str_of(cases[i].records))) {
            fail_msg("case %zu: " STR_FMT, i, STR_ARG(buf_str(&out)));
        }
        buf_done(&out);
        site_unref(site);
    }
}

static void test_no_memory(void **state)
{
    struct site *site;
    assert_int_equal(load(0, &site), ERR_OK);
    for (unsigned long n = 1;; n++) {
        struct buf out;
        buf_init(&out, 0);
        mem_test_fail_at(n);
        dns_hint_print(site, &out);
        bool is_over = mem_test_fail_at(0) < n;
        bool is_whole = str_eq(buf_str(&out), str_of(cases[0].records));
        assert_true(is_whole || out.is_failed);
        buf_done(&out);
        if (is_over) {
            assert_true(is_whole);
            break;
        }
    }
    site_unref(site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
