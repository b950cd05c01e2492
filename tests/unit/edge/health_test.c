/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of real sockets on a simulated clock: of this process, which is healthy, and of a socket
 * that nobody has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include <poll.h>

#include "base/mem.h"
#include "edge/endpoint.h"
#include "edge/health.h"
#include "edge/upstream.h"
#include "rig.h"

#define REAL_TURNS_MAX 10000

struct checked {
    struct rig rig;
    struct site *site;
    struct health *health;
    struct endpoint *good, *bad;
};

static struct endpoint *endpoint_of(const struct site *site, const char *backend)
{
    const struct upstream *u = site_find_backend(site, str_of(backend));
    assert_non_null(u);
    return upstream_members(u)->items[0].state;
}

static void begin(struct checked *c)
{
    c->site = rig_site();
    rig_start(&c->rig, c->site);
    assert_int_equal(health_create(c->rig.loop, NULL, &c->health), ERR_OK);
    c->good = endpoint_of(c->site, "proxy.test");
    c->bad = endpoint_of(c->site, "down.test");
}

static void end(struct checked *c)
{
    health_destroy(c->health);
    rig_stop(&c->rig);
    site_unref(c->site);
}

/* The simulated time goes on by a millisecond for each that the kernel may need. */
static void await(struct checked *c, struct endpoint *e, enum endpoint_health health)
{
    unsigned turns = 0;
    while (endpoint_health(e) != health) {
        rig_advance(&c->rig, 1);
        poll(NULL, 0, turns % 16 == 15);
        assert_true(++turns < REAL_TURNS_MAX);
    }
}

static void test_verdicts(void **state)
{
    struct checked c;
    begin(&c);
    assert_int_equal(endpoint_health(c.good), ENDPOINT_PRESUMED);
    assert_int_equal(health_set_site(c.health, c.site), ERR_OK);
    await(&c, c.good, ENDPOINT_HEALTHY);
    await(&c, c.bad, ENDPOINT_UNHEALTHY);
    /* It needs three failures to fall. */
    rig_advance(&c.rig, 5000);
    assert_int_equal(endpoint_health(c.good), ENDPOINT_HEALTHY);
    /* Nothing changes for the next site, and nobody is asked twice. */
    struct site *after = NULL;
    struct diag_list diags;
    diag_list_init(&diags);
    assert_int_equal(site_create(rig_settings(), c.site, &after, &diags), ERR_OK);
    diag_list_done(&diags);
    assert_ptr_equal(endpoint_of(after, "proxy.test"), c.good);
    assert_int_equal(health_set_site(c.health, after), ERR_OK);
    assert_int_equal(endpoint_health(c.good), ENDPOINT_HEALTHY);
    assert_int_equal(endpoint_health(c.bad), ENDPOINT_UNHEALTHY);
    site_unref(after);
    end(&c);
    health_destroy(NULL);
    (void)state;
}

/* Lists change under a check that is under way. */
static void test_published(void **state)
{
    struct checked c;
    struct fault fault;
    begin(&c);
    assert_int_equal(health_set_site(c.health, c.site), ERR_OK);
    const struct upstream *u = site_find_backend(c.site, STR("proxy.test"));
    const struct member old = members_told(&upstream_members(u)->items[0]);
    const struct member list[2] = {
        {.name = STR("new"), .url = old.url, .weight = 1},
        {.name = STR("gone"), .url = STR("http://127.0.0.1:1"), .weight = 1}};
    rig_advance(&c.rig, 2);
    assert_int_equal(upstream_publish(u, list, 2, &fault), ERR_OK);
    assert_int_equal(health_set_site(c.health, c.site), ERR_OK);
    struct endpoint *joined = upstream_members(u)->items[0].state;
    assert_int_equal(endpoint_health(joined), ENDPOINT_WAITING);
    await(&c, joined, ENDPOINT_HEALTHY);
    await(&c, upstream_members(u)->items[1].state, ENDPOINT_UNHEALTHY);
    assert_int_equal(upstream_publish(u, NULL, 0, &fault), ERR_OK);
    assert_int_equal(health_set_site(c.health, c.site), ERR_OK);
    rig_advance(&c.rig, 3000);
    end(&c);
    (void)state;
}

/* Whatever fails, somebody is told: no verdict is lost, none is wrong for good. */
static void test_allocations(void **state)
{
    unsigned long n = 0, count = 1;
    while (count > n) {
        struct checked c;
        begin(&c);
        mem_test_fail_at(++n);
        enum err e = health_set_site(c.health, c.site);
        for (unsigned i = 0; i < 40; i++) {
            rig_advance(&c.rig, 1);
        }
        /* As long as it failed there are more. */
        count = mem_test_fail_at(0) < n ? 0 : n + 1;
        if (e) {
            assert_int_equal(e, ERR_NOMEM);
            assert_int_equal(health_set_site(c.health, c.site), ERR_OK);
        }
        await(&c, c.good, ENDPOINT_HEALTHY);
        await(&c, c.bad, ENDPOINT_UNHEALTHY);
        end(&c);
    }
    assert_true(n > 10);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_published),
        cmocka_unit_test(test_allocations),
    };
    rig_files_make();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rig_files_done();
    return failed;
}
