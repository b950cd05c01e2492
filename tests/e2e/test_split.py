# SPDX-License-Identifier: Apache-2.0
"""Requests that are shared out among backends, and copies for a mirror that nobody waits for."""
import collections
import contextlib
import shutil
import threading

import pytest

from conftest import ANSWER_SECONDS, Server, free_port, wait_for
from test_balance import upstreams
from upstreams import answering, ok
from versions import VERSIONS, versions_config, wire_of


@pytest.fixture
def serve():
    """Starts a server with `backends` and one host."""
    servers = []

    def start(backends, host, **server):
        settings = versions_config([{"domains": ["default", "localhost"], **host}],
                                   **{"worker": {"processes": 1}, **server})
        settings["backends"] = backends
        servers.append(Server(settings))
        return servers[-1].start()
    yield start
    for server in servers:
        server.finish()


def bodies(server, count, headers=lambda i: {}):
    with server.wire() as wire:
        return [wire.get(headers=headers(i)).body for i in range(count)]


# ---- split ----

def test_shares(serve):
    with upstreams(answering(ok(b"a")), answering(ok(b"b"))) as (a, b):
        server = serve({"a": a.url, "b": b.url}, {"split": {"a": 3, "b": 1}})
        got = collections.Counter(bodies(server, 400))
        assert 240 < got[b"a"] < 360  # 300 are due; six standard deviations
        assert got[b"a"] + got[b"b"] == 400


def test_a_share_of_nothing(serve):
    with upstreams(answering(ok(b"a")), answering(ok(b"b"))) as (a, b):
        server = serve({"a": a.url, "b": b.url}, {"split": {"a": 0, "b": 1}})
        assert set(bodies(server, 50)) == {b"b"}


@pytest.mark.parametrize("by,headers", [
    ("cookie:user", lambda i: {"Cookie": f"x=1; user={i}"}),
    ("header:x-user", lambda i: {"X-User": str(i)})])
def test_who_stays_together(serve, by, headers):
    with upstreams(answering(ok(b"a")), answering(ok(b"b"))) as (a, b):
        server = serve({"a": a.url, "b": b.url}, {"split": {"a": 50, "b": 50}, "split_by": by})
        first = bodies(server, 200, headers)
        assert 50 < first.count(b"a") < 150
        assert bodies(server, 200, headers) == first
        # A request that says nothing goes by its address, which is the same for all.
        assert len(set(bodies(server, 20))) == 1
        other = serve({"a": a.url, "b": b.url}, {"split": {"a": 50, "b": 50}, "split_by": by})
        assert bodies(other, 200, headers) == first  # on every machine
        moved = serve({"a": a.url, "b": b.url}, {"split": {"a": 60, "b": 40}, "split_by": by})
        assert all(now == b"a" for was, now in zip(first, bodies(moved, 200, headers))
                   if was == b"a")


@pytest.mark.parametrize("version", VERSIONS)
def test_versions(serve, version):
    with upstreams(answering(ok(b"a"))) as (a,):
        server = serve({"a": a.url, "e": "echo"}, {"split": {"a": 1, "e": 1}},
                       protocols=["h1", "h2", "h2c", "h3"])
        with wire_of(server, version) as wire:
            got = {wire.get("/", method="POST", body=b"x").body for _ in range(60)}
        assert got == {b"a", b"x"}


def test_route_takes_over(serve):
    with upstreams(answering(ok(b"a")), answering(ok(b"b"))) as (a, b):
        server = serve({"a": a.url, "b": b.url},
                       {"backend": "a", "routes": [{"path": "/b/**", "split": {"b": 1}}]})
        assert server.get("/").body == b"a"
        assert server.get("/b/x").body == b"b"
        text = server.command("explain", "http://localhost/b/x").stdout
        assert "split by request: b 1" in text


@pytest.mark.parametrize("host,sentence", [
    ({"split": {"a": 1, "bb": 1}}, 'there is no backend "bb"'),
    ({"split": {"a": 0}}, "no backend has a weight"),
    ({"split": {"a": -1}}, "weight"),
    ({"split": {"a": 1}, "backend": "a"}, "both answer here"),
    ({"split": {"a": 1}, "split_by": "moon"}, "ip, path, header:NAME or cookie:NAME"),
    ({"backend": "a", "mirror": "b"}, 'there is no backend "b"'),
    ({"backend": "a", "mirror": "e"}, "nobody would hear the echo"),
    ({"root": "/", "mirror": "a"}, "no backend whose requests could be copied"),
    ({"root": "/", "routes": [{"path": "/x", "respond": {"body": "x"}, "mirror": "a"}]},
     "no backend whose requests could be copied")])
def test_wrong_settings(host, sentence):
    settings = versions_config([{"domains": "default", **host}])
    settings["backends"] = {"a": "http://127.0.0.1:1", "e": "echo"}
    server = Server(settings)
    try:
        answer = server.command("check")
        assert answer.returncode != 0
        assert sentence in answer.stderr
    finally:
        shutil.rmtree(server.home)


# ---- mirror ----

def collecting(got, answer=ok(b"thrown away")):
    def run(connection):
        while True:
            line, fields = connection.head()
            got.append((line, dict(fields), connection.body(fields)[0]))
            connection.send(answer)
    return run


@pytest.mark.parametrize("version", VERSIONS)
def test_copies(serve, version):
    got = []
    with upstreams(answering(ok(b"a")), collecting(got)) as (a, b):
        server = serve({"a": a.url, "b": b.url}, {"backend": "a", "mirror": "b"},
                       protocols=["h1", "h2", "h2c", "h3"])
        with wire_of(server, version) as wire:
            assert wire.get("/p%20q?x=1", headers={"X-Mine": "1"}).body == b"a"
            assert wire.get("/post", method="POST", body=b"hello").body == b"a"
            assert wire.get("/none", method="POST", body=b"").body == b"a"
        wait_for(lambda: len(got) == 3, "three copies")
        by_line = {line: (fields, body) for line, fields, body in got}
        fields, body = by_line["GET /p%20q?x=1 HTTP/1.1"]
        assert fields["X-Mine" if "X-Mine" in fields else "x-mine"] == "1"
        assert body == b""
        assert by_line["POST /post HTTP/1.1"][1] == b"hello"
        assert by_line["POST /none HTTP/1.1"][1] == b""
        # The copies say what the originals said.
        originals = {line: dict(fields) for line, fields in a.heads}
        for line, (fields, _) in by_line.items():
            assert fields == originals[line]
        assert server.metric("sws_mirrored_total") == 3


def test_nobody_waits(serve):
    """A mirror that hangs or is gone is not felt, and not even kept waiting for without end."""
    gate = threading.Event()

    def hanging(connection):
        while True:
            connection.head()
            gate.wait(3 * ANSWER_SECONDS)
            connection.send(ok())
    with upstreams(answering(ok(b"a")), hanging) as (a, b):
        server = serve({"a": a.url, "b": {"proxy": b.url, "breaker": {"inflight": 1024}},
                        "gone": f"http://127.0.0.1:{free_port()}"},
                       {"backend": "a", "mirror": "b",
                        "routes": [{"path": "/gone", "mirror": "gone"}]})
        with server.wire() as wire:
            for _ in range(300):
                assert wire.get().body == b"a"
            for _ in range(20):
                assert wire.get("/gone").body == b"a"
        assert server.metric("sws_mirrored_total") >= 256  # of one loop at once
        assert server.metric("sws_mirror_skipped_total") >= 44
        server.reload()
        gate.set()
        wait_for(lambda: all(e["in_flight"] == 0 for e in server.status()["endpoints"]), "rest")


def test_ends_with_the_server(serve):
    def hanging(connection):
        connection.head()
        with contextlib.suppress(EOFError, ConnectionError):
            connection.fill()
    with upstreams(answering(ok(b"a")), hanging) as (a, b):
        server = serve({"a": a.url, "b": b.url}, {"backend": "a", "mirror": "b"})
        assert server.get().body == b"a"
        wait_for(lambda: b.heads, "copy")
        # The sanitizer looks for what is left when the fixture ends the server.


def test_share(serve):
    got = []
    with upstreams(answering(ok(b"a")), collecting(got)) as (a, b):
        server = serve({"a": a.url, "b": b.url},
                       {"backend": "a", "mirror": {"to": "b", "share": "25%"}})
        assert len(bodies(server, 400)) == 400
        wait_for(lambda: len(got) == server.metric("sws_mirrored_total"), "copies")
        assert 50 < len(got) < 150


@pytest.mark.parametrize("size,is_copied", [(65536, True), (65537, False)])
def test_bodies_are_copied_up_to_a_length(serve, size, is_copied):
    got = []
    with upstreams(collecting([], ok(b"a")), collecting(got)) as (a, b):
        server = serve({"a": {"proxy": a.url, "retry": "off"}, "b": b.url},
                       {"backend": "a", "mirror": "b"})
        with server.wire() as wire:
            assert wire.get(method="PUT", body=b"x" * size).body == b"a"
        if is_copied:
            wait_for(lambda: got, "copy")
            assert got[0][2] == b"x" * size
        else:
            wait_for(lambda: server.metric("sws_mirror_skipped_total") == 1, "count")
            assert not got


def test_large_answers_are_not_read_to_the_end(serve):
    def endless(connection):
        connection.head()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                connection.send(b"10000\r\n" + bytes(65536) + b"\r\n")
    with upstreams(answering(ok(b"a")), endless) as (a, b):
        server = serve({"a": a.url, "b": b.url}, {"backend": "a", "mirror": "b"})
        assert server.get().body == b"a"
        wait_for(lambda: b.heads and not b.threads[0].is_alive(), "end of the answer")


def test_by_name(serve):
    got = []
    with upstreams(answering(ok(b"a")), collecting(got)) as (a, b):
        url = b.url.replace("127.0.0.1", "localhost")
        server = serve({"a": a.url, "b": url}, {"backend": "a", "mirror": "b"})
        assert server.get().body == b"a"
        wait_for(lambda: got, "copy")
        server = serve({"a": a.url, "b": "http://nowhere.invalid:1"},
                       {"backend": "a", "mirror": "b"}, resolver=["127.0.0.1:1"])
        assert server.get().body == b"a"


def test_websockets_are_not_copied(serve):
    got = []
    with upstreams(collecting(got)) as (b,):
        server = serve({"e": "http://127.0.0.1:%d" % free_port(), "b": b.url},
                       {"backend": "e", "mirror": "b"})
        with server.wire() as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                      b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                      b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            assert wire.answer().status == 502
        assert server.metric("sws_mirrored_total") == 0
