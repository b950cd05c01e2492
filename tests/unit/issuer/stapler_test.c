/* SPDX-License-Identifier: Apache-2.0 */
/* When responders are asked, and what becomes of their answers; those are made by openssl. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/certificate.h"
#include "crypto/start.h"
#include "issuer/stapler.h"
#include "os/file.h"

#define DAY_S 86400

static char folder[64];
static struct buf one, two, key, good, revoked; /* two chains, a key, answers about the first */

struct world {
    int64_t now_s;
    unsigned asked;
    unsigned said[ISSUER_WARNING + 1];
    char text[512];
    enum err error;
    unsigned status;
    const struct buf *answer;
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
    assert_int_equal(request->method, WEB_POST);
    assert_string_equal(request->type, "application/ocsp-request");
    assert_true(request->may_be_plain && request->body.n > 0);
    assert_true(str_eq(request->url, STR("http://ocsp.test/x")));
    *ret_reason = "nobody listens";
    *ret_answer = (struct web_answer){.status = w->status, .body = buf_str(w->answer)};
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
    assert_true(str_eq(set->names[0], STR("a.test")));
    w->said[event]++;
    snprintf(w->text, sizeof(w->text), "%s", text);
}

static void run(const char *arguments)
{
    char line[1024];
    snprintf(line, sizeof(line), "cd %s && openssl %s 2>/dev/null", folder, arguments);
    assert_int_equal(system(line), 0);
}

static void get(const char *name, struct buf *into)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    buf_init(into, 0);
    assert_int_equal(file_read_all(path, 1 << 20, into), ERR_OK);
}

static void put(const char *name, struct str text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(file_replace(path, text, 0600), ERR_OK);
}

#define REQ "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 "

static void make_chain(const char *serial, struct buf *chain)
{
    char line[512];
    struct buf issuer;
    snprintf(line, sizeof(line),
             REQ "-set_serial %s -subj /CN=l -CA ca.pem -CAkey ca.key -keyout l.key -out l.pem "
                 "-addext subjectAltName=DNS:a.test -addext basicConstraints=CA:FALSE "
                 "-addext 'authorityInfoAccess=OCSP;URI:http://ocsp.test/x'",
             serial);
    run(line);
    get("l.pem", chain);
    get("ca.pem", &issuer);
    buf_add_str(chain, buf_str(&issuer));
    buf_done(&issuer);
}

static void make_answer(const char *index, struct buf *answer)
{
    put("index.txt", str_of(index));
    run("ocsp -issuer ca.pem -serial 0x11 -reqout request.der");
    run("ocsp -index index.txt -CA ca.pem -rsigner ca.pem -rkey ca.key -reqin request.der "
        "-respout answer.der -ndays 4");
    get("answer.der", answer);
}

static int set_up(void **state)
{
    strcpy(folder, "/tmp/stapler_XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(crypto_start(NULL), ERR_OK);
    run(REQ "-subj /CN=ca -keyout ca.key -out ca.pem -addext basicConstraints=critical,CA:TRUE");
    make_chain("0x12", &two);
    make_chain("0x11", &one);
    get("l.key", &key);
    make_answer("V\t491231235959Z\t\t11\tunknown\t/CN=l\n", &good);
    make_answer("R\t491231235959Z\t200101000000Z\t11\tunknown\t/CN=l\n", &revoked);
    return 0;
}

static int tear_down(void **state)
{
    char line[128];
    struct buf *const all[] = {&one, &two, &key, &good, &revoked};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buf_done(all[i]);
    }
    snprintf(line, sizeof(line), "rm -r %s", folder);
    return system(line);
}

static struct task task_of(struct str *chains, size_t count)
{
    return (struct task){.folder = str_of(folder), .chains = chains, .chain_count = count};
}

static bool is_stapled(int64_t now_s)
{
    struct certificate *c, *stapled = NULL;
    struct fault fault;
    assert_int_equal(certificate_create(buf_str(&one), buf_str(&key), &c, &fault), ERR_OK);
    enum err e = stapler_staple(str_of(folder), c, now_s, &stapled);
    assert_true(e == ERR_OK || e == ERR_NOT_FOUND);
    certificate_unref(stapled);
    certificate_unref(c);
    return !e;
}

static void test_life_of_an_answer(void **state)
{
    struct world w = {.now_s = time(NULL), .status = 200, .answer = &good};
    const struct issuer_io io = {&w, world_now_s, world_send, world_wait, world_on_event};
    struct str chains[] = {buf_str(&one)};
    const struct task task = task_of(chains, 1);
    struct stapler *s;
    int64_t start_s = w.now_s;
    assert_int_equal(stapler_create(&task, &io, &s), ERR_OK);
    assert_false(is_stapled(w.now_s));
    int64_t next_s = stapler_work(s);
    assert_int_equal(w.asked, 1);
    assert_int_equal(w.said[ISSUER_STAPLED], 1);
    assert_true(is_stapled(w.now_s));
    assert_true(next_s > start_s + DAY_S - 5 && next_s <= start_s + DAY_S); /* it looks daily */
    w.now_s = next_s;
    next_s = stapler_work(s);
    assert_int_equal(w.asked, 1);
    /* Half of four days: now; the responder is away, and what is kept serves on. */
    assert_true(next_s > start_s + 2 * DAY_S - 60 && next_s <= start_s + 2 * DAY_S);
    w.now_s = next_s;
    w.error = ERR_IO;
    for (unsigned i = 0; i < 12; i++) {
        next_s = stapler_work(s);
        assert_int_equal(w.asked, 2 + i);
        assert_true(next_s > w.now_s && next_s <= w.now_s + 600);
        w.now_s = next_s;
    }
    assert_int_equal(w.said[ISSUER_UNSTAPLED], 1);
    assert_non_null(strstr(w.text, "nobody listens"));
    assert_true(is_stapled(w.now_s));
    assert_false(is_stapled(start_s + 4 * DAY_S + 1));
    /* What it hands out later may be past its half. */
    w.error = ERR_OK;
    w.asked = 0;
    next_s = stapler_work(s);
    assert_int_equal(w.asked, 1);
    assert_true(next_s > w.now_s && next_s < start_s + 4 * DAY_S);
    stapler_destroy(s);
    /* Another process goes on with what is kept. */
    assert_int_equal(stapler_create(&task, &io, &s), ERR_OK);
    w.now_s = start_s + DAY_S;
    stapler_work(s);
    assert_int_equal(w.asked, 1);
    /* Revoked: nothing is stapled any more. */
    w.answer = &revoked;
    w.now_s = start_s + 2 * DAY_S + 60;
    next_s = stapler_work(s);
    assert_int_equal(w.said[ISSUER_REVOKED], 1);
    assert_int_equal(next_s, w.now_s + 3600);
    assert_false(is_stapled(w.now_s));
    stapler_destroy(s);
    stapler_destroy(NULL);
}

static void test_bad_answers(void **state)
{
    static struct buf text;
    buf_init(&text, 0);
    buf_add_str(&text, STR("garbage"));
    struct world w = {.now_s = time(NULL), .status = 200, .answer = &text};
    const struct issuer_io io = {&w, world_now_s, world_send, world_wait, world_on_event};
    struct str chains[] = {buf_str(&one), STR("no chain"), buf_str(&two)};
    const struct task task = task_of(chains, 3);
    struct stapler *s;
    assert_int_equal(stapler_create(&task, &io, &s), ERR_OK);
    stapler_work(s);
    assert_int_equal(w.asked, 2);
    assert_int_equal(w.said[ISSUER_UNSTAPLED], 2);
    w.status = 500;
    w.answer = &good;
    w.now_s += 700;
    stapler_work(s);
    assert_int_equal(w.asked, 4);
    /* Old, and of the future. */
    w.status = 200;
    w.now_s += 5 * DAY_S;
    stapler_work(s);
    w.now_s -= 10 * DAY_S;
    stapler_destroy(s);
    assert_int_equal(stapler_create(&task, &io, &s), ERR_OK);
    stapler_work(s);
    assert_int_equal(w.said[ISSUER_STAPLED], 0);
    assert_false(is_stapled(time(NULL)));
    stapler_destroy(s);
    /* About another certificate: good for the first, not for the second. */
    w.now_s = time(NULL);
    assert_int_equal(stapler_create(&task, &io, &s), ERR_OK);
    stapler_work(s);
    assert_int_equal(w.said[ISSUER_STAPLED], 1);
    assert_non_null(strstr(w.text, "another certificate"));
    stapler_destroy(s);
    /* A responder that is away is asked once for all of its certificates. */
    w = (struct world){.now_s = time(NULL) + 3 * DAY_S, .error = ERR_TIMEOUT, .answer = &good};
    assert_int_equal(stapler_create(&task, &io, &s), ERR_OK);
    stapler_work(s);
    assert_int_equal(w.asked, 1);
    assert_int_equal(w.said[ISSUER_UNSTAPLED], 1);
    stapler_destroy(s);
    buf_done(&text);
}

static void test_what_is_not_served_is_forgotten(void **state)
{
    struct world w = {.now_s = time(NULL), .status = 200, .answer = &good};
    const struct issuer_io io = {&w, world_now_s, world_send, world_wait, world_on_event};
    struct str chains[] = {buf_str(&one)};
    struct task task = task_of(chains, 1);
    struct stapler *s;
    assert_int_equal(stapler_create(&task, &io, &s), ERR_OK);
    stapler_work(s);
    put("ocsp/stray.der", STR("x"));
    assert_true(is_stapled(w.now_s));
    stapler_work(s);
    char path[128];
    snprintf(path, sizeof(path), "%s/ocsp/stray.der", folder);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_true(is_stapled(w.now_s));
    task.chain_count = 0;
    stapler_work(s);
    assert_false(is_stapled(w.now_s));
    stapler_destroy(s);
}

static void test_no_memory(void **state)
{
    struct str chains[] = {buf_str(&one)};
    const struct task task = task_of(chains, 1);
    for (unsigned long n = 1;; n++) {
        struct world w = {.now_s = time(NULL), .status = 200, .answer = &good};
        const struct issuer_io io = {&w, world_now_s, world_send, world_wait, world_on_event};
        struct stapler *s = NULL;
        char path[128];
        snprintf(path, sizeof(path), "%s/ocsp", folder);
        assert_int_equal(file_make_directories(path), ERR_OK);
        run("version > /dev/null && rm -f ocsp/*");
        mem_test_fail_at(n);
        enum err e = stapler_create(&task, &io, &s);
        if (!e) {
            stapler_work(s);
        }
        bool is_over = mem_test_fail_at(0) < n;
        stapler_destroy(s);
        assert_true(e == ERR_OK || e == ERR_NOMEM);
        if (is_over) {
            assert_int_equal(e, ERR_OK);
            assert_true(is_stapled(w.now_s));
            return;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_of_an_answer),
        cmocka_unit_test(test_bad_answers),
        cmocka_unit_test(test_what_is_not_served_is_forgotten),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
