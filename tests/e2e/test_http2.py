# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 without encryption (h2c), asked by curl, nghttp, h2load and python3-h2."""
import collections
import hashlib
import json
import os
import re
import socket
import subprocess
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import pytest

from conftest import ANSWER_SECONDS, Server, wait_for

BIG = os.urandom(3_000_000)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture(scope="module")
def server():
    server = Server({
        "server": {"protocols": ["h1", "h2c"], "worker": {"processes": 1},
                   "max": {"body": "1MB", "streams": 50},
                   "timeouts": {"write_idle": "1500ms", "header": "1500ms"}},
        "hosts": [{"domains": "default", "root": "@home/www", "routes": [
            {"path": "/fixed", "respond": {"body": "fixed\n"}}]}]})
    (server.www / "index.html").write_text("index\n")
    (server.www / "big.bin").write_bytes(BIG)
    (server.www / "page.html").write_text("<p>text</p>" * 2000)
    server.start()
    yield server
    server.finish()


class Client:
    """python3-h2 on a socket; what came is kept by stream."""

    def __init__(self, address, strict=True):
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8",
                                           validate_outbound_headers=strict,
                                           normalize_outbound_headers=strict)
        self.h2 = h2.connection.H2Connection(config)
        self.socket = socket.create_connection(address, timeout=ANSWER_SECONDS)
        self.headers = {}
        self.body = collections.defaultdict(bytes)
        self.ended = set()
        self.resets = {}
        self.goaway = None
        self.is_closed = False
        self.must_take = True

    def __enter__(self):
        self.h2.initiate_connection()
        self.flush()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def flush(self):
        data = self.h2.data_to_send()
        try:
            self.socket.sendall(data)
        except OSError:
            self.is_closed = True

    def request(self, path="/", method="GET", more=(), end=True, authority="a.test"):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [(":method", method), (":scheme", "http"),
                                      (":path", path), (":authority", authority), *more], end)
        self.flush()
        return stream

    def read(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.is_closed = True
            return
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.headers[event.stream_id] = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                self.body[event.stream_id] += event.data
                if self.must_take and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length,
                                                      event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self.resets[event.stream_id] = event.error_code
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goaway = event
        self.flush()

    def read_until(self, condition):
        while not condition():
            assert not self.is_closed, "the connection was closed"
            self.read()

    def answer(self, stream):
        self.read_until(lambda: stream in self.ended or stream in self.resets)
        return self.headers.get(stream, {}), self.body[stream]

    def raw(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            self.is_closed = True

    def read_to_end(self):
        while not self.is_closed:
            self.read()


@pytest.fixture
def client(server):
    with Client(server.address) as client:
        yield client


# ---- clients that other people wrote ----

def test_curl(server):
    # One address a time: curl 7.88 breaks connections that it reuses with prior knowledge.
    for path, wanted in (("/fixed", b"fixed\n2 200"), ("/none", b"2 404")):
        done = server.curl("--http2-prior-knowledge", "-w", "%{http_version} %{http_code}",
                           server.url + path)
        assert done.stdout.endswith(wanted), done


def test_curl_downloads_a_file(server):
    done = server.curl("--http2-prior-knowledge", server.url + "/big.bin")
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(BIG).digest()


def test_curl_ranges_conditionals_codings(server):
    h2c = ["--http2-prior-knowledge", "-i"]
    done = server.curl(*h2c, "-r", "10-19", server.url + "/big.bin")
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert b"HTTP/2 206" in head and body == BIG[10:20]
    etag = re.search(rb"etag: (.*)\r\n", head)[1].decode()
    done = server.curl(*h2c, "-H", f"If-None-Match: {etag}", server.url + "/big.bin")
    assert done.stdout.startswith(b"HTTP/2 304") and done.stdout.endswith(b"\r\n\r\n")
    done = server.curl("--http2-prior-knowledge", "--compressed", server.url + "/page.html")
    assert done.stdout == (server.www / "page.html").read_bytes()
    done = server.curl(*h2c, "-I", server.url + "/big.bin")
    assert b"content-length: 3000000" in done.stdout


def test_curl_upload_is_refused_in_order(server):
    done = server.curl("--http2-prior-knowledge", "-w", "%{http_code}", "--data-binary",
                       f"@{server.www}/big.bin", server.url + "/fixed", "-o", "/dev/null")
    assert (done.returncode, done.stdout) == (0, b"413"), done


def test_nghttp(server):
    done = subprocess.run(["nghttp", "-nv", server.url + "/fixed", server.url + "/page.html"],
                          capture_output=True, timeout=30, text=True, check=False)
    assert done.returncode == 0, done
    assert done.stdout.count(":status: 200") == 2
    assert "(0x09):1" in done.stdout  # SETTINGS_NO_RFC7540_PRIORITIES


def test_h2load(server):
    done = subprocess.run(["h2load", "-n2000", "-c10", "-m20", server.url + "/fixed"],
                          capture_output=True, timeout=60, text=True, check=False)
    assert "2000 succeeded, 0 failed" in done.stdout, done.stdout


def test_http1_on_the_same_port(server):
    assert server.get("/fixed").body == b"fixed\n"
    with server.wire() as wire:
        wire.send(PREFACE[:3])
        wire.send(b"\r\n\r\n")
        got, _ = wire.rest()
    assert got == b"" or got.startswith(b"HTTP/1.1 400")


def test_access_log(server):
    server.curl("--http2-prior-knowledge", server.url + "/fixed?logged")

    def line():
        lines = server.access_lines(1)
        return [x for x in lines if b"logged" in x]
    found = wait_for(line, "line in the access log")
    assert "HTTP/2" in json.dumps(json.loads(found[0]))


# ---- exchanges ----

def test_many_at_once(client):
    streams = [client.request("/big.bin" if i % 7 == 0 else "/fixed") for i in range(49)]
    for i, stream in enumerate(streams):
        head, body = client.answer(stream)
        assert head[":status"] == "200"
        assert body == (BIG if i % 7 == 0 else b"fixed\n")


def test_urgent_first(client):
    late = client.request("/big.bin", more=[("priority", "u=6")])
    early = client.request("/big.bin", more=[("priority", "u=0")])
    client.answer(early)
    assert len(client.body[late]) < len(BIG)
    assert client.answer(late)[1] == BIG


def test_body_too_large(client):
    stream = client.request("/fixed", "POST", [("content-length", "2000000")], end=False)
    head, _ = client.answer(stream)
    assert head[":status"] == "413"
    assert client.answer(client.request("/fixed"))[1] == b"fixed\n"


def test_early_answer(client):
    stream = client.request("/fixed", "POST", end=False)
    client.answer(stream)
    client.h2.send_data(stream, b"x" * 1000, end_stream=True)
    client.flush()
    assert client.answer(client.request("/fixed"))[1] == b"fixed\n"


@pytest.mark.parametrize("more", [
    [("connection", "close")], [("te", "gzip")], [("x", "a\r\nb")], [("x", "a\0b")],
    [("Upper", "x")], [("host", "other.test")], [("transfer-encoding", "chunked")],
    [(":path", "/again")], [("content-length", "10")], [("bad name", "x")],
])
def test_malformed(server, more):
    with Client(server.address, strict=False) as client:
        stream = client.request("/fixed", more=more)
        client.read_until(lambda: stream in client.resets)
        assert client.resets[stream] == h2.errors.ErrorCodes.PROTOCOL_ERROR
        assert client.answer(client.request("/fixed"))[1] == b"fixed\n"


def test_too_many_fields(client):
    stream = client.request("/fixed", more=[("cookie", "a=b")] * 101)
    assert client.answer(stream)[0][":status"] == "431"
    assert client.answer(client.request("/fixed"))[1] == b"fixed\n"


# ---- floods ----

def assert_calm(server, client, limit, before):
    client.read_to_end()
    assert client.goaway and client.goaway.error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
    assert server.metric(limit) == before + 1
    assert server.get("/fixed").body == b"fixed\n"


def test_rapid_reset(server, client):
    limit = 'sws_limit_hits_total{limit="h2_resets"}'
    before = server.metric(limit)
    for _ in range(1000):
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, [(":method", "GET"), (":scheme", "http"), (":path", "/"),
                                        (":authority", "a.test")], True)
        client.h2.reset_stream(stream)
    client.flush()
    assert_calm(server, client, limit, before)


@pytest.mark.parametrize("frame", [
    b"\0\0\x08\x06\0\0\0\0\0" + b"12345678",   # PING
    b"\0\0\0\x04\0\0\0\0\0",                   # SETTINGS
    b"\0\0\x05\x02\0\0\0\0\x0b\0\0\0\x01\x07",  # PRIORITY
    b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01",       # WINDOW_UPDATE
    b"\0\0\x07\x10\0\0\0\0\0\0\0\0\x07u=0",    # PRIORITY_UPDATE
    b"\0\0\0\x0c\0\0\0\0\0",                   # what nobody knows
])
def test_control_flood(server, client, frame):
    limit = 'sws_limit_hits_total{limit="h2_control_frames"}'
    before = server.metric(limit)
    client.raw(frame * 1100)
    assert_calm(server, client, limit, before)


def test_late_frames_flood(server):
    """Frames of a stream that was reset, which change nothing."""
    limit = 'sws_limit_hits_total{limit="h2_control_frames"}'
    before = server.metric(limit)
    with Client(server.address, strict=False) as client:
        stream = client.request("/fixed", more=[("host", "other.test")])
        client.read_until(lambda: stream in client.resets)
        client.raw((b"\0\0\0\1\5" + stream.to_bytes(4, "big")) * 1100)
        assert_calm(server, client, limit, before)


def test_long_settings(server, client):
    limit = 'sws_limit_hits_total{limit="h2_control_frames"}'
    before = server.metric(limit)
    client.raw(b"\0\0\xc6\4\0\0\0\0\0" + b"\0\4\0\1\0\0" * 33)
    assert_calm(server, client, limit, before)


def test_copied_names(server, client):
    """A name of 4000 bytes that two octets have copied, again and again."""
    limit = 'sws_limit_hits_total{limit="h2_header_block"}'
    before = server.metric(limit)
    block = b"\x82\x84\x86\x40\x7f\xa1\x1e" + b"n" * 4000 + b"\0" + b"\x7e\0" * 6000
    client.raw(len(block).to_bytes(3, "big") + b"\1\5\0\0\0\1" + block)
    assert_calm(server, client, limit, before)


def test_continuation_flood(server, client):
    limit = 'sws_limit_hits_total{limit="h2_header_block"}'
    before = server.metric(limit)
    memory = server.metric("sws_memory_bytes")
    client.raw(b"\0\0\x01\x01\x01\0\0\0\x01\x82" + b"\0\0\0\x09\0\0\0\0\x01" * 100000)
    assert_calm(server, client, limit, before)
    assert server.metric("sws_memory_bytes") < memory + 4_000_000


def test_stalled_windows(server, client):
    client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1})
    client.flush()
    client.read()
    memory = server.metric("sws_memory_bytes")
    streams = [client.request("/big.bin") for _ in range(40)]
    client.must_take = False
    client.read_until(lambda: len(client.resets) == len(streams))
    assert server.metric("sws_memory_bytes") < memory + 4_000_000
    assert client.answer(client.request("/fixed", method="HEAD"))[0][":status"] == "200"


# ---- the end ----

def test_silent_client(server):
    with socket.create_connection(server.address, timeout=ANSWER_SECONDS) as s:
        s.sendall(PREFACE)
        while s.recv(4096):
            pass


def test_drain(serve):
    server = serve({"server": {"protocols": ["h1", "h2c"], "timeouts": {"drain": "5s"}}})
    with Client(server.address) as client:
        assert client.answer(client.request())[1] == b"ok\n"
        ended = threading.Thread(target=server.stop)
        ended.start()
        client.read_until(lambda: client.goaway)
        assert client.goaway.error_code == h2.errors.ErrorCodes.NO_ERROR
        client.read_to_end()
        ended.join(ANSWER_SECONDS)


def test_only_http2(serve):
    server = serve({"server": {"protocols": ["h2c"]}})
    assert server.get().status == 505
    with Client(server.address) as client:
        assert client.answer(client.request())[1] == b"ok\n"


def test_not_spoken_by_default(serve):
    server = serve()
    with server.wire() as wire:
        wire.send(PREFACE)
        assert wire.answer().status == 505
