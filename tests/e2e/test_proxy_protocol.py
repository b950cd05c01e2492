# SPDX-License-Identifier: Apache-2.0
"""The PROXY protocol: who may say whose connection it is, and what is made of it."""
import json
import socket
import ssl
import struct
import subprocess

import pytest

from conftest import ANSWER_SECONDS, Server, free_port, wait_for
from test_tls import make_certificate
from upstreams import Upstream, answering, ok, running
from versions import versions_config, wire_of

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

    def start(upstream, backend=None, **server):
        servers.append(Server(versions_config(
            [{"domains": ["default", "localhost"], "backend": backend or upstream.url}],
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


# ---- towards backends ----

def announced(heads, version):
    """Notes the header of each connection, then answers requests."""
    def serve_one(connection):
        if version == "v1":
            heads.append(connection.take_until(b"\r\n"))
        else:
            head = connection.take(16)
            heads.append(head + connection.take(struct.unpack(">H", head[14:])[0]))
        while True:
            _, fields = connection.head()
            connection.send(ok(connection.body(fields)[0] or b"ok\n"))
    return serve_one


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("client", ["h1", "h2", "h3"])
def test_towards_backend(serve, version, client):
    heads = []
    with Upstream(announced(heads, version)) as upstream:
        server = serve(upstream, {"proxy": upstream.url, "proxy_protocol": version},
                       protocols=["h1", "h2", "h2c", "h3"])
        with wire_of(server, client) as wire:
            for i in range(3):  # a connection serves one client, and so one request
                assert wire.get(method="POST", body=b"%d" % i).body == b"%d" % i
        assert len(heads) == upstream.count == 3
        if version == "v1":
            assert all(h.startswith(b"PROXY TCP4 127.0.0.1 ") for h in heads)
        else:
            assert all(h[12:20] == b"\x21\x11\0\x0c" + socket.inet_aton("127.0.0.1")
                       for h in heads)
        if client != "h3":
            with server.wire() as wire:
                wire.send((V1 if client == "h1" else v2()) + GET)
                assert wire.answer().status == 200
            assert b"192.0.2.7" in heads[-1] or socket.inet_aton("192.0.2.7") in heads[-1]


def test_towards_backend_with_tls(serve, tmp_path):
    """The header comes before the handshake, so the upstream takes it off the bare socket."""
    make_certificate(tmp_path, "up", "up.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "up.pem", tmp_path / "up.key")
    heads = []

    def serve_one(connection):
        head = b""
        while not head.endswith(b"\r\n"):
            head += connection.socket.recv(1)
        heads.append(head)
        with context.wrap_socket(connection.socket, server_side=True) as tls:
            tls.recv(65536)
            tls.sendall(ok())
    with Upstream(serve_one) as upstream:
        server = serve(upstream, {"proxy": upstream.url.replace("http", "https"),
                                  "proxy_protocol": "v1",
                                  "tls": {"ca": str(tmp_path / "up.pem"), "sni": "up.test"}})
        assert server.get().status == 200
        assert heads[0].startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")


def test_checks_speak_for_themselves(serve):
    heads = []
    with Upstream(announced(heads, "v1")) as upstream:
        server = serve(upstream, {"proxy": upstream.url, "proxy_protocol": "v1",
                                  "health": {"path": "/", "interval": "50ms"}})
        wait_for(lambda: b"PROXY UNKNOWN" in heads, "check")
        assert server.get().status == 200


def test_nginx_takes_it(serve, tmp_path):
    """Somebody else's reader."""
    port = free_port()
    (tmp_path / "nginx.conf").write_text(f"""
daemon off; pid {tmp_path}/pid; error_log stderr;
events {{ worker_connections 64; }}
http {{ access_log off;
  client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p; fastcgi_temp_path {tmp_path}/f;
  uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;
  server {{ listen 127.0.0.1:{port} proxy_protocol;
    location / {{ return 200 "$proxy_protocol_addr $proxy_protocol_server_port"; }} }} }}
""")
    with running(["nginx", "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path)], port) as url:
        for version in ("v1", "v2"):
            with Upstream(answering(ok())) as unused:
                server = serve(unused, {"proxy": url, "proxy_protocol": version})
            with server.wire() as wire:
                assert wire.get().body == b"127.0.0.1 %d" % server.address[1]
                wire.close()
            with server.wire() as wire:
                wire.send(V1 + GET)
                assert wire.answer().body == b"192.0.2.7 %d" % server.address[1]
