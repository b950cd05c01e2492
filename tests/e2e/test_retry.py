# SPDX-License-Identifier: Apache-2.0
"""A request that failed is tried again where that is safe, at another endpoint, and not otherwise."""
import contextlib
import select
import threading

import pytest

from conftest import ANSWER_SECONDS, wait_for
from test_balance import balance, endpoint, upstreams  # noqa: F401 (balance is a fixture)
from upstreams import answering, ok
from versions import VERSIONS, wire_of

BODY = bytes(range(256)) * 128  # 32 KB


def bad(status, body=b"sorry\n"):
    return b"HTTP/1.1 %d no\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def keeping(bodies, answer):
    """Reads each request whole and notes its body."""
    def serve(connection):
        while True:
            _, fields = connection.head()
            bodies.append(connection.body(fields)[0])
            connection.send(answer)
    return serve


def first_of(*urls, **backend):
    """The first one is asked first, so what a test counts is exact."""
    return {"proxy": list(urls), "balance": "first", "outlier": "off", **backend}


def ask(server, method, body):
    with server.wire() as wire:
        return wire.get(method=method, body=body)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("status", [502, 503, 504])
def test_another_endpoint_answers(balance, version, status):
    with upstreams(answering(bad(status)), answering(ok(b"good"))) as (a, b):
        server = balance(first_of(a.url, b.url), protocols=["h1", "h2", "h2c", "h3"])
        with wire_of(server, version) as wire:
            for _ in range(3):
                assert wire.get().body == b"good"
        assert (len(a.heads), len(b.heads)) == (3, 3)
        assert server.metric("sws_upstream_retries_total") == 3


@pytest.mark.parametrize("status", [200, 404, 429, 500, 501])
def test_other_answers_are_passed_on(balance, status):
    with upstreams(answering(bad(status)), answering(ok(b"good"))) as (a, b):
        server = balance(first_of(a.url, b.url))
        assert server.get().status == status
        assert (len(a.heads), len(b.heads)) == (1, 0)


def test_causes_are_configured(balance):
    with upstreams(answering(bad(500)), answering(bad(429)), answering(bad(503))) as (a, b, c):
        server = balance(first_of(a.url, b.url, c.url, retry={"on": [500, 429]}))
        assert server.get().status == 503
        assert [len(x.heads) for x in (a, b, c)] == [1, 1, 1]


def test_off(balance):
    with upstreams(answering(bad(503)), answering(ok(b"good"))) as (a, b):
        server = balance(first_of(a.url, b.url, retry="off"))
        assert server.get().status == 503
        assert len(b.heads) == 0


def test_the_last_answer_is_passed_on(balance):
    with upstreams(*(answering(bad(503, b"%d" % i)) for i in range(4))) as all_four:
        server = balance(first_of(*(u.url for u in all_four)))
        answer = server.get()
        assert (answer.status, answer.body) == (503, b"2")  # two more tries
        assert [len(u.heads) for u in all_four] == [1, 1, 1, 0]
        server = balance(first_of(*(u.url for u in all_four), retry={"tries": 1}))
        assert server.get().body == b"1"


def test_alone_is_not_asked_twice(balance):
    with upstreams(answering(bad(503))) as (a,):
        server = balance(a.url)
        assert server.get().status == 503
        assert len(a.heads) == 1


@pytest.mark.parametrize("method,status", [("POST", 503), ("PATCH", 503), ("PUT", 200),
                                           ("DELETE", 200), ("OPTIONS", 200)])
def test_methods(balance, method, status):
    """A 503 may come from behind what was done (RFC 9110 9.2.2)."""
    got = []
    with upstreams(keeping([], bad(503)), keeping(got, ok())) as (a, b):
        server = balance(first_of(a.url, b.url))
        assert ask(server, method, b"x").status == status
        assert got == ([b"x"] if status == 200 else [])


@pytest.mark.parametrize("version", VERSIONS)
def test_body_is_sent_again(balance, version):
    first, second = [], []
    with upstreams(keeping(first, bad(503)), keeping(second, ok(b"good"))) as (a, b):
        server = balance(first_of(a.url, b.url), protocols=["h1", "h2", "h2c", "h3"])
        with wire_of(server, version) as wire:
            assert wire.get(method="PUT", body=BODY).body == b"good"
        assert first == second == [BODY]


def test_chunked_body_is_sent_again(balance):
    first, second = [], []
    with upstreams(keeping(first, bad(503)), keeping(second, ok(b"good"))) as (a, b):
        server = balance(first_of(a.url, b.url))
        with server.wire() as wire:
            wire.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                      b"3\r\nabc\r\n")
            wire.send(b"4\r\ndefg\r\n0\r\n\r\n")
            assert wire.answer().body == b"good"
        assert first == second == [b"abcdefg"]


def test_body_that_comes_while_another_try_is_due(balance):
    """The first endpoint answers before it has the body; what was asked of the client for it goes
    to the second one."""
    second = []

    def early(connection):
        connection.head()
        connection.take(3)
        connection.send(bad(503))
        with contextlib.suppress(EOFError, ConnectionError):
            connection.fill()
    with upstreams(early, keeping(second, ok(b"good"))) as (a, b):
        server = balance(first_of(a.url, b.url))
        with server.wire() as wire:
            wire.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
            wait_for(lambda: b.heads, "second try")
            wire.send(b"defghij")
            assert wire.answer().body == b"good"
        assert second == [b"abcdefghij"]


def test_large_body_that_comes_while_another_try_waits(balance):
    """A body that is too large to be kept, of which nothing came before the first try failed: what
    comes before the second one begins is not lost."""
    body = bytes(range(256)) * 400
    gate = threading.Event()
    second = []

    def fails(connection):
        while True:
            method, _ = connection.head()[0].split(None, 1)
            if method == "PUT":
                return
            connection.send(bad(503))

    def slow(connection):
        while True:
            _, fields = connection.head()
            second.append(connection.body(fields)[0])
            gate.wait(3 * ANSWER_SECONDS)
            connection.send(ok(b"good"))
    with upstreams(fails, slow) as (a, b), contextlib.ExitStack() as ends:
        server = balance(first_of(a.url, b.url))
        for _ in range(3):  # they use up the budget
            ends.enter_context(server.wire()).send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: len(second) == 3, "retries")
        with server.wire() as wire:
            wire.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
            wait_for(lambda: endpoint(server, a.url)["failures"] >= 4, "end of the first try")
            wire.send(body[:1000])
            gate.set()
            wait_for(lambda: len(b.heads) == 4, "second try")
            wire.send(body[1000:])
            assert wire.answer().body == b"good"
        assert second[3] == body


@pytest.mark.parametrize("retry,size,status", [({}, 64000, 200), ({}, 64001, 503),
                                               ({"body": "1KB"}, 1001, 503),
                                               ({"body": "off"}, 1, 503)])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_how_much_is_kept(balance, retry, size, status, is_chunked):
    body = b"b" * size
    second = []
    with upstreams(keeping([], bad(503)), keeping(second, ok())) as (a, b):
        server = balance(first_of(a.url, b.url, retry=retry))
        with server.wire() as wire:
            if is_chunked:
                wire.send(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                          b"%x\r\n%s\r\n0\r\n\r\n" % (size, body))
            else:
                wire.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"
                          % (size, body))
            assert wire.answer().status == status
        assert second == ([body] if status == 200 else [])


def test_body_after_a_cut(balance):
    """An endpoint that dies in the middle of a body: the other one gets the whole of it."""
    second = []

    def dying(connection):
        connection.head()
        connection.take(100)
        connection.reset()
    with upstreams(dying, keeping(second, ok(b"good"))) as (a, b):
        server = balance(first_of(a.url, b.url))
        assert ask(server, "PUT", BODY).body == b"good"
        assert second == [BODY]
        assert ask(server, "POST", BODY).status == 502  # it may have been done
        assert second == [BODY]


def test_timeout_on_request(balance):
    gate = threading.Event()

    def slow(connection):
        connection.head()
        gate.wait(3 * ANSWER_SECONDS)
    with upstreams(slow, answering(ok(b"good"))) as (a, b):
        server = balance(first_of(a.url, b.url, timeout={"first": "200ms"}))
        assert server.get().status == 504
        server = balance(first_of(a.url, b.url, timeout={"first": "200ms"},
                                  retry={"on": ["timeout"]}))
        assert server.get().body == b"good"
        gate.set()


def test_budget(balance):
    """Of many requests that fail at once only a share is tried again; the rest get what came."""
    held = []
    everybody = threading.Event()

    def together(connection):
        while True:
            connection.head()
            held.append(1)
            if len(held) == 30:
                everybody.set()
            everybody.wait(3 * ANSWER_SECONDS)
            connection.send(bad(503))
    gate = threading.Event()

    def slow(connection):
        while True:
            connection.head()
            gate.wait(3 * ANSWER_SECONDS)
            connection.send(ok(b"good"))
    with upstreams(together, slow) as (a, b), contextlib.ExitStack() as ends:
        server = balance(first_of(a.url, b.url, retry={"budget": "20%"}))
        wires = [ends.enter_context(server.wire()) for _ in range(30)]
        for wire in wires:
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        waiting = {wire.socket: wire for wire in wires}
        while len(waiting) > 6:  # the others get their answer before the gate opens
            for sock in select.select(list(waiting), [], [], ANSWER_SECONDS)[0]:
                assert waiting.pop(sock).answer().status == 503
        gate.set()
        rest = [wire.answer().status for wire in waiting.values()]
        assert set(rest) <= {200, 503}
        # As answers are passed on, fewer requests are under way.
        assert 3 <= rest.count(200) == len(b.heads) <= 6
