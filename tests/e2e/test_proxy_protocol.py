# SPDX-License-Identifier: Apache-2.0
"""The PROXY protocol: who may say whose connection it is, and what is made of it."""
import json
import socket
import ssl
import struct
import subprocess

import pytest

from conftest import ANSWER_SECONDS, Server
from upstreams import Upstream, answering, ok
from versions import versions_config

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.2 4242 443\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


def v2(rest=b"", command=0x21, family=0x11):
    addresses = (socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.2") +
                 struct.pack(">HH", 4242, 443))
    body = addresses + rest if command == 0x21 else rest
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, family]) + struct.pack(">H", len(body)) + body


@pytest.fixture
def serve():
    servers = []

    def start(upstream, **server):
        servers.append(Server(versions_config(
            [{"domains": ["default", "localhost"], "backend": upstream.url}],
            **{"trusted_proxies": ["127.0.0.0/8"], **server})))
        return servers[-1].start()
    yield start
    for server in servers:
        server.finish()


def forwarded(upstream):
    return dict(upstream.heads[-1][1])["X-Forwarded-For"]


@pytest.mark.parametrize("header,client", [
    (V1, "192.0.2.7"), (v2(), "192.0.2.7"),
    (v2(b"\x04\0\x03abc\x05\0\0"), "192.0.2.7"),
    (v2(command=0x20, family=0), "127.0.0.1"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (b"PROXY TCP6 2001:db8::7 ::1 4242 443\r\n", "2001:db8::7"),
    (b"", "127.0.0.1")])
def test_client(serve, header, client):
    with Upstream(answering(ok())) as upstream:
        server = serve(upstream)
        with server.wire() as wire:
            wire.send(header + GET)
            assert wire.answer().status == 200
            assert forwarded(upstream) == client
            wire.send(GET)  # the connection keeps it
            assert wire.answer().status == 200
            assert forwarded(upstream) == client
        assert json.loads(server.access_lines(2)[0])["client"] == client


def test_every_cut(serve):
    """However the bytes come."""
    with Upstream(answering(ok())) as upstream:
        server = serve(upstream)
        for header in (V1, v2(b"\x04\0\x03abc")):
            for i in range(1, len(header)):
                with server.wire() as wire:
                    wire.send(header[:i])
                    wire.send(header[i:] + GET)
                    assert wire.answer().status == 200
                    assert forwarded(upstream) == "192.0.2.7"
        with server.wire() as wire:
            for byte in V1 + GET:
                wire.send(bytes([byte]))
            assert wire.answer().status == 200
            assert forwarded(upstream) == "192.0.2.7"


@pytest.mark.parametrize("header", [
    b"PROXY TCP4 192.0.2.7 198.51.100.2 4242 99999\r\n", b"PROXY " + b"x" * 200 + b"\r\n",
    v2(b"\x04\xff\xffabc"), v2(b"\x04\0\0" * 2000), v2(command=0x2f),
    v2()[:12] + b"\x31\x11\0\x0c" + v2()[16:]])
def test_wrong(serve, header):
    with Upstream(answering(ok())) as upstream:
        server = serve(upstream)
        with server.wire() as wire:
            wire.send_while_open(header + GET)
            assert wire.is_closed()
        assert not upstream.heads
        assert server.metric('sws_limit_hits_total{limit="proxy_header"}') == 1


def test_cut_off(serve):
    with Upstream(answering(ok())) as upstream:
        server = serve(upstream)
        for part in (V1[:20], v2()[:14], b"P", b"\r\n\r\n"):
            with server.wire() as wire:
                wire.send(part)
                wire.socket.shutdown(socket.SHUT_WR)
                assert wire.is_closed()
        assert server.get().status == 200


def test_slow(serve):
    with Upstream(answering(ok())) as upstream:
        server = serve(upstream, timeouts={"header": "300ms"})
        with server.wire() as wire:
            wire.send(V1[:20])
            assert wire.is_closed()
        assert server.metric('sws_limit_hits_total{limit="header_timeout"}') == 1


@pytest.mark.parametrize("header", [V1, v2()])
def test_untrusted(serve, header):
    with Upstream(answering(ok())) as upstream:
        server = serve(upstream, trusted_proxies=["192.0.2.0/24"])
        with server.wire() as wire:
            wire.send_while_open(header + GET)
            assert b" 200 " not in wire.rest()[0]
        assert not upstream.heads


def test_fields_of_the_client_are_not_trusted(serve):
    """The proxy is trusted, whom it brings is not; and what that one sends second is no header."""
    with Upstream(answering(ok())) as upstream:
        server = serve(upstream)
        with server.wire() as wire:
            wire.send(V1 + GET[:-2] + b"X-Forwarded-For: 10.9.9.9\r\n\r\n")
            assert wire.answer().status == 200
            assert forwarded(upstream) == "192.0.2.7"
        with server.wire() as wire:
            wire.send_while_open(V1 + V1 + GET)
            assert b" 200 " not in wire.rest()[0]


def test_before_tls(serve):
    with Upstream(answering(ok())) as upstream:
        server = serve(upstream, protocols=["h1", "h2"])
        host, port = server.https_address
        done = subprocess.run(
            ["curl", "-sk", "--haproxy-protocol", f"https://localhost:{port}/",
             "--resolve", f"localhost:{port}:{host}", "-w", "%{http_code} %{http_version}"],
            capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True)
        assert done.stdout == "ok\n200 2"
        assert forwarded(upstream) == "127.0.0.1"  # curl says its own
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        for header, client in ((v2(), "192.0.2.7"), (b"", "127.0.0.1")):
            with socket.create_connection((host, port), ANSWER_SECONDS) as sock:
                sock.sendall(header)
                with context.wrap_socket(sock, server_hostname="localhost") as tls:
                    tls.sendall(GET)
                    assert tls.recv(100).startswith(b"HTTP/1.1 200")
            assert forwarded(upstream) == client
