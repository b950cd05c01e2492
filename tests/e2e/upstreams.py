# SPDX-License-Identifier: Apache-2.0
"""Programs behind the proxy: other people's servers, and one that answers as a test tells it."""
import contextlib
import os
import pathlib
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading

from conftest import ANSWER_SECONDS, free_port, wait_for

HEAD_END = b"\r\n\r\n"


class Upstream:
    """Accepts connections and calls `serve(connection)` for each in a thread of its own; what that
    raises fails the test at the end, but for a connection that was closed."""

    def __init__(self, serve, path=None, tls=None):
        self.serve = serve
        self.tls = tls
        self.heads = []
        self.faults = []
        self.count = 0
        self.threads = []
        self.sockets = []
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            self.listener.listen(64)
            self.url = f"unix:{path}"
        else:
            self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
            self.url = "http%s://127.0.0.1:%d" % ("s" if tls else "",
                                                  self.listener.getsockname()[1])

    def __enter__(self):
        self.acceptor = threading.Thread(target=self.accept, daemon=True)
        self.acceptor.start()
        return self

    def __exit__(self, kind, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.acceptor.join(ANSWER_SECONDS)  # from here on no connection comes
        self.listener.close()
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(ANSWER_SECONDS)
        if kind is None:
            assert not self.faults, self.faults

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            self.sockets.append(sock)
            sock.settimeout(2 * ANSWER_SECONDS)
            thread = threading.Thread(target=self.run, args=(sock,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def run(self, sock):
        with sock:
            try:
                if self.tls:
                    sock = self.tls.wrap_socket(sock, server_side=True)
                    self.sockets.append(sock)
                with sock:
                    self.serve(UpstreamConnection(self, sock))
            except (ConnectionError, EOFError, ssl.SSLError):
                pass
            except Exception as e:  # pylint: disable=broad-except
                self.faults.append(repr(e))


class UpstreamConnection:
    def __init__(self, upstream, sock):
        self.upstream = upstream
        self.socket = sock
        self.buffer = b""

    def fill(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data

    def take_until(self, mark):
        while mark not in self.buffer:
            self.fill()
        got, _, self.buffer = self.buffer.partition(mark)
        return got

    def take(self, n):
        while len(self.buffer) < n:
            self.fill()
        got, self.buffer = self.buffer[:n], self.buffer[n:]
        return got

    def head(self):
        """The next request head: request line, and fields as a list of pairs."""
        lines = self.take_until(HEAD_END).decode("latin-1").split("\r\n")
        fields = [tuple(line.split(": ", 1)) for line in lines[1:]]
        self.upstream.heads.append((lines[0], fields))
        return lines[0], fields

    def body(self, fields):
        """The body of a request, by its framing, and its trailers."""
        known = {n.lower(): v for n, v in fields}
        if "content-length" in known:
            return self.take(int(known["content-length"])), []
        if known.get("transfer-encoding") != "chunked":
            return b"", []
        got = b""
        while True:
            n = int(self.take_until(b"\r\n").split(b";")[0], 16)
            if n == 0:
                break
            got += self.take(n)
            assert self.take(2) == b"\r\n"
        trailers = []
        while line := self.take_until(b"\r\n"):
            trailers.append(tuple(line.decode().split(": ", 1)))
        return got, trailers

    def send(self, data):
        self.socket.sendall(data)

    def reset(self):
        """Closes with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


class NameServer:
    """Answers questions for A by `names`, a dict of name to address or addresses, and for SRV by
    `services`, a dict of name to (priority, weight, port, target); nothing else exists. The TTL is
    one second, which clients may take for more."""

    def __init__(self, names, services=None):
        self.names = names
        self.services = services or {}
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]

    def __enter__(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.sendto(b"", self.socket.getsockname())
        self.thread.join(ANSWER_SECONDS)
        self.socket.close()

    def run(self):
        while True:
            packet, peer = self.socket.recvfrom(512)
            if not packet:
                return
            end, labels = 12, []
            while packet[end]:
                labels.append(packet[end + 1:end + 1 + packet[end]].decode())
                end += packet[end] + 1
            question, kind = packet[12:end + 5], packet[end + 1:end + 3]
            name = ".".join(labels).lower()
            self.asked.append(name)
            records = self.records(name, kind)
            exists = name in self.names or name in self.services
            self.socket.sendto(packet[:2] + (b"\x81\x80" if exists else b"\x81\x83") + b"\0\1" +
                               bytes([0, len(records)]) + b"\0\0\0\0" + question +
                               b"".join(records), peer)

    def records(self, name, kind):
        def record(data):
            return b"\xc0\x0c" + kind + b"\0\1\0\0\0\1" + len(data).to_bytes(2, "big") + data
        if kind == b"\0\1":
            addresses = self.names.get(name, [])
            addresses = [addresses] if isinstance(addresses, str) else addresses
            return [record(socket.inet_aton(address)) for address in addresses]
        if kind == b"\0\x21":
            return [record(struct.pack(">HHH", *numbers) +
                           b"".join(bytes([len(label)]) + label.encode()
                                    for label in target.split(".")) + b"\0")
                    for *numbers, target in self.services.get(name, [])]
        return []


def answering(*answers):
    """Gives one of `answers` to each request, the last one again and again."""
    def serve(connection):
        rest = list(answers)
        while True:
            _, fields = connection.head()
            connection.body(fields)
            connection.send(rest.pop(0) if len(rest) > 1 else rest[0])
    return serve


def ok(body=b"ok\n", *fields):
    lines = b"".join(f.encode("latin-1") + b"\r\n" for f in fields)
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), lines, body)


# ---- other people's ----

@contextlib.contextmanager
def running(command, port, **options):
    """A server that listens on `port` of the loopback address once it is ready."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, **options) as process:
        try:
            def is_ready():
                assert process.poll() is None, process.stderr.read().decode()
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    return True
                return False
            wait_for(is_ready, f"start of {command[0]}", 3 * ANSWER_SECONDS, 0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(ANSWER_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def nginx(home):
    """Files below home/www, and an upload that is answered with its length."""
    port = free_port()
    home = pathlib.Path(home)
    (home / "www").mkdir(parents=True)
    (home / "nginx.conf").write_text(f"""
daemon off; master_process off; pid {home}/pid; error_log stderr; worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off; client_max_body_size 0; client_body_temp_path {home}/body;
    proxy_temp_path {home}/p; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u;
    scgi_temp_path {home}/s;
    server {{
        listen 127.0.0.1:{port};
        root {home}/www;
        absolute_redirect off;
        location = /moved {{ return 301 /new; }}
        location = /facts {{ return 200 "$request_method $request_uri $http_host"; }}
    }}
}}
""")
    with running([shutil.which("nginx") or "/usr/sbin/nginx", "-p", str(home), "-c",
                  str(home / "nginx.conf"), "-e", "stderr"], port) as url:
        yield url, home / "www"


NODE = r"""
const http = require("http");
http.createServer((req, res) => {
    let n = 0;
    req.on("data", (d) => { n += d.length; });
    req.on("end", () => {
        const facts = JSON.stringify({method: req.method, url: req.url, headers: req.rawHeaders,
                                      bytes: n, trailers: req.trailers});
        if (req.url == "/trailers") {
            res.writeHead(200, {"Trailer": "X-Sum"});
            res.write("body");
            res.addTrailers({"X-Sum": "42"});
            res.end();
        } else {
            res.setHeader("Content-Type", "application/json");
            res.end(facts);
        }
    });
}).listen(+process.argv[1], "127.0.0.1");
"""


def node():
    port = free_port()
    return running(["node", "-e", NODE, str(port)], port)


GUNICORN = """
import json
def app(environ, start):
    body = environ["wsgi.input"].read()
    facts = {k: v for k, v in environ.items() if isinstance(v, str)}
    start("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"bytes": len(body), "environ": facts}).encode()]
"""


@contextlib.contextmanager
def gunicorn(home):
    port = free_port()
    home = pathlib.Path(home)
    home.mkdir(exist_ok=True)
    (home / "wsgi.py").write_text(GUNICORN)
    with running(["/usr/bin/python3", "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "--threads", "2",
                  "--log-level", "error", "--worker-tmp-dir", str(home), "wsgi:app"], port,
                 cwd=home, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}) as url:
        yield url


UVICORN = """
async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[0]})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event.get("text"),
                        "bytes": event.get("bytes")})
        return
    assert scope["type"] == "http"
    n, more = 0, True
    while more:
        event = await receive()
        n += len(event.get("body", b""))
        more = event.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(3):
        await send({"type": "http.response.body", "body": b"part ", "more_body": True})
    await send({"type": "http.response.body", "body": str(n).encode()})
"""


@contextlib.contextmanager
def uvicorn(home):
    port = free_port()
    home = pathlib.Path(home)
    home.mkdir(exist_ok=True)
    (home / "asgi.py").write_text(UVICORN)
    with running(["/usr/bin/python3", "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port),
                  "--log-level", "error", "--lifespan", "off", "asgi:app"], port, cwd=home,
                 env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}) as url:
        yield url


def memory_kb(pid):
    """Resident memory of a process and its children."""
    total = 0
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            text = status.read_text()
            parent = int(re.search(r"PPid:\s+(\d+)", text)[1])
            if parent == pid or int(status.parent.name) == pid:
                total += int(re.search(r"VmRSS:\s+(\d+)", text)[1])
    return total
