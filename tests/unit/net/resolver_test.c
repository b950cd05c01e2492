/* SPDX-License-Identifier: Apache-2.0 */
/* Names, asked of a name server that the test plays by hand on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>

#include "base/assert.h"
#include "base/mem.h"
#include "loop/loop.h"
#include "net/resolver.h"
#include "os/clock.h"

#define WAIT_MS 20000
#define PACKET_BYTES 512

struct rig {
    struct loop *loop;
    struct resolver *resolver;
    int fd; /* of the name server */
    unsigned asked;
};

struct ask {
    struct resolver_question question;
    bool is_answered;
    unsigned count;
    char first[SOCKET_ADDRESS_TEXT_BYTES];
};

static void rig_start(struct rig *r)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(address);
    char servers[64];
    *r = (struct rig){.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    assert_true(r->fd >= 0);
    assert_int_equal(bind(r->fd, (struct sockaddr *)&address, n), 0);
    assert_int_equal(getsockname(r->fd, (struct sockaddr *)&address, &n), 0);
    snprintf(servers, sizeof(servers), "127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(loop_create(POLLER_KIND_SIM, &r->loop), ERR_OK);
    assert_int_equal(resolver_create(r->loop, servers, &r->resolver), ERR_OK);
}

static void rig_stop(struct rig *r)
{
    resolver_destroy(r->resolver);
    loop_destroy(r->loop);
    close(r->fd);
}

static void on_answer(struct resolver_question *q, const struct socket_address *addresses,
                      unsigned count)
{
    struct ask *a = CONTAINER_OF(q, struct ask, question);
    assert_false(a->is_answered);
    a->is_answered = true;
    a->count = count;
    if (count) {
        socket_address_text(&addresses[0], a->first);
    }
}

static void ask(struct rig *r, struct ask *a, const char *name)
{
    *a = (struct ask){0};
    assert_int_equal(resolver_ask(r->resolver, str_of(name), 80, &a->question, on_answer), ERR_OK);
}

/* Answers the questions for A that wait, with addresses 192.0.2.`last`, and says that there is
 * nothing else. `last` 0: the name does not exist. */
static void serve(struct rig *r, uint32_t ttl_s, uint8_t last)
{
    struct sockaddr_in peer;
    socklen_t peer_n = sizeof(peer);
    uint8_t p[PACKET_BYTES];
    ssize_t n;
    while ((n = recvfrom(r->fd, p, PACKET_BYTES / 2, 0, (struct sockaddr *)&peer, &peer_n)) > 0) {
        size_t end = 12;
        while (p[end]) {
            end += p[end] + 1u;
        }
        uint16_t type = (uint16_t)(p[end + 1] << 8 | p[end + 2]);
        bool is_a = type == 1 && last;
        end += 5;
        p[2] = 0x81;
        p[3] = last ? 0x80 : 0x83;
        p[6] = 0;
        p[7] = is_a ? 2 : 0;
        memset(p + 8, 0, 4);
        for (uint8_t i = 0; is_a && i < 2; i++) {
            const uint32_t ttl = htonl(ttl_s);
            const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1};
            const uint8_t data[] = {0, 4, 192, 0, 2, (uint8_t)(last + i)};
            memcpy(p + end, record, sizeof(record));
            memcpy(p + end + 6, &ttl, 4);
            memcpy(p + end + 10, data, sizeof(data));
            end += 16;
        }
        r->asked++;
        assert_int_equal(sendto(r->fd, p, end, 0, (struct sockaddr *)&peer, peer_n), end);
    }
}

static void wait_for(struct rig *r, const struct ask *a, uint32_t ttl_s, uint8_t last)
{
    uint64_t end_ns = clock_monotonic_ns() + (uint64_t)WAIT_MS * NS_PER_MS;
    while (!a->is_answered) {
        struct pollfd p = {.fd = r->fd, .events = POLLIN};
        loop_turn(r->loop, 0);
        serve(r, ttl_s, last);
        poll(&p, 1, 1);
        assert_true(clock_monotonic_ns() < end_ns);
    }
}

static void advance(struct rig *r, uint64_t ms)
{
    uint64_t end_ns = loop_now_ns(r->loop) + ms * NS_PER_MS;
    while (loop_now_ns(r->loop) < end_ns) {
        loop_turn(r->loop, end_ns);
    }
}

static void test_answers(void **state)
{
    struct rig r;
    struct ask a, b;
    (void)state;
    rig_start(&r);
    ask(&r, &a, "one.test");
    ask(&r, &b, "ONE.test"); /* the same name, one question */
    assert_false(a.is_answered);
    wait_for(&r, &a, 60, 1);
    assert_true(b.is_answered);
    assert_int_equal(a.count, 2);
    unsigned asked = r.asked;
    ask(&r, &b, "one.test"); /* kept */
    assert_true(b.is_answered);
    assert_string_equal(a.first, b.first);

    /* Who does not answer goes to the end, for everyone. */
    struct socket_address bad;
    char *colon = strchr(a.first, ':');
    assert_non_null(colon);
    assert_int_equal(socket_address_ip(str_make(a.first, (size_t)(colon - a.first)), 80, &bad),
                     ERR_OK);
    resolver_avoid(r.resolver, STR("one.test"), &bad);
    ask(&r, &b, "one.test");
    assert_string_not_equal(a.first, b.first);
    assert_int_equal(r.asked, asked);

    /* After its time the old answer serves once more, and a new one is fetched. */
    advance(&r, 61000);
    ask(&r, &b, "one.test");
    assert_true(b.is_answered);
    for (unsigned i = 0;
         i < 5000 && strcmp(b.first, "192.0.2.9:80") != 0 && strcmp(b.first, "192.0.2.10:80") != 0;
         i++) {
        struct pollfd p = {.fd = r.fd, .events = POLLIN};
        loop_turn(r.loop, 0);
        serve(&r, 60, 9);
        poll(&p, 1, 1);
        ask(&r, &b, "one.test");
    }
    assert_true(strcmp(b.first, "192.0.2.9:80") == 0 || strcmp(b.first, "192.0.2.10:80") == 0);
    rig_stop(&r);
}

static void test_nothing(void **state)
{
    struct rig r;
    struct ask a;
    (void)state;
    rig_start(&r);
    ask(&r, &a, "none.test");
    wait_for(&r, &a, 60, 0);
    assert_int_equal(a.count, 0);
    unsigned asked = r.asked;
    ask(&r, &a, "none.test"); /* not asked again at once */
    assert_true(a.is_answered);
    assert_int_equal(a.count, 0);
    assert_int_equal(r.asked, asked);
    advance(&r, 5001);
    ask(&r, &a, "none.test");
    assert_false(a.is_answered);
    wait_for(&r, &a, 60, 1);
    assert_int_equal(a.count, 2);

    /* The last good answer serves where there is none any more. */
    advance(&r, 61000);
    ask(&r, &a, "none.test");
    asked = r.asked;
    for (unsigned i = 0; i < 5000 && r.asked == asked; i++) {
        struct pollfd p = {.fd = r.fd, .events = POLLIN};
        loop_turn(r.loop, 0);
        serve(&r, 60, 0);
        poll(&p, 1, 1);
    }
    assert_true(r.asked > asked);
    advance(&r, 6000);
    ask(&r, &a, "none.test");
    assert_true(a.is_answered);
    assert_int_equal(a.count, 2);
    rig_stop(&r);
}

/* Answers that come after nobody waits any more, or never. */
static void test_late(void **state)
{
    struct rig r;
    struct ask a, b;
    char name[300];
    (void)state;
    rig_start(&r);
    ask(&r, &a, "late.test");
    ask(&r, &b, "late.test");
    resolver_forget(&a.question);
    resolver_forget(&a.question);
    wait_for(&r, &b, 60, 1);
    assert_false(a.is_answered);
    resolver_forget(&b.question);
    struct ask never = {0};
    resolver_forget(&never.question);
    ask(&r, &a, "open.test"); /* the end finds it open */
    memset(name, 'a', sizeof(name));
    assert_int_equal(
        resolver_ask(r.resolver, str_make(name, sizeof(name)), 80, &b.question, on_answer),
        ERR_LIMIT);
    rig_stop(&r);
    assert_false(a.is_answered);
}

/* Names of this machine need neither files nor servers. */
static void test_localhost(void **state)
{
    static const char *const names[] = {"localhost", "LocalHost", "app.localhost"};
    (void)state;
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        struct rig r;
        struct ask a;
        rig_start(&r);
        ask(&r, &a, names[i]);
        wait_for(&r, &a, 60, 0);
        assert_int_equal(a.count, 2);
        assert_string_equal(a.first, "127.0.0.1:80");
        rig_stop(&r);
    }
}

static void test_wrong_servers(void **state)
{
    struct loop *loop;
    struct resolver *r;
    (void)state;
    assert_int_equal(loop_create(POLLER_KIND_SIM, &loop), ERR_OK);
    assert_int_not_equal(resolver_create(loop, "nonsense", &r), ERR_OK);
    (void)mem_test_fail_at(1);
    assert_int_equal(resolver_create(loop, NULL, &r), ERR_NOMEM);
    (void)mem_test_fail_at(0);
    assert_int_equal(resolver_create(loop, NULL, &r), ERR_OK);
    struct ask a = {0};
    (void)mem_test_fail_at(1);
    assert_int_equal(resolver_ask(r, STR("a.test"), 80, &a.question, on_answer), ERR_NOMEM);
    (void)mem_test_fail_at(0);
    resolver_forget(&a.question);
    resolver_destroy(r);
    loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),       cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_late),          cmocka_unit_test(test_localhost),
        cmocka_unit_test(test_wrong_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
