# SPDX-License-Identifier: Apache-2.0
"""Endpoints that are found while the server runs: by names, by SRV records, in files."""
import collections
import contextlib
import os
import re
import socket

import pytest

from conftest import ANSWER_SECONDS, Busy, Server, free_port, wait_for
from upstreams import NameServer, Upstream, answering, ok
from versions import versions_config

LONG = 3 * ANSWER_SECONDS  # an answer of a name server is good for five seconds at least


class At(Upstream):
    """An upstream on another address of this machine, on a port that others have there too."""

    def __init__(self, address, port, body):
        super().__init__(answering(ok(body)))
        self.listener.close()
        self.listener = socket.create_server((address, port), backlog=64)
        self.url = f"http://{address}:{self.listener.getsockname()[1]}"


@pytest.fixture
def balance():
    servers = []

    def start(backend, **server):
        config = versions_config([{"domains": "default", "backend": "app"}],
                                 **{"worker": {"processes": 2}, **server})
        servers.append(Server({**config, "backends": {"app": backend}}))
        return servers[-1].start()
    yield start
    for server in servers:
        server.finish()


@contextlib.contextmanager
def nodes(count):
    """As many on one port of 127.0.0.1 and the addresses behind it."""
    port = free_port()
    with contextlib.ExitStack() as ends:
        yield port, [ends.enter_context(At(f"127.0.0.{i + 1}", port, b"%d" % i))
                     for i in range(count)]


def names_of(server):
    return {e["endpoint"] for e in server.status()["endpoints"]}


def wait_names(server, urls):
    wait_for(lambda: names_of(server) == set(urls), f"the endpoints {urls}", LONG)


def asked(server, count):
    with server.wire() as wire:
        return collections.Counter(wire.get().body.decode() for _ in range(count))


def test_dns(balance):
    """All addresses of a name are endpoints; the list follows the name, and what is known stays."""
    with nodes(3) as (port, ups), NameServer({"app.test": ["127.0.0.1", "127.0.0.2"]}) as dns:
        server = balance({"proxy": f"http://app.test:{port}", "discover": "dns", "balance": "rr"},
                         resolver=[dns.address])
        urls = [u.url for u in ups]
        wait_names(server, urls[:2])
        assert asked(server, 10) == {"0": 5, "1": 5}
        before = next(e for e in server.status()["endpoints"] if e["endpoint"] == urls[1])
        dns.names["app.test"] = ["127.0.0.3", "127.0.0.2"]
        wait_names(server, urls[1:])
        after = next(e for e in server.status()["endpoints"] if e["endpoint"] == urls[1])
        assert after["requests"] == before["requests"]
        assert asked(server, 10) == {"1": 5, "2": 5}
        # Its Host is that of the request, its own is the name.
        assert "a.test" in dict(ups[2].heads[0][1])["Host"]
        # The name is gone: the last addresses stay.
        dns.names.clear()
        seen = len(dns.asked)
        wait_for(lambda: len(dns.asked) > seen + 2, "more questions", LONG)
        assert asked(server, 10) == {"1": 5, "2": 5}
        assert server.reload().returncode == 0
        assert names_of(server) == set(urls[1:])
        assert asked(server, 10) == {"1": 5, "2": 5}
        assert server.log().count("a backend has other endpoints backend=app") == 2


def test_dns_beside_addresses(balance):
    """Weights, zones and backups are those of the entry; an address stays what it is."""
    with nodes(2) as (port, ups), Upstream(answering(ok(b"spare"))) as spare, \
            NameServer({"app.test": ["127.0.0.1", "127.0.0.2"]}) as dns:
        server = balance({"proxy": [{"url": f"http://app.test:{port}", "weight": 3, "zone": "z"},
                                    {"url": spare.url, "backup": True}],
                          "discover": "dns", "health": {"tcp": True, "interval": "50ms"}},
                         resolver=[dns.address])
        wait_names(server, [ups[0].url, ups[1].url, spare.url])
        rows = {e["endpoint"]: e for e in server.status()["endpoints"]}
        assert [rows[u.url]["weight"] for u in ups] == [3, 3]
        assert rows[ups[0].url]["zone"] == "z" and rows[spare.url]["backup"]
        for url in rows:
            wait_for(lambda u=url: next(e for e in server.status()["endpoints"]
                                        if e["endpoint"] == u)["health"] == "healthy", url)
        assert set(asked(server, 10)) <= {"0", "1"}


def test_unknown_name(balance):
    """A name that nobody knows stops no start, and is found when it is there."""
    with nodes(1) as (port, ups), NameServer({}) as dns:
        server = balance({"proxy": f"http://app.test:{port}", "discover": "dns"},
                         resolver=[dns.address])
        assert server.get().status == 502
        assert names_of(server) == {f"http://app.test:{port}"}
        server.wait_log("no endpoints were found, the last ones stay backend=app")
        dns.names["app.test"] = "127.0.0.1"
        wait_names(server, [ups[0].url])
        wait_for(lambda: server.get().body == b"0", "an answer", LONG)
        assert server.log().count("no endpoints were found") == 1


def test_srv(balance):
    with nodes(3) as (port, ups), NameServer(
            {"a.test": "127.0.0.1", "b.test": "127.0.0.2", "c.test": "127.0.0.3"},
            {"_http._tcp.app.test": [(1, 30000, port, "a.test"), (1, 10000, port, "b.test"),
                                     (2, 0, port, "c.test"), (2, 0, port, "gone.test")]}) as dns:
        server = balance({"proxy": "http://_http._tcp.app.test", "discover": "srv",
                          "balance": "rr", "host": "upstream"}, resolver=[dns.address])
        wait_names(server, [u.url for u in ups])
        rows = {e["endpoint"]: e for e in server.status()["endpoints"]}
        assert [(rows[u.url]["weight"], rows[u.url]["backup"]) for u in ups] == [
            (1000, False), (333, False), (1, True)]
        got = asked(server, 1333 // 10)
        assert got["0"] > 2 * got["1"] > 0 and got["2"] == 0
        # Each is called by its own name.
        assert dict(ups[0].heads[0][1])["Host"] == f"a.test:{port}"


def write(path, text):
    """As an editor does."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.rename(new, path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "app.list"


def test_file(balance, path):
    """Lines or YAML; what changes is seen at once, what is wrong changes nothing."""
    with contextlib.ExitStack() as ends:
        a, b, c = (ends.enter_context(Upstream(answering(ok(b"%d" % i)))) for i in range(3))
        path.write_text(f"# the first\n{a.url}  # here\n\n{b.url}\n")
        server = balance({"discover": {"file": str(path)}, "balance": "rr"})
        wait_names(server, [a.url, b.url])
        assert asked(server, 10) == {"0": 5, "1": 5}
        write(path, f"- {a.url}\n- {{url: \"{c.url}\", weight: 3, zone: z}}\n")
        wait_names(server, [a.url, c.url])
        assert asked(server, 20) == {"0": 5, "2": 15}
        # Written in place.
        with path.open("w") as f:
            f.write(f"[{b.url}]\n")
        wait_names(server, [b.url])
        for text, reason in [("gopher://x\n", "neither an address"), ("- {weight: 3}\n", "url"),
                             (f"- {a.url}\n- [", "flow|bracket|expected|node"),
                             (f"{a.url}\necho\n", "neither an address"),
                             (f"{a.url}\nother\n", "neither an address"),
                             ("x" * 2000000, "")]:
            count = server.log().count("is not taken")
            write(path, text)
            wait_for(lambda n=count: server.log().count("is not taken") > n, "refusal")
            assert re.search(reason, server.log().rsplit("reason=", 1)[1])
            assert names_of(server) == {b.url}
            write(path, f"{b.url}\n{a.url}\n")
            wait_names(server, [a.url, b.url])
            write(path, f"{b.url}\n")
            wait_names(server, [b.url])
        # Nobody: requests wait for somebody.
        write(path, "# nobody\n")
        wait_names(server, [])
        assert server.get().status == 503
        with server.wire() as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_for(lambda: server.metric("sws_upstream_waiting") == 1, "a waiter")
            write(path, c.url)
            assert wire.answer().body == b"2"
        # It is gone: the last ones stay.
        path.unlink()
        server.wait_log("is not taken, the last ones stay .*not found")
        assert server.get().body == b"2"
        write(path, a.url)
        wait_names(server, [a.url])


def test_file_comes_later(balance, path):
    """A start does not need it, and a reload keeps what it said."""
    with Upstream(answering(ok(b"0"))) as a:
        server = balance({"discover": {"file": str(path)}})
        server.wait_log("the file of endpoints is not taken")
        assert server.get().status == 503
        write(path, a.url)
        wait_names(server, [a.url])
        assert server.get().body == b"0"
        server.write({**server.config, "backends": {"app": {
            "discover": {"file": str(path)}, "timeout": {"first": "3s"}}}})
        assert server.reload().returncode == 0
        assert names_of(server) == {a.url}
        assert server.get().body == b"0"


def test_too_many(balance, path):
    path.write_text("".join(f"http://127.0.0.1:{i}\n" for i in range(1, 101)))
    server = balance({"discover": {"file": str(path)}})
    server.wait_log("a backend has more endpoints than are asked backend=app asked=64")
    assert len(names_of(server)) == 64


def test_under_load(balance, path):
    """Endpoints come and go at full speed; nobody notices."""
    with contextlib.ExitStack() as ends:
        ups = [ends.enter_context(Upstream(answering(ok(b"ok")))) for _ in range(4)]
        path.write_text(ups[0].url)
        server = balance({"discover": {"file": str(path)}, "balance": "rr"})
        wait_names(server, [ups[0].url])
        with Busy(server.address, 8, body=b"ok") as busy:
            for i in range(12):
                now = [ups[(i + k) % 4].url for k in range(1 + i % 3)]
                write(path, "\n".join(now))
                wait_names(server, now)
                busy.wait_rounds(3)
        assert not busy.failures, busy.failures[:3]
        assert all(e["in_flight"] == 0 for e in server.status()["endpoints"])
