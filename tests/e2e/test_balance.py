# SPDX-License-Identifier: Apache-2.0
"""Several endpoints behind one backend: who is asked, who is left out, and that nobody notices."""
import collections
import contextlib
import json
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

from conftest import ANSWER_SECONDS, Busy, Server, Wire, free_port, wait_for
from upstreams import Upstream, answering, ok
from versions import VERSIONS, versions_config, wire_of
from websocket_wire import Raw1

BAD = b"HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def balance():
    """Starts a proxy in front of a backend; one loop, so that what is counted is exact."""
    servers = []

    def start(backend, backends=None, **server):
        config = versions_config([{"domains": ["default", "localhost"], "backend": backend}],
                                 **{"worker": {"processes": 1}, **server})
        servers.append(Server({**config, "backends": backends or {}}))
        return servers[-1].start()
    yield start
    for server in servers:
        server.finish()


@contextlib.contextmanager
def upstreams(*serves):
    with contextlib.ExitStack() as ends:
        yield [ends.enter_context(Upstream(serve)) for serve in serves]


def named(count):
    return upstreams(*(answering(ok(b"%d" % i)) for i in range(count)))


def asked(server, count, target="/"):
    """How often each endpoint answers."""
    with server.wire() as wire:
        return collections.Counter(int(wire.get(target).body) for _ in range(count))


def endpoint(server, url):
    return next(e for e in server.status()["endpoints"] if e["endpoint"] == url)


def metric(server, name, url):
    return server.metric(f'sws_endpoint_{name}{{backend="default",endpoint="{url}"}}')


# ---- who is asked ----

def test_round_robin(balance):
    with named(3) as (a, b, c):
        server = balance({"proxy": [a.url, b.url, c.url], "balance": "rr"})
        assert asked(server, 30) == {0: 10, 1: 10, 2: 10}
        assert metric(server, "requests_total", b.url) == 10
        assert endpoint(server, c.url)["requests"] == 10


def test_weights(balance):
    with named(2) as (a, b):
        server = balance({"proxy": [{"url": a.url, "weight": 3}, b.url], "balance": "rr"})
        assert asked(server, 40) == {0: 30, 1: 10}


def test_first(balance):
    with named(2) as (a, b):
        server = balance({"proxy": [a.url, b.url], "balance": "first"})
        assert asked(server, 10) == {0: 10}


@pytest.mark.parametrize("policy,enough", [("p2c", 8), ("least", 1)])
def test_busy_endpoint(balance, policy, enough):
    """Requests go past an endpoint whose earlier ones hang; before its first answer comes, p2c
    takes it for no more than eight times as fast as the other."""
    gate = threading.Event()

    def slow(connection):
        line, _ = connection.head()
        if "hang" in line:
            gate.wait(3 * ANSWER_SECONDS)
        connection.send(ok(b"0"))
    with upstreams(slow, answering(ok(b"1"))) as (a, b), contextlib.ExitStack() as ends:
        server = balance({"proxy": [a.url, b.url], "balance": policy})
        held = []
        while endpoint(server, a.url)["in_flight"] < enough:
            held.append(ends.enter_context(server.wire()))
            held[-1].send(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
            # Those that met the other endpoint were answered.
            wait_for(lambda: sum(e["requests"] for e in server.status()["endpoints"]) >= len(held),
                     "request at an endpoint")
            assert len(held) < 1000
        assert asked(server, 20) == {1: 20}
        gate.set()


@pytest.mark.parametrize("rule", ["ip", "path", "header:X-User", "cookie:sid"])
def test_hash_sticks(balance, rule):
    """One key, one endpoint, also after a restart; many keys meet everybody."""
    def of(server, i):
        fields = {"X-User": f"u{i}", "Cookie": f"a=b; sid=u{i}; c=d"}
        return int(server.get(f"/u{i}", fields).body)
    with named(3) as (a, b, c):
        config = {"proxy": [a.url, b.url, c.url], "balance": "hash", "hash": rule}
        server = balance(config)
        first = [of(server, i) for i in range(30)]
        assert [of(server, i) for i in range(30)] == first
        assert set(first) == ({first[0]} if rule == "ip" else {0, 1, 2})
        assert [of(balance(config), i) for i in range(5)] == first[:5]
        # Without the field or cookie it goes by the address.
        if rule not in ["ip", "path"]:
            assert len(asked(server, 10)) == 1


def test_backup(balance):
    """It serves only while the others are out."""
    with named(2) as (a, spare):
        port = free_port()
        server = balance({"proxy": [a.url, {"url": spare.url, "backup": True},
                                    f"http://127.0.0.1:{port}"], "balance": "rr",
                          "outlier": {"errors": 2, "eject": "5m"}})
        assert set(asked(server, 20)) == {0}
        assert metric(server, "ejections_total", f"http://127.0.0.1:{port}") == 1
        a.__exit__(ValueError)
        assert set(asked(server, 10)) == {1}
        assert endpoint(server, a.url)["state"] == "ejected"


@pytest.mark.parametrize("version", VERSIONS)
def test_versions(balance, version):
    with named(2) as (a, b):
        server = balance([a.url, b.url], protocols=["h1", "h2", "h2c", "h3"])
        with wire_of(server, version) as wire:
            assert {wire.get("/", method="POST", body=b"x").body for _ in range(40)} == \
                {b"0", b"1"}


def test_named(balance):
    """Hosts and routes that name one backend share it, whatever the host says for itself."""
    with named(2) as (a, b):
        server = balance("app", backends={"app": {"proxy": [a.url, b.url], "balance": "rr"},
                                          "one": a.url})
        host = server.config["hosts"][0]
        other = {**host, "domains": "b.test", "backend": {"proxy": b.url, "timeout": {"first": "3s"}},
                 "routes": [{"path": "/app", "backend": "app"}, {"path": "/one", "backend": "one"}]}
        server.write({**server.config, "hosts": [host, other]})
        assert server.reload().returncode == 0
        with server.wire() as wire:
            # Turns are taken across both hosts.
            bodies = [wire.get(target, host=name).body for target, name in [
                ("/", "a"), ("/app", "b.test"), ("/", "a"), ("/app", "b.test")]]
            assert bodies == [b"0", b"1", b"0", b"1"]
            assert wire.get("/", host="b.test").body == b"1"
            assert wire.get("/one", host="b.test").body == b"0"

        def requests(backend, url):
            return server.metric(
                f'sws_endpoint_requests_total{{backend="{backend}",endpoint="{url}"}}')
        assert requests("app", a.url) == requests("app", b.url) == 2
        assert requests("one", a.url) == requests("b.test", b.url) == 1
        assert {e["backend"] for e in server.status()["endpoints"]} == {"app", "one", "b.test"}
        assert "handler    backend app: " in server.command("explain", "http://b.test/app").stdout
        # What is printed means the same.
        text = server.command("check").stdout
        assert "backend: app" in text
        server.config_path.write_text(text)
        assert server.reload().returncode == 0
        assert requests("app", a.url) == 2


# ---- failures ----

def test_refusing_endpoint(balance):
    """Whoever refuses connections is tried a few times and then left out; clients see nothing."""
    with named(2) as (a, b):
        gone = f"http://127.0.0.1:{free_port()}"
        server = balance({"proxy": [a.url, gone, b.url], "balance": "rr"})
        assert sum(asked(server, 60).values()) == 60
        assert server.get(method="POST").status == 200
        assert endpoint(server, gone)["state"] == "ejected"
        assert endpoint(server, gone)["failures"] == 5
        assert metric(server, "in", gone) == 0
        assert server.metric("sws_upstream_ejections_total") == 1
        assert server.metric("sws_upstream_retries_total") == 5
        text = server.command("status").stdout
        rows = [line.split() for line in text.splitlines() if line.startswith("default")]
        assert [row[1:4] for row in rows] == [
            [a.url, "in", "unchecked"], [gone, "ejected", "unchecked"], [b.url, "in", "unchecked"]]
        assert "BACKEND  ENDPOINT" in text


def test_bad_answers(balance):
    """503 counts, is passed on where nothing is tried again, and ejects; 500 does not."""
    with upstreams(answering(BAD), answering(ok(b"1")),
                   answering(BAD.replace(b"503", b"500"))) as (a, b, c):
        server = balance({"proxy": [a.url, b.url, c.url], "balance": "rr", "retry": "off"})
        with server.wire() as wire:
            got = [wire.get().status for _ in range(60)]
        assert got.count(503) == 5
        assert got.count(500) > 15
        assert endpoint(server, a.url)["state"] == "ejected"
        assert endpoint(server, c.url)["state"] == "in"


def test_at_most_half(balance):
    gone = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    server = balance({"proxy": gone, "balance": "rr", "outlier": {"errors": 1}})
    for _ in range(5):
        assert server.get().status == 502
    assert sorted(e["state"] for e in server.status()["endpoints"]) == ["ejected", "in"]
    # Where nobody is left out, everybody is asked.
    server = balance({"proxy": gone, "balance": "rr", "outlier": "off"})
    for _ in range(5):
        assert server.get().status == 502
    assert [e["state"] for e in server.status()["endpoints"]] == ["in", "in"]


def test_comes_back(balance):
    with named(2) as (a, b), socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        taken.close()
        server = balance({"proxy": [a.url, f"http://127.0.0.1:{port}", b.url], "balance": "rr",
                          "outlier": {"errors": 1, "eject": "200ms"}, "slow_start": "off"})
        assert sum(asked(server, 6).values()) == 6
        assert metric(server, "ejections_total", f"http://127.0.0.1:{port}") >= 1
        with Node(port, "2"):
            wait_for(lambda: asked(server, 3)[2] == 1, "turn of who came back")


def test_websockets_are_not_limited(balance):
    """They may last for hours, so as requests they would fill an endpoint up for good."""
    echo = balance("echo")
    server = balance({"proxy": "http://%s:%d" % echo.address, "breaker": {"inflight": 1}})
    url = "http://%s:%d" % echo.address
    wires = [Raw1(server) for _ in range(3)]
    for wire in wires:
        assert wire.open("/") == 101
    assert endpoint(server, url)["in_flight"] == 3
    assert server.get(method="POST").status == 200
    for wire in wires:
        wire.end()
        wire.close()
    wait_for(lambda: endpoint(server, url)["in_flight"] == 0, "rest")


def test_log(balance):
    """Who is left out and who is back stands in the log, once each."""
    with named(2) as (a, b):
        gone = f"http://127.0.0.1:{free_port()}"
        server = balance({"proxy": [a.url, gone, b.url], "balance": "rr",
                          "outlier": {"errors": 2, "eject": "1s"}})
        assert sum(asked(server, 12).values()) == 12
        where = f"backend=default endpoint={gone}"
        server.wait_log(f'an endpoint is left out {where} reason="failures in a row" for_ms=1000')
        server.wait_log(f"an endpoint is asked again {where}")
        assert server.log().count(gone) == 2


def test_success_rate(balance):
    """One of five that fails now and then, never often in a row, is left out beside the others."""
    def flaky(connection):
        for i in range(100000):
            connection.head()
            connection.send(BAD if i % 4 == 0 else ok(b"9"))
    with upstreams(flaky, *(answering(ok(b"%d" % i)) for i in range(1, 5))) as ups:
        server = balance({"proxy": [u.url for u in ups], "balance": "rr", "retry": "off"})

        def is_out():
            with server.wire() as wire:
                for _ in range(500):
                    wire.get()
            return endpoint(server, ups[0].url)["state"] == "ejected"
        wait_for(is_out, "ejection by its success rate", 4 * ANSWER_SECONDS)
        server.wait_log(f'is left out backend=default endpoint={ups[0].url} '
                        'reason="it fails more often than the others"')
        assert [endpoint(server, u.url)["ejections"] for u in ups] == [1, 0, 0, 0, 0]
        assert server.metric("sws_upstream_ejections_total") == 1


def test_zones(balance):
    """Those of our zone are asked as long as half of them are in."""
    with named(4) as ups:
        ports = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
        zones = ["here", "there", "there", None]
        server = balance({"proxy": [{"url": u.url, **({"zone": z} if z else {})}
                                    for u, z in zip(ups, zones)] +
                                   [{"url": ports[0], "zone": "here"}],
                          "balance": "rr", "outlier": {"errors": 1}}, zone="here")
        assert asked(server, 20)[0] >= 19  # one retry went elsewhere
        assert endpoint(server, ports[0])["state"] == "ejected"
        assert asked(server, 10) == {0: 10}
        assert endpoint(server, ups[0].url)["zone"] == "here"
        assert endpoint(server, ups[3].url)["zone"] == ""
        assert server.command("drain", "default", ups[0].url).returncode == 0
        assert asked(server, 9) == {1: 3, 2: 3, 3: 3}


def test_breaker(balance):
    gate = threading.Event()

    def slow(connection):
        while True:
            connection.head()
            gate.wait(3 * ANSWER_SECONDS)
            connection.send(ok(b"0"))
    with upstreams(slow) as (a,), contextlib.ExitStack() as ends:
        server = balance({"proxy": a.url, "breaker": {"inflight": 2}})
        held = [ends.enter_context(server.wire()) for _ in range(2)]
        for wire in held:
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: endpoint(server, a.url)["in_flight"] == 2, "two requests at the endpoint")
        answer = server.get()
        assert (answer.status, answer["Retry-After"]) == (503, "1")
        assert server.metric("sws_upstream_refused_total") == 1
        gate.set()
        assert [wire.answer().status for wire in held] == [200, 200]
        assert server.get().status == 200
        wait_for(lambda: endpoint(server, a.url)["in_flight"] == 0, "rest")


def test_pending(balance):
    """Who finds no room waits for it, in order; not for longer than a second, and not too many."""
    gates = [threading.Event() for _ in range(3)]

    def slow(connection):
        while True:
            line, _ = connection.head()
            if "hang" in line:
                gates[int(line.split()[1][-1])].wait(3 * ANSWER_SECONDS)
            connection.send(ok(line.split()[1].encode()))

    def send(target):
        wire = ends.enter_context(server.wire())
        wire.send(b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % target.encode())
        return wire
    with upstreams(slow) as (a,), contextlib.ExitStack() as ends:
        server = balance({"proxy": a.url, "breaker": {"inflight": 1, "pending": 2}})
        first = send("hang0")
        wait_for(lambda: endpoint(server, a.url)["in_flight"] == 1, "a request at the endpoint")
        waiting = []
        for i in (1, 2):
            waiting.append(send(f"hang{i}"))
            wait_for(lambda: server.metric("sws_upstream_waiting") == len(waiting), "a waiter")
        # The third is one too many, and hears it while the others wait.
        assert server.get("/x").status == 503
        gates[0].set()
        assert first.answer().body == b"/hang0"
        gates[1].set()
        assert waiting[0].answer().body == b"/hang1"
        # A client that leaves waits no more.
        wait_for(lambda: endpoint(server, a.url)["in_flight"] == 1, "the next one")
        gone = send("y")
        wait_for(lambda: server.metric("sws_upstream_waiting") == 1, "a waiter")
        gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        gone.close()
        wait_for(lambda: server.metric("sws_upstream_waiting") == 0, "its end")
        # In vain.
        begin = time.monotonic()
        answer = send("z").answer()
        assert (answer.status, answer["Retry-After"]) == (503, "1")
        assert 0.9 < time.monotonic() - begin < ANSWER_SECONDS
        gates[2].set()
        assert waiting[1].answer().body == b"/hang2"
        assert server.get("/last").body == b"/last"
        assert server.metric("sws_upstream_refused_total") >= 2
    wait_for(lambda: endpoint(server, a.url)["in_flight"] == 0, "rest")


def test_pending_over_reload(balance):
    """Room that other loops make is found, and a site lives as long as somebody waits in it."""
    gate = threading.Event()

    def slow(connection):
        while True:
            line, _ = connection.head()
            if "hang" in line:
                gate.wait(3 * ANSWER_SECONDS)
            connection.send(ok(b"0"))
    with upstreams(slow) as (a,), contextlib.ExitStack() as ends:
        server = balance({"proxy": a.url, "breaker": {"inflight": 2}}, worker={"processes": 2})
        wires = [ends.enter_context(server.wire()) for _ in range(12)]
        for wire in wires:
            wire.send(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: endpoint(server, a.url)["in_flight"] == 2, "two at the endpoint")
        server.write({**server.config, "hosts": [{**server.config["hosts"][0], "backend": "echo"}]})
        assert server.reload().returncode == 0
        gate.set()
        answers = collections.Counter(wire.answer().status for wire in wires)
        assert answers[200] >= 2 and set(answers) <= {200, 503}
        assert server.get("/").status == 200


def test_post_is_not_repeated(balance):
    """An upstream that took the request and died may have done it."""
    def dying(connection):
        _, fields = connection.head()
        connection.body(fields)
        connection.reset()
    with upstreams(dying, dying) as (a, b):
        server = balance({"proxy": [a.url, b.url], "balance": "rr"})
        assert server.get(method="POST").status == 502
        assert len(a.heads) + len(b.heads) == 1
        assert server.get().status == 502  # three tries
        assert len(a.heads) + len(b.heads) == 4


def test_client_that_leaves(balance):
    """Whatever way a request ends, it is under way no more."""
    def silent(connection):
        connection.head()
        with contextlib.suppress(ConnectionError, EOFError):
            connection.fill()
    with upstreams(silent) as (a,):
        server = balance(a.url)
        wires = [Wire(server.address) for _ in range(5)]
        for wire in wires:
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: endpoint(server, a.url)["in_flight"] == 5, "requests under way")
        for wire in wires:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            wire.close()
        wait_for(lambda: endpoint(server, a.url)["in_flight"] == 0, "rest")


# ---- cookies ----

def cookie_of(answer):
    """(name=value, attributes) of the cookie that an answer sets, or None."""
    text = answer["Set-Cookie"]
    if text is None:
        return None
    pair, _, attributes = text.partition("; ")
    return pair, attributes


def sticky(urls, **more):
    return {"proxy": urls, "balance": "rr", "sticky": {"cookie": "node", **more}}


def test_sticky(balance):
    """A client comes back to the endpoint it had, as long as that can serve."""
    with named(3) as (a, b, c):
        server = balance(sticky([a.url, b.url, c.url]))
        first = server.get()
        pair, attributes = cookie_of(first)
        assert re.fullmatch(r"node=[A-Za-z0-9_-]{22}", pair)
        assert attributes == "Path=/; HttpOnly; SameSite=Lax"
        again = [server.get(headers={"Cookie": f"a=b; {pair}; c=d"}) for _ in range(7)]
        assert {x.body for x in again} == {first.body}
        assert {x["Set-Cookie"] for x in again} == {None}
        # Others take turns, and what is no cookie of ours is none.
        assert len({server.get().body for _ in range(3)}) == 3
        for wrong in ["node=", "node=x", "node=" + 22 * "A", "node=" + 5000 * "A", "nod=" + pair]:
            assert cookie_of(server.get(headers={"Cookie": wrong}))
        # An endpoint that is drained serves nobody, those that stuck to it neither: their cookie is
        # written anew.
        url = (a, b, c)[int(first.body)].url
        assert server.command("drain", "default", url).returncode == 0
        moved = server.get(headers={"Cookie": pair})
        assert moved.body != first.body
        other, _ = cookie_of(moved)
        assert other != pair
        assert {server.get(headers={"Cookie": other}).body for _ in range(5)} == {moved.body}
        # What was rewritten by nobody leads back.
        assert server.command("undrain", "default", url).returncode == 0
        assert server.get(headers={"Cookie": pair}).body == first.body


def test_sticky_fails_over(balance):
    gone = f"http://127.0.0.1:{free_port()}"
    with named(1) as (a,):
        server = balance({**sticky([gone, a.url], ttl="8h"), "outlier": {"errors": 1}})
        pair, attributes = cookie_of(server.get())
        assert attributes == "Path=/; HttpOnly; SameSite=Lax; Max-Age=28800"
        assert endpoint(server, a.url)["requests"] == 1
        assert server.get(headers={"Cookie": pair})["Set-Cookie"] is None


@pytest.mark.parametrize("version", VERSIONS)
def test_sticky_versions(balance, version):
    """Over TLS the cookie is for TLS alone; WebSockets stick as well."""
    with named(3) as ups:
        server = balance(sticky([u.url for u in ups]), protocols=["h1", "h2", "h2c", "h3"])
        with wire_of(server, version) as wire:
            first = wire.get("/")
            pair, attributes = cookie_of(first)
            is_tls = "Secure" in attributes
            assert is_tls == (version == "h3")
            for _ in range(6):
                answer = wire.get("/", {"cookie": pair})
                assert (answer.body, answer["Set-Cookie"]) == (first.body, None)


def test_sticky_outlives(balance):
    """Cookies are good over a reload, an upgrade, a restart, and for other hosts of the backend."""
    with named(3) as ups:
        urls = [u.url for u in ups]
        server = balance("app", backends={"app": sticky(urls)})
        pair, _ = cookie_of(server.get())
        body = server.get(headers={"Cookie": pair}).body

        def sticks():
            got = [server.get(headers={"Cookie": pair}) for _ in range(4)]
            assert {x.body for x in got} == {body}, [(x.status, x.body, x["Set-Cookie"], server.log()) for x in got]
            return True
        key = server.home / "state/sticky.key"
        assert key.stat().st_mode & 0o777 == 0o600 and key.stat().st_size == 32
        server.write({**server.config, "backends": {"app": sticky(urls[::-1])}})
        assert server.reload().returncode == 0
        assert sticks()
        before = server.status()["pid"]
        assert server.command("upgrade").returncode == 0
        wait_for(lambda: server.status()["pid"] != before, "the new process", 3 * ANSWER_SECONDS)
        assert sticks()
        server.stop()
        del server.first_address
        server.start()
        assert sticks()
        # Another key, other cookies; a file that is none is replaced.
        server.stop()
        key.write_bytes(b"short")
        del server.first_address
        server.start()
        assert server.get(headers={"Cookie": pair})["Set-Cookie"]
        assert key.stat().st_size == 32


def test_sticky_by_reload(balance):
    """It may begin later, and where its key cannot be kept it works all the same."""
    with named(2) as (a, b):
        server = balance([a.url, b.url])
        (server.home / "state/sticky.key").mkdir()
        server.write({**server.config, "hosts": [{**server.config["hosts"][0],
                                                  "backend": sticky([a.url, b.url])}]})
        assert server.reload().returncode == 0
        assert "sticky cookies will not outlive this process" in server.log()
        pair, _ = cookie_of(server.get())
        assert len({server.get(headers={"Cookie": pair}).body for _ in range(4)}) == 1


# ---- what an operator takes out ----

def test_drain(balance):
    """A drained endpoint finishes what it has, gets nothing new, and a reload does not bring it
    back."""
    gate = threading.Event()

    def slow(connection):
        while True:
            line, _ = connection.head()
            if "hang" in line:
                gate.wait(3 * ANSWER_SECONDS)
            connection.send(ok(b"0"))
    with upstreams(slow, answering(ok(b"1"))) as (a, b):
        server = balance("app", backends={"app": {"proxy": [a.url, b.url], "balance": "rr"}})
        with server.wire() as held:
            held.send(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_for(lambda: endpoint(server, a.url)["in_flight"] == 1, "a request under way")
            done = server.command("drain", "app", a.url)
            assert done.returncode == 0, done.stderr
            assert done.stdout == f"{a.url} gets no more requests; under way: 1\n"
            assert asked(server, 10) == {1: 10}
            assert endpoint(server, a.url)["state"] == "drained"
            name = f'sws_endpoint_drained{{backend="app",endpoint="{a.url}"}}'
            assert server.metric(name) == 1
            server.write({**server.config, "backends": {"app": {
                "proxy": [a.url, b.url], "balance": "rr", "timeout": {"first": "30s"}}}})
            assert server.reload().returncode == 0
            assert asked(server, 10) == {1: 10}
            gate.set()
            assert held.answer().body == b"0"
        # One that is alone is not asked either, nor is it where the other one fails.
        assert server.command("drain", "app", b.url).returncode == 0
        answer = server.get()
        assert (answer.status, answer["Retry-After"]) == (503, "1")
        assert server.command("undrain", "app", a.url).stdout == f"{a.url} gets requests again\n"
        assert asked(server, 10) == {0: 10}
        assert server.command("undrain", "app", b.url).returncode == 0
        assert asked(server, 10) == {0: 5, 1: 5}
        assert server.log().count("an endpoint is drained backend=app") == 2


def test_drain_by_host(balance):
    """A backend without a name has that of its host and route, whatever is in it."""
    with named(2) as (a, b):
        server = balance([a.url, b.url])
        host = {**server.config["hosts"][0], "routes": [{"path": "/é/**", "backend": b.url}]}
        server.write({**server.config, "hosts": [host]})
        assert server.reload().returncode == 0
        assert server.command("drain", "default/é/**", b.url).returncode == 0
        assert server.command("drain", "default", a.url).returncode == 0
        assert asked(server, 5) == {1: 5}
        assert server.get("/%C3%A9/z").status == 503


def test_drain_wrong(balance):
    with named(1) as (a,):
        server = balance("app", backends={"app": a.url})
        for words, want, code in [
                (["ap", a.url], f'there is no backend "ap"; the nearest is "app"', 1),
                (["app", a.url + "0"], f'there is no endpoint "{a.url}0"; the nearest is "{a.url}"',
                 1),
                (["app"], "needs a backend and an endpoint", 64),
                (["app", a.url, "x"], "one argument too many", 64)]:
            done = server.command("drain", *words)
            assert (done.returncode, want in done.stderr) == (code, True), done
        for query in ["", "?backend=app", "?endpoint=x", "?backend=&endpoint=x",
                      "?backend=%4&endpoint=x", "?backend=%zz&endpoint=x"]:
            assert server.admin("POST", f"/drain{query}")[0] == 400
        assert server.admin("POST", "/drain?backend=%00&endpoint=%00")[0] == 404
        assert server.admin("GET", "/drain?backend=app&endpoint=x")[0] == 404
        assert asked(server, 2) == {0: 2}


# ---- nobody notices ----

NODE = """
require("http").createServer((req, res) => { res.end(process.argv[2]); })
    .listen(+process.argv[1], "127.0.0.1");
"""


class Node:
    """Node's server on a port of ours, which can be killed and started again."""

    def __init__(self, port, body):
        self.port, self.body = port, body
        self.url = f"http://127.0.0.1:{port}"

    def __enter__(self):
        self.process = subprocess.Popen(["node", "-e", NODE, str(self.port), self.body])

        def is_there():
            with contextlib.suppress(OSError), \
                    socket.create_connection(("127.0.0.1", self.port), 1):
                return True
            return False
        wait_for(is_there, "start of node", 3 * ANSWER_SECONDS)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(ANSWER_SECONDS)


@pytest.fixture
def nodes():
    with contextlib.ExitStack() as ends:
        yield [ends.enter_context(Node(free_port(), "ok")) for _ in range(3)]


def total(server):
    return sum(e["requests"] for e in server.status()["endpoints"])


@pytest.mark.parametrize("policy", ["p2c", "rr", "least"])
def test_kill_under_load(balance, nodes, policy):
    server = balance({"proxy": [n.url for n in nodes], "balance": policy},
                     worker={"processes": 2})
    with Busy(server.address, 12, body=b"ok") as busy:
        busy.wait_rounds(10)
        nodes[1].__exit__()
        busy.wait_rounds(50)
        wait_for(lambda: endpoint(server, nodes[1].url)["ejections"] or busy.failures, "ejection",
                 3 * ANSWER_SECONDS)
        busy.wait_rounds(10)
    assert not busy.failures, busy.failures[:3]
    assert all(e["in_flight"] == 0 for e in server.status()["endpoints"])


def test_restarts_under_load(balance, nodes):
    server = balance({"proxy": [n.url for n in nodes], "outlier": {"eject": "300ms"}},
                     worker={"processes": 2})
    with Busy(server.address, 12, body=b"ok") as busy:
        for node in nodes:
            node.__exit__()
            busy.wait_rounds(20)
            node.__enter__()
            before = endpoint(server, node.url)["requests"]
            wait_for(lambda n=node, b=before: endpoint(server, n.url)["requests"] > b + 10
                     or busy.failures, "requests to who came back", 3 * ANSWER_SECONDS)
    assert not busy.failures, busy.failures[:3]


def test_reloads_under_load(balance, nodes):
    """What is known of endpoints outlives the configuration."""
    server = balance({"proxy": [n.url for n in nodes], "balance": "rr"}, worker={"processes": 2})
    nodes[2].__exit__()
    with Busy(server.address, 8, body=b"ok") as busy:
        wait_for(lambda: endpoint(server, nodes[2].url)["ejections"] or busy.failures, "ejection",
                 3 * ANSWER_SECONDS)
        for i in range(10):
            before = total(server)
            backend = {"proxy": [n.url for n in nodes], "balance": "rr",
                       "timeout": {"first": f"{50 + i}s"}}
            host = {**server.config["hosts"][0], "backend": backend}
            server.write({**server.config, "hosts": [host]})
            assert server.reload().returncode == 0
            busy.wait_rounds(3)
            assert total(server) >= before
        assert endpoint(server, nodes[2].url)["ejections"] >= 1
    assert not busy.failures, busy.failures[:3]
    wait_for(lambda: all(e["in_flight"] == 0 for e in server.status()["endpoints"]), "rest")


# ---- configuration ----

@pytest.mark.parametrize("backend,want", [
    ({"proxy": []}, 'needs the key "proxy" or "process"'),
    ({"balance": "rr"}, 'needs the key "proxy" or "process"'),
    ({"discover": "dns"}, 'needs the key "proxy" or "process"'),
    ({"proxy": "http://127.0.0.1:1", "discover": "dns"}, "there is no name in proxy"),
    ({"discover": "file"}, "a file is due here"),
    ({"proxy": "http://a.test", "discover": {"file": "/x"}}, "keep one"),
    ({"proxy": "http://a.test", "discover": {"by": "dns", "file": "/x"}}, "by: file"),
    ({"proxy": "http://a.test", "discover": "docker"}, "not served by this version"),
    ({"proxy": ["echo", "http://127.0.0.1:1"]}, "echo stands alone"),
    ({"proxy": ["http://127.0.0.1:1"] * 65}, "64 endpoints at most"),
    ({"proxy": [{"url": "http://127.0.0.1:1", "weight": 0}]}, "less than is allowed"),
    ({"proxy": [{"weight": 1}]}, 'needs the key "url"'),
    ({"proxy": [{"url": "http://127.0.0.1:1", "zone": "a b"}]}, "zone:"),
    ({"proxy": "http://127.0.0.1:1", "outlier": {"max": "0%"}}, "less than is allowed"),
    ({"proxy": "http://127.0.0.1:1", "balance": "ewma"}, "not served by this version"),
    ({"proxy": "http://127.0.0.1:1", "hash": "user"}, "ip, path, header:NAME or cookie:NAME"),
    ({"proxy": "http://127.0.0.1:1", "hash": "header:a b"}, "hash:"),
    ({"proxy": "http://127.0.0.1:1", "balance": "p2"}, 'is not one of its values'),
])
def test_wrong(backend, want):
    server = Server(versions_config([{"domains": "default", "backend": backend}]))
    try:
        answer = server.command("check")
        assert answer.returncode != 0
        assert want in answer.stderr
    finally:
        shutil.rmtree(server.home)


def test_explain(balance):
    server = balance({"proxy": ["http://127.0.0.1:1", {"url": "http://127.0.0.1:2",
                                                       "backup": True}]})
    text = server.command("explain", "http://a.test/").stdout
    assert "backend http://127.0.0.1:1, http://127.0.0.1:2 (backup)" in text
    effective = json.dumps(server.command("check").stdout)
    assert "weight: 1" in effective and "balance: p2c" in effective
