# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 towards backends: other people's servers, our own, and upstreams that do wrong."""
import asyncio
import hashlib
import json
import os
import subprocess
import threading
import time

import h2.settings
import pytest
import websockets

from conftest import ANSWER_SECONDS, Busy, Server, run_sws, wait_for
from test_tls import make_certificate
from upstreams import Upstream
from upstreams import answering as answering_h1
from upstreams import ok
from upstreams_h2 import (H2Upstream, answering, h2_upstream, h2_url, nginx_h2, node_h2,
                          tls_context)
from versions import VERSIONS, Wire2, versions_config, wire_of

CANCEL, REFUSED_STREAM, NO_ERROR = 8, 7, 0
MAX_STREAMS = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
WINDOW = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE


@pytest.fixture
def proxy():
    """Starts a proxy in front of a backend; one loop, so that connections are shared."""
    servers = []

    def start(backend, **server):
        servers.append(Server(versions_config(
            [{"domains": ["default", "localhost"], "backend": backend}],
            **{"worker": {"processes": 1}, **server})))
        return servers[-1].start()
    yield start
    for server in servers:
        server.finish()


def wait_reason(server, text):
    """A request failed for that reason, as the access log says."""
    wait_for(lambda: any(text in json.loads(line).get("error", "")
                         for line in server.access_lines(1)), f"{text!r} in the access log")


def faults(server, name):
    return server.metric(f'sws_upstream_errors_total{{cause="{name}"}}')


# ---- other people's servers, and ours ----

@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    make_certificate(folder, "up", "up.test", "127.0.0.1", ca=True)
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory, certificate):
    home = tmp_path_factory.mktemp("real")
    tls = {"ca": f"{certificate}/up.pem"}
    inner = Server({"server": {"protocols": ["h2c"], "listen": ["127.0.0.1:0"]},
                    "hosts": [{"domains": "default", "backend": "echo"}]}).start()
    with nginx_h2(home / "nginx") as (nginx_url, www), node_h2() as plain, \
            node_h2(f"{certificate}/up.key", f"{certificate}/up.pem") as secure:
        server = Server(versions_config([
            {"domains": ["default", "localhost"], "backend": plain, "routes": [
                {"path": "/nginx/**", "backend": nginx_url},
                {"path": "/secure/**", "backend": {"proxy": secure, "tls": tls}},
                {"path": "/sws/**", "backend": "h2c://127.0.0.1:%d" % inner.address[1]}]}],
            max={"body": "1GB"}))
        (www / "nginx").mkdir()
        (www / "nginx/a.txt").write_text("hello\n")
        server.start()
        yield server
        server.finish()
    inner.finish()


@pytest.mark.parametrize("version", VERSIONS)
def test_node(real, version):
    with wire_of(real, version) as wire:
        for path in ["/x?y", "/secure/x?y"]:
            for n in [0, 1, 1000, 70_000, 2_000_000]:
                answer = wire.get(path, {"X-Own": "yes", "Cookie": "a=b"}, method="POST",
                                  body=b"b" * n)
                facts = json.loads(answer.body)
                assert (answer.status, facts["bytes"]) == (200, n)
                known = facts["headers"]
                assert known[":path"] == path and known[":authority"] == "a.test"
                assert known[":scheme"] == ("https" if "secure" in path else "http")
                assert known["x-own"] == "yes" and known["cookie"] == "a=b"
                assert not {"host", "connection", "transfer-encoding"} & set(known)
                assert answer["Via"] == "2 selenia"
        head = wire.get("/x", method="HEAD")
        assert (head.status, head["Content-Length"], head.body) == (200, "5", b"")
        for n in [0, 1, 65_536, 5_000_000]:
            assert wire.get(f"/bytes/{n}").body == b"b" * n
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS"]:
            facts = json.loads(wire.get("/x", method=method).body)
            assert facts["headers"][":method"] == method


@pytest.mark.parametrize("version", VERSIONS)
def test_nginx(real, version):
    with wire_of(real, version) as wire:
        answer = wire.get("/nginx/a.txt")
        assert (answer.status, answer.body) == (200, b"hello\n")
        same = wire.get("/nginx/a.txt", {"If-None-Match": answer["ETag"]})
        assert (same.status, same.body) == (304, b"")
        part = wire.get("/nginx/a.txt", {"Range": "bytes=1-3"})
        assert (part.status, part.body) == (206, b"ell")
        assert wire.get("/nginx/none").status == 404
        head = wire.get("/nginx/a.txt", method="HEAD")
        assert (head.status, head["Content-Length"], head.body) == (200, "6", b"")


def test_trailers(real):
    got = real.curl("--http2-prior-knowledge", "-i", real.url + "/trailers").stdout.decode()
    assert got.endswith("body" + "x-sum: 42\r\n") or "x-sum: 42" in got.split("body")[1]


def test_big_bodies_both_ways(real):
    """At the same time, each way 50 MB."""
    sent = os.urandom(1 << 20) * 50
    got = subprocess.run(["curl", "-sS", "-T", "-", "-H", "Expect:", real.url + "/echo"],
                         input=sent, capture_output=True, timeout=120, check=True)
    assert hashlib.sha256(got.stdout).digest() == hashlib.sha256(sent).digest()


def test_many_at_once(real):
    """1000 requests at once, over few connections."""
    before = real.metric("sws_upstream_connections_total")
    done = subprocess.run(["h2load", "-n", "3000", "-c", "10", "-m", "100", real.url + "/bytes/2000"],
                          capture_output=True, timeout=120, check=True, text=True)
    assert "3000 succeeded, 0 failed, 0 errored" in done.stdout, done.stdout
    opened = real.metric("sws_upstream_connections_total") - before
    assert opened <= 40, opened


# ---- life of connections ----

def test_unix_socket(proxy, tmp_path):
    path = str(tmp_path / "u")
    with h2_upstream(answering(), path=path):
        server = proxy(f"unix+h2c:{path}")
        assert server.get().body == b"ok\n"


def ask_many(server, count, target="/"):
    """Requests that run at once over one HTTP/2 connection; the statuses."""
    wire = Wire2(server.address)
    statuses, open_streams = [], set()
    for _ in range(count):
        stream = wire.h2.get_next_available_stream_id()
        wire.h2.send_headers(stream, [(":method", "GET"), (":scheme", "http"),
                                      (":authority", "a.test"), (":path", target)], True)
        open_streams.add(stream)
    wire.socket.sendall(wire.h2.data_to_send())
    with wire:
        while open_streams:
            data = wire.socket.recv(65536)
            assert data
            for event in wire.h2.receive_data(data):
                kind = type(event).__name__
                if kind == "ResponseReceived":
                    statuses.append(int(dict(event.headers)[":status"]))
                elif kind == "StreamReset":
                    statuses.append(0)
                if kind in ("StreamEnded", "StreamReset"):
                    open_streams.discard(event.stream_id)
            wire.socket.sendall(wire.h2.data_to_send())
    return statuses


def test_max_concurrent_streams(proxy):
    """No connection gets more than its settings allow; the others get connections of their own."""
    most, lock, started = [], threading.Lock(), threading.Barrier(6)

    def serve(peer):
        held = []
        while True:
            held.append(peer.request().stream)
            with lock:
                most.append(len(held))
            if len(held) == 3:
                started.wait(ANSWER_SECONDS)
                for stream in held:
                    peer.answer(stream)
                held = []
    with h2_upstream(serve, settings={MAX_STREAMS: 3}) as upstream:
        server = proxy(h2_url(upstream))
        assert ask_many(server, 18) == [200] * 18
        assert max(most) == 3 and upstream.count == 6


def test_connections_are_shared(proxy):
    with h2_upstream(answering()) as upstream:
        server = proxy(h2_url(upstream))
        for _ in range(5):
            assert ask_many(server, 20) == [200] * 20
        assert upstream.count == 1


def test_keepalive_off(proxy):
    with h2_upstream(answering()) as upstream:
        server = proxy({"proxy": h2_url(upstream), "keepalive": "off"})
        for _ in range(3):
            assert server.get().status == 200
        assert upstream.count == 3


def test_goaway_before_the_request(proxy):
    """A request that the upstream did not look at goes to the next connection, with its body."""
    def leave(peer):
        peer.request()
        peer.raw(7, 0, 0, b"\0\0\0\0" + b"\0\0\0\0")
        peer.connection.take(1)  # until it is closed

    bodies = []

    def serve(peer):
        while True:
            request = peer.request()
            bodies.append(request.body)
            peer.answer(request.stream)
    with h2_upstream(leave, serve) as upstream:
        server = proxy(h2_url(upstream))
        with server.wire() as wire:
            assert wire.get("/", method="POST", body=b"once").body == b"ok\n"
        assert bodies == [b"once"] and upstream.count == 2
        assert faults(server, "goaway") == 0


def test_refused_stream(proxy):
    def refuse(peer):
        first = peer.request()
        peer.h2.reset_stream(first.stream, REFUSED_STREAM)
        peer.flush()
        while True:
            peer.answer(peer.request().stream, b"again\n")
    with h2_upstream(refuse) as upstream:
        server = proxy(h2_url(upstream))
        with server.wire() as wire:
            assert wire.get("/", method="POST", body=b"once").body == b"again\n"


def test_always_refused(proxy):
    def refuse(peer):
        while True:
            peer.h2.reset_stream(peer.request().stream, REFUSED_STREAM)
            peer.flush()
    with h2_upstream(refuse) as upstream:
        server = proxy(h2_url(upstream))
        assert server.get().status == 502
        assert faults(server, "refused") > 0
        wait_reason(server, "refused the stream")


def test_graceful_goaway(proxy):
    """What is under way ends on the old connection, what comes goes to a new one."""
    may_end = threading.Event()

    def leave(peer):
        stream = peer.request().stream
        peer.raw(7, 0, 0, struct_u32(2**31 - 1) + struct_u32(0))
        peer.head(stream)
        may_end.wait(ANSWER_SECONDS)
        peer.data(stream, b"first\n", end=True)
        peer.wait(lambda: peer.is_leaving)
    with h2_upstream(leave, answering(b"second\n")) as upstream:
        server = proxy(h2_url(upstream))
        with server.wire() as slow:
            slow.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert slow.file.peek(1)  # the head, behind which the notice came
            assert server.get().body == b"second\n"
            may_end.set()
            assert slow.answer().body == b"first\n"


def struct_u32(n):
    return n.to_bytes(4, "big")


@pytest.mark.parametrize("how", ["upgrade", "reload"])
def test_upstream_restarts(proxy, how):
    """Our own server behind, which says GOAWAY when another one takes over: nobody notices."""
    inner = Server({"server": {"protocols": ["h1", "h2c"], "listen": ["127.0.0.1:0"]}}).start()
    try:
        server = proxy("h2c://127.0.0.1:%d" % inner.address[1])
        with Busy(server.address, 8) as busy:
            for _ in range(2):
                rounds = busy.rounds
                done = inner.command(how)
                assert done.returncode == 0, done.stderr
                wait_for(lambda: busy.rounds > rounds + 20 or busy.failures, "answers after it", 30)
        assert busy.failures == []
    finally:
        inner.finish()


def test_reload_within_streams(proxy):
    """A new configuration leaves streams, and the connection that they share, alone."""
    may_end = threading.Event()

    def serve(peer):
        stream = peer.request().stream
        peer.head(stream)
        peer.data(stream, b"first ")
        may_end.wait(ANSWER_SECONDS)
        peer.data(stream, b"second", end=True)
        while True:
            peer.answer(peer.request().stream, b"after")
    with h2_upstream(serve) as upstream:
        server = proxy(h2_url(upstream))
        with server.wire() as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            wait_for(lambda: upstream.count == 1, "connection")
            config = dict(server.config)
            config["log"] = {**config["log"], "level": "debug"}
            server.write(config)
            assert server.command("reload").returncode == 0
            may_end.set()
            assert wire.answer().body == b"first second"
            assert wire.get().body == b"after"
        assert upstream.count == 1


def test_health_and_mixed_endpoints(proxy, certificate):
    """Checks go by the protocol of each endpoint, and one backend may have several."""
    tls = tls_context(certificate, "up", "h2")
    with h2_upstream(answering(b"h2c")) as plain, Upstream(answering_h1(ok(b"h1"))) as old, \
            Upstream(lambda c: answering(b"h2")(H2Upstream(c)), tls=tls) as secure:
        urls = [h2_url(plain), old.url, h2_url(secure)]
        server = proxy({"proxy": urls, "balance": "rr", "tls": {"ca": f"{certificate}/up.pem"},
                        "health": {"path": "/", "interval": "50ms"}, "slow_start": "off"})
        wait_for(lambda: [e["health"] for e in server.status()["endpoints"]] == ["healthy"] * 3,
                 "three that are well")
        assert {server.get().body for _ in range(9)} == {b"h2c", b"h1", b"h2"}


# ---- flow control ----

def test_slow_client_holds_up_nobody(proxy):
    """Who does not read gets no more than the windows; another stream of the connection goes on."""
    sent = []

    def serve(peer):
        while True:
            request = peer.request()
            if request.known[":path"] != "/big":
                peer.answer(request.stream)
                continue
            peer.head(request.stream)
            big = request.stream
            while big not in peer.resets:
                # Whatever the windows allow at once, and then the next request.
                n = min(peer.h2.local_flow_control_window(big), peer.h2.max_outbound_frame_size)
                if n:
                    peer.h2.send_data(big, b"x" * n)
                    peer.flush()
                    sent.append(n)
                    continue
                peer.read()
                waiting = [r for r in peer.requests.values()
                           if r.is_whole and not hasattr(r, "was_given")]
                for r in waiting:
                    r.was_given = True
                    peer.answer(r.stream)
    with h2_upstream(serve) as upstream:
        server = proxy(h2_url(upstream))
        with server.wire() as slow:
            slow.send(b"GET /big HTTP/1.1\r\nHost: a.test\r\n\r\n")

            def is_still():
                before = sum(sent)
                time.sleep(0.5)
                return before and sum(sent) == before
            wait_for(is_still, "end of what is sent to nobody", 60)
            for _ in range(20):
                assert server.get("/small").body == b"ok\n"
            assert upstream.count == 1
            assert sum(sent) < 32 << 20


def test_upload_waits_for_the_upstream(proxy):
    """The upstream gives no window: the client's bytes stay where they are, and come in the end."""
    go_on = threading.Event()
    total = 20_000_000

    def serve(peer):
        peer.acknowledges = False
        request = peer.request(whole=False)
        while len(request.body) < 65535:
            peer.read()
        go_on.wait(ANSWER_SECONDS)
        peer.acknowledges = True
        peer.h2.increment_flow_control_window(65535)
        peer.h2.increment_flow_control_window(65535, request.stream)
        peer.flush()
        peer.wait(lambda: request.is_whole)
        peer.answer(request.stream, str(len(request.body)).encode())
    with h2_upstream(serve) as upstream:
        server = proxy(h2_url(upstream))
        with server.wire(60) as wire:
            wire.send(b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % total)
            wire.socket.setblocking(False)
            taken = 0
            deadline = time.monotonic() + 3
            while time.monotonic() < deadline and taken < total:
                try:
                    taken += wire.socket.send(b"x" * min(65536, total - taken))
                except BlockingIOError:
                    time.sleep(0.02)
            assert taken < total
            go_on.set()
            wire.socket.setblocking(True)
            wire.send(b"x" * (total - taken))
            assert wire.answer().body == str(total).encode()


def test_client_goes_away(proxy):
    """Its stream is cancelled, the connection stays."""
    begun, gone = threading.Event(), threading.Event()

    def serve(peer):
        stream = peer.request().stream
        begun.set()
        peer.head(stream)
        peer.data(stream, b"begin")
        assert peer.wait(lambda: peer.resets) == {stream: CANCEL}
        gone.set()
        while True:
            peer.answer(peer.request().stream)
    with h2_upstream(serve) as upstream:
        server = proxy(h2_url(upstream))
        wire = Wire2(server.address)
        wire.h2.send_headers(1, [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"),
                                 (":path", "/")], True)
        wire.socket.sendall(wire.h2.data_to_send())
        assert begun.wait(ANSWER_SECONDS)
        wire.close()
        assert gone.wait(ANSWER_SECONDS)
        assert server.get().status == 200
        assert upstream.count == 1


def test_early_answer(proxy):
    """The answer is whole before the request, and the upstream says that it needs no more."""
    def serve(peer):
        request = peer.request(whole=False)
        peer.answer(request.stream, b"too much", status=413)
        peer.h2.reset_stream(request.stream, NO_ERROR)
        peer.flush()
        while True:
            peer.answer(peer.request().stream)
    with h2_upstream(serve) as upstream:
        server = proxy(h2_url(upstream))
        with server.wire() as wire:
            wire.send(b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\nxxx")
            answer = wire.answer()
            assert (answer.status, answer.body) == (413, b"too much")
        assert server.get().status == 200
        assert upstream.count == 1


def test_interim_answers(proxy):
    def serve(peer):
        request = peer.request(whole=False)
        peer.h2.send_headers(request.stream, [(":status", "103"), ("link", "</a>")])
        peer.h2.send_headers(request.stream, [(":status", "100")])
        peer.flush()
        peer.wait(lambda: request.is_whole)
        peer.answer(request.stream, request.body)
    with h2_upstream(serve) as upstream:
        server = proxy(h2_url(upstream))
        got = server.curl("-i", "-H", "Expect: 100-continue", "-d", "hello", server.url)
        assert b"103 Early Hints" in got.stdout and b"100 Continue" in got.stdout
        assert got.stdout.endswith(b"hello")


# ---- upstreams that do wrong ----

def block(*fields):
    """A header block of literals."""
    out = b""
    for name, value in fields:
        out += b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
    return out


STATUS = (b":status", b"200")
HEADS = [
    (block(), "without a status"),
    (block((b":status", b"20")), "short status"),
    (block((b":status", b"999")), "status out of range"),
    (block((b":status", b"101")), "101"),
    (block(STATUS, STATUS), "two statuses"),
    (block((b"a", b"b"), STATUS), "status behind fields"),
    (block(STATUS, (b":path", b"/")), "pseudo field of requests"),
    (block(STATUS, (b"Upper", b"x")), "upper case"),
    (block(STATUS, (b"a b", b"x")), "no token"),
    (block(STATUS, (b"a", b"x\r\nb: c")), "line end in a value"),
    (block(STATUS, (b"connection", b"close")), "field of a connection"),
    (block(STATUS, (b"transfer-encoding", b"chunked")), "transfer coding"),
    (block(STATUS, (b"content-length", b"1"), (b"content-length", b"1")), "two lengths"),
    (block(STATUS, (b"content-length", b"x")), "no length"),
]


@pytest.mark.parametrize("head", [h for h, _ in HEADS], ids=[name for _, name in HEADS])
def test_malformed_heads(proxy, head):
    """The stream ends in 502, the connection serves the next one."""
    def serve(peer):
        peer.raw(1, 4, peer.request().stream, head)
        while True:
            peer.answer(peer.request().stream)
    with h2_upstream(serve) as upstream:
        server = proxy(h2_url(upstream))
        with server.wire() as wire:
            assert wire.get("/").status == 502
            assert wire.get("/").status == 200
        assert upstream.count == 1
        assert faults(server, "response") == 1


@pytest.mark.parametrize("length, sent", [(5, b"1234"), (5, b"123456"), (0, b"1")])
def test_wrong_length(proxy, length, sent):
    def serve(peer):
        stream = peer.request().stream
        peer.head(stream, [("content-length", str(length))])
        peer.raw(0, 1, stream, sent)
        peer.read()
    with h2_upstream(serve) as upstream:
        server = proxy(h2_url(upstream))
        with server.wire() as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            got, _ = wire.rest()
        assert not got.endswith(b"\r\n\r\n" + sent[:length]) or not length


def ends(frames):
    def serve(peer):
        stream = peer.request().stream
        frames(peer, stream)
        while True:
            peer.connection.take(len(peer.connection.buffer) + 1)
    return serve


def settings_flood(peer, _):
    for _ in range(1100):
        peer.raw(4, 0, 0)


def ping_flood(peer, _):
    for _ in range(1100):
        peer.raw(6, 0, 0, b"12345678")


def empty_data(peer, stream):
    peer.raw(1, 4, stream, block(STATUS))
    for _ in range(1100):
        peer.raw(0, 0, stream)


def continuations(peer, stream):
    peer.raw(1, 0, stream, block(STATUS))
    for _ in range(20):
        peer.raw(9, 0, stream, block((b"a", b"b")))


def many_fields(peer, stream):
    peer.raw(1, 0, stream, block(STATUS) + block((b"a", b"b" * 120)) * 120)
    for _ in range(7):
        peer.raw(9, 0, stream, block((b"a", b"b" * 120)) * 120)


FLOODS = [settings_flood, ping_flood, empty_data, continuations, many_fields]


@pytest.mark.parametrize("flood", FLOODS, ids=[f.__name__ for f in FLOODS])
def test_floods(proxy, flood):
    """End the connection; what had begun fails, what comes goes to another."""
    with h2_upstream(ends(flood), answering()) as upstream:
        server = proxy(h2_url(upstream))
        with server.wire() as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            if flood is empty_data:
                assert not wire.rest()[0].endswith(b"0\r\n\r\n")
            else:
                assert wire.answer().status == 502
        wait_reason(server, "it sent a flood of frames or fields")
        assert server.get().status == 200
        assert upstream.count == 2


BREAKS = [
    ("push", lambda peer, s: peer.raw(5, 4, s, b"\0\0\0\2" + block(STATUS))),
    ("data of no stream", lambda peer, s: peer.raw(0, 0, s + 2, b"x")),
    ("stream of its own", lambda peer, s: peer.raw(1, 5, 2, block(STATUS))),
    ("window of 0", lambda peer, s: peer.raw(8, 0, 0, b"\0\0\0\0")),
    ("window too large", lambda peer, s: peer.raw(8, 0, 0, b"\x7f\xff\xff\xff")),
    ("table", lambda peer, s: peer.raw(1, 5, s, b"\xff\xff\xff\xff\x0f")),
    ("enable push", lambda peer, s: peer.raw(4, 0, 0, b"\0\2\0\0\0\1")),
    ("priority update", lambda peer, s: peer.raw(16, 0, 0, struct_u32(s) + b"u=1")),
    ("padding", lambda peer, s: peer.raw(0, 8, s, b"\5x")),
    ("large frame", lambda peer, s: peer.raw(1, 4, s, b"x" * 20000)),
]


@pytest.mark.parametrize("frames", [f for _, f in BREAKS], ids=[n for n, _ in BREAKS])
def test_broken_connections(proxy, frames):
    with h2_upstream(ends(frames), answering()) as upstream:
        server = proxy(h2_url(upstream))
        assert server.get().status == 502
        wait_reason(server, "it broke the rules of HTTP/2")
        assert server.get().status == 200


def test_reset_before_the_answer(proxy):
    def serve(peer):
        while True:
            request = peer.request()
            peer.h2.reset_stream(request.stream, 2)
            peer.flush()
    with h2_upstream(serve) as upstream:
        server = proxy(h2_url(upstream))
        for _ in range(2):
            assert server.get().status == 502
        wait_reason(server, "broke it off before it answered: it reset the stream: INTERNAL_ERROR")
        assert upstream.count == 1


def test_reset_within_the_answer(proxy):
    def serve(peer):
        stream = peer.request().stream
        peer.head(stream)
        peer.data(stream, b"begin")
        peer.h2.reset_stream(stream, 2)
        peer.flush()
        peer.read()
    with h2_upstream(serve) as upstream:
        server = proxy(h2_url(upstream))
        with server.wire() as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert not wire.rest()[0].endswith(b"0\r\n\r\n")
        wait_reason(server, "the answer was cut off: it reset the stream: INTERNAL_ERROR")


def test_closed_within_the_answer(proxy):
    def serve(peer):
        stream = peer.request().stream
        peer.head(stream)
        peer.data(stream, b"begin")
        peer.end()
    with h2_upstream(serve) as upstream:
        server = proxy(h2_url(upstream))
        with server.wire() as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert not wire.rest()[0].endswith(b"0\r\n\r\n")
        assert faults(server, "cut") == 1


def test_no_http2_behind(proxy):
    def serve(connection):
        connection.take_until(b"\r\n\r\n")
        connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        connection.take(100)
    with Upstream(serve) as upstream:
        server = proxy(h2_url(upstream))
        assert server.get().status == 502
        wait_reason(server, "it does not speak HTTP/2")


def test_silent_upstream(proxy):
    """Neither settings nor an answer come."""
    with Upstream(lambda connection: connection.take(10**6)) as upstream:
        server = proxy({"proxy": h2_url(upstream), "timeout": {"connect": "300ms"}})
        assert server.get().status == 504
        wait_reason(server, "its settings of HTTP/2 did not come")


def test_answer_too_late(proxy):
    with h2_upstream(ends(lambda peer, s: None)) as upstream:
        server = proxy({"proxy": h2_url(upstream), "timeout": {"first": "300ms"}})
        assert server.get().status == 504
        assert faults(server, "first_byte_timeout") == 1


# ---- TLS ----

def test_alpn(proxy, certificate):
    """A server that speaks TLS without h2 is a fault of TLS, with a sentence."""
    tls = tls_context(certificate, "up", "http/1.1")
    with Upstream(answering_h1(ok()), tls=tls) as upstream:
        server = proxy({"proxy": h2_url(upstream), "tls": {"ca": f"{certificate}/up.pem"}})
        assert server.get().status == 502
        wait_reason(server, "no TLS")
        assert faults(server, "tls") >= 1
    with Upstream(answering_h1(ok()), tls=tls_context(certificate, "up")) as upstream:
        server = proxy({"proxy": h2_url(upstream), "tls": {"ca": f"{certificate}/up.pem"}})
        assert server.get().status == 502
        wait_reason(server, "it did not agree on h2 in the handshake")


def test_https_stays_http11(proxy, certificate):
    agreed = []

    def serve(connection):
        agreed.append(connection.socket.selected_alpn_protocol())
        answering_h1(ok())(connection)
    with Upstream(serve, tls=tls_context(certificate, "up", "h2", "http/1.1")) as upstream:
        server = proxy({"proxy": upstream.url, "tls": {"ca": f"{certificate}/up.pem"}})
        assert server.get().status == 200
        assert agreed == ["http/1.1"]


# ---- WebSockets ----

def test_websocket(real):
    """Over an extended CONNECT (RFC 8441), to our own server."""
    async def talk():
        async with websockets.connect("ws://%s:%d/sws/echo" % real.address,
                                      compression=None) as socket_:
            for text in ["hello", "x" * 200_000]:
                await socket_.send(text)
                assert await asyncio.wait_for(socket_.recv(), ANSWER_SECONDS) == text
    asyncio.run(talk())


def test_websocket_that_nobody_takes(proxy):
    with h2_upstream(answering()) as upstream:
        server = proxy(h2_url(upstream))
        with server.wire() as wire:
            answer = wire.get("/", {"Upgrade": "websocket", "Connection": "Upgrade",
                                    "Sec-WebSocket-Version": "13",
                                    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
            assert answer.status == 502
        wait_reason(server, "it takes no WebSockets over HTTP/2")


# ---- configuration ----

@pytest.mark.parametrize("url, nearest", [
    ("h2:/127.0.0.1:1", "h2://"), ("hc2://127.0.0.1:1", "h2c://"), ("gprc://a:1", "grpc://"),
    ("grcps://a:1", "grpcs://"), ("htps://a:1", "https://"), ("unix+h2:/run/a", "unix+h2c:")])
def test_wrong_schemes(tmp_path, url, nearest):
    config = tmp_path / "sws.yaml"
    config.write_text(json.dumps({"hosts": [{"domains": "default", "backend": url}]}))
    done = run_sws("check", "-c", config)
    assert done.returncode != 0
    assert f'did you mean "{nearest}"?' in done.stderr, done.stderr
