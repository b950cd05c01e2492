# SPDX-License-Identifier: Apache-2.0
"""Connections that are passed on as they are: by a listener of their own, and by the name in TLS."""
import contextlib
import hashlib
import json
import os
import resource
import socket
import ssl
import threading
import time

import pytest

from conftest import ANSWER_SECONDS, Server, free_port, wait_for
from test_balance import endpoint
from test_tls import make_certificate
from upstreams import Upstream, answering, ok
from versions import versions_config


@pytest.fixture
def serve():
    servers = []

    def start(*streams, hosts=None, backends=None, **server):
        settings = versions_config(hosts or [{"domains": "default", "respond": {"body": "web"}}],
                                   **{"worker": {"processes": 1}, **server})
        settings["streams"] = list(streams)
        if backends:
            settings["backends"] = backends
        servers.append(Server(settings))
        return servers[-1].start()
    yield start
    for server in servers:
        server.finish()


def stream_address(server, n=0):
    found = [a for a in server.status()["listen"] if a.startswith("tcp://")]
    host, _, port = found[n][6:].rpartition(":")
    return host, int(port)


def connect(server, n=0):
    return socket.create_connection(stream_address(server, n), ANSWER_SECONDS)


def tcp(upstream):
    return upstream.url.replace("http://", "tcp://")


def echoing(connection):
    while True:
        connection.fill()
        connection.send(connection.buffer)
        connection.buffer = b""


def everything(sock):
    got = b""
    while data := sock.recv(65536):
        got += data
    return got


def saying(text):
    def run(connection):
        connection.send(text)
        with contextlib.suppress(EOFError):
            connection.fill()
    return run


# ---- bytes ----

def test_either_side_begins(serve):
    with Upstream(saying(b"220 hello\r\n")) as greeter, Upstream(echoing) as echo:
        server = serve({"listen": ["127.0.0.1:0"], "backend": tcp(greeter)},
                       {"listen": ["127.0.0.1:0"], "backend": tcp(echo)})
        with connect(server) as sock:
            assert sock.recv(100) == b"220 hello\r\n"
        with connect(server, 1) as sock:
            for text in (b"one", b"\0\xff\r\n\r\n", b"x" * 5000):
                sock.sendall(text)
                got = b""
                while len(got) < len(text):
                    got += sock.recv(65536)
                assert got == text
        assert server.get().body == b"web"


def test_half_close(serve):
    """Each side says for itself that it is done."""
    def answer(connection):
        got = b""
        with contextlib.suppress(EOFError):
            while True:
                connection.fill()
                got, connection.buffer = got + connection.buffer, b""
        connection.send(b"%d bytes" % len(got))
    with Upstream(answer) as upstream:
        server = serve({"listen": "127.0.0.1:0", "backend": tcp(upstream)})
        with connect(server) as sock:
            sock.sendall(b"x" * 100000)
            sock.shutdown(socket.SHUT_WR)
            assert everything(sock) == b"100000 bytes"
        line = json.loads(server.access_lines(1)[0])
        assert (line["protocol"], line["bytes"], line["client"]) == ("TCP", 12, "127.0.0.1")
        assert line["target"] == tcp(upstream) and line["host"] == "127.0.0.1:0"


def test_upstream_ends_first(serve):
    def rest(connection):
        connection.send(b"bye")
        connection.socket.shutdown(socket.SHUT_WR)
        with contextlib.suppress(EOFError):
            while True:
                connection.fill()
        assert connection.buffer == b"late"
    with Upstream(rest) as upstream:
        server = serve({"listen": "127.0.0.1:0", "backend": tcp(upstream)})
        with connect(server) as sock:
            assert everything(sock) == b"bye"
            sock.sendall(b"late")
            sock.shutdown(socket.SHUT_WR)
            wait_for(lambda: endpoint(server, tcp(upstream))["in_flight"] == 0, "end")


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_resets_are_passed_on(serve, who):
    seen = []

    def one(connection):
        connection.take(1)
        if who == "upstream":
            connection.reset()
            return
        try:
            connection.fill()
        except ConnectionResetError:
            seen.append("reset")
    with Upstream(one) as upstream:
        server = serve({"listen": "127.0.0.1:0", "backend": tcp(upstream)})
        with connect(server) as sock:
            sock.sendall(b"x")
            if who == "upstream":
                with pytest.raises(ConnectionResetError):
                    everything(sock)
            else:
                wait_for(lambda: endpoint(server, tcp(upstream))["in_flight"] == 1, "relay")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                sock.close()
                wait_for(lambda: seen, "reset at the upstream")


def test_slow_sides_and_much(serve):
    """Both ways at once, with readers that pause: nothing is lost, and memory stays."""
    size = 20_000_000
    block = bytes(range(256)) * 256

    def both(connection):
        def read():
            digest, n = hashlib.sha1(), 0
            while n < size:
                data = connection.socket.recv(65536)
                digest.update(data)
                n += len(data)
                if n % 7 == 0:
                    time.sleep(0.001)
            sums.append(digest.hexdigest())
        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(0, size, len(block)):
            connection.send(block)
        reader.join()
    sums = []
    total = -(-size // len(block)) * len(block)
    size = total
    with Upstream(both) as upstream:
        server = serve({"listen": "127.0.0.1:0", "backend": tcp(upstream)})
        with connect(server) as sock:
            writer = threading.Thread(target=lambda: [sock.sendall(block)
                                                      for _ in range(0, size, len(block))])
            writer.start()
            digest, n = hashlib.sha1(), 0
            while n < size:
                data = sock.recv(100_000)
                digest.update(data)
                n += len(data)
            writer.join()
        wait_for(lambda: sums, "sum of the upstream")
        whole = hashlib.sha1(block * (size // len(block))).hexdigest()
        assert sums == [whole] and digest.hexdigest() == whole


def test_idle_time(serve):
    with Upstream(echoing) as upstream:
        server = serve({"listen": "127.0.0.1:0",
                        "backend": {"proxy": tcp(upstream), "timeout": {"stream": "300ms"}}})
        with pytest.raises(ConnectionResetError), connect(server) as sock:
            everything(sock)


# ---- endpoints ----

def test_another_endpoint(serve):
    """Nothing is spent before there is a connection, so whoever answers serves."""
    with Upstream(echoing) as upstream:
        gone = f"tcp://127.0.0.1:{free_port()}"
        server = serve({"listen": "127.0.0.1:0",
                        "backend": {"proxy": [gone, tcp(upstream)], "balance": "rr"}})
        for _ in range(20):
            with connect(server) as sock:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
        assert endpoint(server, gone)["state"] == "ejected"


def test_connections_that_last_leave_room_for_retries(serve):
    """One that was tried again is no retry any more once it is there."""
    with Upstream(echoing) as upstream, contextlib.ExitStack() as ends:
        gone = f"tcp://127.0.0.1:{free_port()}"
        server = serve({"listen": "127.0.0.1:0",
                        "backend": {"proxy": [gone, tcp(upstream)], "balance": "first",
                                    "outlier": "off"}})
        for _ in range(12):
            sock = ends.enter_context(connect(server))
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"


def test_no_retry_waits_for_ever(serve):
    """The second endpoint takes no connection, so the tries there use the budget up; whoever finds
    none left is told."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, \
            contextlib.ExitStack() as ends:
        for _ in range(4):
            sock = ends.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        gone = f"tcp://127.0.0.1:{free_port()}"
        silent = "tcp://127.0.0.1:%d" % full.getsockname()[1]
        server = serve({"listen": "127.0.0.1:0",
                        "backend": {"proxy": [gone, silent], "balance": "first", "outlier": "off",
                                    "timeout": {"connect": "60s"}}})
        for _ in range(3):
            ends.enter_context(connect(server))
        wait_for(lambda: endpoint(server, silent)["in_flight"] == 3, "tries that last")
        with pytest.raises(ConnectionResetError), connect(server) as sock:
            everything(sock)


def test_another_address_of_a_name(serve):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        server = serve({"listen": "127.0.0.1:0", "backend": f"tcp://localhost:{port}"})
        with connect(server) as sock:
            listener.settimeout(ANSWER_SECONDS)
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"six")
                assert sock.recv(10) == b"six"


def test_nobody_there(serve):
    server = serve({"listen": "127.0.0.1:0", "backend": f"tcp://127.0.0.1:{free_port()}"})
    with pytest.raises(ConnectionResetError), connect(server) as sock:
        everything(sock)
    line = json.loads(server.access_lines(1)[0])
    assert line["error"] == "upstream: no connection"


def test_unix_names_and_named(serve, tmp_path):
    with Upstream(saying(b"unix"), path=str(tmp_path / "s")) as a, Upstream(saying(b"name")) as b:
        server = serve({"listen": "127.0.0.1:0", "backend": a.url},
                       {"listen": "127.0.0.1:0",
                        "backend": tcp(b).replace("127.0.0.1", "localhost")},
                       {"listen": "127.0.0.1:0", "backend": "db"},
                       backends={"db": {"proxy": [tcp(b)], "balance": "least"}})
        for n, text in enumerate((b"unix", b"name", b"name")):
            with connect(server, n) as sock:
                assert sock.recv(10) == text
        assert any(e["backend"] == "db" for e in server.status()["endpoints"])


def test_limit(serve):
    with Upstream(echoing) as upstream:
        server = serve({"listen": "127.0.0.1:0",
                        "backend": {"proxy": tcp(upstream), "breaker": {"inflight": 1}}})
        with connect(server) as first:
            first.sendall(b"x")
            assert first.recv(1) == b"x"
            with pytest.raises(ConnectionResetError), connect(server) as second:
                everything(second)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_proxy_protocol_out(serve, version):
    heads = []

    def take(connection):
        if version == "v1":
            heads.append(connection.take_until(b"\r\n"))
        else:
            heads.append(connection.take(28))
        connection.send(b"got " + connection.take(4))
        with contextlib.suppress(EOFError):
            connection.fill()
    with Upstream(take) as upstream:
        server = serve({"listen": "127.0.0.1:0",
                        "backend": {"proxy": tcp(upstream), "proxy_protocol": version}},
                       trusted_proxies=["127.0.0.0/8"])
        with connect(server) as sock:
            sock.sendall(b"data")
            assert sock.recv(100) == b"got data"
            ports = b"%d %d" % (sock.getsockname()[1], sock.getpeername()[1])
        if version == "v1":
            assert heads[0] == b"PROXY TCP4 127.0.0.1 127.0.0.1 " + ports
        else:
            assert heads[0][:16] == b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
        # And what a trusted proxy says is said again.
        with connect(server) as sock:
            sock.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\ndata")
            assert sock.recv(100) == b"got data"
        assert b"192.0.2.7" in heads[1] or socket.inet_aton("192.0.2.7") in heads[1]


# ---- while it runs ----

def test_reload_keeps_connections(serve):
    with Upstream(echoing) as upstream, Upstream(saying(b"new")) as other:
        server = serve({"listen": f"127.0.0.1:{free_port()}", "backend": tcp(upstream)})
        address = stream_address(server)
        with connect(server) as sock:
            sock.sendall(b"a")
            assert sock.recv(1) == b"a"
            settings = server.config
            settings["streams"] = [{"listen": "%s:%d" % address, "backend": tcp(other)}]
            server.write(settings)
            assert server.reload().returncode == 0
            sock.sendall(b"b")
            assert sock.recv(1) == b"b"
            with connect(server) as second:
                assert second.recv(3) == b"new"
            settings["streams"] = []
            server.write(settings)
            assert server.reload().returncode == 0
            sock.sendall(b"c")
            assert sock.recv(1) == b"c"

        def is_closed():  # the supervisor gives the socket up behind the answer
            try:
                socket.create_connection(address, 1).close()
            except ConnectionRefusedError:
                return True
            return False
        wait_for(is_closed, "end of the listener")


# ---- by the name in TLS ----

@contextlib.contextmanager
def tls_upstream(tmp_path, name):
    make_certificate(tmp_path, name, f"{name}.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")

    def serve_one(connection):
        connection.head()
        connection.send(ok(name.encode()))
    with Upstream(serve_one, tls=context) as upstream:
        yield upstream


def https_get(server, name, ca, tls13=True, size=0):
    context = ssl.create_default_context(cafile=ca)
    if not tls13:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if size:
        context.set_alpn_protocols(["x" * 200 + str(i) for i in range(size)] + ["http/1.1"])
    with socket.create_connection(server.https_address, ANSWER_SECONDS) as sock, \
            context.wrap_socket(sock, server_hostname=name) as tls:
        tls.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % name.encode())
        return everything(tls)


def test_names(serve, tmp_path):
    with tls_upstream(tmp_path, "db") as db, tls_upstream(tmp_path, "mail") as mail:
        server = serve(hosts=[
            {"domains": ["db.test", "*.db.test"], "backend": db.url.replace("https", "tcp")},
            {"domains": "mail.test", "backend": {"proxy": mail.url.replace("https", "tcp")}},
            {"domains": ["web.test", "localhost"], "respond": {"body": "web"}}])
        for tls13 in (True, False):
            assert https_get(server, "db.test", tmp_path / "db.pem", tls13).endswith(b"db")
            assert https_get(server, "mail.test", tmp_path / "mail.pem", tls13).endswith(b"mail")
            assert https_get(server, "web.test", server.root_pem, tls13).endswith(b"web")
        # A ClientHello of several records, and one that comes byte by byte.
        assert https_get(server, "db.test", tmp_path / "db.pem", size=60).endswith(b"db")
        # Who asks the web server for the name hears that it is elsewhere.
        context = ssl.create_default_context(cafile=server.root_pem)
        with socket.create_connection(server.https_address, ANSWER_SECONDS) as sock, \
                context.wrap_socket(sock, server_hostname="web.test") as tls:
            tls.sendall(b"GET / HTTP/1.1\r\nHost: db.test\r\n\r\n")
            assert tls.recv(100).startswith(b"HTTP/1.1 421 ")
        with server.wire() as wire:
            assert wire.get(host="db.test").status == 421


def test_hello_in_pieces(serve, tmp_path):
    with tls_upstream(tmp_path, "db") as db:
        server = serve(hosts=[{"domains": "db.test", "backend": db.url.replace("https", "tcp")},
                              {"domains": "localhost", "respond": {"body": "web"}}])
        context = ssl.create_default_context(cafile=tmp_path / "db.pem")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="db.test")
        with socket.create_connection(server.https_address, ANSWER_SECONDS) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            for byte in outgoing.read():
                sock.sendall(bytes([byte]))
            done = False
            while not done:
                incoming.write(sock.recv(65536))
                try:
                    tls.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    pass
                sock.sendall(outgoing.read())
            assert tls.getpeercert()["subject"][0][0][1] == "db"


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"\x16\x03\x01\0\0",
                                  b"\x16\x03\x01\xff\xff", b"\x15\x03\x01\0\2\2\0", b"",
                                  b"\x16\x03\x01\0\4\1\xff\xff\xff" + b"\x16\x03\x01\1\0" * 100])
def test_what_is_no_hello(serve, tmp_path, data):
    with tls_upstream(tmp_path, "db") as db:
        server = serve(hosts=[{"domains": "db.test", "backend": db.url.replace("https", "tcp")},
                              {"domains": "localhost", "respond": {"body": "web"}}])
        with socket.create_connection(server.https_address, ANSWER_SECONDS) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                everything(sock)
        assert db.count == 0
        assert https_get(server, "db.test", tmp_path / "db.pem").endswith(b"db")


# ---- datagrams ----

class Datagrams:
    """Answers each datagram by `answer(bytes)`, a list; None: not at all."""

    def __init__(self, answer):
        self.answer = answer
        self.peers = set()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.url = "udp://127.0.0.1:%d" % self.socket.getsockname()[1]

    def __enter__(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"stop", self.socket.getsockname())
        self.thread.join(ANSWER_SECONDS)
        self.socket.close()

    def run(self):
        while True:
            data, peer = self.socket.recvfrom(65536)
            if data == b"stop":
                return
            self.peers.add(peer)
            for answer in self.answer(data):
                self.socket.sendto(answer, peer)


def udp_client(server, n=0):
    found = [a for a in server.status()["listen"] if a.startswith("udp://")]
    host, _, port = found[n][6:].rpartition(":")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(ANSWER_SECONDS)
    sock.connect((host, int(port)))
    return sock


def test_datagrams(serve):
    with Datagrams(lambda d: [d, d[::-1]]) as upstream:
        server = serve({"listen": "127.0.0.1:0", "backend": upstream.url})
        with contextlib.ExitStack() as ends:
            clients = [ends.enter_context(udp_client(server)) for _ in range(20)]
            for i, client in enumerate(clients):
                client.send(b"a%d" % i)
            for i, client in enumerate(clients):
                assert client.recv(100) == b"a%d" % i
                assert client.recv(100) == (b"a%d" % i)[::-1]
            big = bytes(range(256)) * 200
            for client in clients[:2]:
                client.send(big)
                assert client.recv(65536) == big
                client.recv(65536)
        assert len(upstream.peers) == 20  # each client is one to the upstream as well
        assert endpoint(server, upstream.url)["in_flight"] == 20
        assert server.get().body == b"web"


def test_datagram_clients_end(serve):
    with Datagrams(lambda d: [d]) as upstream:
        server = serve({"listen": "127.0.0.1:0",
                        "backend": {"proxy": upstream.url, "timeout": {"idle": "300ms"}}})
        with udp_client(server) as client:
            client.send(b"x")
            assert client.recv(10) == b"x"
            wait_for(lambda: endpoint(server, upstream.url)["in_flight"] == 0, "end of the client")
            client.send(b"y")
            assert client.recv(10) == b"y"
        assert len(upstream.peers) == 2
        line = json.loads(server.access_lines(1)[0])
        assert (line["protocol"], line["bytes"]) == ("UDP", 1)


def test_nobody_takes_datagrams(serve):
    """The next datagram of the client goes to another endpoint."""
    with Datagrams(lambda d: [d]) as upstream:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            gone = "udp://127.0.0.1:%d" % taken.getsockname()[1]
        server = serve({"listen": "127.0.0.1:0",
                        "backend": {"proxy": [gone, upstream.url], "balance": "rr"}})
        with udp_client(server) as client:
            client.settimeout(0.2)

            def answered():
                client.send(b"x")
                with contextlib.suppress(TimeoutError):
                    return client.recv(10) == b"x"
            wait_for(answered, "answer")
            wait_for(lambda: endpoint(server, gone)["failures"] >= 1 or answered(), "failure")


@contextlib.contextmanager
def descriptors_left(pid, count):
    seen = [set()] * 5

    def is_settled():  # what served the last command may still be open
        seen.append({int(n) for n in os.listdir(f"/proc/{pid}/fd")})
        return all(one == seen[-1] for one in seen[-5:])
    wait_for(is_settled, "the end of other work")
    used = seen[-1]
    free = [n for n in range(len(used) + count + 1) if n not in used]
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[count], before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def test_no_descriptors_left(serve):
    """That is no fault of an endpoint, so none is counted against it."""
    with Upstream(echoing) as bytes_there, Datagrams(lambda d: [d]) as there, \
            Upstream(answering(ok(b"good"))) as web:
        server = serve({"listen": "127.0.0.1:0", "backend": tcp(bytes_there)},
                       {"listen": "127.0.0.1:0", "backend": there.url},
                       hosts=[{"domains": "default", "backend": web.url},
                              {"domains": "b.test", "respond": {"body": "here"}}])
        address = stream_address(server)
        pid = server.status()["pid"]
        with udp_client(server) as client, server.wire() as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n")
            assert wire.answer().body == b"here"  # so it was accepted
            client.settimeout(0.5)
            with descriptors_left(pid, 0):
                assert wire.get().status == 503
                client.send(b"x")
                with pytest.raises(TimeoutError):
                    client.recv(10)
            with descriptors_left(pid, 1), pytest.raises(ConnectionResetError), \
                    socket.create_connection(address, ANSWER_SECONDS) as sock:
                everything(sock)
            client.settimeout(ANSWER_SECONDS)
            client.send(b"y")
            assert client.recv(10) == b"y"
            assert wire.get().body == b"good"
        for url in (tcp(bytes_there), there.url, web.url):
            assert endpoint(server, url)["failures"] == 0


def test_datagrams_by_name_and_over_a_reload(serve):
    with Datagrams(lambda d: [b"1"]) as one, Datagrams(lambda d: [b"2"]) as two:
        server = serve({"listen": "127.0.0.1:0", "backend": one.url.replace("127.0.0.1", "localhost")})
        with udp_client(server) as client, udp_client(server) as other:
            client.send(b"x")
            assert client.recv(10) == b"1"
            settings = server.config
            settings["streams"][0]["backend"] = two.url
            server.write(settings)
            assert server.reload().returncode == 0
            client.send(b"x")
            assert client.recv(10) == b"1"  # it stays where it was
            other.send(b"x")
            assert other.recv(10) == b"2"
            settings["streams"] = []
            server.write(settings)
            assert server.reload().returncode == 0
            client.settimeout(0.1)

            def is_closed():
                try:
                    client.send(b"x")
                    client.recv(10)
                except TimeoutError:
                    return False
                except ConnectionRefusedError:
                    return True
                return False
            wait_for(is_closed, "end of the listener")


@pytest.mark.parametrize("part,sentence", [
    ({"streams": [{"listen": "127.0.0.1:0", "backend": ["tcp://a:1", "udp://a:1"]}]}, "datagrams"),
    ({"streams": [{"listen": "unix:/a", "backend": "udp://a:1"}]}, "to a port"),
    ({"server": {"listen": ["https://127.0.0.1:7443"]},
      "streams": [{"listen": "127.0.0.1:7443", "backend": "udp://a:1"}]}, "HTTP/3 takes"),
    ({"hosts": [{"domains": "a.test", "backend": "udp://a:1"}]}, "stands in streams"),
    ({"streams": [{"listen": "127.0.0.1:0", "backend": "http://127.0.0.1:1"}]}, "passes bytes on"),
    ({"streams": [{"listen": "https://127.0.0.1:0", "backend": "tcp://127.0.0.1:1"}]},
     "only bytes"),
    ({"streams": [{"listen": "127.0.0.1:0", "backend": "tcp://127.0.0.1"}]}, "no usual port"),
    ({"streams": [{"listen": "127.0.0.1:7", "backend": "tcp://127.0.0.1:1"}] * 2}, "twice"),
    ({"streams": [{"listen": "127.0.0.1:0", "backend": ["tcp://a:1", "http://a:1"]}]},
     "either requests"),
    ({"hosts": [{"domains": "a.test", "routes": [{"path": "/x", "backend": "tcp://a:1"}]}]},
     "stands on a host"),
    ({"hosts": [{"domains": "a.test", "backend": "tcp://a:1",
                 "routes": [{"path": "/x", "respond": {"body": "x"}}]}]}, "no routes")])
def test_wrong_settings(part, sentence):
    server = Server({**versions_config([{"domains": "default", "respond": {"body": "x"}}]), **part})
    answer = server.command("check")
    assert answer.returncode != 0 and sentence in answer.stderr
