/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "conf/record.h"
#include "conf/settings.h"
#include "memory_io.h"

static enum err load(struct memory_world *w, const char *path, struct settings **ret,
                     struct diag_list *diags)
{
    struct conf_io io = memory_io(w);
    return settings_load(&path, 1, &io, ret, diags);
}

static void expect_error(const struct memory_file *files, const char *sentence)
{
    struct memory_world w = {.files = files};
    struct diag_list diags;
    struct settings *s = NULL;
    diag_list_init(&diags);
    assert_int_equal(load(&w, "/e/sws.yaml", &s, &diags), ERR_CONFIG);
    assert_true(diags.count > 0);
    if (memmem(diags.items[0].sentence.p, diags.items[0].sentence.n, sentence, strlen(sentence)) ==
        NULL) {
        fail_msg("%s", diags.items[0].sentence.p);
    }
    diag_list_done(&diags);
}

static const struct memory_file GOOD[] = {
    {"/e/conf.d/a.yaml", "hosts: [{domains: a.example, root: a}]\nserver: {max: {uri: 4KB}}\n"},
    {"/e/conf.d/b.yaml", "hosts:\n  - domains: b.example\n    root: ${env:DIR}\n"
                         "    respond: null\n"},
    {"/e/sws.yaml", "include: conf.d/*.yaml\nserver: {listen: \"${env:PORT:-8080}\",\n"
                    "  max: {body: 1MB}, user: \"${file:/e/user}\"}\n"
                    "hosts: [{domains: c.example, respond: {body: \"$${env:DIR} ${env:E}\"}}]\n"},
    {"/e/user", "wwwrun\n\n"},
    {NULL, NULL},
};
static const struct memory_file VARIABLES[] = {
    {"DIR", "/srv/x: [1, 2]"}, {"E", "a: b"}, {NULL, NULL}};

/* What one process read, another loads without reading; faults are the same too. */
static void test_record(void **state)
{
    (void)state;
    static const struct memory_file broken[] = {
        {"/e/sws.yaml", "server: {user: \"${file:/e/none}\"}\nhosts: []\n"}, {NULL, NULL}};
    struct memory_world w = {.files = GOOD, .variables = VARIABLES};
    for (int round = 0; round < 2; round++) {
        struct conf_io inner = memory_io(&w);
        struct conf_record record;
        struct diag_list diags;
        struct settings *s = NULL;
        const char *path = "/e/sws.yaml";
        diag_list_init(&diags);
        conf_record_init(&record, &inner);
        struct conf_io recording = conf_record_io(&record);
        enum err e = settings_load(&path, 1, &recording, &s, &diags);
        assert_int_equal(e, round ? ERR_CONFIG : ERR_OK);
        settings_destroy(s);
        s = NULL;
        struct str bytes = buf_str(&record.bytes);
        struct conf_io replaying = conf_replay_io(&bytes);
        assert_int_equal(settings_load(&path, 1, &replaying, &s, &diags), e);
        if (round == 0) {
            assert_int_equal(s->hosts.count, 3);
            assert_true(str_eq(s->server.user, STR("wwwrun")));
            assert_true(str_eq(s->hosts.items[2].keys.root, STR("/srv/x: [1, 2]")));
            settings_destroy(s);
        } else {
            assert_int_equal(diags.count, 1);
            assert_non_null(strstr(diags.items[0].sentence.p, "/e/none"));
        }
        /* A record that was cut is a fault, not a crash. */
        for (size_t n = 0; n < bytes.n; n += 7) {
            struct str cut = str_make(bytes.p, n);
            struct conf_io io = conf_replay_io(&cut);
            s = NULL;
            enum err cut_error = settings_load(&path, 1, &io, &s, &diags);
            if (!cut_error) {
                settings_destroy(s);
            }
        }
        conf_record_done(&record);
        diag_list_done(&diags);
        w.files = broken;
    }
}

static void test_include(void **state)
{
    (void)state;
    struct memory_world w = {.files = GOOD, .variables = VARIABLES};
    struct diag_list diags;
    struct settings *s = NULL;
    diag_list_init(&diags);
    assert_int_equal(load(&w, "/e/sws.yaml", &s, &diags), ERR_OK);
    assert_int_equal(s->hosts.count, 3);
    assert_true(str_eq(s->hosts.items[1].keys.root, STR("/e/conf.d/a")));
    assert_true(str_eq(s->hosts.items[2].keys.root, STR("/srv/x: [1, 2]")));
    assert_true(str_eq(s->hosts.items[0].keys.respond.body, STR("${env:DIR} a: b")));
    assert_int_equal(s->server.max.uri_bytes, 4000);
    assert_int_equal(s->server.max.body_bytes, 1000000);
    assert_int_equal(s->server.listen.items[0].port, 8080);
    assert_true(str_eq(s->server.user, STR("wwwrun")));
    settings_destroy(s);
    diag_list_done(&diags);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct memory_world w = {.files = GOOD, .variables = VARIABLES};
    unsigned long count = 0;
    for (unsigned long n = 0; n == 0 || n <= count; n++) {
        struct diag_list diags;
        struct settings *s = NULL;
        diag_list_init(&diags);
        (void)mem_test_fail_at(n);
        enum err e = load(&w, "/e/sws.yaml", &s, &diags);
        unsigned long made = mem_test_fail_at(0);
        count = n == 0 ? made : count;
        assert_int_equal(e, n == 0 ? ERR_OK : ERR_NOMEM);
        settings_destroy(s);
        diag_list_done(&diags);
    }
}

static void test_clashes(void **state)
{
    (void)state;
    expect_error(
        (const struct memory_file[]){{"/e/a.yaml", "server: {user: x}\n"},
                                     {"/e/sws.yaml", "include: a.yaml\nserver: {user: y}\n"},
                                     {NULL, NULL}},
        "\"user\" is set here and in /e/sws.yaml line 2");
    expect_error(
        (const struct memory_file[]){
            {"/e/a.yaml", "hosts: [{domains: x.example, root: /a}]\n"},
            {"/e/sws.yaml", "include: a.yaml\nhosts:\n  - {domains: X.example, root: /b}\n"},
            {NULL, NULL}},
        "x.example is defined here and in /e/sws.yaml:3");
    expect_error((const struct memory_file[]){{"/e/sws.yaml", "include: sws.yaml\n"}, {NULL, NULL}},
                 "it includes itself");
    expect_error((const struct memory_file[]){{"/e/sws.yaml", "include: no.yaml\n"}, {NULL, NULL}},
                 "does not exist");
    expect_error((const struct memory_file[]){{NULL, NULL}}, "cannot be read: not found");
    expect_error((const struct memory_file[]){{"/e/sws.yaml", "server: {user: \"${env:NOT}\"}\n"},
                                              {NULL, NULL}},
                 "NOT is not set");
    expect_error((const struct memory_file[]){{"/e/sws.yaml", "server: {user: \"${file:/no}\"}\n"},
                                              {NULL, NULL}},
                 "/no cannot be read");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_include),
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_clashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
