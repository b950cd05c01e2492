/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams of clients and their upstream, on the simulated loop. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "net/flows.h"
#include "os/datagram.h"
#include "rig.h"

#define IDLE_MS 2000u

static struct rig rig;
static struct flows *flows;
static int listen_fd, upstream_fd, client_fd;
static struct socket_address listen_address, upstream_address;
static enum { CONNECT, WAIT, CANCEL } on_open_does;
static struct flow *flow;
static unsigned opened, answered, ended;
static enum err cause;
static uint64_t in_bytes, out_bytes;

static void on_open(struct flow *f, void *context)
{
    (void)context;
    opened++;
    flow = f;
    if (on_open_does == CANCEL) {
        flow_cancel(f, ERR_LIMIT);
    } else if (on_open_does == CONNECT) {
        assert_int_equal(flow_connect(f, &upstream_address, IDLE_MS), ERR_OK);
    }
}

static void on_answer(struct flow *f)
{
    (void)f;
    answered++;
}

static void on_end(struct flow *f, enum err e, uint64_t in, uint64_t out)
{
    (void)f;
    ended++;
    cause = e;
    in_bytes = in;
    out_bytes = out;
    flow = NULL;
}

static const struct flows_service service = {
    .on_open = on_open, .on_answer = on_answer, .on_end = on_end};

static int bound(struct socket_address *ret_address)
{
    struct socket_address any;
    int fd;
    assert_int_equal(socket_address_ip(STR("127.0.0.1"), 0, &any), ERR_OK);
    assert_int_equal(datagram_bind(&any, false, &fd), ERR_OK);
    assert_int_equal(socket_local(fd, ret_address), ERR_OK);
    return fd;
}

static int begin(void **state)
{
    struct server_limits limits = rig_limits();
    rig_start(&rig, &limits);
    listen_fd = bound(&listen_address);
    upstream_fd = bound(&upstream_address);
    on_open_does = CONNECT;
    opened = answered = ended = 0;
    assert_int_equal(flows_create(rig.server, listen_fd, &service, NULL, &flows), ERR_OK);
    assert_int_equal(datagram_connect(&listen_address, &client_fd), ERR_OK);
    return 0;
}

static int end(void **state)
{
    flows_destroy(flows);
    assert_int_equal(ended, opened);
    close(client_fd);
    close(upstream_fd);
    close(listen_fd);
    rig_stop(&rig);
    return 0;
}

static void say(const char *text)
{
    assert_int_equal(send(client_fd, text, strlen(text), 0), strlen(text));
    rig_settle(&rig);
}

static void assert_told(const char *text)
{
    char got[64];
    assert_int_equal(recv(upstream_fd, got, sizeof(got), 0), strlen(text));
    assert_memory_equal(got, text, strlen(text));
}

static void test_there_and_back(void **state)
{
    struct socket_address peer = {.n = sizeof(peer.raw)};
    char got[64];
    say("one");
    assert_int_equal(
        recvfrom(upstream_fd, got, sizeof(got), 0, (struct sockaddr *)&peer.raw, &peer.n), 3);
    assert_int_equal(
        sendto(upstream_fd, "answer", 6, 0, (const struct sockaddr *)&peer.raw, peer.n), 6);
    rig_settle(&rig);
    assert_int_equal(recv(client_fd, got, sizeof(got), 0), 6);
    say("more");
    assert_told("more");
    assert_int_equal(opened, 1);
    assert_int_equal(answered, 1);
    rig_advance(&rig, IDLE_MS + 500);
    assert_int_equal(ended, 1);
    assert_int_equal(cause, ERR_OK);
    assert_int_equal(in_bytes, 7);
    assert_int_equal(out_bytes, 6);
}

/* What came before it is known where to goes there then, in order. */
static void test_connects_later(void **state)
{
    on_open_does = WAIT;
    say("one");
    say("two");
    assert_int_equal(recv(upstream_fd, (char[8]){0}, 8, 0), -1);
    assert_int_equal(flow_connect(flow, &upstream_address, IDLE_MS), ERR_OK);
    say("three");
    assert_told("one");
    assert_told("two");
    assert_told("three");
    assert_int_equal(opened, 1);
}

static void test_ends_from_within(void **state)
{
    on_open_does = CANCEL;
    say("one");
    say("two");
    assert_int_equal(opened, 2);
    assert_int_equal(ended, 2);
    assert_int_equal(cause, ERR_LIMIT);
}

static void test_nobody_there(void **state)
{
    close(upstream_fd);
    say("one");
    say("two");
    assert_true(ended >= 1);
    assert_int_equal(cause, ERR_NOT_FOUND);
    upstream_fd = bound(&upstream_address);
}

static void test_destroyed_while_it_waits(void **state)
{
    on_open_does = WAIT;
    say("one");
    flows_rest(flows);
    flows_destroy(flows);
    flows = NULL;
    assert_int_equal(ended, 1);
    assert_int_equal(cause, ERR_CANCELLED);
}

/* Datagrams of others than QUIC may be larger than the path takes. */
static void test_answers_may_be_cut_into_fragments(void **state)
{
    int how = -1;
    socklen_t n = sizeof(how);
    assert_int_equal(getsockopt(listen_fd, IPPROTO_IP, IP_MTU_DISCOVER, &how, &n), 0);
    assert_int_equal(how, IP_PMTUDISC_WANT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_there_and_back),           TEST(test_connects_later),
        TEST(test_ends_from_within),         TEST(test_nobody_there),
        TEST(test_destroyed_while_it_waits), TEST(test_answers_may_be_cut_into_fragments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
