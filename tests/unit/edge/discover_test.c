/* SPDX-License-Identifier: Apache-2.0 */
/* Lists from a file and from a name that every machine has, on a simulated clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <unistd.h>

#include "base/mem.h"
#include "edge/discover.h"
#include "edge/site.h"
#include "edge/upstream.h"
#include "loop/loop.h"
#include "os/clock.h"
#include "os/file.h"

static char path[] = "/tmp/sws-discover-XXXXXX";

struct followed {
    struct loop *loop;
    struct site *site;
    struct discover *discover;
    unsigned told;
};

static struct site *make_site(const struct site *before)
{
    char text[512];
    struct diag_list diags;
    struct settings *settings = NULL;
    struct site *site = NULL;
    snprintf(text, sizeof(text),
             "backends:\n"
             "  file: {discover: {file: %s}}\n"
             "  name: {discover: dns, proxy: [\"http://localhost:1\", \"unix:/run/a\"]}\n"
             "hosts: [{domains: a.test, respond: 204}]\n",
             path);
    diag_list_init(&diags);
    assert_int_equal(settings_load_text("t.yaml", str_of(text), NULL, &settings, &diags), ERR_OK);
    assert_int_equal(site_create(settings, before, &site, &diags), ERR_OK);
    diag_list_done(&diags);
    return site;
}

static void on_list(void *context, struct str backend, const struct member *list, size_t count)
{
    struct followed *f = context;
    struct fault fault;
    enum err e = site_publish_members(f->site, backend, list, count, &fault);
    assert_true(e == ERR_OK || e == ERR_NOMEM);
    f->told += e == ERR_OK;
}

static void begin(struct followed *f)
{
    *f = (struct followed){0};
    assert_int_equal(loop_create(POLLER_KIND_SIM, &f->loop), ERR_OK);
    f->site = make_site(NULL);
    assert_int_equal(discover_create(f->loop, NULL, on_list, f, &f->discover), ERR_OK);
}

static void end(struct followed *f)
{
    discover_destroy(f->discover);
    site_unref(f->site);
    loop_destroy(f->loop);
}

static void pass(struct followed *f, uint64_t ms)
{
    uint64_t end_ns = loop_now_ns(f->loop) + ms * NS_PER_MS;
    while (loop_now_ns(f->loop) < end_ns) {
        loop_turn(f->loop, end_ns);
    }
}

static void write_file(const char *text)
{
    assert_int_equal(file_replace(path, str_of(text), 0600), ERR_OK);
}

static const struct members *members_of(const struct followed *f, const char *backend)
{
    return upstream_members(site_find_backend(f->site, str_of(backend)));
}

static void test_lists(void **state)
{
    struct followed f;
    begin(&f);
    write_file("http://127.0.0.1:1\nhttp://127.0.0.1:2\n");
    assert_int_equal(discover_set_site(f.discover, f.site), ERR_OK);
    pass(&f, 10);
    assert_int_equal(f.told, 2);
    assert_int_equal(members_of(&f, "file")->count, 2);
    assert_non_null(members_find(members_of(&f, "name"), STR("http://127.0.0.1:1")));
    assert_non_null(members_find(members_of(&f, "name"), STR("http://[::1]:1")));
    assert_non_null(members_find(members_of(&f, "name"), STR("unix:/run/a")));
    /* Nothing is told twice. */
    pass(&f, 20000);
    assert_int_equal(f.told, 2);
    write_file("http://127.0.0.1:2\n");
    pass(&f, 6000);
    assert_int_equal(f.told, 3);
    assert_int_equal(members_of(&f, "file")->count, 1);
    write_file("- {\n");
    pass(&f, 6000);
    assert_int_equal(f.told, 3);
    /* The next site begins with what was told. */
    struct site *after = make_site(f.site), *before = f.site;
    f.site = after;
    assert_int_equal(members_of(&f, "file")->count, 1);
    assert_int_equal(members_of(&f, "name")->count, 3);
    assert_int_equal(discover_set_site(f.discover, after), ERR_OK);
    site_unref(before);
    write_file("# nobody\n");
    pass(&f, 6000);
    assert_int_equal(members_of(&f, "file")->count, 0);
    assert_int_equal(f.told, 4);
    end(&f);
    discover_destroy(NULL);
    (void)state;
}

/* What fails once is found in the next round. */
static void test_allocations(void **state)
{
    unsigned long n = 0, count = 1;
    write_file("http://127.0.0.1:1\n");
    while (count > n) {
        struct followed f;
        begin(&f);
        mem_test_fail_at(++n);
        enum err e = discover_set_site(f.discover, f.site);
        pass(&f, 10);
        count = mem_test_fail_at(0) < n ? 0 : n + 1;
        if (e) {
            assert_int_equal(e, ERR_NOMEM);
            assert_int_equal(discover_set_site(f.discover, f.site), ERR_OK);
        }
        pass(&f, 6000);
        assert_int_equal(members_of(&f, "file")->count, 1);
        assert_int_equal(members_of(&f, "name")->count, 3);
        end(&f);
    }
    assert_true(n > 10);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_allocations),
    };
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
