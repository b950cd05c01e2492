/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "conf/settings.h"

/* Certificates of examples: every file is there. */
static enum err read_any_file(void *context, const char *path, struct buf *out)
{
    buf_add_str(out, STR("contents of "));
    buf_add_str(out, str_of(path));
    return out->is_failed ? ERR_NOMEM : ERR_OK;
}

static struct settings *load(const char *text)
{
    const struct conf_io io = {NULL, read_any_file, conf_io_system.glob, conf_io_system.get_env};
    struct diag_list diags;
    struct settings *s = NULL;
    diag_list_init(&diags);
    enum err e = settings_load_text("test.yaml", str_of(text), &io, &s, &diags);
    if (e != ERR_OK) {
        struct buf b;
        buf_init(&b, 0);
        diag_list_print(&diags, &b);
        buf_add_char(&b, '\0');
        fail_msg("%s\n%s%s", err_text(e), b.p, text);
    }
    diag_list_done(&diags);
    return s;
}

/* load(print(load(x))) is load(x). */
static void expect_round_trip(const struct settings *s)
{
    struct buf first;
    struct buf second;
    buf_init(&first, 0);
    buf_init(&second, 0);
    conf_print_effective(s, false, &first);
    buf_add_char(&first, '\0');
    struct settings *again = load(first.p);
    conf_print_effective(again, false, &second);
    buf_add_char(&second, '\0');
    assert_string_equal(first.p, second.p);
    settings_destroy(again);
    /* With origins it is still the same configuration. */
    buf_clear(&second);
    conf_print_effective(s, true, &second);
    buf_add_char(&second, '\0');
    again = load(second.p);
    buf_clear(&second);
    conf_print_effective(again, false, &second);
    buf_add_char(&second, '\0');
    assert_string_equal(first.p, second.p);
    settings_destroy(again);
    buf_done(&first);
    buf_done(&second);
}

static void test_defaults(void **state)
{
    (void)state;
    struct settings *s = load("hosts:\n  - domains: example.com\n    root: /srv/www\n");
    assert_int_equal(s->server.listen.count, 1);
    assert_int_equal(s->server.listen.items[0].port, 80);
    assert_int_equal(s->server.worker.processes, 0);
    assert_int_equal(s->server.worker.max_connections, 65536);
    assert_int_equal(s->server.timeouts.idle_ms, 60000);
    assert_int_equal(s->server.max.header_bytes, 32000);
    assert_int_equal(s->server.max.body_bytes, 100000000);
    assert_int_equal(s->server.max.min_rate_bytes_per_s, 240);
    assert_int_equal(s->server.max.stream_count, 100);
    assert_int_equal(s->server.protocols.count, 3);
    assert_int_equal(s->server.protocols.items[0], PROTOCOL_H1);
    assert_int_equal(s->server.protocols.items[1], PROTOCOL_H2);
    assert_int_equal(s->server.admin.kind, LISTEN_UNIX);
    assert_true(s->server.sandbox);
    const struct route_keys *k = &s->hosts.items[0].keys;
    assert_true(str_eq(k->root, STR("/srv/www")));
    assert_true(str_eq(k->index.items[0], STR("index.html")));
    assert_null(k->fallback.p);
    assert_int_equal(k->symlinks, SYMLINKS_INSIDE);
    assert_int_equal(k->precompressed.count, 3);
    assert_int_equal(k->precompressed.items[0], CODING_ZSTD);
    assert_true(k->compress.is_on);
    assert_int_equal(k->compress.min_bytes, 512);
    assert_int_equal(k->compress.level, 0);
    assert_true(k->log.is_on);
    assert_int_equal(k->log.redact.count, 5);
    assert_int_equal(k->security, SECURITY_BASIC);
    assert_false(k->redirect.is_on);
    assert_int_equal(conf_origin_of(k, "root").line, 3);
    assert_int_equal(conf_origin_of(&s->hosts.items[0], "root").line, 3);
    assert_null(conf_origin_of(k, "index").source);
    assert_int_equal(s->metrics.listen.kind, LISTEN_OFF);
    expect_round_trip(s);
    settings_destroy(s);
}

static const char *const FULL =
    "server:\n"
    "  listen: [8080, \"[::1]:8081\", unix:/run/a.sock, fd:4, http://443]\n"
    "  worker: {processes: 2, max_connections: 10}\n"
    "  poller: io_uring\n"
    "  trusted_proxies: 10.0.0.0/8\n"
    "  admin: off\n"
    "log: {format: combined, access: off, rotate: {keep: 3}}\n"
    "hosts:\n"
    "  - domains: [example.com, \"*.example.com\", .example.org, \"api.*\"]\n"
    "    priority: -3\n"
    "    root: www\n"
    "    headers: {response: {X-A: one, X-B: two}}\n"
    "    error_pages: {404: /e/404.html, 5xx: \"5xx.{lang}.html\"}\n"
    "    compress: [br]\n"
    "    rewrites:\n"
    "      - {from: \"^/a/(.*)$\", to: /b/$1, if: \"!header X-Q\", flags: [R], status: 301}\n"
    "      - {from: \"^/gone\", flags: G}\n"
    "    routes:\n"
    "      - path: /api/**\n"
    "        methods: [GET, POST]\n"
    "        match: {query: {v: \"2\", w: \"*\"}, ip: [192.0.2.1, \"2001:db8::/32\"]}\n"
    "        headers: {response: {X-B: null, X-C: \"three: \\u00e9\\t#\"}}\n"
    "        error_pages: {404: null, 403: x}\n"
    "        compress: {min: 2KB}\n"
    "        log: {sample: 1.5%}\n"
    "      - {path: /old, redirect: https://example.com/new}\n"
    "      - {path: /teapot, respond: {status: 418, body: \"I'm a\\nteapot: {}\\n\"}, log: off}\n"
    "      - {path: /x, compress: null, error_pages: null, rewrites: null}\n"
    "  - domains: www.example.com\n"
    "    redirect: {to: https://example.com, status: 301}\n"
    "    routes:\n"
    "      - {path: /files/**, root: /srv/files}\n"
    "      - {path: /keep, redirect: {keep_path: false}}\n";

static void test_inheritance(void **state)
{
    (void)state;
    struct settings *s = load(FULL);
    const struct host_settings *host = &s->hosts.items[0];
    const struct route_keys *api = &host->routes.items[0].keys;
    assert_true(str_eq(api->root, STR("www")));
    assert_int_equal(conf_origin_of(api, "root").line, 11);
    assert_int_equal(api->headers.response.count, 3);
    assert_true(str_eq(api->headers.response.items[0].key, STR("X-A")));
    assert_true(api->headers.response.items[1].is_null);
    assert_true(str_eq(api->headers.response.items[2].value, STR("three: \xc3\xa9\t#")));
    assert_int_equal(api->error_pages.count, 2);
    assert_int_equal(api->error_pages.items[0].low, 500);
    assert_int_equal(api->error_pages.items[0].high, 599);
    assert_int_equal(api->compress.codings.count, 1);
    assert_int_equal(api->compress.min_bytes, 2000);
    assert_int_equal(api->log.sample_ppm, 15000);
    assert_int_equal(api->log.format, LOG_FORMAT_COMBINED);
    assert_int_equal(conf_origin_of(&api->log, "format").line, 7);
    assert_int_equal(api->rewrites.count, 2);
    assert_true(host->routes.items[1].keys.redirect.is_on);
    assert_true(host->routes.items[2].keys.respond.is_on);
    assert_false(host->routes.items[2].keys.log.is_on);
    assert_int_equal(host->routes.items[3].keys.compress.codings.count, 3);
    assert_int_equal(host->routes.items[3].keys.rewrites.count, 0);
    const struct host_settings *www = &s->hosts.items[1];
    assert_false(www->routes.items[0].keys.redirect.is_on);
    assert_int_equal(www->routes.items[1].keys.redirect.status, 301);
    assert_false(www->routes.items[1].keys.redirect.keep_path);
    expect_round_trip(s);
    settings_destroy(s);
}

static void test_relative_paths(void **state)
{
    (void)state;
    struct diag_list diags;
    struct settings *s = NULL;
    diag_list_init(&diags);
    assert_int_equal(settings_load_text("/etc/sws/a.yaml",
                                        STR("hosts: {domains: a.example, root: www}\n"), NULL, &s,
                                        &diags),
                     ERR_OK);
    assert_true(str_eq(s->hosts.items[0].keys.root, STR("/etc/sws/www")));
    expect_round_trip(s);
    settings_destroy(s);
    diag_list_done(&diags);
}

static void test_default_site(void **state)
{
    (void)state;
    struct diag_list diags;
    struct settings *s = NULL;
    diag_list_init(&diags);
    assert_int_equal(settings_default_site("a \"dir\": # ${env:X}\n", 443, false, &s, &diags),
                     ERR_OK);
    assert_true(str_eq(s->hosts.items[0].keys.root, STR("a \"dir\": # ${env:X}\n")));
    assert_int_equal(s->server.listen.items[0].port, 443);
    assert_int_equal(s->server.user.n, 0);
    assert_int_equal(s->hosts.items[0].domains.items[0].kind, DOMAIN_DEFAULT);
    expect_round_trip(s);
    settings_destroy(s);
    diag_list_done(&diags);
}

struct example_count {
    size_t loaded;
    size_t missing;
};

static void load_example(void *arg, const char *path, const struct conf_key *key)
{
    struct example_count *count = arg;
    if (key->example == NULL) {
        /* Only maps may go without, their keys have examples. */
        assert_int_equal(key->type, CONF_OBJECT);
        count->missing++;
        return;
    }
    assert_non_null(key->doc);
    struct buf b;
    buf_init(&b, 0);
    assert_int_equal(conf_example_document(path, &b), ERR_OK);
    buf_add_char(&b, '\0');
    struct settings *s = load(b.p);
    expect_round_trip(s);
    settings_destroy(s);
    buf_done(&b);
    count->loaded++;
}

static void test_examples(void **state)
{
    (void)state;
    struct example_count count = {0, 0};
    conf_keys_walk(load_example, &count);
    assert_true(count.loaded > 100);
    struct buf b;
    buf_init(&b, 0);
    assert_int_equal(conf_example_document("server.lisen", &b), ERR_NOT_FOUND);
    buf_done(&b);
}

/* A host has what the server says, but for what it says itself. */
static void test_tls(void **state)
{
    (void)state;
    struct settings *s = load("server:\n"
                              "  listen: [443, 8080]\n"
                              "  tls: {cert: a.pem, min_version: 1.3, hsts: 1d}\n"
                              "hosts:\n"
                              "  - {domains: a.example, root: /srv}\n"
                              "  - domains: b.example\n"
                              "    root: /srv\n"
                              "    ssl: {cert: [/b.pem, /c.pem], key: [/b.key, /c.key]}\n"
                              "  - {domains: c.example, root: /srv, ssl: off}\n");
    const struct tls_settings *a = &s->hosts.items[0].ssl, *b = &s->hosts.items[1].ssl;
    assert_true(s->server.listen.items[0].is_tls && !s->server.listen.items[1].is_tls);
    assert_int_equal(a->min_version, TLS_CHOICE_13);
    assert_int_equal(a->hsts_ms, 86400000);
    assert_true(str_eq(a->cert_pem[0], STR("contents of a.pem")));
    assert_int_equal(b->min_version, TLS_CHOICE_13);
    assert_int_equal(b->cert.count, 2);
    assert_true(str_eq(b->key_pem[1], STR("contents of /c.key")));
    assert_true(b->is_on && !s->hosts.items[2].ssl.is_on);
    expect_round_trip(s);
    settings_wipe_keys(s);
    assert_null(b->key_pem[1].p);
    settings_destroy(s);
}

static void expect_contains(const struct buf *b, const char *text)
{
    if (memmem(b->p, b->n, text, strlen(text)) == NULL) {
        fail_msg("no %s in %.*s", text, (int)b->n, b->p);
    }
}

/* Brackets outside of strings must pair; the strings must end. */
static void expect_json(const struct buf *b)
{
    char open[64];
    size_t depth = 0;
    bool is_string = false;
    for (size_t i = 0; i < b->n; i++) {
        char c = b->p[i];
        if (is_string) {
            i += c == '\\';
            is_string = c != '"';
        } else if (c == '"') {
            is_string = true;
        } else if (c == '{' || c == '[') {
            assert_true(depth < sizeof(open));
            open[depth++] = c;
        } else if (c == '}' || c == ']') {
            assert_true(depth > 0);
            assert_int_equal(open[--depth], c == '}' ? '{' : '[');
        } else if (c == ',') {
            assert_true(b->p[i + 1] != ',' && b->p[i + 1] != '}' && b->p[i + 1] != ']');
        }
    }
    assert_int_equal(depth, 0);
    assert_false(is_string);
}

static void test_generators(void **state)
{
    (void)state;
    static const struct conf_command commands[] = {
        {"start", "--config --help", CONF_ARGUMENT_FILE},
        {"serve", "--port", CONF_ARGUMENT_DIRECTORY},
        {"reference", NULL, CONF_ARGUMENT_KEY},
        {"version", "", CONF_ARGUMENT_NONE},
    };
    struct buf b;
    buf_init(&b, 0);
    conf_json_schema(&b);
    expect_json(&b);
    expect_contains(&b, "https://json-schema.org/draft/2020-12/schema");
    expect_contains(&b, "\"trusted_proxies\"");
    buf_clear(&b);
    conf_reference_markdown(&b);
    expect_contains(&b, "| `server.timeouts.idle` | a duration");
    expect_contains(&b, "`hosts[].routes[].path`");
    assert_null(memmem(b.p, b.n, "routes[].root", 13));
    buf_clear(&b);
    conf_completion_bash("sws", commands, 4, &b);
    expect_contains(&b, " hosts[].root");
    FILE *f = popen("bash -n", "w");
    assert_non_null(f);
    assert_int_equal(fwrite(b.p, 1, b.n, f), b.n);
    assert_int_equal(pclose(f), 0);
    buf_done(&b);
}

static void test_print_with_origins(void **state)
{
    (void)state;
    struct settings *s = load("hosts:\n  - domains: a.example\n    root: /srv\n"
                              "    routes:\n      - path: /x\n        listing: html\n");
    struct buf b;
    buf_init(&b, 0);
    conf_print_effective(s, true, &b);
    expect_contains(&b, "  listen: [80] # default\n");
    expect_contains(&b, "  - domains: [a.example] # test.yaml:2\n");
    expect_contains(&b, "      - path: /x # test.yaml:5\n");
    expect_contains(&b, "        listing: html # test.yaml:6\n");
    buf_done(&b);
    settings_destroy(s);
}

/* Every allocation of a load fails once: no leak, no crash, and the error says so. */
static void sweep(const char *text, enum err wanted)
{
    unsigned long count = 0;
    for (unsigned long n = 0; n == 0 || n <= count; n++) {
        struct diag_list diags;
        struct settings *s = NULL;
        diag_list_init(&diags);
        (void)mem_test_fail_at(n);
        enum err e = settings_load_text("test.yaml", str_of(text), NULL, &s, &diags);
        unsigned long made = mem_test_fail_at(0);
        if (n == 0) {
            count = made;
            assert_true(count > 0);
            assert_int_equal(e, wanted);
        } else {
            assert_int_equal(e, ERR_NOMEM);
        }
        settings_destroy(s);
        diag_list_done(&diags);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    sweep(FULL, ERR_OK);
    sweep("server: {lisen: 80, max: {body: 5}}\nhosts: [{domains: \"a b\"}, 5]\n", ERR_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_inheritance),
        cmocka_unit_test(test_relative_paths), cmocka_unit_test(test_default_site),
        cmocka_unit_test(test_examples),       cmocka_unit_test(test_tls),
        cmocka_unit_test(test_generators),     cmocka_unit_test(test_print_with_origins),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
