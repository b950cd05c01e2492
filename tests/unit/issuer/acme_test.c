/* SPDX-License-Identifier: Apache-2.0 */
/* The ACME state machine beside a server in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "crypto/certificate.h"
#include "crypto/csr.h"
#include "fake_ca.h"
#include "issuer/task.h"

#define NOW_S 1000000000
#define STEPS_MAX 500

static struct private_key *account_key, *certificate_key;
static struct buf csr, key_pem;

/* What one run saw. */
struct trace {
    unsigned presented;
    unsigned cleaned;
    unsigned kept_orders;
    unsigned kept_accounts;
    unsigned sent;
    char order[ACME_URL_BYTES_MAX];
    char account[ACME_URL_BYTES_MAX];
    int64_t now_s;
    unsigned break_at; /* this request gets no answer; 0 = none */
    bool fails_to_present;
};

static const struct str names[] = {STR("a.test"), STR("b.test")};

static void note_url(char *into, struct str url)
{
    snprintf(into, ACME_URL_BYTES_MAX, STR_FMT, STR_ARG(url));
}

static void act(struct acme *a, const struct acme_action *action, struct trace *t)
{
    enum err e = ERR_OK;
    if (action->kind == ACME_KEEP_ACCOUNT) {
        t->kept_accounts++;
        note_url(t->account, action->url);
    } else if (action->kind == ACME_KEEP_ORDER) {
        t->kept_orders++;
        note_url(t->order, action->url);
    } else if (action->kind == ACME_PRESENT) {
        t->presented++;
        e = t->fails_to_present ? ERR_ACCESS : ERR_OK;
        assert_true(str_starts_with(action->token, STR("to_")));
        assert_true(str_starts_with(action->key_authorization, action->token));
        assert_true(str_eq(action->name, names[0]) || str_eq(action->name, names[1]));
    } else {
        assert_int_equal(action->kind, ACME_CLEAN);
        t->cleaned++;
    }
    acme_on_done(a, e, "no room");
}

static void drive(struct acme *a, struct fake_ca *f, struct trace *t)
{
    for (unsigned i = 0; i < STEPS_MAX; i++) {
        struct acme_action action;
        struct web_answer answer;
        acme_next(a, t->now_s, &action);
        if (action.kind == ACME_END) {
            assert_int_equal(t->presented, t->cleaned);
            return;
        }
        if (action.kind == ACME_WAIT) {
            assert_true(action.until_s > t->now_s);
            t->now_s = action.until_s;
        } else if (action.kind != ACME_SEND) {
            act(a, &action, t);
        } else if (++t->sent == t->break_at) {
            acme_on_broken(a, "no route");
        } else {
            fake_ca_answer(f, &action, &answer);
            acme_on_answer(a, t->now_s, &answer);
        }
    }
    fail_msg("it does not end");
}

static const struct acme_request_order request = {
    .names = names, .name_count = 2, .challenge = ACME_TLS_ALPN_01};

/* One order; NULL: memory ran out before it began. The caller ends the result. */
static struct acme *order_as(struct fake_ca *f, struct trace *t, const struct acme_config *config,
                             struct acme_request_order r)
{
    struct acme *a;
    r.csr = buf_str(&csr);
    t->now_s = t->now_s ? t->now_s : NOW_S;
    if (acme_create(config, &a) != ERR_OK) {
        return NULL;
    }
    if (acme_begin_order(a, &r, t->now_s) != ERR_OK) {
        acme_destroy(a);
        return NULL;
    }
    drive(a, f, t);
    return a;
}

static struct acme *order(struct fake_ca *f, struct trace *t)
{
    const struct acme_config config = {.directory = STR(FAKE_DIRECTORY), .key = account_key};
    struct acme *a = order_as(f, t, &config, request);
    assert_non_null(a);
    return a;
}

static void expect_chain(const struct acme *a)
{
    struct certificate *c;
    struct fault fault;
    assert_null(acme_failure(a));
    assert_int_equal(certificate_create(acme_chain(a), buf_str(&key_pem), &c, &fault), ERR_OK);
    assert_int_equal(certificate_name_count(c), 2);
    certificate_unref(c);
}

static const struct acme_failure *expect_failure(const struct acme *a, const char *text)
{
    const struct acme_failure *f = acme_failure(a);
    assert_non_null(f);
    if (!strstr(f->text, text)) {
        fail_msg("\"%s\" does not say \"%s\"", f->text, text);
    }
    return f;
}

static void test_whole_order(void **state)
{
    const struct acme_config config = {
        .directory = STR(FAKE_DIRECTORY), .key = account_key, .email = STR("a@b.test")};
    struct fake_ca *f = fake_ca_create();
    struct trace t = {0};
    f->pending_polls = 2;
    f->processing_polls = 2;
    struct acme *a = order_as(f, &t, &config, request);
    expect_chain(a);
    assert_int_equal(t.presented, 2);
    assert_int_equal(t.kept_accounts, 1);
    assert_int_equal(t.kept_orders, 1);
    assert_string_equal(t.order, "https://ca.test/order/0");
    assert_string_equal(f->last_contact, "mailto:a@b.test");
    assert_false(f->had_eab);
    assert_int_equal(f->requests[FAKE_AT_NONCE], 1);
    assert_int_equal(f->requests[FAKE_AT_CHALLENGE], 2);
    /* The second one of the same account needs no new one, and no new nonce. */
    struct trace again = {0};
    struct acme_request_order r = request;
    r.csr = buf_str(&csr);
    again.now_s = NOW_S;
    assert_int_equal(acme_begin_order(a, &r, NOW_S), ERR_OK);
    drive(a, f, &again);
    expect_chain(a);
    assert_int_equal(f->accounts, 1);
    assert_int_equal(f->requests[FAKE_AT_NONCE], 1);
    acme_destroy(a);
    fake_ca_destroy(f);
}

static void test_bad_nonces(void **state)
{
    struct fake_ca *f = fake_ca_create();
    struct trace t = {0}, hopeless = {0};
    f->bad_nonces = 10;
    struct acme *a = order(f, &t);
    expect_chain(a);
    assert_int_equal(f->accounts, 1);
    acme_destroy(a);
    f->bad_nonces = 1000;
    a = order(f, &hopeless);
    expect_failure(a, "badNonce");
    acme_destroy(a);
    fake_ca_destroy(f);
}

static void test_errors_at_every_step(void **state)
{
    for (int step = FAKE_AT_DIRECTORY; step < FAKE_AT_WINDOW; step++) {
        struct fake_ca *f = fake_ca_create();
        struct trace t = {0}, retry = {0};
        f->error_at = (enum fake_step)step;
        f->error_count = 1;
        f->error_status = 429;
        f->error_type = "rateLimited";
        f->retry_after = "7200";
        if (step == FAKE_AT_ORDER) {
            f->processing_polls = 1;
        }
        struct acme *a = order(f, &t);
        const struct acme_failure *failure =
            expect_failure(a, step == FAKE_AT_NONCE ? "a nonce was refused with 429"
                                                    : "429 rateLimited: so it is");
        assert_int_equal(failure->retry_at_s - t.now_s, 7200);
        assert_false(failure->is_unreachable);
        assert_true(acme_chain(a).n == 0);
        acme_destroy(a);
        f->retry_after = NULL;
        a = order(f, &retry);
        expect_chain(a);
        acme_destroy(a);
        fake_ca_destroy(f);
    }
}

static void test_retry_after_dates(void **state)
{
    static const struct {
        const char *text;
        int64_t after_s;
    } cases[] = {
        {"Sun, 09 Sep 2001 02:46:40 GMT", 3600},
        {"99999999999999999999", 0},
        {"999999999", 86400},
        {"-5", 0},
        {"soon", 0},
        {"", 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct fake_ca *f = fake_ca_create();
        struct trace t = {0};
        f->error_at = FAKE_AT_NEW_ORDER;
        f->error_count = 1;
        f->error_status = 503;
        f->error_type = "serverInternal";
        f->retry_after = cases[i].text;
        struct acme *a = order(f, &t);
        const struct acme_failure *failure = expect_failure(a, "503 serverInternal");
        assert_true(failure->is_unreachable);
        assert_int_equal(failure->retry_at_s, cases[i].after_s ? NOW_S + cases[i].after_s : 0);
        acme_destroy(a);
        fake_ca_destroy(f);
    }
}

static void test_garbage_at_every_step(void **state)
{
    static const char *const garbage[] = {
        "",
        "{",
        "[]",
        "{}",
        "null",
        "{\"status\":\"valid\"}",
        "{\"newNonce\":\"http://plain.test\",\"newAccount\":1,\"newOrder\":\"https://x\"}",
        "{\"status\":\"pending\",\"authorizations\":[],\"finalize\":\"https://ca.test/finalize/"
        "0\"}",
        "{\"status\":\"valid\",\"authorizations\":[\"https://ca.test/a\"],"
        "\"finalize\":\"https://ca.test/finalize/0\"}",
        "{\"status\":\"pending\",\"identifier\":{\"value\":\"evil.test\"},\"challenges\":[]}",
        "{\"status\":\"pending\",\"identifier\":{\"value\":\"a.test\"},\"challenges\":[{\"type\":"
        "\"tls-alpn-01\",\"url\":\"https://ca.test/challenge/0-0\",\"token\":\"../../passwd\"}]}",
    };
    for (int step = FAKE_AT_DIRECTORY; step < FAKE_AT_WINDOW; step++) {
        for (size_t i = 0; i < COUNT_OF(garbage); i++) {
            struct fake_ca *f = fake_ca_create();
            struct trace t = {0};
            f->garbage_at = (enum fake_step)step;
            f->garbage = garbage[i];
            if (step == FAKE_AT_ORDER) {
                f->processing_polls = 1;
            }
            struct acme *a = order(f, &t);
            /* The bodies of these are not looked at; a chain is judged by the caller. */
            bool is_ignored = step == FAKE_AT_NONCE || step == FAKE_AT_ACCOUNT ||
                              step == FAKE_AT_CHALLENGE ||
                              (step == FAKE_AT_CERTIFICATE && garbage[i][0]);
            assert_int_equal(acme_failure(a) == NULL, is_ignored);
            acme_destroy(a);
            fake_ca_destroy(f);
        }
    }
}

static void test_proof_is_refused(void **state)
{
    struct fake_ca *f = fake_ca_create();
    struct trace t = {0}, offered = {0};
    f->refuses_proofs = true;
    struct acme *a = order(f, &t);
    const struct acme_failure *failure =
        expect_failure(a, "a.test could not be proved: connection: nobody home");
    assert_true(failure->is_challenge);
    assert_int_equal(t.cleaned, 2);
    acme_destroy(a);
    f->refuses_proofs = false;
    f->has_no_tls_alpn = true;
    a = order(f, &offered);
    failure = expect_failure(a, "no tls-alpn-01 for a.test");
    assert_true(failure->is_challenge);
    acme_destroy(a);
    fake_ca_destroy(f);
}

static void test_proof_cannot_be_presented(void **state)
{
    struct fake_ca *f = fake_ca_create();
    struct trace t = {.fails_to_present = true};
    struct acme *a = order(f, &t);
    expect_failure(a, "no room");
    assert_int_equal(t.presented, 1);
    assert_int_equal(t.cleaned, 1);
    assert_int_equal(f->requests[FAKE_AT_CHALLENGE], 0);
    acme_destroy(a);
    fake_ca_destroy(f);
}

static void test_polling_ends(void **state)
{
    struct fake_ca *f = fake_ca_create();
    struct trace t = {0}, slow = {0};
    f->pending_polls = 100000;
    struct acme *a = order(f, &t);
    expect_failure(a, "not done after 10 minutes");
    assert_true(t.now_s - NOW_S >= 600 && t.now_s - NOW_S < 700);
    assert_true(f->requests[FAKE_AT_AUTHORIZATION] < 100);
    acme_destroy(a);
    f->pending_polls = 1;
    f->retry_after = "300";
    a = order(f, &slow);
    expect_chain(a);
    assert_int_equal(slow.now_s - NOW_S, 600);
    acme_destroy(a);
    fake_ca_destroy(f);
}

static void test_broken_at_every_request(void **state)
{
    for (unsigned at = 1;; at++) {
        struct fake_ca *f = fake_ca_create();
        struct trace t = {.break_at = at}, rest = {0};
        struct acme *a = order(f, &t);
        bool is_whole = acme_failure(a) == NULL;
        if (!is_whole) {
            assert_true(expect_failure(a, "no route")->is_unreachable);
        }
        acme_destroy(a);
        /* What was begun is gone on with. */
        const struct acme_config config = {
            .directory = STR(FAKE_DIRECTORY), .key = account_key, .account = str_of(t.account)};
        struct acme_request_order r = request;
        r.url = str_of(t.order);
        a = order_as(f, &rest, &config, r);
        expect_chain(a);
        assert_int_equal(f->order_count, 1);
        assert_int_equal(f->accounts, 1);
        acme_destroy(a);
        fake_ca_destroy(f);
        if (is_whole) {
            assert_true(at > 10);
            return;
        }
    }
}

static void test_old_things_are_gone(void **state)
{
    const struct acme_config config = {.directory = STR(FAKE_DIRECTORY),
                                       .key = account_key,
                                       .account = STR("https://ca.test/account/1")};
    struct fake_ca *f = fake_ca_create();
    struct trace t = {0};
    struct acme_request_order r = request;
    r.url = STR("https://ca.test/order/17");
    struct acme *a = order_as(f, &t, &config, r);
    expect_chain(a);
    assert_int_equal(f->accounts, 1);
    assert_int_equal(t.kept_orders, 2); /* that the old one is gone, then the new one */
    assert_string_equal(t.order, "https://ca.test/order/0");
    acme_destroy(a);
    fake_ca_destroy(f);
}

static void test_external_account(void **state)
{
    struct acme_config config = {.directory = STR(FAKE_DIRECTORY), .key = account_key};
    struct fake_ca *f = fake_ca_create();
    struct trace t = {0}, bound = {0}, wrong = {0};
    f->needs_eab = true;
    struct acme *a = order(f, &t);
    expect_failure(a, "external account");
    assert_int_equal(f->accounts, 0);
    acme_destroy(a);
    config.eab_kid = STR("kid \"1\"");
    config.eab_key = STR("c2VjcmV0");
    a = order_as(f, &bound, &config, request);
    expect_chain(a);
    assert_true(f->had_eab);
    acme_destroy(a);
    config.eab_key = STR("no key");
    a = order_as(f, &wrong, &config, request);
    assert_non_null(acme_failure(a));
    acme_destroy(a);
    fake_ca_destroy(f);
}

static void test_window(void **state)
{
    const struct acme_config config = {.directory = STR(FAKE_DIRECTORY), .key = account_key};
    struct fake_ca *f = fake_ca_create();
    struct trace t = {.now_s = NOW_S};
    struct acme_window window;
    struct acme *a;
    int64_t again_s;
    assert_int_equal(acme_create(&config, &a), ERR_OK);
    assert_int_equal(acme_begin_window(a, STR("aki.serial"), NOW_S), ERR_OK);
    drive(a, f, &t);
    assert_null(acme_failure(a));
    assert_false(acme_window(a, &window, &again_s));
    f->has_window = true;
    f->retry_after = "21600";
    assert_int_equal(acme_begin_window(a, STR("aki.serial"), NOW_S), ERR_OK);
    drive(a, f, &t);
    assert_true(acme_window(a, &window, &again_s));
    assert_int_equal(window.start_s, 1004572800);
    assert_int_equal(window.end_s, 1004572800 + 86400);
    assert_int_equal(again_s, NOW_S + 21600);
    f->error_at = FAKE_AT_WINDOW;
    f->error_count = 1;
    f->error_status = 404;
    f->error_type = "malformed";
    assert_int_equal(acme_begin_window(a, STR("aki.serial"), NOW_S), ERR_OK);
    drive(a, f, &t);
    expect_failure(a, "the renewal window was refused with 404");
    acme_destroy(a);
    /* A renewal says what it replaces, where the CA can hear it. */
    struct trace renewal = {0};
    struct acme_request_order r = request;
    f->retry_after = NULL;
    r.replaces = STR("aki.serial");
    a = order_as(f, &renewal, &config, r);
    expect_chain(a);
    assert_string_equal(f->replaces, "aki.serial");
    acme_destroy(a);
    fake_ca_destroy(f);
}

static void test_dates(void **state)
{
    static const struct {
        const char *text;
        int64_t s;
    } good[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2000-02-29T12:34:56z", 951827696},
        {"2026-11-21T09:00:00+09:30", 1795217400},
        {"2026-11-21T09:00:00.123456-01:00", 1795255200},
        {"1969-12-31T23:59:59Z", -1},
    };
    static const char *const bad[] = {"",
                                      "2026-11-21",
                                      "2026-11-21T09:00:00",
                                      "2026-13-21T09:00:00Z",
                                      "2026-11-21T24:00:00Z",
                                      "2026-11-21T09:00:00Zx",
                                      "2026-11-21T09:00:00+1:00",
                                      "2026-11-21 09:00:00Z"};
    int64_t s;
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_int_equal(acme_parse_date(str_of(good[i].text), &s), ERR_OK);
        assert_int_equal(s, good[i].s);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(acme_parse_date(str_of(bad[i]), &s), ERR_SYNTAX);
    }
}

/* Every allocation fails once; nothing leaks, and the machine ends in order. */
static void test_no_memory(void **state)
{
    const struct acme_config config = {.directory = STR(FAKE_DIRECTORY),
                                       .key = account_key,
                                       .email = STR("a@b.test"),
                                       .eab_kid = STR("kid"),
                                       .eab_key = STR("c2VjcmV0")};
    unsigned failures = 0;
    for (unsigned long n = 1;; n++) {
        struct fake_ca *f = fake_ca_create();
        struct trace t = {0};
        fake_ca_fail_at = n;
        mem_test_fail_at(n);
        struct acme *a = order_as(f, &t, &config, request);
        unsigned long made = mem_test_fail_at(0);
        bool is_whole = a && acme_failure(a) == NULL;
        bool is_over = fake_ca_fail_at > made;
        fake_ca_fail_at = 0;
        acme_destroy(a);
        fake_ca_destroy(f);
        failures += !is_whole;
        if (is_over) {
            assert_true(is_whole);
            assert_true(failures > 50);
            return;
        }
    }
}

static void test_task(void **state)
{
    struct task_set sets[] = {
        {.names = (struct str *)(uintptr_t)names,
         .name_count = 2,
         .acme = {.ca = STR(FAKE_DIRECTORY),
                  .email = STR("a \"quoted\" one"),
                  .ca_pem = STR("PEM\n")}},
        {.names = (struct str *)(uintptr_t)names,
         .name_count = 1,
         .acme = {.ca = STR("https://b/"),
                  .dns = {.exec = STR("/hook")},
                  .eab = {.kid = STR("k"), .key = STR("c2U")}},
         .origin = {.token = STR("t"), .days = 90}},
    };
    struct task_set demand = {.acme = {.ca = STR("https://b/"), .ask = STR("http://ask/")}};
    struct str chains[] = {STR("one"), STR("two")};
    const struct task out = {.folder = STR("/var/lib/x"),
                             .user = STR("u"),
                             .log_level = 2,
                             .has_plain = true,
                             .sets = sets,
                             .count = 2,
                             .demands = &demand,
                             .demand_count = 1,
                             .chains = chains,
                             .chain_count = 2};
    struct buf bytes;
    struct arena arena;
    struct task in;
    buf_init(&bytes, 0);
    arena_init(&arena, 1024, 0);
    assert_int_equal(task_write(&out, &bytes), ERR_OK);
    for (unsigned long n = 1;; n++) {
        mem_test_fail_at(n);
        enum err e = task_read(&arena, buf_str(&bytes), &in);
        bool is_over = mem_test_fail_at(0) < n;
        if (is_over) {
            assert_int_equal(e, ERR_OK);
            break;
        }
        assert_true(e == ERR_NOMEM || e == ERR_OK); /* the arena may have had room */
        arena_done(&arena);
    }
    assert_true(str_eq(in.folder, out.folder) && str_eq(in.user, out.user));
    assert_true(in.has_plain && !in.has_sandbox && in.log_level == 2 && in.count == 2);
    assert_true(str_eq(in.sets[0].names[1], names[1]) && in.sets[1].name_count == 1);
    assert_true(str_eq(in.sets[0].acme.email, sets[0].acme.email));
    assert_true(str_eq(in.sets[1].acme.dns.exec, STR("/hook")) && in.sets[1].acme.eab.key.n == 3);
    assert_true(in.sets[0].acme.dns.exec.n == 0);
    assert_true(str_eq(in.sets[1].origin.token, STR("t")) && in.sets[1].origin.days == 90);
    assert_true(in.sets[0].origin.token.n == 0 && in.demand_count == 1);
    assert_true(str_eq(in.demands[0].acme.ask, STR("http://ask/")));
    assert_true(in.chain_count == 2 && str_eq(in.chains[1], STR("two")));
    assert_int_equal(task_read(&arena, STR("{\"sets\":[{}]}"), &in), ERR_SYNTAX);
    assert_int_equal(task_read(&arena, STR("no"), &in), ERR_SYNTAX);
    arena_done(&arena);
    buf_done(&bytes);
}

static int set_up(void **state)
{
    buf_init(&csr, 0);
    buf_init(&key_pem, 0);
    assert_int_equal(private_key_create(PRIVATE_KEY_P256, &account_key), ERR_OK);
    assert_int_equal(private_key_create(PRIVATE_KEY_P256, &certificate_key), ERR_OK);
    assert_int_equal(private_key_export(certificate_key, &key_pem), ERR_OK);
    assert_int_equal(csr_create(certificate_key, names, 2, &csr), ERR_OK);
    return 0;
}

static int tear_down(void **state)
{
    private_key_destroy(account_key);
    private_key_destroy(certificate_key);
    buf_done(&csr);
    buf_done(&key_pem);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_order),
        cmocka_unit_test(test_bad_nonces),
        cmocka_unit_test(test_errors_at_every_step),
        cmocka_unit_test(test_retry_after_dates),
        cmocka_unit_test(test_garbage_at_every_step),
        cmocka_unit_test(test_proof_is_refused),
        cmocka_unit_test(test_proof_cannot_be_presented),
        cmocka_unit_test(test_polling_ends),
        cmocka_unit_test(test_broken_at_every_request),
        cmocka_unit_test(test_old_things_are_gone),
        cmocka_unit_test(test_external_account),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_task),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
