# SPDX-License-Identifier: Apache-2.0
"""The backend echo: requests, bodies, and WebSockets as other people's clients speak them."""
import asyncio
import base64
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading
import zlib

import pytest
import websockets

from conftest import ANSWER_SECONDS, Server, Wire, free_port, run_sws

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = base64.b64encode(b"sixteen bytes ..").decode()
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
FIN, RSV1 = 0x80, 0x40
MESSAGE_BYTES_MAX = 16 << 20

PAGE = b"""<!doctype html><title>echo</title><p id=said>nothing</p><img id=hold><script>
// The page counts as loaded, and is shown, when this picture has come or failed.
const other = "http://127.0.0.1:" + location.hash.slice(1);
document.getElementById("hold").src = other + "/hold";
const socket = new WebSocket("ws://" + location.host + "/echo", ["chat.v1"]);
const said = document.getElementById("said");
socket.onopen = () => socket.send("h\\u00e9llo ".repeat(50));
socket.onmessage = (e) => {
    said.textContent = e.data.length + " " + e.data.slice(0, 5) + " " + socket.protocol + " "
        + socket.extensions;
    socket.close(1000);
};
socket.onclose = (e) => {
    said.textContent += " closed " + e.code + " " + e.wasClean;
    fetch(other + "/done", {mode: "no-cors"});
};
</script>
"""


@pytest.fixture(scope="module")
def server():
    tls_port = free_port()
    server = Server({
        "server": {"max": {"body": "1MB"}, "tls": {}, "state": "@home/state",
                   "listen": ["127.0.0.1:0", f"https://127.0.0.1:{tls_port}"]},
        "hosts": [{"domains": ["default", "localhost"], "root": "@home/www",
                   "https_redirect": False, "routes": [
                       {"path": "/echo/**", "backend": "echo"},
                       {"path": "/friends", "backend": "echo",
                        "websocket": {"origins": ["https://friend.test"]}}]}]})
    (server.www / "index.html").write_bytes(PAGE)
    server.tls_port = tls_port
    server.start()
    yield server
    server.finish()


# ---- requests ----

def test_facts_as_text(server):
    answer = server.get("/echo/a?b=c", {"X-One": "1", "Cookie": "secret", "Authorization": "x"})
    lines = answer.body.decode().splitlines()
    assert answer.status == 200 and answer["Content-Type"].startswith("text/plain")
    assert lines[0] == "GET /echo/a?b=c HTTP/1.1"
    assert {"X-One: 1", "Cookie: (not shown)", "Authorization: (not shown)",
            "client: 127.0.0.1"} <= set(lines)
    assert b"secret" not in answer.body


def test_facts_as_json(server):
    answer = server.get("/echo", {"Accept": "application/json", "X-Odd": "a\"b\xff"})
    facts = json.loads(answer.body)
    assert answer["Content-Type"] == "application/json"
    assert (facts["method"], facts["target"], facts["version"]) == ("GET", "/echo", "HTTP/1.1")
    assert ["X-Odd", "a\"b\ufffd"] in facts["fields"]
    assert "tls" not in facts


def test_head_and_other_methods(server):
    assert server.get("/echo", method="HEAD").body == b""
    assert server.get("/echo", method="DELETE").body.startswith(b"DELETE /echo")


def test_body_comes_back(server):
    body = os.urandom(300_000)
    with server.wire() as wire:
        for _ in range(3):
            wire.send(b"PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Type: image/x\r\n"
                      b"Content-Length: %d\r\n\r\n" % len(body) + body)
            answer = wire.answer()
            assert (answer.status, answer.body) == (200, body)
            assert answer["Content-Type"] == "image/x"
            assert answer["Content-Length"] == str(len(body))


def test_chunked_body_comes_back_as_it_arrives(server):
    with server.wire() as wire:
        wire.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.send(b"5\r\nfirst\r\n")
        response = http.client.HTTPResponse(wire.socket)
        response.begin()
        assert response.read(5) == b"first"
        wire.send(b"6;x=y\r\nsecond\r\n0\r\nX-Trailer: dropped\r\n\r\n")
        assert response.read() == b"second"
        response.close()


def test_body_larger_than_all_buffers(server):
    """Nobody reads while 1 MB is sent: the server stops reading instead of keeping it."""
    body = os.urandom(1_000_000)
    head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    with server.wire() as wire:
        thread = threading.Thread(target=wire.send, args=(head + body,))
        thread.start()
        assert wire.answer().body == body
        thread.join(ANSWER_SECONDS)


def test_expect_continue(server):
    with server.wire() as wire:
        wire.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                  b"Content-Length: 5\r\n\r\n")
        assert wire.file.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert wire.file.readline() == b"\r\n"
        wire.send(b"hello")
        assert wire.answer().body == b"hello"
        assert wire.get("/echo/again").status == 200


def test_too_large(server):
    with server.wire() as wire:
        wire.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000001\r\n\r\n")
        assert wire.answer().status == 413
        assert wire.is_closed()
    with server.wire() as wire:  # one chunk that says it is too large
        wire.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                  b"1\r\na\r\n")
        response = http.client.HTTPResponse(wire.socket)
        response.begin()
        assert response.status == 200
        wire.send_while_open(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        for _ in range(40):
            wire.send_while_open(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()


# ---- a client that does everything by hand ----

def frame(opcode, payload=b"", first=FIN, mask=b"\x01\x02\x03\x04"):
    n = len(payload)
    head = bytes([first | opcode])
    if n < 126:
        head += bytes([0x80 | n])
    elif n < 65536:
        head += bytes([0xfe]) + struct.pack(">H", n)
    else:
        head += bytes([0xff]) + struct.pack(">Q", n)
    body = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return head + mask + body


def deflated(data):
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


class Raw(Wire):
    """A WebSocket on the wire."""

    def open(self, target="/echo", headers=None, behind=b"", key=KEY, version="13", host="a.test"):
        fields = {"Host": host, "Connection": "keep-alive, Upgrade", "Upgrade": "websocket",
                  "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": version, **(headers or {})}
        lines = [f"GET {target} HTTP/1.1"] + [f"{k}: {v}" for k, v in fields.items() if v]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + behind)
        status = int(self.file.readline().split()[1])
        self.headers = http.client.parse_headers(self.file)
        if status != 101:
            self.body = self.file.read(int(self.headers["Content-Length"]))
        return status

    def take(self):
        """(first byte, payload) of the next frame, or None at the end."""
        head = self.file.read(2)
        if len(head) < 2:
            return None
        assert not head[1] & 0x80, "a server does not mask"
        n = head[1]
        if n == 126:
            n = struct.unpack(">H", self.file.read(2))[0]
        elif n == 127:
            n = struct.unpack(">Q", self.file.read(8))[0]
        return head[0], self.file.read(n)

    def take_close(self):
        """The code of the close frame, behind which the connection ends."""
        while True:
            first, payload = self.take()
            if first == FIN | CLOSE:
                assert self.take() is None
                return struct.unpack(">H", payload[:2])[0] if payload else None


@contextlib.contextmanager
def raw(server, **options):
    with Raw(server.address) as wire:
        assert wire.open(**options) == 101
        yield wire


def test_opening(server):
    with raw(server, headers={"Sec-WebSocket-Protocol": "b, a"}) as wire:
        accept = base64.b64encode(hashlib.sha1((KEY + GUID).encode()).digest()).decode()
        assert wire.headers["Sec-WebSocket-Accept"] == accept
        assert wire.headers["Upgrade"] == "websocket"
        assert wire.headers["Connection"] == "Upgrade"
        assert wire.headers["Sec-WebSocket-Protocol"] == "b"
        assert wire.headers["Sec-WebSocket-Extensions"] is None
        assert wire.headers["Content-Length"] is None


@pytest.mark.parametrize("options, status", [
    ({"version": "8"}, 426),
    ({"version": ""}, 426),
    ({"key": ""}, 400),
    ({"key": "short"}, 400),
    ({"headers": {"Origin": "https://evil.test"}}, 403),
    ({"headers": {"Origin": "null"}}, 403),
    ({"headers": {"Origin": "https://a.test.evil.test"}}, 403),
    ({"target": "/friends", "headers": {"Origin": "https://a.friend.test"}}, 403),
    ({"headers": {"Content-Length": "1"}, "behind": b"x"}, 400),
    ({"headers": {"Upgrade": "h2c"}}, 200),
    ({"headers": {"Connection": "keep-alive"}}, 200),
])
def test_opening_refused(server, options, status):
    with Raw(server.address) as wire:
        assert wire.open(**options) == status
        if status == 426:
            assert wire.headers["Sec-WebSocket-Version"] == "13"
            assert wire.headers["Upgrade"] == "websocket"


@pytest.mark.parametrize("options", [
    {"headers": {"Origin": "https://a.test"}},
    {"headers": {"Origin": "http://a.test:8080"}, "host": "a.test:8080"},
    {"target": "/friends", "headers": {"Origin": "https://friend.test"}},
])
def test_origins_that_may(server, options):
    with raw(server, **options) as wire:
        wire.send(frame(TEXT, b"hello"))
        assert wire.take() == (FIN | TEXT, b"hello")


def test_bytes_behind_the_head(server):
    """They wait until the answer is 101."""
    with raw(server, behind=frame(TEXT, b"early") + frame(PING, b"p")) as wire:
        assert wire.take() == (FIN | TEXT, b"early")
        assert wire.take() == (FIN | PONG, b"p")


def test_byte_by_byte(server):
    with raw(server) as wire:
        data = (frame(TEXT, b"one", 0) + frame(PING, b"p") + frame(CONTINUATION, b"", 0) +
                frame(CONTINUATION, b"two") + frame(CLOSE, struct.pack(">H", 3000) + b"bye"))
        for i in range(len(data)):
            wire.send(data[i:i + 1])
        text, pongs, last = b"", 0, False
        while not last:
            first, payload = wire.take()
            if first & 15 == PONG:
                pongs += 1
                continue
            assert first & 15 == (CONTINUATION if text else TEXT)
            text += payload
            last = first & FIN
        assert (text, pongs) == (b"onetwo", 1)
        assert wire.take() == (FIN | CLOSE, struct.pack(">H", 3000))
        assert wire.take() is None


WRONG = [
    ("unmasked", b"\x81\x05hello", 1002),
    ("RSV1", frame(TEXT, b"a", FIN | RSV1), 1002),
    ("RSV2", frame(TEXT, b"a", FIN | 0x20), 1002),
    ("reserved opcode", frame(3, b""), 1002),
    ("reserved control opcode", frame(11, b""), 1002),
    ("fragmented ping", frame(PING, b"", 0), 1002),
    ("long ping", frame(PING, b"p" * 126), 1002),
    ("nothing to continue", frame(CONTINUATION, b"a"), 1002),
    ("message within a message", frame(TEXT, b"a", 0) + frame(TEXT, b"b"), 1002),
    ("half a close code", frame(CLOSE, b"\x03"), 1002),
    ("close code 1005", frame(CLOSE, b"\x03\xed"), 1002),
    ("close code 2999", frame(CLOSE, struct.pack(">H", 2999)), 1002),
    ("reason not UTF-8", frame(CLOSE, b"\x03\xe8\xff"), 1007),
    ("text not UTF-8", frame(TEXT, b"\xed\xa0\x80"), 1007),
    ("text not UTF-8 in an open frame", frame(TEXT, b"a" * 50 + b"\xff" + b"a" * 50)[:70], 1007),
    ("cut character", frame(TEXT, b"\xc3"), 1007),
    ("16 MB and a byte", b"\x82\xff" + struct.pack(">Q", MESSAGE_BYTES_MAX + 1), 1009),
    ("too many fragments", frame(TEXT, b"", 0) * 2 + frame(CONTINUATION, b"", 0) * 2, 1002),
    ("pings", frame(PING) * 1001, 1008),
]


@pytest.mark.parametrize("data, code", [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_wrong(server, data, code):
    with raw(server) as wire:
        wire.send_while_open(data)
        assert wire.take_close() == code


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013,
                                  1014, 3000, 3999, 4000, 4999])
def test_close_codes_come_back(server, code):
    with raw(server) as wire:
        wire.send(frame(CLOSE, struct.pack(">H", code) + "grüße".encode()))
        assert wire.take_close() == code


def test_close_without_code(server):
    with raw(server) as wire:
        wire.send(frame(CLOSE))
        assert wire.take_close() is None


DEFLATE = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}


def test_compressed_by_hand(server):
    with raw(server, headers=DEFLATE) as wire:
        said = wire.headers["Sec-WebSocket-Extensions"]
        assert said.startswith("permessage-deflate")
        for _ in range(3):
            wire.send(frame(TEXT, deflated(b"hello " * 100), FIN | RSV1))
            first, payload = wire.take()
            assert first == FIN | RSV1 | TEXT and len(payload) < 100
            inflater = zlib.decompressobj(-15)
            assert inflater.decompress(payload + b"\0\0\xff\xff") == b"hello " * 100
        wire.send(frame(BINARY, b"\xff\xff\xff", FIN | RSV1))
        assert wire.take_close() == 1007


def test_deflate_bomb(server):
    """A gigabyte in a megabyte ends at the limit of a message."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(1 << 20)
    bomb = b"".join(deflater.compress(zeros) for _ in range(1024)) + deflater.flush()
    with raw(server, headers=DEFLATE) as wire:
        wire.send_while_open(frame(BINARY, bomb, FIN | RSV1))
        assert wire.take_close() == 1009
    assert server.get("/").status == 200


def test_silent_end(server):
    """Who closes without a word is let go."""
    with raw(server) as wire:
        wire.send(frame(TEXT, b"hello"))
        assert wire.take() == (FIN | TEXT, b"hello")
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.take() is None


# ---- other people's clients ----

def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def url_of(server):
    return "ws://%s:%d/echo" % server.address


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_websockets(server, compression):
    async def talk():
        async with websockets.connect(url_of(server), compression=compression,
                                      max_size=None) as ws:
            assert bool(ws.extensions) == (compression is not None)
            large = os.urandom(1 << 20)
            for message in ("", "hello", b"\0\xff", "h\u00e9" * 70_000, large, b"",
                            "x" * MESSAGE_BYTES_MAX):
                await ws.send(message)
                assert await ws.recv() == message
            await (await ws.ping(b"ping"))

            async def parts():
                for i in range(100):
                    yield f"part {i} "
            await ws.send(parts())
            assert await ws.recv() == "".join([f"part {i} " for i in range(100)])
            # Many at once, none read: the server stops reading and goes on when it can send.
            sender = asyncio.ensure_future(send_many(ws, large))
            for i in range(40):
                assert await ws.recv() == f"{i}".encode() + large
            await sender
        assert (ws.close_code, ws.close_reason) == (1000, "")

    async def send_many(ws, large):
        for i in range(40):
            await ws.send(f"{i}".encode() + large)
    run(talk())


def test_too_large_for_websockets(server):
    async def talk():
        async with websockets.connect(url_of(server), compression=None, max_size=None) as ws:
            with pytest.raises(websockets.ConnectionClosed):
                await ws.send(b"x" * (MESSAGE_BYTES_MAX + 1))
                await ws.recv()
            assert ws.close_code == 1009
    run(talk())


def test_over_tls(server):
    context = ssl.create_default_context(cafile=str(server.home / "state/local/root.pem"))
    port = server.tls_port

    async def talk():
        async with websockets.connect(f"wss://localhost:{port}/echo", ssl=context, host="127.0.0.1",
                                      max_size=None) as ws:
            for message in ("hello", os.urandom(3_000_000)):
                await ws.send(message)
                assert await ws.recv() == message
    run(talk())
    plain = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
    with context.wrap_socket(plain, server_hostname="localhost") as s:
        s.sendall(b"GET /echo HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n"
                  b"Connection: close\r\n\r\n")
        response = http.client.HTTPResponse(s)
        response.begin()
        tls = json.loads(response.read())["tls"]
    assert tls["version"] == "1.3" and tls["server_name"] == "localhost"


@contextlib.contextmanager
def holding_server():
    """Answers /hold when it was asked for /done; its port."""
    done = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/hold":
                done.wait(30)
            else:
                done.set()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as holder:
        thread = threading.Thread(target=holder.serve_forever)
        thread.start()
        try:
            yield holder.server_address[1]
        finally:
            done.set()
            holder.shutdown()
            thread.join()


def test_browser(server, tmp_path):
    """A page of ours opens a WebSocket to us, speaks, and shows what came back."""
    with holding_server() as port:
        text = dump_page(f"{server.url}/#{port}", tmp_path)
    said = re.search(r"<p id=\"said\">(.*?)</p>", text)
    assert said, text
    assert said.group(1) == ("300 h\u00e9llo chat.v1 permessage-deflate; server_no_context_takeover;"
                             " client_no_context_takeover closed 1000 true")


def dump_page(url, home):
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", f"--user-data-dir={home}", "--dump-dom", url],
        capture_output=True, text=True, timeout=60, check=False)
    return done.stdout or done.stderr


# ---- what ends them ----

ECHO = {"hosts": [{"domains": "default", "backend": "echo"}]}


def test_drain_says_goodbye(serve):
    server = serve(ECHO)
    with raw(server) as wire, raw(server) as silent:
        wire.send(frame(TEXT, b"hello"))
        assert wire.take() == (FIN | TEXT, b"hello")
        server.process.send_signal(signal.SIGTERM)
        for w in (wire, silent):
            first, payload = w.take()
            assert first == FIN | CLOSE and payload[:2] == struct.pack(">H", 1001)
        wire.send(frame(CLOSE, struct.pack(">H", 1001)))
        assert wire.take() is None
        # Who says nothing is cut off at the end of the drain at the latest.
        assert silent.take() is None
    assert server.process.wait(ANSWER_SECONDS) == 0


def test_reload_keeps_them(serve):
    server = serve(ECHO)
    with raw(server) as wire:
        server.write({"hosts": [{"domains": "default", "respond": {"body": "new\n"}}]})
        assert server.reload().returncode == 0
        assert server.get("/").body == b"new\n"
        wire.send(frame(TEXT, b"still here"))
        assert wire.take() == (FIN | TEXT, b"still here")


def test_silence_ends(serve):
    server = serve({"server": {"timeouts": {"tunnel": "1s", "read_idle": "100ms"}}, **ECHO})
    with raw(server) as wire:
        wire.send(frame(TEXT, b"hello"))
        assert wire.take() == (FIN | TEXT, b"hello")
        assert wire.take() is None
    assert server.metric('sws_limit_hits_total{limit="tunnel_idle_timeout"}') == 1
    assert server.metric('sws_limit_hits_total{limit="read_idle_timeout"}') == 0


def test_access_log(serve):
    server = serve(ECHO)
    with raw(server) as wire:
        wire.send(frame(CLOSE))
        assert wire.take_close() is None
    line = json.loads(server.access_lines(1)[0])
    assert line["status"] == 101 and line["bytes"] == 2


@pytest.mark.parametrize("backend, words", [
    ("http://127.0.0.1:1", "not served yet"), ("api", "no backend of this name")])
def test_other_backends_are_errors(tmp_path, backend, words):
    path = tmp_path / "sws.yaml"
    path.write_text(f"hosts:\n  - domains: a.test\n    backend: {backend}\n")
    done = run_sws("check", "-c", path)
    assert done.returncode == 2 and words in done.stderr and f"{path}:3" in done.stderr
