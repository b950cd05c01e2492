/* SPDX-License-Identifier: Apache-2.0 */
/* Who signs for which name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "edge/site.h"

#define ASK ", acme: {ask: \"http://127.0.0.1/ask\"}"
#define HOOK ", acme: {dns: {exec: /hook}}"

struct scenario {
    const char *server; /* keys of server */
    const char *tls;    /* keys of the host's ssl */
    const char *domains;
    const char *acme; /* names for a public authority, with spaces; NULL: refused */
    bool is_issued_here;
};

static const struct scenario scenarios[] = {
    {"", "", "example.com", "example.com", false},
    {"", "", "[example.com, www.example.com, example.com]", NULL, false}, /* twice */
    {"", "", "localhost", "", true},
    {"", "", "default", "", true},
    {"", "", "[example.com, localhost, default, 192.0.2.1]", "example.com", true},
    {"", "", "[\"*.example.com\"]", NULL, false},
    {"", "", ".example.com", NULL, false},
    {"", "issuer: auto" HOOK, ".example.com", "example.com *.example.com", false},
    {"", "issuer: auto" HOOK, "[\"*.example.com\", .example.com]", "*.example.com example.com",
     false},
    {"", "", "\"*.local\"", "", true},
    {"", "", "api.*", NULL, false},
    {"", "issuer: acme", "api.*", NULL, false},
    {"", "issuer: acme", "default", NULL, false},
    {"", "issuer: acme", "[default, localhost]", "localhost", false},
    {"", "issuer: acme", "[\"[2001:db8::1]\", 192.0.2.1]", "2001:db8::1 192.0.2.1", false},
    {"", "issuer: auto" ASK, "\"*.example.com\"", "", false},
    {"", "issuer: auto" ASK, ".example.com", "example.com", false},
    {"", "issuer: auto" ASK, "default", "", true},
    {"", "issuer: acme" ASK, "[default, api.*]", "", false},
    {"", "issuer: none" ASK, "default", NULL, false},
    {"", "issuer: internal", "[example.com, api.*]", "", true},
    {"", "issuer: none", "example.com", NULL, false},
    {"", "issuer: none", "localhost", NULL, false},
    {"listen: [80]", "", "\"*.example.com\"", "", false},
    {"listen: [80]", "issuer: none", "example.com", "", false},
};

static enum err load(const struct scenario *c, struct site **ret_site)
{
    char text[512];
    struct diag_list diags;
    struct settings *settings = NULL;
    snprintf(text, sizeof(text),
             "server: {%s}\nhosts:\n  - domains: %s\n    ssl: {%s}\n    respond: {body: x}\n",
             c->server, c->domains, c->tls);
    diag_list_init(&diags);
    enum err e = settings_load_text("test", str_of(text), NULL, &settings, &diags);
    if (!e) {
        e = site_create(settings, NULL, ret_site, &diags);
        if (e) {
            settings_destroy(settings);
        }
    }
    assert_true(e == ERR_OK || e == ERR_NOMEM || diags.count > 0);
    diag_list_done(&diags);
    return e;
}

static void test_who_signs(void **state)
{
    for (size_t i = 0; i < COUNT_OF(scenarios); i++) {
        const struct scenario *c = &scenarios[i];
        struct site *site;
        struct buf names;
        enum err e = load(c, &site);
        if ((e == ERR_CONFIG) != (c->acme == NULL)) {
            fail_msg("scenario %zu: %s", i, err_text(e));
        }
        if (e) {
            continue;
        }
        const struct site_tls *tls = &site->host_list[0].tls;
        buf_init(&names, 0);
        for (size_t k = 0; k < tls->acme_count; k++) {
            buf_printf(&names, "%s" STR_FMT, k ? " " : "", STR_ARG(tls->acme_names[k]));
        }
        if (!str_eq(buf_str(&names), str_of(c->acme)) || tls->is_issued_here != c->is_issued_here) {
            fail_msg("scenario %zu: " STR_FMT, i, STR_ARG(buf_str(&names)));
        }
        buf_done(&names);
        site_unref(site);
    }
}

static void test_names_below_a_wildcard(void **state)
{
    const struct scenario c = {"", "issuer: auto" HOOK, ".example.com", "", false};
    struct site *site;
    assert_int_equal(load(&c, &site), ERR_OK);
    const struct site_tls *tls = &site->host_list[0].tls;
    assert_true(site_tls_is_acme(tls, STR("example.com")));
    assert_true(site_tls_is_acme(tls, STR("a.example.com")));
    assert_false(site_tls_is_acme(tls, STR("a.b.example.com")));
    assert_false(site_tls_is_acme(tls, STR("other.com")));
    assert_false(site_tls_is_acme(tls, STR("")));
    site_unref(site);
}

static void test_names_on_demand(void **state)
{
    const struct scenario c = {"", "issuer: auto" ASK, "[default, .example.com]", "", false};
    static const char *const taken[] = {"a.example.com", "a.b.example.com", "other.org",
                                        "xn--nxasmq6b.example", "a--b.c"};
    static const char *const others[] = {"example.com", "localhost",    "",     "com",   "a.local",
                                         "x.test",      "192.0.2.1",    "a..b", ".a.b",  "a.b.",
                                         "-a.b",        "a-.b",         "a.b-", "a_b.c", "*.a.b",
                                         "a/b.c",       "[2001:db8::1]"};
    struct site *site;
    assert_int_equal(load(&c, &site), ERR_OK);
    const struct site_tls *tls = &site->host_list[0].tls;
    for (size_t i = 0; i < COUNT_OF(taken); i++) {
        if (!site_tls_is_on_demand(tls, str_of(taken[i]))) {
            fail_msg("%s is not taken", taken[i]);
        }
    }
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        if (site_tls_is_on_demand(tls, str_of(others[i]))) {
            fail_msg("%s is taken", others[i]);
        }
    }
    site_unref(site);
}

static void test_no_memory(void **state)
{
    const struct scenario c = {"", "issuer: auto" HOOK, "[.example.com, localhost]", "", true};
    for (unsigned long n = 1;; n++) {
        struct site *site;
        mem_test_fail_at(n);
        enum err e = load(&c, &site);
        bool is_over = mem_test_fail_at(0) < n;
        if (!e) {
            site_unref(site);
        }
        assert_true(e == ERR_NOMEM || e == ERR_OK);
        if (is_over) {
            assert_int_equal(e, ERR_OK);
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_signs),
        cmocka_unit_test(test_names_below_a_wildcard),
        cmocka_unit_test(test_names_on_demand),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
