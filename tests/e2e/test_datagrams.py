# SPDX-License-Identifier: Apache-2.0
"""HTTP datagrams (RFC 9297): the backend echo as a UDP server behind connect-udp (RFC 9298).

As capsules by hand over a plain socket, by python3-h2 and over HTTP/3; beside the stream by
h3_client of tests/tools, which is ours: no client of others that is packaged speaks these."""
import contextlib
import http.client
import json
import select
import signal
import struct
import time

import pytest

from conftest import ANSWER_SECONDS, Server, wait_for
from quic_wire import Relay, varint
from websocket_wire import RAW, Raw3, connect_fields

VERSIONS = ["h1", "h2", "h3"]
TLS = {"listen": ["127.0.0.1:0", "https://127.0.0.1:0"], "state": "@home/state"}
TARGET = "/.well-known/masque/udp/192.0.2.6/443/"
ECHO = {"hosts": [{"domains": ["default", "localhost"], "https_redirect": False, "routes": [
    {"path": "/.well-known/masque/**", "backend": "echo"},
    {"path": "/fixed", "respond": {"body": "fixed\n"}}]}]}
PAUSE_SECONDS = 0.1 # before a datagram is taken for lost and sent again
UPGRADE = {"Host": "a.test", "Connection": "Upgrade", "Upgrade": "connect-udp",
           "Capsule-Protocol": "?1"}


def capsule(payload, kind=0):
    return varint(kind) + varint(len(payload)) + payload


def ask(wire, version, target=TARGET, method="GET", behind=b"", is_end=False, **changes):
    """The status of the answer to a request for connect-udp."""
    if version != "h1":
        return wire.ask(connect_fields("https", target, {"Capsule-Protocol": "?1"}, None,
                                       "localhost", "connect-udp"), behind, is_end)
    fields = {**UPGRADE, **{k.replace("_", "-"): v for k, v in changes.items()}}
    lines = [f"{method} {target} HTTP/1.1"] + [f"{k}: {v}" for k, v in fields.items() if v]
    wire.send("\r\n".join(lines).encode() + b"\r\n\r\n" + behind)
    status = int(wire.file.readline().split()[1])
    wire.headers = http.client.parse_headers(wire.file)
    return status


@contextlib.contextmanager
def opened(server, version, **options):
    with RAW[version](server) as wire:
        assert ask(wire, version, **options) == wire.opened
        yield wire


def read_varint(wire):
    first = wire.read(1)
    if not first:
        return None
    rest = wire.read((1 << (first[0] >> 6)) - 1)
    return int.from_bytes(bytes([first[0] & 0x3f]) + rest, "big")


def take(wire):
    """The next capsule, which must be a datagram; None at the end."""
    kind = read_varint(wire)
    if kind is None:
        return None
    assert kind == 0
    return wire.read(read_varint(wire))


@pytest.fixture(scope="module")
def server():
    server = Server({"server": TLS, **ECHO})
    server.start()
    yield server
    server.finish()


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


# ---- capsules ----

def test_opening(server, version):
    with opened(server, version) as wire:
        is_h1 = version == "h1"
        assert wire.headers["Capsule-Protocol"] == "?1"
        assert wire.headers["Upgrade"] == ("connect-udp" if is_h1 else None)
        assert wire.headers["Connection"] == ("Upgrade" if is_h1 else None)
        assert wire.headers["Content-Length"] is None
        assert wire.headers["Transfer-Encoding"] is None


def test_payloads_come_back(server, version):
    largest = b"\0" + bytes(i & 0xff for i in range(65527))
    with opened(server, version, behind=capsule(b"\0early")) as wire:
        assert take(wire) == b"\0early"
        for payload in (b"\0hello", b"\0", b"\0" + b"x" * 1200, largest):
            wire.send(capsule(payload))
            assert take(wire) == payload
        for byte in capsule(b"\0byte by byte"):
            wire.send(bytes([byte]))
        assert take(wire) == b"\0byte by byte"
        wire.end()
        assert take(wire) is None and wire.reset is None


def test_what_is_left_out(server, version):
    """Other contexts, no context, payloads that no UDP datagram holds, capsules of other kinds."""
    with opened(server, version) as wire:
        wire.send(capsule(b"\2other") + capsule(b"") + capsule(b"\x40") +
                  capsule(b"\x40\0" + b"x" * 65528) + capsule(b"\0" + b"x" * 65535) +
                  capsule(b"x" * 100000, 0x17) + capsule(b"", 0x3fffffff) +
                  capsule(b"\x40\0a longer form"))
        assert take(wire) == b"\x40\0a longer form"


def test_cut_off(server, version):
    """RFC 9297 3.3: it is malformed."""
    name = 'sws_bad_requests_total{reason="capsule"}'
    before = server.metric(name)
    with opened(server, version) as wire:
        wire.send(capsule(b"\0whole") + capsule(b"\0cut")[:-1])
        assert take(wire) == b"\0whole"
        wire.end()
        assert take(wire) is None
        if version != "h1":
            assert wire.reset == {"h2": 1, "h3": 0x10e}[version]
    wait_for(lambda: server.metric(name) == before + 1, "a count")


@pytest.mark.parametrize("options, status", [
    ({"method": "POST"}, 400),
    ({"Content_Length": "1", "behind": b"x"}, 400),
    ({"Connection": None}, 200),
    ({"Upgrade": "other"}, 200),
    ({"Upgrade": "other, connect-udp"}, 101),
    ({"Capsule_Protocol": None}, 101),
    ({"target": "/fixed"}, 200),
])
def test_upgrade(server, options, status):
    with RAW["h1"](server) as wire:
        assert ask(wire, "h1", **options) == status


@pytest.mark.parametrize("version", ["h2", "h3"])
def test_where_none_is_served(server, version):
    with RAW[version](server) as wire:
        assert ask(wire, version, target="/fixed", is_end=True) == 405


def test_drain_ends_them(serve, version):
    server = serve({"server": TLS, **ECHO})
    with opened(server, version) as wire:
        wire.send(capsule(b"\0hello"))
        assert take(wire) == b"\0hello"
        server.process.send_signal(signal.SIGTERM)
        assert take(wire) is None and wire.reset is None
    assert server.process.wait(ANSWER_SECONDS) == 0


def test_access_log(serve, version):
    server = serve({"server": TLS, **ECHO})
    with opened(server, version) as wire:
        wire.send(capsule(b"\0hello"))
        assert take(wire) == b"\0hello"
        wire.end()
        assert take(wire) is None
    line = json.loads(server.access_lines(1)[0])
    assert (line["status"], line["bytes"]) == (wire.opened, 8)
    assert line["protocol"] == wire.protocol


# ---- beside the stream ----

class Beside(Raw3):
    """Datagrams as they go over the wire: the quarter of the stream's id, the context, the
    payload. The stream of the only request is 0."""

    def __init__(self, server, address=None):
        super().__init__(server)
        self.flags = ["-d"]
        if address:
            self.arguments[2:] = [address[0], str(address[1])]

    def put(self, datagram):
        self.send(struct.pack(">H", len(datagram)) + datagram)

    def wait(self, seconds):
        """Takes what comes; whether there is a whole datagram."""
        end = time.monotonic() + seconds
        while not self.has_one() and not self.is_over:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                return False
            self.pump()
        return self.has_one()

    def has_one(self):
        return len(self.got) >= 2 and len(self.got) >= 2 + struct.unpack(">H", self.got[:2])[0]

    def take(self):
        return self.read(struct.unpack(">H", self.read(2))[0])

    def exchange(self, datagram, seconds=ANSWER_SECONDS):
        """Sends until it comes back: each may be lost. Others that come meanwhile are late."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.put(datagram)
            while self.wait(PAUSE_SECONDS):
                if self.take() == datagram:
                    return
            assert not self.is_over, self.words
        raise AssertionError("no datagram came back")

    def wait_end(self):
        while not self.is_over:
            self.pump()


def beside(server, address=None):
    wire = Beside(server, address)
    assert ask(wire, "h3") == 200
    return wire


def test_beside_the_stream(server):
    with beside(server) as wire:
        for payload in (b"hello", b"", b"x" * 1100):
            wire.exchange(b"\0\0" + payload)
        wire.put(b"\0\2another context")
        wire.put(b"\0")
        wire.put(b"\7\0a stream that is not there")
        wire.exchange(b"\0\0the last")
        wire.end()
        wire.wait_end()
        assert wire.reset is None and "closed" not in wire.words
        assert "body" not in wire.words # no capsule


@pytest.mark.parametrize("datagram", [b"", b"\x40", b"\xff" * 8, b"\x7f\xff beyond the limit"],
                         ids=["empty", "cut", "no stream", "not allowed"])
def test_malformed(server, datagram):
    name = 'sws_bad_requests_total{reason="h3_datagram"}'
    before = server.metric(name)
    with beside(server) as wire, beside(server) as other:
        end = time.monotonic() + ANSWER_SECONDS
        while not wire.is_over and time.monotonic() < end:
            wire.put(datagram)
            wire.wait(PAUSE_SECONDS)
        assert wire.is_over and "closed" in wire.words
        other.exchange(b"\0\0still here")
    assert server.metric(name) == before + 1


def test_a_request_without_datagrams(server):
    """RFC 9297 section 2: it is aborted."""
    name = 'sws_bad_requests_total{reason="h3_datagram"}'
    before = server.metric(name)
    with Beside(server) as wire:
        fields = connect_fields("https", TARGET, None, "13", "localhost")
        assert wire.ask(fields) == 200
        end = time.monotonic() + ANSWER_SECONDS
        while not wire.is_over and time.monotonic() < end:
            wire.put(b"\0\0lost on a WebSocket")
            wire.wait(PAUSE_SECONDS)
        assert wire.reset == 0x33
    assert server.metric(name) == before + 1


def test_a_network_that_loses(server):
    """What is lost is not sent again and holds nothing up."""
    with Relay(server.https_address) as relay, beside(server, relay.address) as wire:
        relay.lost_every = 4
        for i in range(20):
            wire.exchange(b"\0\0" + str(i).encode())
        wire.end()
        wire.wait_end()
        assert wire.reset is None and "closed" not in wire.words
        assert relay.lost_count > 5


def test_flood(server):
    """Without a limit on what comes, with one on what waits."""
    name = 'sws_limit_hits_total{limit="datagrams"}'
    with beside(server) as wire:
        def flood():
            for i in range(500):
                wire.put(b"\0\0" + struct.pack(">H", i) + b"x" * 1000)
                wire.put(b"\5\0nobody's")
            while wire.wait(PAUSE_SECONDS):
                wire.take()
            return server.metric(name) > 1000
        wait_for(flood, "a thousand lost datagrams")
        wire.exchange(b"\0\0the last")
    with beside(server) as wire:
        wire.exchange(b"\0\0another")


def test_drain_ends_it(serve):
    server = serve({"server": TLS, **ECHO})
    with beside(server) as wire:
        wire.exchange(b"\0\0hello")
        server.process.send_signal(signal.SIGTERM)
        wire.wait_end()
        assert wire.reset is None and "closed" not in wire.words
    assert server.process.wait(ANSWER_SECONDS) == 0
