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
import time
import zlib

import pytest
import websockets

from conftest import ANSWER_SECONDS, Server, run_sws, wait_for
from test_http3 import spki_hash
from websocket_wire import (BINARY, CLOSE, CONTINUATION, FIN, KEY, PING, PONG, RAW, RSV1, TEXT,
                            connect_fields, frame)

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
MESSAGE_BYTES_MAX = 16 << 20
VERSIONS = ["h1", "h2", "h3"]
TLS = {"listen": ["127.0.0.1:0", "https://127.0.0.1:0"], "state": "@home/state"}

PAGE = b"""<!doctype html><title>echo</title><p id=said>nothing</p><img id=hold><script>
// The page counts as loaded, and is shown, when this picture has come or failed.
const other = "http://127.0.0.1:" + location.hash.slice(1);
document.getElementById("hold").src = other + "/hold";
const scheme = location.protocol == "https:" ? "wss://" : "ws://";
const socket = new WebSocket(scheme + location.host + "/echo/page" + location.search, ["chat.v1"]);
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
    server = Server({
        "server": {"max": {"body": "1MB"}, **TLS},
        "hosts": [{"domains": ["default", "localhost"], "root": "@home/www",
                   "https_redirect": False, "routes": [
                       {"path": "/echo/**", "backend": "echo"},
                       {"path": "/get", "methods": ["GET"], "backend": "echo"},
                       {"path": "/fixed", "respond": {"body": "fixed\n"}},
                       {"path": "/moved", "redirect": "/echo"},
                       {"path": "/friends", "backend": "echo",
                        "websocket": {"origins": ["https://friend.test"]}}]}]})
    (server.www / "index.html").write_bytes(PAGE)
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

def deflated(data):
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@contextlib.contextmanager
def raw(server, version, **options):
    with RAW[version](server) as wire:
        assert wire.open(**options) == wire.opened
        yield wire


def test_opening(server, version):
    with raw(server, version, headers={"Sec-WebSocket-Protocol": "b, a"}) as wire:
        accept = base64.b64encode(hashlib.sha1((KEY + GUID).encode()).digest()).decode()
        is_h1 = version == "h1"
        assert wire.headers["Sec-WebSocket-Accept"] == (accept if is_h1 else None)
        assert wire.headers["Upgrade"] == ("websocket" if is_h1 else None)
        assert wire.headers["Connection"] == ("Upgrade" if is_h1 else None)
        assert wire.headers["Sec-WebSocket-Protocol"] == "b"
        assert wire.headers["Sec-WebSocket-Extensions"] is None
        assert wire.headers["Content-Length"] is None


@pytest.mark.parametrize("options, status", [
    ({"version": "8"}, 426),
    ({"version": ""}, 426),
    ({"headers": {"Origin": "https://evil.test"}}, 403),
    ({"headers": {"Origin": "null"}}, 403),
    ({"headers": {"Origin": "https://a.test.evil.test"}}, 403),
    ({"target": "/friends", "headers": {"Origin": "https://a.friend.test"}}, 403),
    ({"headers": {"Origin": "null"}, "behind": frame(TEXT, b"early")}, 403),
])
def test_opening_refused(server, version, options, status):
    with RAW[version](server) as wire:
        if status == 426 and version != "h1":
            status = 400  # which needs no Upgrade field
        assert wire.open(**options) == status
        if "version" in options:
            assert wire.headers["Sec-WebSocket-Version"] == "13"
            assert wire.headers["Upgrade"] == ("websocket" if version == "h1" else None)


@pytest.mark.parametrize("options, status", [
    ({"key": ""}, 400),
    ({"key": "short"}, 400),
    ({"headers": {"Content-Length": "1"}, "behind": b"x"}, 400),
    ({"headers": {"Upgrade": "h2c"}}, 200),
    ({"headers": {"Connection": "keep-alive"}}, 200),
])
def test_upgrade_refused(server, options, status):
    with RAW["h1"](server) as wire:
        assert wire.open(**options) == status


def head_of(**changes):
    """An extended CONNECT with some of its fields changed; None takes one away."""
    fields = dict(connect_fields("https", "/echo", None, "13", "localhost"))
    fields.update({k.replace("__", ":").replace("_", "-"): v for k, v in changes.items()})
    return [(k, v) for k, v in fields.items() if v is not None]


CONNECTS = [
    ("a key is of no use", head_of(sec_websocket_key="!"), 200),
    ("no path", head_of(__path=None), None),
    ("no scheme", head_of(__scheme=None), None),
    ("no authority", head_of(__authority=None), None),
    ("no authority but a host", head_of(__authority=None, host="localhost"), None),
    ("not CONNECT", head_of(__method="GET"), None),
    ("a length", head_of(content_length="0"), None),
    ("a field of HTTP/1", head_of(upgrade="websocket"), None),
    ("another protocol", head_of(__protocol="connect-ip"), 501),
    ("two protocols", head_of(__protocol="websocket, other"), 501),
    ("an empty protocol", head_of(__protocol=""), None),
    ("no protocol", head_of(__protocol=None, __scheme=None, __path=None,
                            __authority="localhost:1"), 405),
    ("a route for GET", head_of(__path="/get"), 200),
    ("a fixed answer", head_of(__path="/fixed"), 405),
    ("a file", head_of(__path="/index.html"), 405),
    ("health", head_of(__path="/livez"), 405),
    ("a redirect", head_of(__path="/moved"), 308),
    ("another host", head_of(__authority="[::1"), None),
]


@pytest.mark.parametrize("version", ["h2", "h3"])
@pytest.mark.parametrize("fields, status", [row[1:] for row in CONNECTS],
                         ids=[row[0] for row in CONNECTS])
def test_extended_connect(server, version, fields, status):
    """None: the stream is reset, as any other malformed request, and counted."""
    def refused():
        return sum(n for name, n in server.metrics().items() if name.startswith("sws_bad_requests"))
    before = refused()
    with RAW[version](server) as wire:
        assert wire.ask(fields) == status
        if status is None:
            assert wire.reset == {"h2": 1, "h3": 0x10e}[version]
        elif status != 200:
            assert wire.read(1000) == b"" or wire.headers["content-length"] != "0"
        assert refused() == before + (status is None)


@pytest.mark.parametrize("options", [
    {"headers": {"Origin": "https://a.test"}},
    {"headers": {"Origin": "http://a.test:8080"}, "host": "a.test:8080"},
    {"target": "/friends", "headers": {"Origin": "https://friend.test"}},
])
def test_origins_that_may(server, version, options):
    with raw(server, version, **options) as wire:
        wire.send(frame(TEXT, b"hello"))
        assert wire.take() == (FIN | TEXT, b"hello")


def test_bytes_behind_the_head(server, version):
    """They wait until the answer is 101."""
    with raw(server, version, behind=frame(TEXT, b"early") + frame(PING, b"p")) as wire:
        assert wire.take() == (FIN | TEXT, b"early")
        assert wire.take() == (FIN | PONG, b"p")


def test_byte_by_byte(server, version):
    with raw(server, version) as wire:
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
def test_what_is_wrong(server, version, data, code):
    with raw(server, version) as wire:
        wire.send_while_open(data)
        assert wire.take_close() == code


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013,
                                  1014, 3000, 3999, 4000, 4999])
def test_close_codes_come_back(server, version, code):
    with raw(server, version) as wire:
        wire.send(frame(CLOSE, struct.pack(">H", code) + "grüße".encode()))
        assert wire.take_close() == code


def test_close_without_code(server, version):
    with raw(server, version) as wire:
        wire.send(frame(CLOSE))
        assert wire.take_close() is None


DEFLATE = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}


def test_compressed_by_hand(server, version):
    with raw(server, version, headers=DEFLATE) as wire:
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


def test_deflate_bomb(server, version):
    """A gigabyte in a megabyte ends at the limit of a message."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(1 << 20)
    bomb = b"".join(deflater.compress(zeros) for _ in range(1024)) + deflater.flush()
    with raw(server, version, headers=DEFLATE) as wire:
        wire.send_while_open(frame(BINARY, bomb, FIN | RSV1))
        assert wire.take_close() == 1009
    assert server.get("/").status == 200


def test_silent_end(server, version):
    """Who closes without a word is let go."""
    with raw(server, version) as wire:
        wire.send(frame(TEXT, b"hello"))
        assert wire.take() == (FIN | TEXT, b"hello")
        wire.end()
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
    context = ssl.create_default_context(cafile=str(server.root_pem))
    port = server.https_address[1]

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


BROWSER = {
    "h1": lambda port: ["--disable-quic"],
    "h2": lambda port: ["--disable-quic"],
    "h3": lambda port: [f"--origin-to-force-quic-on=localhost:{port}",
                        "--enable-features=EnableWebsocketsOverHttp3"],
}


def test_browser(server, version, tmp_path):
    """A page of ours opens a WebSocket to us, speaks, and shows what came back. Over HTTP/2 and 3
    it takes the connection of the page, as the log shows."""
    port = server.https_address[1]
    origin = server.url if version == "h1" else f"https://localhost:{port}"
    with holding_server() as holder:
        text = dump_page(server, f"{origin}/?{version}#{holder}", tmp_path, BROWSER[version](port))
    said = re.search(r"<p id=\"said\">(.*?)</p>", text)
    assert said, text
    assert said.group(1) == ("300 h\u00e9llo chat.v1 permessage-deflate; server_no_context_takeover;"
                             " client_no_context_takeover closed 1000 true")

    def opened():
        return [(x["protocol"], x["method"], x["status"])
                for x in map(json.loads, server.access_lines(1))
                if x.get("target") == f"/echo/page?{version}"]
    wire = RAW[version]
    assert wait_for(opened, "line in the log") == [(wire.protocol, wire.method, wire.opened)]


def dump_page(server, url, home, more):
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--host-resolver-rules=MAP localhost 127.0.0.1",
         f"--ignore-certificate-errors-spki-list={spki_hash(server)}", *more,
         f"--user-data-dir={home}", "--dump-dom", url],
        capture_output=True, text=True, timeout=90, check=False)
    return done.stdout or done.stderr


# ---- how much, and how fast ----

def test_many_bytes(server, version):
    message = os.urandom(1 << 20)
    with raw(server, version) as wire:
        sender = threading.Thread(target=lambda: [wire.send(frame(BINARY, message))
                                                  for _ in range(12)])
        if version == "h2":
            sender.run()  # it reads while it waits for the window
        else:
            sender.start()
        for _ in range(12):
            first, got = wire.take()
            while not first & FIN:
                first, more = wire.take()
                got += more
            assert got == message
        wire.send(frame(CLOSE, struct.pack(">H", 1000)))
        assert wire.take_close() == 1000
        if version != "h2":
            sender.join(ANSWER_SECONDS)


def test_end_behind_messages(server, version):
    """What came with the end is answered, though it is worth many turns and nothing is taken."""
    message = b"many bytes in few " * 400_000
    with raw(server, version, headers=DEFLATE) as wire:
        wire.is_silent = True
        wire.send(frame(BINARY, deflated(message), FIN | RSV1) +
                  frame(CLOSE, struct.pack(">H", 1000)))
        wire.end()
        wire.is_silent = False
        first, got = wire.take()
        while not first & FIN:
            first, more = wire.take()
            got += more
        assert zlib.decompressobj(-15).decompress(got + b"\0\0\xff\xff") == message
        assert wire.take_close() == 1000


def test_who_takes_nothing_is_cut_off(serve, version, monkeypatch):
    """And costs little memory until then."""
    monkeypatch.setenv("ASAN_OPTIONS", "quarantine_size_mb=1")
    server = serve({"server": {**TLS, "timeouts": {"write_idle": "1500ms"}}, **ECHO})
    limit = 'sws_limit_hits_total{limit="write_idle_timeout"}'
    with raw(server, version) as wire:
        wire.is_silent = True
        memory = server.metric("sws_memory_bytes")
        message = frame(BINARY, bytes(1 << 20))
        sender = threading.Thread(target=lambda: [wire.send_while_open(message)
                                                  for _ in range(64)])
        sender.start()
        wait_for(lambda: server.metric(limit) == 1, "end of the wait", 30)
        assert server.metric("sws_memory_bytes") < memory + 16_000_000
        if version == "h2":
            sender.join(ANSWER_SECONDS)  # it reads too
        while wire.read(1 << 20):
            pass
        assert version == "h1" or wire.reset == wire.cancelled
        sender.join(ANSWER_SECONDS)
    assert server.get("/").status == 200


# ---- trailers ----

@pytest.mark.parametrize("te, end", [
    ("TE: trailers\r\n", b"0\r\nx-sum: 12\r\nETag: t\r\n\r\n"), ("", b"0\r\n\r\n")])
def test_trailers_come_back_over_http1(server, te, end):
    with server.wire() as wire:
        wire.send(f"POST /echo HTTP/1.1\r\nHost: a\r\n{te}Transfer-Encoding: chunked\r\n"
                  "Connection: close\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 12\r\nETag: t\r\n\r\n"
                  .encode())
        got, _ = wire.rest()
    assert got.endswith(b"\r\n4\r\nbody\r\n" + end)


@pytest.mark.parametrize("version", ["h2", "h3"])
def test_trailers_come_back(server, version):
    fields = [(":method", "POST"), (":scheme", "https"), (":path", "/echo"),
              (":authority", "localhost")]
    sum_of = [("x-sum", "12"), ("etag", "t")]
    for more, wanted in (([("te", "trailers")], True), ([], False)):
        with RAW[version](server) as wire:
            assert ask_with_trailers(wire, [*fields, *more], b"body", sum_of) == 200
            assert wire.read(100) == b"body"
            got = wire.trailers if version == "h2" else wire.words.get("trailer")
            last = dict(sum_of) if version == "h2" else "etag: t"
            assert got == (last if wanted else None)


def ask_with_trailers(wire, fields, body, trailers):
    """Over HTTP/2 they follow the answer, whose head comes with the first byte of the body."""
    if wire.protocol == "HTTP/3":
        return wire.ask(fields, body, True, trailers)
    status = wire.ask(fields, body)
    wire.end(trailers)
    return status


@pytest.mark.parametrize("version", ["h2", "h3"])
@pytest.mark.parametrize("name", ["content-length", "host", "authorization", "content-type",
                                  "connection", ":path"])
def test_trailers_that_must_not_be(server, version, name):
    fields = [(":method", "POST"), (":scheme", "https"), (":path", "/echo"),
              (":authority", "localhost"), ("te", "trailers")]
    with RAW[version](server) as wire:
        assert ask_with_trailers(wire, fields, b"body", [(name, "5")]) in (200, None)
        while wire.read(100):
            pass
        if (version, name) == ("h3", "content-length"):
            assert wire.reset is None and "trailer" not in wire.words  # nghttp3 drops it
        else:
            assert wire.reset == {"h2": 1, "h3": 0x10e}[version]


def test_no_trailers_in_a_tunnel(server):
    with RAW["h2"](server) as wire:
        assert wire.open() == 200
        wire.end([("x-sum", "12")])
        assert wire.take() is None and wire.reset == 1
    with RAW["h3"](server) as wire:
        fields = connect_fields("https", "/echo", None, "13", "localhost")
        wire.ask(fields, b"", True, [("x-sum", "12")])
        assert wire.read(100) == b"" and "closed" in wire.words


# ---- what ends them ----

ECHO = {"hosts": [{"domains": ["default", "localhost"], "backend": "echo",
                   "https_redirect": False}]}


def test_client_breaks_off(serve, version):
    server = serve({"server": TLS, **ECHO})
    with RAW[version](server) as wire:
        wire.flags = ["-r"]
        assert wire.open() == wire.opened
        wire.send(frame(TEXT, b"hello"))
        assert wire.take() == (FIN | TEXT, b"hello")
        wire.break_off()
        line = json.loads(server.access_lines(1)[0])
    assert line["status"] == wire.opened and line["error"]


def test_drain_says_goodbye(serve, version):
    server = serve({"server": TLS, **ECHO})
    with raw(server, version) as wire, raw(server, version) as silent:
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


def test_upgrade_says_goodbye(serve, version):
    """The old edge sends its clients to the new one, in good order."""
    server = serve({"server": TLS, **ECHO})
    with raw(server, version) as wire:
        assert server.command("upgrade").returncode == 0
        first, payload = wire.take()
        assert first == FIN | CLOSE and payload[:2] == struct.pack(">H", 1001)
        wire.send(frame(CLOSE, struct.pack(">H", 1001)))
        assert wire.take() is None and wire.reset is None
    with raw(server, version) as wire:
        wire.send(frame(TEXT, b"hello again"))
        assert wire.take() == (FIN | TEXT, b"hello again")


def test_reload_keeps_them(serve, version):
    server = serve({"server": TLS, **ECHO})
    with raw(server, version) as wire:
        server.write({"server": TLS, "hosts": [
            {"domains": ["default", "localhost"], "https_redirect": False,
             "respond": {"body": "new\n"}}]})
        assert server.reload().returncode == 0
        assert server.get("/").body == b"new\n"
        wire.send(frame(TEXT, b"still here"))
        assert wire.take() == (FIN | TEXT, b"still here")


def test_silence_ends(serve, version):
    times = {"tunnel": "1s", "read_idle": "100ms"}
    server = serve({"server": {**TLS, "timeouts": times}, **ECHO})
    with raw(server, version) as wire:
        wire.send(frame(TEXT, b"hello"))
        assert wire.take() == (FIN | TEXT, b"hello")
        assert wire.take() is None
        assert wire.reset == (None if version == "h1" else wire.cancelled)
    assert server.metric('sws_limit_hits_total{limit="tunnel_idle_timeout"}') == 1
    assert server.metric('sws_limit_hits_total{limit="read_idle_timeout"}') == 0


def test_silence_below_the_limit_is_no_end(serve, version):
    """Neither the idle time of connections nor that of QUIC, which has no other, ends a tunnel."""
    server = serve({"server": {**TLS, "timeouts": {"idle": "4s", "tunnel": "1h"}}, **ECHO})
    with raw(server, version) as wire:
        time.sleep(7)
        wire.send(frame(TEXT, b"still here"))
        assert wire.take() == (FIN | TEXT, b"still here")


def test_access_log(serve, version):
    server = serve({"server": TLS, **ECHO})
    with raw(server, version) as wire:
        wire.send(frame(CLOSE))
        assert wire.take_close() is None
    line = json.loads(server.access_lines(1)[0])
    assert (line["status"], line["bytes"]) == (wire.opened, 2)
    assert (line["protocol"], line["method"]) == (wire.protocol, wire.method)


@pytest.mark.parametrize("backend, words", [
    ("ftp://127.0.0.1:1", "neither an address"), ("api", 'there is no backend "api"'),
    ("http://127.0.0.1:1/a", "ends with its port"), ("http://a b", "a name of letters"),
    ("http://a:0", "a port is a number"), ("unix:a", "begins with /")])
def test_other_backends_are_errors(tmp_path, backend, words):
    path = tmp_path / "sws.yaml"
    path.write_text(f"hosts:\n  - domains: a.test\n    backend: {backend}\n")
    done = run_sws("check", "-c", path)
    assert done.returncode == 2 and words in done.stderr and f"{path}:3" in done.stderr
