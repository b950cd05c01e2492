# SPDX-License-Identifier: Apache-2.0
"""Certificates for names that clients bring: a small service allows them, Pebble signs."""
import contextlib
import http.server
import socket
import ssl
import threading
import urllib.parse

import pytest

from conftest import wait_for
from test_acme import (authority, config, handshake, home, issuers, plain_get,  # noqa: F401
                       ports, serial, wait_issued)

SECONDS = 90


class Ask(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        [name] = query["domain"]
        self.server.asked.append(name)
        status = self.server.status or (200 if self.server.allows(name) else 404)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def ask():
    """The service: `allows` decides, `status` answers whatever the name is."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ask)
    server.asked, server.status = [], None
    server.allows = lambda name: name.endswith(".shop.example.com")
    server.url = f"http://127.0.0.1:{server.server_address[1]}/ask?key=1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def hello(ports, name):
    """Whether a handshake for the name gets anywhere."""
    with contextlib.suppress(ssl.SSLError, ConnectionResetError):
        handshake(ports, name).close()
        return True
    return False


def demands(server, suffix="_total"):
    return server.metric("sws_certificate_demands" + suffix)


def test_names_that_are_allowed(serve, authority, ports, ask):
    """On the default host, and below a wildcard that no record in the DNS proves."""
    ca = authority(http_port=ports.http, tls_port=ports.tls)
    more = [{"domains": "*.other.example.com", "respond": {"body": "other\n"}},
            {"domains": "fixed.example.net", "respond": {"body": "fixed\n"}}]
    server = serve(config(ports, ca, "default", more=more, ask=ask.url))
    root = ca.root()
    wait_issued(server, ports, "fixed.example.net", root).close()
    ask.allows = lambda name: name in ("a.shop.example.com", "b.other.example.com")
    assert not hello(ports, "a.shop.example.com"), "the first handshake is refused"
    assert plain_get(ports, "/", "a.shop.example.com").status == 200
    for name in ("a.shop.example.com", "b.other.example.com"):
        wait_issued(server, ports, name, root, SECONDS).close()
        assert plain_get(ports, "/", name).status == 308
    assert ask.asked == ["a.shop.example.com", "b.other.example.com"]
    with wait_issued(server, ports, "a.shop.example.com", root) as connection:
        before = serial(connection)
    shown = {c["name"]: c["state"] for c in server.status()["certificates"]}
    assert shown["a.shop.example.com"] == shown["b.other.example.com"] == "good"
    # They outlive a restart, a reload, and their issuer; nobody is asked again.
    server.stop()
    server.start()
    with wait_issued(server, ports, "a.shop.example.com", root) as connection:
        assert serial(connection) == before
    assert server.reload().returncode == 0
    with handshake(ports, "a.shop.example.com", root) as connection:
        assert serial(connection) == before
    assert ask.asked == ["a.shop.example.com", "b.other.example.com"]
    assert ca.orders() == 3


def test_names_that_are_refused(serve, authority, ports, ask):
    ca = authority(tls_port=ports.tls)
    server = serve(config(ports, ca, "default", ask=ask.url))
    for _ in range(3):
        assert not hello(ports, "evil.example.org")
    wait_for(lambda: ask.asked == ["evil.example.org"], "question", SECONDS)
    # What is no name of the public DNS is asked of nobody.
    for name in ("localhost", "x.local", "single", "a.internal", "under_score.example.com"):
        assert not hello(ports, name)
    assert not hello(ports, None)
    assert hello(ports, "last.shop.example.com") is False
    wait_issued(server, ports, "last.shop.example.com", ca.root(), SECONDS).close()
    for _ in range(3):
        assert not hello(ports, "evil.example.org")
    assert sorted(ask.asked) == ["evil.example.org", "last.shop.example.com"]
    assert ca.orders() == 1
    assert [f.name for f in (server.home / "state/acme/demand").iterdir()] == [
        "last.shop.example.com"]


def test_service_that_is_in_trouble(serve, authority, ports, ask):
    ca = authority(tls_port=ports.tls)
    ask.status = 503
    server = serve(config(ports, ca, "default", ask=ask.url))
    assert not hello(ports, "a.shop.example.com")
    server.wait_log("acme.ask answers with status 503", SECONDS)
    ask.status = 302
    assert not hello(ports, "b.shop.example.com")
    wait_for(lambda: len(ask.asked) == 2, "question", SECONDS)
    ask.status = None
    assert not hello(ports, "c.shop.example.com")
    wait_issued(server, ports, "c.shop.example.com", ca.root(), SECONDS).close()
    assert ca.orders() == 1
    assert server.log().count("acme.ask answers") == 1


def test_flood_of_names_costs_little(serve, authority, ports, ask):
    """EDGE.md, row 48: whatever the service says, ten orders an hour, and few questions."""
    ca = authority(tls_port=ports.tls)
    ask.allows = lambda name: True
    server = serve(config(ports, ca, "default", ask=ask.url))
    context = ssl._create_unverified_context()
    for i in range(600):
        raw = socket.create_connection(("127.0.0.1", ports.tls), 10)
        with contextlib.suppress(ssl.SSLError, ConnectionResetError), raw:
            context.wrap_socket(raw, server_hostname=f"n{i}.example.com").close()
    assert demands(server) + demands(server, "_dropped_total") == 600
    assert demands(server, "_dropped_total") > 400
    wait_for(lambda: ca.orders() == 10, "ten orders", SECONDS)
    # The tenth is done when its certificate is there; an eleventh does not begin.
    kept = server.home / "state/acme"
    wait_for(lambda: len([f for f in kept.glob("*/*.pem")
                          if f.parent.name not in ("alpn", "ocsp")]) >= 10,
             "ten certificates", SECONDS)
    assert ca.orders() == 10
    assert len(ask.asked) == len(set(ask.asked)) <= demands(server)
    assert server.status()["state"] == "serving"


def test_name_that_cannot_be_proved_is_forgotten(serve, authority, ports, ask):
    """The authority reaches nobody: after some failures the name is no name of ours any more."""
    ca = authority(http_port=1, tls_port=1)
    server = serve(config(ports, ca, "default", plain=False, ask=ask.url))
    assert not hello(ports, "a.shop.example.com")
    server.wait_log("was not issued", SECONDS)
    kept = server.home / "state/acme/demand/a.shop.example.com"
    assert kept.exists()
    # Two more failures would take minutes: they are written where the issuer keeps them.
    [record] = [f for f in (server.home / "state/acme").glob("*/*.json")
                if f.name != "account.json"]
    server.stop()
    text = record.read_text()
    record.write_text(text.replace('"failures": 1', '"failures": 3'))
    server.start()
    server.wait_log("a name that gets no certificate is forgotten", SECONDS)
    assert not kept.exists() and not record.exists()


def test_hosts_that_leave_take_their_names_along(serve, authority, ports, ask):
    ca = authority(tls_port=ports.tls)
    settings = config(ports, ca, "default", ask=ask.url)
    server = serve(settings)
    hello(ports, "a.shop.example.com")
    wait_issued(server, ports, "a.shop.example.com", ca.root(), SECONDS).close()
    settings["server"]["tls"]["acme"]["ask"] = ask.url + "&v=2"
    server.write(settings)
    assert server.reload().returncode == 0
    kept = server.home / "state/acme/demand/a.shop.example.com"
    wait_for(lambda: not kept.exists(), "name that is gone")
    # Asked by the new service, and what was issued is still there.
    wait_for(lambda: hello(ports, "a.shop.example.com"), "the name again", SECONDS, 0.1)
    assert ca.orders() == 1
