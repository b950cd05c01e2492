/* SPDX-License-Identifier: Apache-2.0 */
/* Which names are asked about, and what becomes of the answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/local_ca.h"
#include "crypto/start.h"
#include "issuer/acme_store.h"
#include "issuer/demand.h"
#include "os/file.h"

static char folder[64];
static struct task_set kind = {
    .acme = {.ca = STR("https://ca.test/d"), .ask = STR("http://ask.test/?k=1")}};

struct world {
    int64_t now_s;
    unsigned asked;
    char url[512];
    enum err error;
    unsigned status;
    unsigned said[ISSUER_WARNING + 1];
    char text[512];
};

static int64_t world_now_s(void *context)
{
    return ((struct world *)context)->now_s;
}

static enum err world_send(void *context, const struct web_request *request,
                           struct web_answer *ret_answer, const char **ret_reason)
{
    struct world *w = context;
    w->asked++;
    assert_int_equal(request->method, WEB_GET);
    assert_true(request->may_be_plain && request->timeout_ms > 0);
    snprintf(w->url, sizeof(w->url), STR_FMT, STR_ARG(request->url));
    *ret_reason = "nobody listens";
    *ret_answer = (struct web_answer){.status = w->status};
    return w->error;
}

static bool world_wait(void *context, int64_t until_s)
{
    return false;
}

static void world_on_event(void *context, enum issuer_event event, const struct task_set *set,
                           const char *text)
{
    struct world *w = context;
    w->said[event]++;
    snprintf(w->text, sizeof(w->text), "%s", text);
}

static int set_up(void **state)
{
    strcpy(folder, "/tmp/demand_XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    char line[128];
    snprintf(line, sizeof(line), "rm -r %s", folder);
    return system(line);
}

static struct task task_of(void)
{
    return (struct task){.folder = str_of(folder), .demands = &kind, .demand_count = 1};
}

static void take(struct demand *d, const char *name)
{
    struct buf text;
    buf_init(&text, 0);
    demand_write(str_of(name), &kind.acme, &text);
    demand_take(d, buf_str(&text));
    buf_done(&text);
}

static void count_name(void *context, struct str name)
{
    ++*(unsigned *)context;
}

static unsigned kept(void)
{
    unsigned n = 0;
    demand_each(str_of(folder), count_name, &n);
    return n;
}

static void test_answers(void **state)
{
    struct world w = {.now_s = 1000000, .status = 200};
    const struct issuer_io io = {&w, world_now_s, world_send, world_wait, world_on_event};
    static struct str own_name = STR("own.test");
    struct task_set own = {.names = &own_name, .name_count = 1};
    struct task task = task_of();
    struct demand *d;
    task.sets = &own;
    task.count = 1;
    assert_int_equal(demand_open(&task, &io, &d), ERR_OK);
    assert_int_equal(task.count, 1);
    take(d, "a.example.com");
    take(d, "a.example.com");
    assert_true(demand_is_waiting(d));
    demand_work(d);
    assert_false(demand_is_waiting(d));
    assert_int_equal(w.asked, 1);
    assert_string_equal(w.url, "http://ask.test/?k=1&domain=a.example.com");
    assert_int_equal(task.count, 2);
    assert_true(str_eq(task.sets[0].names[0], own_name));
    assert_true(str_eq(task.sets[1].names[0], STR("a.example.com")));
    assert_true(task.sets[1].is_on_demand && !task.sets[0].is_on_demand);
    assert_int_equal(kept(), 1);
    /* No is remembered for a quarter of an hour, trouble for a minute and said once. */
    w.status = 403;
    take(d, "b.example.com");
    demand_work(d);
    take(d, "b.example.com");
    assert_false(demand_is_waiting(d));
    w.now_s += 901;
    w.status = 500;
    take(d, "b.example.com");
    demand_work(d);
    w.error = ERR_TIMEOUT;
    take(d, "c.example.com");
    demand_work(d);
    assert_int_equal(w.said[ISSUER_REFUSED], 1);
    assert_int_equal(w.said[ISSUER_WARNING], 1);
    assert_non_null(strstr(w.text, "status 500"));
    take(d, "c.example.com");
    assert_false(demand_is_waiting(d));
    w.now_s += 61;
    w.error = ERR_OK;
    w.status = 200;
    take(d, "c.example.com");
    demand_work(d);
    assert_int_equal(task.count, 3);
    demand_close(d);
    assert_ptr_equal(task.sets, &own);
    assert_int_equal(task.count, 1);
    /* The next process has them; another configuration has not, and forgets. */
    assert_int_equal(demand_open(&task, &io, &d), ERR_OK);
    assert_int_equal(task.count, 3);
    demand_close(d);
    struct task_set other = {.acme = {.ca = STR("https://ca.test/d"), .ask = STR("http://x.test")}};
    task.demands = &other;
    assert_int_equal(demand_open(&task, &io, &d), ERR_OK);
    assert_int_equal(task.count, 1);
    assert_int_equal(kept(), 0);
    demand_close(d);
    demand_close(NULL);
}

static void test_bad_messages(void **state)
{
    static const char *const bad[] = {"",
                                      "a.example.com",
                                      "a.example.com\nhttp://ask.test/?k=1",
                                      "\nhttp://ask.test/?k=1\nhttps://ca.test/d",
                                      "../lock\nhttp://ask.test/?k=1\nhttps://ca.test/d",
                                      "a/b\nhttp://ask.test/?k=1\nhttps://ca.test/d",
                                      ".a\nhttp://ask.test/?k=1\nhttps://ca.test/d",
                                      "A.example.com\nhttp://ask.test/?k=1\nhttps://ca.test/d",
                                      "a&b=c.example.com\nhttp://ask.test/?k=1\nhttps://ca.test/d",
                                      "a.example.com\nhttp://evil.test/\nhttps://ca.test/d",
                                      "a.example.com\nhttp://ask.test/?k=1\nhttps://ca.test/d\nx"};
    struct world w = {.now_s = 1000000, .status = 200};
    const struct issuer_io io = {&w, world_now_s, world_send, world_wait, world_on_event};
    struct task task = task_of();
    struct demand *d;
    char name[300];
    assert_int_equal(demand_open(&task, &io, &d), ERR_OK);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        demand_take(d, str_of(bad[i]));
        if (demand_is_waiting(d)) {
            fail_msg("taken: %s", bad[i]);
        }
    }
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    take(d, name);
    assert_false(demand_is_waiting(d));
    /* What waits is bounded, and so is all of it. */
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "n%u.example.com", i);
        take(d, name);
    }
    demand_work(d);
    assert_int_equal(w.asked, 16);
    for (unsigned i = 0; i < DEMAND_NAMES_MAX; i++) {
        snprintf(name, sizeof(name), "m%u.example.com", i);
        take(d, name);
        demand_work(d);
    }
    assert_int_equal(task.count, DEMAND_NAMES_MAX);
    assert_non_null(strstr(w.text, "has no place"));
    demand_close(d);
}

static void test_names_that_lead_nowhere(void **state)
{
    struct world w = {.now_s = 1000000, .status = 200};
    const struct issuer_io io = {&w, world_now_s, world_send, world_wait, world_on_event};
    struct task task = task_of();
    struct store_record record;
    struct demand *d;
    struct str name = STR("a.example.com");
    const struct store_set place = {str_of(folder), kind.acme.ca, &name, 1};
    struct store_account account;
    struct fault fault;
    assert_int_equal(demand_open(&task, &io, &d), ERR_OK);
    take(d, "a.example.com");
    take(d, "b.example.com");
    demand_work(d);
    assert_int_equal(store_open_account(&place, &account, &fault), ERR_OK);
    store_account_done(&account);
    assert_int_equal(store_read_record(&place, &record), ERR_OK);
    record.failures = 2;
    assert_int_equal(store_keep_record(&place, &record), ERR_OK);
    demand_work(d);
    assert_int_equal(task.count, 2);
    record.failures = 3;
    assert_int_equal(store_keep_record(&place, &record), ERR_OK);
    store_record_done(&record);
    demand_work(d);
    assert_int_equal(task.count, 1);
    assert_true(str_eq(task.sets[0].names[0], STR("b.example.com")));
    assert_int_equal(kept(), 1);
    assert_int_equal(store_read_record(&place, &record), ERR_OK);
    assert_int_equal(record.failures, 0);
    store_record_done(&record);
    take(d, "a.example.com");
    assert_false(demand_is_waiting(d));
    demand_close(d);
}

/* Half of its thirty days are over, then more than two thirds. */
static void test_renewals_are_asked_about(void **state)
{
    struct world w = {.now_s = time(NULL), .status = 200};
    const struct issuer_io io = {&w, world_now_s, world_send, world_wait, world_on_event};
    struct task task = task_of();
    struct str name = STR("a.example.com");
    const struct store_set place = {str_of(folder), kind.acme.ca, &name, 1};
    const struct local_ca_order order = {&name, 1, 30};
    struct local_ca *ca;
    struct store_account account;
    struct fault fault;
    struct demand *d;
    struct buf chain, key;
    buf_init(&chain, 0);
    buf_init(&key, 0);
    assert_int_equal(crypto_start(NULL), ERR_OK);
    assert_int_equal(local_ca_create(STR("here"), w.now_s, &ca), ERR_OK);
    assert_int_equal(local_ca_issue(ca, &order, w.now_s, &chain, &key), ERR_OK);
    assert_int_equal(store_open_account(&place, &account, &fault), ERR_OK);
    store_account_done(&account);
    assert_int_equal(store_keep_certificate(&place, buf_str(&chain), buf_str(&key)), ERR_OK);
    assert_int_equal(demand_open(&task, &io, &d), ERR_OK);
    take(d, "a.example.com");
    demand_work(d);
    w.now_s += 15 * 86400;
    demand_work(d);
    assert_int_equal(w.asked, 1);
    w.now_s += 6 * 86400;
    demand_work(d);
    demand_work(d);
    assert_int_equal(w.asked, 2);
    w.status = 503;
    w.now_s += 86400;
    demand_work(d);
    w.error = ERR_IO;
    w.now_s += 86400;
    demand_work(d);
    assert_int_equal(w.asked, 4);
    assert_int_equal(task.count, 1);
    w.error = ERR_OK;
    w.status = 410;
    w.now_s += 86400;
    demand_work(d);
    assert_int_equal(task.count, 0);
    assert_int_equal(kept(), 0);
    assert_non_null(strstr(w.text, "not wanted any more"));
    demand_close(d);
    local_ca_destroy(ca);
    buf_done(&chain);
    buf_done(&key);
}

static void test_no_memory(void **state)
{
    for (unsigned long n = 1;; n++) {
        struct world w = {.now_s = 1000000, .status = 200};
        const struct issuer_io io = {&w, world_now_s, world_send, world_wait, world_on_event};
        struct task task = task_of();
        struct demand *d = NULL;
        struct buf text;
        buf_init(&text, 0);
        demand_write(STR("x.example.com"), &kind.acme, &text);
        mem_test_fail_at(n);
        enum err e = demand_open(&task, &io, &d);
        if (!e) {
            demand_take(d, buf_str(&text));
            demand_work(d);
        }
        bool is_over = mem_test_fail_at(0) < n;
        assert_true(e == ERR_OK || e == ERR_NOMEM);
        assert_int_equal(task.count, e ? 0 : is_over ? 1 : task.count);
        demand_close(d);
        buf_done(&text);
        tear_down(NULL);
        set_up(NULL);
        if (is_over) {
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names_that_lead_nowhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_renewals_are_asked_about, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
