# SPDX-License-Identifier: Apache-2.0
"""The reverse proxy in front of nginx, Node, gunicorn and uvicorn, and of upstreams that do wrong."""
import asyncio
import base64
import hashlib
import json
import os
import shutil
import socket
import ssl
import threading
import time

import h2.events
import pytest
import websockets

from conftest import ANSWER_SECONDS, Server, Wire, wait_for
from test_tls import make_certificate
from upstreams import NameServer, Upstream, answering, gunicorn, memory_kb, nginx, node, ok, uvicorn
from versions import VERSIONS, versions_config, wire_of
from websocket_wire import BINARY, FIN, KEY, RAW, TEXT, connect_fields, frame

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def proxy_config(backend, **server):
    return versions_config([{"domains": ["default", "localhost"], "backend": backend}], **server)


@pytest.fixture
def proxy():
    """Starts a proxy in front of a backend."""
    servers = []

    def start(backend, config=None, **server):
        servers.append(Server(config or proxy_config(backend, **server)))
        return servers[-1].start()
    yield start
    for server in servers:
        server.finish()


def field(fields, name):
    """The values of a field in a list of pairs."""
    return [v for n, v in fields if n.lower() == name.lower()]


# ---- other people's servers ----

@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """One proxy in front of all of them, by path."""
    home = tmp_path_factory.mktemp("real")
    with nginx(home / "nginx") as (nginx_url, www), node() as node_url, \
            gunicorn(home / "gunicorn") as gunicorn_url, uvicorn(home / "uvicorn") as uvicorn_url:
        server = Server(versions_config([
            {"domains": ["default", "localhost"], "backend": nginx_url, "routes": [
                {"path": "/node/**", "backend": node_url},
                {"path": "/trailers", "backend": node_url},
                {"path": "/gunicorn/**", "backend": gunicorn_url},
                {"path": "/uvicorn/**", "backend": uvicorn_url}]}],
            max={"body": "1GB"}, protocols=["h1", "h2", "h2c", "h3"]))
        server.nginx_www = www
        server.start()
        yield server
        server.finish()


@pytest.mark.parametrize("version", VERSIONS)
def test_nginx(real, version):
    big = os.urandom(3_000_000)
    (real.nginx_www / "big.bin").write_bytes(big)
    (real.nginx_www / "a.txt").write_text("hello\n")
    with wire_of(real, version) as wire:
        answer = wire.get("/a.txt")
        assert (answer.status, answer.body) == (200, b"hello\n")
        assert answer["Server"].startswith("nginx")
        assert answer["Via"] == "1.1 selenia"
        assert len(answer.headers.get_all("Date")) == 1
        assert len(answer.headers.get_all("Content-Length")) == 1
        head = wire.get("/a.txt", method="HEAD")
        assert (head.status, head["Content-Length"], head.body) == (200, "6", b"")
        same = wire.get("/a.txt", {"If-None-Match": answer["ETag"]})
        assert (same.status, same.body) == (304, b"")
        part = wire.get("/a.txt", {"Range": "bytes=1-3"})
        assert (part.status, part.body, part["Content-Range"]) == (206, b"ell", "bytes 1-3/6")
        assert wire.get("/big.bin").body == big
        assert wire.get("/none").status == 404
        assert wire.get("/moved")["Location"] == "/new"
        assert wire.get("/facts?a=b%20c", host="b.test").body == b"GET /facts?a=b%20c b.test"
        assert wire.get("/%66acts").body == b"GET /facts a.test"


@pytest.mark.parametrize("version", VERSIONS)
def test_node(real, version):
    with wire_of(real, version) as wire:
        for n in [0, 1, 1000, 70_000, 2_000_000]:
            answer = wire.get("/node/x?y", method="POST", body=b"b" * n)
            facts = json.loads(answer.body)
            assert (answer.status, facts["method"], facts["url"], facts["bytes"]) == \
                (200, "POST", "/node/x?y", n)
        for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"]:
            assert json.loads(wire.get("/node/x", method=method).body)["method"] == method
        answer = wire.get("/trailers", {"TE": "trailers"})
        assert (answer.status, answer.body) == (200, b"body")


def test_node_trailers(real):
    with Wire(real.address) as wire:
        wire.send(b"GET /trailers HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n")
        assert wire.rest()[0].endswith(b"4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n")
    with Wire(real.address) as wire:
        wire.send(b"POST /node/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                  b"Connection: close\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\nX_Alias: 1\r\n\r\n")
        facts = json.loads(wire.answer().body)
        assert (facts["bytes"], facts["trailers"]) == (2, {"x-sum": "7"})


@pytest.mark.parametrize("version", VERSIONS)
def test_gunicorn(real, version):
    """What CGI makes of names cannot be forged."""
    with wire_of(real, version) as wire:
        answer = wire.get("/gunicorn/", {"X-Auth-User": "me", "X_Auth_User": "you",
                                         "X.Auth.User": "they", "Proxy": "http://evil/"},
                          method="POST", body=b"x" * 100_000)
        assert answer.status == 200
        got = json.loads(answer.body)
        assert got["bytes"] == 100_000
        assert got["environ"]["HTTP_X_AUTH_USER"] == "me"
        assert "HTTP_PROXY" not in got["environ"]
        assert got["environ"]["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"


@pytest.mark.parametrize("version", VERSIONS)
def test_uvicorn(real, version):
    with wire_of(real, version) as wire:
        answer = wire.get("/uvicorn/", method="POST", body=b"x" * 10)
        assert (answer.status, answer.body) == (200, b"part part part 10")


def test_websocket_of_others(real):
    """Other people's client and server speak through us, with compression and a subprotocol."""
    async def talk():
        uri = "ws://%s:%d/uvicorn/ws" % real.address
        async with websockets.connect(uri, subprotocols=["chat"]) as socket_:
            assert socket_.subprotocol == "chat"
            for text in ["a", "b" * 70_000, b"c" * 300_000]:
                await socket_.send(text)
                assert await socket_.recv() == text
    asyncio.run(asyncio.wait_for(talk(), 3 * ANSWER_SECONDS))


@pytest.mark.parametrize("version", VERSIONS)
def test_websocket_of_every_version(real, version):
    with RAW[version](real) as wire:
        assert wire.open("/uvicorn/ws") == wire.opened
        for opcode, payload in [(TEXT, b"hello"), (BINARY, b"x" * 100_000)]:
            wire.send(frame(opcode, payload))
            assert wire.take() == (FIN | opcode, payload)


# ---- header hygiene ----

HOSTILE = {
    "Connection": "keep-alive, X-Secret, Authorization, Content-Length, X-Forwarded-For",
    "X-Secret": "1", "Authorization": "Basic eA==", "Keep-Alive": "timeout=5",
    "Proxy-Connection": "close", "Proxy-Authorization": "x", "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Host": "evil", "X-Forwarded-Proto": "gopher", "X-Forwarded-Port": "1",
    "Forwarded": "for=6.6.6.6", "X-Real-IP": "6.6.6.6", "Traceparent": "00-" + "a" * 32 + "-" +
    "b" * 16 + "-01", "X-Request-ID": "abc", "X-Own": "theirs", "Cookie": "a=b", "X-Gone": "1",
}


def hygiene_config(url, **server):
    return versions_config([{"domains": ["default", "localhost"], "backend": url, "headers": {
        "request": {"X-Own": "ours", "X-Gone": None, "X-New": "new"}}}], **server)


def test_hygiene(proxy):
    with Upstream(answering(ok(b"", "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: timeout=9",
                               "X-Accel-Redirect: /etc", "X-Kept: 1", "Set-Cookie: a=1",
                               "Set-Cookie: b=2", "Content-Security-Policy: mine"))) as upstream:
        server = proxy(None, hygiene_config(upstream.url))
        answer = server.get("/a//b/../c?q=1&q=2", HOSTILE)
        assert answer.status == 200
        line, fields = upstream.heads[-1]
        assert line == "GET /a/c?q=1&q=2 HTTP/1.1"
        for name in ["X-Secret", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization",
                     "X-Forwarded-Port", "X-Real-IP", "Connection", "X-Gone", "TE"]:
            assert not field(fields, name), name
        for name, value in {
                "Host": "a.test", "Authorization": "Basic eA==", "X-Forwarded-For": "127.0.0.1",
                "X-Forwarded-Host": "a.test", "X-Forwarded-Proto": "http", "X-Request-ID": "abc",
                "Forwarded": 'for=127.0.0.1;host="a.test";proto=http', "Via": "1.1 selenia",
                "Traceparent": HOSTILE["Traceparent"], "X-Own": "ours", "X-New": "new",
                "Cookie": "a=b"}.items():
            assert field(fields, name) == [value], name
        for name in ["X-Hop", "Keep-Alive", "X-Accel-Redirect"]:
            assert answer[name] is None, name
        assert answer["X-Kept"] == "1"
        assert answer.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert answer.headers.get_all("Content-Security-Policy") == ["mine"]
        assert answer["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("version", VERSIONS)
def test_versions_in_via(proxy, version):
    with Upstream(answering(ok())) as upstream:
        server = proxy(upstream.url)
        with wire_of(server, version) as wire:
            assert wire.get("/", {"Cookie": "a=b"}).status == 200
        _, fields = upstream.heads[-1]
        assert field(fields, "Via") == [{"h1": "1.1", "h2": "2", "h3": "3"}[version] + " selenia"]
        proto = "https" if version == "h3" else "http"
        assert field(fields, "X-Forwarded-Proto") == [proto]
        assert field(fields, "Host") == ["a.test"]


def test_trusted_proxy(proxy):
    with Upstream(answering(ok())) as upstream:
        server = proxy(None, hygiene_config(upstream.url,
                                            trusted_proxies=["127.0.0.0/8", "10.0.0.0/8"]))
        with Wire(server.address) as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n"
                      b"X-Forwarded-For: 9.9.9.9, 10.1.1.1\r\nX-Forwarded-Proto: https\r\n"
                      b"X-Forwarded-Host: b\r\nForwarded: for=9.9.9.9\r\n\r\n")
            assert wire.answer().status == 200
        _, fields = upstream.heads[-1]
        assert field(fields, "X-Forwarded-For") == ["6.6.6.6, 9.9.9.9, 10.1.1.1, 127.0.0.1"]
        assert field(fields, "X-Forwarded-Proto") == ["https"]
        assert field(fields, "X-Forwarded-Host") == ["b"]
        assert field(fields, "Forwarded") == \
            ['for=9.9.9.9, for=127.0.0.1;host="a";proto=http']
        # The last address that is no proxy of ours, whatever the client wrote before.
        assert json.loads(server.access_lines(1)[0])["client"] == "9.9.9.9"


@pytest.mark.parametrize("policy,want", [("pass", "a.test"), ("upstream", None),
                                         ("app.internal", "app.internal")])
def test_host_policy(proxy, policy, want):
    with Upstream(answering(ok())) as upstream:
        server = proxy({"proxy": upstream.url, "host": policy})
        assert server.get().status == 200
        assert field(upstream.heads[-1][1], "Host") == [want or upstream.url[len("http://"):]]


def test_localhost(proxy):
    """A name with two addresses, at one of which nobody listens."""
    with Upstream(answering(ok())) as upstream:
        server = proxy(upstream.url.replace("127.0.0.1", "localhost"), worker={"processes": 1})
        for _ in range(3):
            assert server.get().status == 200
        assert server.get(method="POST").status == 200
        assert server.metric('sws_upstream_errors_total{cause="connect"}') <= 1


def test_names(proxy):
    """A name that does not resolve stops neither the start nor another host."""
    with Upstream(answering(ok())) as upstream, NameServer({}) as dns:
        url = upstream.url.replace("127.0.0.1", "app.internal.test")
        server = proxy(None, versions_config(
            [{"domains": ["default", "localhost"], "backend": url},
             {"domains": "fine.test", "backend": upstream.url}],
            resolver=[dns.address], worker={"processes": 1}))
        assert server.get().status == 502
        assert json.loads(server.access_lines(1)[0])["error"] == \
            url + ": upstream: its name has no address"
        assert server.metric('sws_upstream_errors_total{cause="name"}') == 1
        assert server.get(host="fine.test").status == 200
        dns.names["app.internal.test"] = "127.0.0.1"
        wait_for(lambda: server.get().status == 200, "address of the name", 3 * ANSWER_SECONDS, 0.5)
        assert field(upstream.heads[-1][1], "Host") == ["a.test"]
        # Gone again: the last good answer serves.
        dns.names.clear()
        asked = len(dns.asked)

        def is_asked_again():
            assert server.get().status == 200
            return len(dns.asked) > asked
        wait_for(is_asked_again, "next question", 3 * ANSWER_SECONDS, 0.5)
        assert server.get().status == 200


def test_unix_socket(proxy, tmp_path):
    with Upstream(answering(ok(b"by a file\n")), str(tmp_path / "s")) as upstream:
        server = proxy({"proxy": upstream.url, "host": "upstream"}, worker={"processes": 1})
        assert server.get().body == b"by a file\n"
        assert server.get().body == b"by a file\n"
        assert field(upstream.heads[-1][1], "Host") == ["localhost"]
        assert upstream.count == 1


# ---- TLS towards the upstream ----

@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    make_certificate(folder, "ca", ca=True)
    make_certificate(folder, "up", "up.test", "127.0.0.1", issuer="ca")
    make_certificate(folder, "other", "other.test", issuer="ca")
    make_certificate(folder, "self", "up.test", "127.0.0.1")
    make_certificate(folder, "client", "client.test", issuer="ca")
    return folder


def tls_of(pki, name, version=None, asks=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
    context.minimum_version = context.maximum_version = version or ssl.TLSVersion.TLSv1_3
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pki / "ca.pem")
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls(proxy, pki, version):
    names = []
    context = tls_of(pki, "up", version)
    context.sni_callback = lambda _, name, __: names.append(name)
    body = os.urandom(3_000_000)

    def serve(connection):
        while True:
            _, fields = connection.head()
            got, _ = connection.body(fields)
            connection.send(ok(got or body))
    with Upstream(serve, tls=context) as upstream:
        server = proxy({"proxy": upstream.url, "tls": {"ca": str(pki / "ca.pem"), "sni": "up.test"}},
                       worker={"processes": 1})
        assert server.get().body == body
        with Wire(server.address) as wire:
            assert wire.get("/", method="PUT", body=body).body == body
        assert upstream.count == 1  # kept, also where tickets come behind the handshake
        assert names == ["up.test"]


def test_tls_by_address(proxy, pki):
    with Upstream(answering(ok()), tls=tls_of(pki, "up")) as upstream:
        server = proxy({"proxy": upstream.url, "tls": {"ca": str(pki / "ca.pem")}})
        assert server.get().status == 200


@pytest.mark.parametrize("certificate,tls", [
    ("self", {"ca": "ca.pem"}),                     # signed by nobody we trust
    ("up", {}),                                     # likewise, by what the system says
    ("other", {"ca": "ca.pem"}),                    # of another name
    ("up", {"ca": "ca.pem", "sni": "other.test"})])
def test_tls_of_another(proxy, pki, certificate, tls):
    """It gets no byte of the request."""
    tls = {k: str(pki / v) if k == "ca" else v for k, v in tls.items()}
    with Upstream(answering(ok()), tls=tls_of(pki, certificate)) as upstream:
        server = proxy({"proxy": upstream.url, "tls": tls})
        assert server.get().status == 502
        assert not upstream.heads
        assert server.metric('sws_upstream_errors_total{cause="tls"}') == 1
        assert ": upstream: no TLS: " in json.loads(server.access_lines(1)[0])["error"]


def test_tls_unverified(proxy, pki):
    with Upstream(answering(ok()), tls=tls_of(pki, "self")) as upstream:
        server = proxy({"proxy": upstream.url, "tls": {"verify": False}})
        assert server.get().status == 200


def test_tls_client_certificate(proxy, pki):
    with Upstream(answering(ok()), tls=tls_of(pki, "up", asks=True)) as upstream:
        ca = str(pki / "ca.pem")
        server = proxy({"proxy": upstream.url, "tls": {"ca": ca}})
        assert server.get().status == 502
        server = proxy({"proxy": upstream.url, "tls": {
            "ca": ca, "cert": str(pki / "client.pem"), "key": str(pki / "client.key")}})
        assert server.get().status == 200


def test_plain_text_before_tls(proxy):
    """CVE-2026-1642: what comes in the clear is never taken for an answer."""
    def serve(connection):
        connection.send(ok(b"injected\n"))
        with pytest.raises((EOFError, ConnectionError)):
            while True:
                connection.fill()
    with Upstream(serve) as upstream:
        server = proxy({"proxy": upstream.url.replace("http:", "https:")})
        answer = server.get()
        assert (answer.status, b"injected" in answer.body) == (502, False)


def test_tls_configuration(pki):
    for tls, word in [({"ca": "/none.pem"}, "cannot be read"), ({"ca": str(pki / "up.key")}, "CA"),
                      ({"key": str(pki / "up.key")}, "without its certificate"),
                      ({"cert": str(pki / "up.pem")}, "certificate and its key"),
                      ({"cert": str(pki / "up.pem"), "key": str(pki / "other.key")}, "key")]:
        server = Server(proxy_config({"proxy": "https://127.0.0.1", "tls": tls}))
        done = server.command("check")
        shutil.rmtree(server.home)
        assert done.returncode != 0 and word in done.stderr + done.stdout, (tls, done)


# ---- what an upstream does wrong ----

BROKEN = {
    "both": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
    "lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello",
    "coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\nhello",
    "nul": b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n",
    "cr": b"HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 0\r\n\r\n",
    "lf": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "fold": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "space": b"HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 0\r\n\r\n",
    "status": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "no status": b"<html>hello</html>\r\n\r\n",
    "version": b"HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "unasked switch": b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "storm": b"HTTP/1.1 102 x\r\n\r\n" * 1000,
    "long": b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000,
    "fields": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300 + b"\r\n",
}


@pytest.mark.parametrize("version", VERSIONS)
def test_wrong_answers(proxy, version):
    """Each gets a 502 and a counter, and its connection is not used again."""
    answers = dict(BROKEN)

    def serve(connection):
        while True:
            line, _ = connection.head()
            name = line.split()[1][1:].replace("%20", " ")
            connection.send(answers.get(name, ok()))
    with Upstream(serve) as upstream:
        server = proxy(upstream.url)
        with wire_of(server, version) as wire:
            for name in answers:
                before = upstream.count
                assert wire.get("/" + name.replace(" ", "%20")).status == 502, name
                assert wire.get("/fine").status == 200, name
                assert upstream.count > before, name
        metrics = server.metrics()
        causes = {k.split('"')[1]: v for k, v in metrics.items()
                  if k.startswith("sws_upstream_errors_total{")}
        assert causes == {"response": len(answers) - 2, "interim": 1, "upgrade": 1}
        lines = [json.loads(x) for x in server.access_lines(2 * len(answers))]
        assert all(x.get("error", "").startswith(upstream.url + ": upstream: ") ==
                   (x["status"] == 502) for x in lines)


WHOLE = {
    "length": ok(b"hello world\n", "X-A: b"),
    "chunks": CHUNKED + b"5\r\nhello\r\n7\r\n world\n\r\n0\r\nX-T: 1\r\n\r\n",
    "close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello world\n",
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", WHOLE)
def test_broken_off_at_each_byte(proxy, version, kind):
    """An upstream dies after each byte, by RST: the client never takes the piece for the whole."""
    answer = WHOLE[kind]

    def serve(connection):
        line, _ = connection.head()
        connection.send(answer[:int(line.split()[1][1:])])
        connection.reset()
    with Upstream(serve) as upstream:
        server = proxy(upstream.url)
        # Every place over HTTP/1.1, a third of them over the others.
        for cut in range(0, len(answer), 1 if version == "h1" else 3):
            got = None
            with wire_of(server, version) as wire:
                try:
                    got = wire.get(f"/{cut}")
                except Exception:  # each client has its own word for an answer cut off
                    assert cut >= answer.index(b"\r\n\r\n") + 4, cut
            if got is None:
                continue
            if cut < answer.index(b"\r\n\r\n") + 4:
                assert got.status == 502, cut
            else:
                # Only the end of the chunks may be what is missing, and these clients of HTTP/2
                # and 3 do not tell.
                assert got.status == 200 and (got.body != b"hello world\n" or
                                              (kind == "chunks" and version != "h1")), cut
        assert server.get("/0").status == 502


def test_refused(proxy):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = "http://127.0.0.1:%d" % taken.getsockname()[1]
    server = proxy(url)
    assert server.get().status == 502
    assert server.get(method="POST").status == 502
    line = json.loads(server.access_lines(2)[0])
    assert line["error"] == f"{url}: upstream: no connection: nobody listens there"
    assert server.metric('sws_upstream_errors_total{cause="connect"}') == 4  # each tried twice


def test_connect_timeout(proxy):
    """A queue that is full: the kernel does not answer."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(0)
        address = taken.getsockname()
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
        server = proxy({"proxy": "http://%s:%d" % address, "timeout": {"connect": "300ms"}})
        start = time.monotonic()
        assert server.get().status == 504
        assert time.monotonic() - start >= 0.25
        assert server.metric('sws_upstream_errors_total{cause="connect_timeout"}') == 1
        for filler in fillers:
            filler.close()


def test_slow_upstream(proxy):
    gate = threading.Event()

    def serve(connection):
        line, _ = connection.head()
        if line.startswith("GET /first"):
            gate.wait(2 * ANSWER_SECONDS)
        else:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            gate.wait(2 * ANSWER_SECONDS)
    with Upstream(serve) as upstream:
        server = proxy({"proxy": upstream.url, "timeout": {"first": "300ms", "idle": "300ms"}})
        assert server.get("/first").status == 504
        with Wire(server.address) as wire:
            wire.send(b"GET /idle HTTP/1.1\r\nHost: a\r\n\r\n")
            assert wire.rest()[0].endswith(b"hello")
        for cause in ["first_byte_timeout", "idle_timeout"]:
            assert server.metric('sws_upstream_errors_total{cause="%s"}' % cause) == 1
        gate.set()


def test_stale_connection(proxy):
    """The upstream ends a connection that rests just when the next request comes."""
    def serve(connection):
        line, fields = connection.head()
        connection.body(fields)
        connection.send(ok())
        if "POST" in line or "/close" in line:
            connection.head()  # and no answer
    with Upstream(serve) as upstream:
        server = proxy(upstream.url, worker={"processes": 1})
        assert server.get("/close").status == 200
        assert server.get("/close").status == 200  # over another connection, after a retry
        assert server.metric("sws_upstream_retries_total") == 1
        assert server.get("/close", method="POST").status == 502  # maybe it was heard
        assert server.metric('sws_upstream_errors_total{cause="closed"}') == 2
        assert len(upstream.heads) == 4


# ---- bodies that are long, early or late ----

def test_early_answer(proxy):
    def serve(connection):
        connection.head()
        connection.send(b"HTTP/1.1 413 no\r\nContent-Length: 3\r\n\r\nno\n")
        with pytest.raises((EOFError, ConnectionError)):
            while True:
                connection.fill()
        raise EOFError
    with Upstream(serve) as upstream:
        server = proxy(upstream.url)
        with Wire(server.address) as wire:
            wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 1000)
            answer = wire.answer()
            assert (answer.status, answer.body) == (413, b"no\n")
        assert server.get().status == 413
        assert upstream.count == 2


def test_early_hints(proxy):
    """103 passes over every version."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX_Alias: 1\r\n\r\n"
    with Upstream(answering(b"HTTP/1.1 102 x\r\n\r\n" + hints + ok())) as upstream:
        server = proxy(upstream.url)
        with Wire(server.address) as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert wire.rest()[0].startswith(b"HTTP/1.1 103 Early Hints\r\n"
                                             b"Link: </a.css>; rel=preload\r\n\r\n"
                                             b"HTTP/1.1 200 OK\r\n")
        with wire_of(server, "h2") as wire:
            stream = wire.h2.get_next_available_stream_id()
            wire.h2.send_headers(stream, [(":method", "GET"), (":scheme", "http"),
                                          (":authority", "a"), (":path", "/")], True)
            wire.socket.sendall(wire.h2.data_to_send())
            events = []
            while not any(isinstance(e, h2.events.StreamEnded) for e in events):
                data = wire.socket.recv(65536)
                assert data
                events += wire.h2.receive_data(data)
            informed = [e for e in events if isinstance(e, h2.events.InformationalResponseReceived)]
            assert [dict(e.headers) for e in informed] == \
                [{":status": "103", "link": "</a.css>; rel=preload"}]
        with wire_of(server, "h3") as wire:
            lines = []
            take = wire.take_line
            wire.take_line = lambda line: (lines.append(line), take(line))[1]
            assert wire.get("/").body == b"ok\n"
            assert lines[0].startswith(b"HTTP/3 103") and b"link: </a.css>; rel=preload\r\n" in lines


def test_expect_continue(proxy):
    seen = []

    def serve(connection):
        line, fields = connection.head()
        seen.append(connection.buffer)
        if line.startswith("POST /no"):
            connection.send(b"HTTP/1.1 403 no\r\nContent-Length: 0\r\n\r\n")
            connection.fill()
        if line.startswith("POST /yes"):
            connection.send(b"HTTP/1.1 100 go\r\n\r\n")
        body, _ = connection.body(fields)
        connection.send(ok(body))
    with Upstream(serve) as upstream:
        server = proxy(upstream.url)
        for path, want in [(b"/yes", 200), (b"/late", 200), (b"/no", 403)]:
            with Wire(server.address) as wire:
                wire.send(b"POST %s HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                          b"Content-Length: 5\r\n\r\n" % path)
                line = wire.file.readline()
                if want == 200:
                    assert line == b"HTTP/1.1 100 Continue\r\n"
                    assert wire.file.readline() == b"\r\n"
                    wire.send(b"hello")
                    assert wire.answer().body == b"hello"
                else:
                    assert line.startswith(b"HTTP/1.1 403")
        assert seen == [b"", b"", b""]
        assert field(upstream.heads[0][1], "Expect") == ["100-continue"]


@pytest.mark.parametrize("version", ["h1", "h2"])
def test_long_upload_takes_no_memory(proxy, version, monkeypatch):
    """300 MB through an upstream that reads slowly at first."""
    monkeypatch.setenv("ASAN_OPTIONS", "quarantine_size_mb=1:" + os.environ.get("ASAN_OPTIONS", ""))
    total = 300_000_000 if version == "h1" else 10_000_000
    is_peaking = threading.Event()

    def serve(connection):
        _, fields = connection.head()
        is_peaking.wait(2 * ANSWER_SECONDS)
        digest, left = hashlib.sha256(connection.buffer), int(field(fields, "Content-Length")[0])
        left -= len(connection.buffer)
        while left:
            data = connection.socket.recv(min(left, 1 << 20))
            assert data
            digest.update(data)
            left -= len(data)
        connection.send(ok(digest.hexdigest().encode()))
    with Upstream(serve) as upstream:
        server = proxy(upstream.url, max={"body": "1GB"}, worker={"processes": 1})
        assert server.status()
        before = memory_kb(server.process.pid)
        block = os.urandom(1_000_000)
        got = []

        def upload():
            if version == "h2":
                with wire_of(server, version) as wire:
                    wire.socket.settimeout(6 * ANSWER_SECONDS)
                    got.append(wire.get("/", method="PUT", body=block * (total // 1_000_000)))
                return
            with Wire(server.address, 6 * ANSWER_SECONDS) as wire:
                wire.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total)
                for _ in range(total // 1_000_000):
                    wire.send(block)
                got.append(wire.answer())
        thread = threading.Thread(target=upload)
        thread.start()
        wait_for(lambda: upstream.count == 1, "connection to the upstream")
        most = before
        for i in range(20):
            time.sleep(0.05)  # not for luck: this is the time that the memory is watched
            most = max(most, memory_kb(server.process.pid))
            if i == 10:
                is_peaking.set()
        thread.join(12 * ANSWER_SECONDS)
        most = max(most, memory_kb(server.process.pid))
        want = hashlib.sha256(block * (total // 1_000_000)).hexdigest()
        assert got and got[0].body == want.encode()
        assert most - before < 30_000, f"{most - before} kB more"


@pytest.mark.parametrize("version", ["h1", "h2"])
def test_long_download_takes_no_memory(proxy, version, monkeypatch):
    monkeypatch.setenv("ASAN_OPTIONS", "quarantine_size_mb=1:" + os.environ.get("ASAN_OPTIONS", ""))
    block, count = os.urandom(1_000_000), 200 if version == "h1" else 30

    def serve(connection):
        connection.head()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(block) * count))
        for _ in range(count):
            connection.send(block)
    with Upstream(serve) as upstream:
        server = proxy(upstream.url, worker={"processes": 1})
        assert server.status()
        before = memory_kb(server.process.pid)
        if version == "h1":
            with Wire(server.address, 6 * ANSWER_SECONDS) as wire:
                wire.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                time.sleep(0.5)  # not for luck: the client is slow, and memory must not grow
                most = memory_kb(server.process.pid)
                digest = hashlib.sha256(wire.answer().body)
        else:
            with wire_of(server, version) as wire:
                wire.socket.settimeout(6 * ANSWER_SECONDS)
                digest = hashlib.sha256(wire.get("/").body)
                most = memory_kb(server.process.pid)
        assert digest.hexdigest() == hashlib.sha256(block * count).hexdigest()
        assert most - before < 30_000, f"{most - before} kB more"


@pytest.mark.parametrize("version", ["h1", "h2"])
def test_client_gone(proxy, version):
    """A client that breaks off ends the work behind it."""
    is_cut = threading.Event()

    def serve(connection):
        connection.head()
        try:
            while True:
                connection.fill()
        except (EOFError, ConnectionError):
            is_cut.set()
            raise
    with Upstream(serve) as upstream:
        server = proxy(upstream.url)
        with wire_of(server, version) as wire:
            if version == "h1":
                wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            else:
                stream = wire.h2.get_next_available_stream_id()
                wire.h2.send_headers(stream, [(":method", "GET"), (":scheme", "http"),
                                              (":authority", "a"), (":path", "/")], True)
                wire.socket.sendall(wire.h2.data_to_send())
            wait_for(lambda: upstream.heads, "request at the upstream")
            if version == "h2":
                wire.h2.reset_stream(stream)
                wire.socket.sendall(wire.h2.data_to_send())
                assert is_cut.wait(ANSWER_SECONDS)
        assert is_cut.wait(ANSWER_SECONDS)


def test_reload_keeps_connections(proxy):
    with Upstream(answering(ok(b"old\n"))) as old, Upstream(answering(ok(b"new\n"))) as new:
        server = proxy(old.url, worker={"processes": 1})
        assert server.get().body == b"old\n"
        assert server.reload().returncode == 0
        assert server.get().body == b"old\n"
        assert old.count == 1
        server.write(proxy_config(new.url, worker={"processes": 1}))
        assert server.reload().returncode == 0
        assert server.get().body == b"new\n"


# ---- upgrades ----

def accept_of(fields):
    key = field(fields, "Sec-WebSocket-Key")[0].encode()
    return base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()


SWITCH = "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: %s\r\nSec-WebSocket-Accept: %s\r\n\r\n"


@pytest.mark.parametrize("version", VERSIONS)
def test_upgrade(proxy, version):
    """Bytes go through as they are, and what the client sends early waits for the 101."""
    early = []

    def serve(connection):
        _, fields = connection.head()
        connection.socket.settimeout(0.3)
        try:
            connection.fill()
        except TimeoutError:
            pass
        early.append(connection.buffer)
        connection.socket.settimeout(2 * ANSWER_SECONDS)
        assert field(fields, "Connection") == ["upgrade"]
        assert field(fields, "Upgrade") == ["websocket"]
        assert field(fields, "Sec-WebSocket-Version") == ["13"]
        connection.send((SWITCH % ("websocket", accept_of(fields))).encode() + b"first")
        assert connection.take(5) == b"early"
        connection.send(b"second")
        with pytest.raises(EOFError):
            connection.fill()
        connection.send(b"third")
    with Upstream(serve) as upstream:
        server = proxy(upstream.url, protocols=["h1", "h2", "h3"])
        with RAW[version](server) as wire:
            assert wire.open("/", behind=b"early") == wire.opened
            if version == "h1":
                # Ours towards the client, for the client's key.
                assert wire.headers["Sec-WebSocket-Accept"] == accept_of([("Sec-WebSocket-Key", KEY)])
            assert wire.read(11) == b"firstsecond"
            wire.end()
            assert wire.read(5) == b"third"
        assert early == [b""]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("answer,want", [
    (SWITCH % ("websocket", "wrong"), 502),
    (SWITCH % ("h2c", "@"), 502),
    ("HTTP/1.1 101 x\r\n\r\n", 502),
    ("HTTP/1.1 403 no\r\nContent-Length: 2\r\n\r\nno", 403),
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", None)],
    ids=["accept", "protocol", "bare", "no", "ok"])
def test_upgrade_refused(proxy, version, answer, want):
    def serve(connection):
        _, fields = connection.head()
        connection.send(answer.replace("@", accept_of(fields)).encode())
        with pytest.raises((EOFError, ConnectionError)):
            connection.fill()
    with Upstream(serve) as upstream:
        server = proxy(upstream.url, protocols=["h1", "h2", "h3"])
        with RAW[version](server) as wire:
            status = wire.open("/", behind=b"early")
            if want:
                assert status == want
            else:
                # To an extended CONNECT any 2xx would be a yes.
                assert status == (200 if version == "h1" else 502)
        assert upstream.heads[-1][0] == "GET / HTTP/1.1"
    assert upstream.count == 1


@pytest.mark.parametrize("version", ["h2", "h3"])
def test_no_other_tunnel(proxy, version):
    """An extended CONNECT for what is no WebSocket never becomes a request of another kind."""
    with Upstream(answering(ok())) as upstream:
        server = proxy(upstream.url, protocols=["h1", "h2", "h3"])
        with RAW[version](server) as wire:
            assert wire.ask(connect_fields("https", "/", {}, "", "a.test", "connect-udp")) == 501
        assert upstream.count == 0


# ---- smuggling ----

SMUGGLING = [
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;\n\r\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET http://b/ HTTP/1.1\r\nHost: a\x00\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c: d\r\n\r\n",
]


@pytest.mark.parametrize("behind", ["node", "nginx", "gunicorn"])
def test_smuggling(real, behind):
    """A second request hidden in the first never reaches anyone: the answer is one 400, or none."""
    prefix = {"node": b"/node/", "nginx": b"/facts", "gunicorn": b"/gunicorn/"}[behind]
    for text in SMUGGLING:
        with Wire(real.address) as wire:
            wire.send_while_open(text.replace(b" / ", b" " + prefix + b" ") +
                                 b"GET " + prefix + b" HTTP/1.1\r\nHost: hidden\r\n\r\n")
            got, _ = wire.rest()
            assert b"hidden" not in got, text
            assert got.count(b"HTTP/1.1 ") <= 1, text
            assert b"HTTP/1.1 200" not in got, text


def test_length_of_h2(proxy):
    """DATA that is not what Content-Length said ends the stream and the upstream's connection."""
    is_cut = threading.Event()

    def serve(connection):
        _, fields = connection.head()
        try:
            connection.body(fields)
            connection.send(ok())
        except (EOFError, ConnectionError):
            is_cut.set()
            raise
    with Upstream(serve) as upstream:
        server = proxy(upstream.url)
        with wire_of(server, "h2") as wire:
            stream = wire.h2.get_next_available_stream_id()
            wire.h2.send_headers(stream, [(":method", "POST"), (":scheme", "http"),
                                          (":authority", "a"), (":path", "/"),
                                          ("content-length", "10")])
            wire.h2.send_data(stream, b"short")
            wire.socket.sendall(wire.h2.data_to_send())
            wait_for(lambda: upstream.heads, "request at the upstream")
            wire.h2.end_stream(stream)
            wire.socket.sendall(wire.h2.data_to_send())
            assert is_cut.wait(ANSWER_SECONDS)
