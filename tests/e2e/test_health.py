# SPDX-License-Identifier: Apache-2.0
"""Active checks of endpoints: who is found well and who is not, and what requests see of it."""
import collections
import contextlib
import socket
import threading

import pytest

from conftest import ANSWER_SECONDS, Busy, Server, free_port, wait_for
from test_proxy import pki, tls_of  # pylint: disable=unused-import
from upstreams import NameServer, Upstream, answering, ok
from versions import versions_config

FAST = {"interval": "50ms", "timeout": "2s"}


@pytest.fixture
def balance():
    """Starts a proxy in front of a backend."""
    servers = []

    def start(backend, **server):
        config = versions_config([{"domains": "default", "backend": backend}],
                                 **{"worker": {"processes": 1}, **server})
        servers.append(Server(config))
        return servers[-1].start()
    yield start
    for server in servers:
        server.finish()


class Sick:
    """An upstream that answers requests by its number, and checks by what it is told."""

    def __init__(self, body):
        self.body = body
        self.check = ok(b"fine")
        self.checks = 0
        self.check_heads = []

    def __call__(self, connection):
        while True:
            line, fields = connection.head()
            if "/healthz" in line:
                self.checks += 1
                self.check_heads.append((line, dict(fields)))
                connection.send(self.check)
            else:
                connection.send(ok(self.body))


@contextlib.contextmanager
def sick(count, **options):
    with contextlib.ExitStack() as ends:
        yield [ends.enter_context(Upstream(Sick(b"%d" % i), **options)) for i in range(count)]


def endpoint(server, url):
    return next(e for e in server.status()["endpoints"] if e["endpoint"] == url)


def wait_health(server, url, health):
    wait_for(lambda: endpoint(server, url)["health"] == health, f"{url} to be {health}")


def asked(server, count):
    with server.wire() as wire:
        return collections.Counter(int(wire.get().body) for _ in range(count))


BAD = b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n"


def test_unhealthy_and_back(balance):
    with sick(3) as (a, b, c):
        server = balance({"proxy": [a.url, b.url, c.url], "balance": "rr", "slow_start": "off",
                          "health": {"path": "/healthz?full=1", "rise": 2, "fall": 3, **FAST}})
        for one in (a, b, c):
            wait_health(server, one.url, "healthy")
        assert asked(server, 30) == {0: 10, 1: 10, 2: 10}
        line, fields = b.serve.check_heads[0]
        assert line == "GET /healthz?full=1 HTTP/1.1"
        assert fields["Host"] == b.url.removeprefix("http://")
        assert fields["User-Agent"].startswith("selenia-health/")
        before = b.serve.checks
        b.serve.check = BAD
        wait_health(server, b.url, "unhealthy")
        assert b.serve.checks - before >= 3
        assert set(asked(server, 20)) == {0, 2}
        assert endpoint(server, b.url)["state"] == "unhealthy"
        labels = f'{{backend="default",endpoint="{b.url}"}}'
        assert server.metric(f"sws_endpoint_healthy{labels}") == 0
        assert server.metric(f"sws_endpoint_in{labels}") == 0
        b.serve.check = ok(b"fine")
        wait_health(server, b.url, "healthy")
        assert asked(server, 30) == {0: 10, 1: 10, 2: 10}
        log = server.log()
        # Once, with the reason.
        assert log.count("an endpoint is unhealthy") == 1
        assert f'an endpoint is unhealthy backend=default endpoint={b.url} reason="status 500"' \
            in log
        assert log.count("checks pass again") == 1
        # Once a process, not once a loop: about as many as the time has room for.
        assert max(x.serve.checks for x in (a, c)) < 3 * min(x.serve.checks for x in (a, c)) + 5


@pytest.mark.parametrize("check,healthy,answer", [
    ({"status": "204"}, False, ok(b"fine")),
    ({"status": "200-299"}, True, ok(b"fine")),
    ({"body": "fine"}, True, ok(b"all is fine here")),
    ({"body": "fine"}, False, ok(b"all is bad here")),
    ({"body": "fine"}, True, ok(b"x" * 65532 + b"fine" + b"x" * 100000)),
    ({"body": "fine"}, False, ok(b"x" * 65533 + b"fine" + b"x" * 100000)),
    ({}, True, b"HTTP/1.1 302 go\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
    ({}, False, b"HTTP/1.1 400 no\r\nContent-Length: 0\r\n\r\n"),
    ({}, False, b"HTTP/1.1 200 ok\r\nContent-Length: 10\r\n\r\n"),
    ({}, False, b"gibberish\r\n\r\n"),
    ({}, True, b"HTTP/1.1 200 ok\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
], ids=range(11))
def test_answers(balance, check, healthy, answer):
    def serve(connection):
        connection.head()
        connection.send(answer)
    with Upstream(serve) as a:
        server = balance({"proxy": a.url, "health": {**check, **FAST}})
        wait_health(server, a.url, "healthy" if healthy else "unhealthy")


def test_silent_endpoint(balance):
    """What accepts and never answers fails by time, and is not asked by requests either."""
    def silent(connection):
        with contextlib.suppress(ConnectionError, EOFError):
            while True:
                connection.fill()
    with Upstream(silent) as dead, sick(1) as (a,):
        server = balance({"proxy": [dead.url, a.url],
                          "health": {"path": "/healthz", "interval": "50ms", "timeout": "100ms"}})
        wait_health(server, dead.url, "unhealthy")
        assert 'reason="no answer within 100 ms"' in server.log()
        assert asked(server, 20) == {0: 20}


def test_tcp(balance, tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with Upstream(answering(ok(b"0"))) as a, Upstream(answering(ok(b"1")),
                                                      path=str(tmp_path / "s")) as b:
        server = balance({"proxy": [a.url, url, b.url], "health": {"tcp": True, **FAST}})
        wait_health(server, a.url, "healthy")
        wait_health(server, b.url, "healthy")
        wait_health(server, url, "unhealthy")
        assert "nobody listens there" in server.log()
        with socket.create_server(("127.0.0.1", port)):
            wait_health(server, url, "healthy")


def test_tls_and_names(balance, pki):  # pylint: disable=redefined-outer-name
    """Checks trust whom requests trust, and ask for names as they do."""
    with NameServer({"up.test": "127.0.0.1"}) as names, \
            sick(1, tls=tls_of(pki, "up")) as (good,), sick(1, tls=tls_of(pki, "other")) as (bad,):
        urls = [u.url.replace("127.0.0.1", "up.test") for u in (good, bad)]
        server = balance({"proxy": urls, "tls": {"ca": str(pki / "ca.pem")},
                          "health": {"path": "/healthz", **FAST}}, resolver=[names.address])
        wait_health(server, urls[0], "healthy")
        wait_health(server, urls[1], "unhealthy")
        assert good.serve.check_heads[0][1]["Host"] == urls[0].removeprefix("https://")
        assert asked(server, 10) == {0: 10}


def test_start_refuses_nobody(balance):
    """Until the first verdicts all are asked; where all are unhealthy, too."""
    gate = threading.Event()

    def slow_checks(connection):
        while True:
            line, _ = connection.head()
            if "/healthz" in line:
                gate.wait(3 * ANSWER_SECONDS)
            connection.send(ok(b"0"))
    with Upstream(slow_checks) as a, Upstream(slow_checks) as b:
        server = balance({"proxy": [a.url, b.url], "balance": "rr",
                          "health": {"path": "/healthz", "interval": "50ms", "timeout": "30s"}})
        assert asked(server, 10) == {0: 10}
        assert {e["health"] for e in server.status()["endpoints"]} == {"unknown"}
        assert {e["requests"] for e in server.status()["endpoints"]} == {5}
        gate.set()
        wait_health(server, a.url, "healthy")
    with sick(2) as (a, b):
        a.serve.check = b.serve.check = BAD
        server = balance({"proxy": [a.url, b.url], "health": {"path": "/healthz", **FAST}})
        wait_health(server, a.url, "unhealthy")
        wait_health(server, b.url, "unhealthy")
        assert sum(asked(server, 10).values()) == 10
        assert server.metric("sws_upstream_panics_total") >= 10


def test_reload(balance):
    """Verdicts stay, an endpoint that joins waits for its first pass, and none is checked whose
    checks were taken away."""
    with sick(4) as (a, b, c, d):
        b.serve.check = BAD
        check = {"path": "/healthz", **FAST}
        server = balance({"proxy": [a.url, b.url, d.url], "balance": "rr", "slow_start": "off",
                          "health": check})
        wait_health(server, b.url, "unhealthy")
        wait_health(server, d.url, "healthy")
        c.serve.check = BAD

        def load(health):
            host = {**server.config["hosts"][0], "backend": {
                "proxy": [a.url, b.url, c.url, d.url], "balance": "rr", "slow_start": "off",
                "health": health}}
            server.write({**server.config, "hosts": [host]})
            assert server.reload().returncode == 0
        load(check)
        assert endpoint(server, b.url)["health"] == "unhealthy"
        assert asked(server, 10) == {0: 5, 3: 5}
        wait_health(server, c.url, "unhealthy")
        c.serve.check = ok(b"fine")
        wait_health(server, c.url, "healthy")
        wait_for(lambda: asked(server, 10)[2], "requests at who joined")
        assert server.log().count(f"endpoint={b.url}") == 1
        # It is asked as often as the new settings say.
        load({**check, "interval": "1h"})
        load("off")
        assert {e["health"] for e in server.status()["endpoints"]} == {"unchecked"}
        assert set(asked(server, 30)) == {0, 1, 2, 3}
        seen = a.serve.checks
        for _ in range(20):
            server.status()
        assert a.serve.checks == seen


def test_upgrade(balance):
    """The next process finds out by itself, at once."""
    with sick(2) as (a, b):
        server = balance({"proxy": [a.url, b.url], "health": {"path": "/healthz", **FAST}})
        b.serve.check = BAD
        wait_health(server, b.url, "unhealthy")
        before = server.status()["pid"]
        assert server.command("upgrade").returncode == 0
        wait_for(lambda: server.status()["pid"] != before, "the new process", 3 * ANSWER_SECONDS)
        wait_health(server, b.url, "unhealthy")
        assert asked(server, 10) == {0: 10}


def test_under_load(balance):
    """Endpoints come and go by their checks alone; nobody notices."""
    with sick(3) as ups:
        server = balance({"proxy": [u.url for u in ups], "slow_start": "off",
                          "health": {"path": "/healthz", "fall": 1, "rise": 1, **FAST}},
                         worker={"processes": 2})
        for up in ups:
            up.serve.body = b"ok"
        with Busy(server.address, 8, body=b"ok") as busy:
            for up in ups:
                up.serve.check = BAD
                wait_health(server, up.url, "unhealthy")
                up.serve.check = ok(b"fine")
                wait_health(server, up.url, "healthy")
                busy.wait_rounds(5)
        assert not busy.failures, busy.failures[:3]


@pytest.mark.parametrize("health,want", [
    ({"interval": "1ms"}, "less than is allowed"),
    ({"status": "99"}, "a status from 200 to 599 or a range"),
    ({"status": "400-300"}, "a status from 200 to 599 or a range"),
    ({"path": "x"}, "path: a path begins with /"),
    ({"grpc": "a"}, "it is spoken over HTTP/2"),
    ({"bdy": "a"}, 'did you mean "body"'),
])
def test_wrong(tmp_path, health, want):
    server = Server(versions_config([{"domains": "default", "backend": {
        "proxy": "http://127.0.0.1:1", "health": health}}]))
    answer = server.command("check")
    assert answer.returncode != 0
    assert want in answer.stderr
