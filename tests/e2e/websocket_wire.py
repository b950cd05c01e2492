# SPDX-License-Identifier: Apache-2.0
"""WebSockets by hand, over every version of HTTP: the same frames, opened and ended differently.

HTTP/1 goes over a plain socket, HTTP/2 over TLS by python3-h2 (RFC 8441), HTTP/3 by h3_client of
tests/tools (RFC 9220), which is ours above ngtcp2 and nghttp3.
"""
import email.message
import http.client
import os
import pathlib
import select
import socket
import ssl
import struct
import subprocess
import tempfile

import h2.config
import h2.connection
import h2.errors
import h2.events

from conftest import SWS, Wire

KEY = "c2l4dGVlbiBieXRlcyAuLg=="
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
FIN, RSV1 = 0x80, 0x40
H3_CLIENT = pathlib.Path(SWS).parent / "tests/tools/h3_client"
SECONDS = 30
H3_REQUEST_CANCELLED = 0x10c


def frame(opcode, payload=b"", first=FIN, mask=b"\x01\x02\x03\x04"):
    n = len(payload)
    head = bytes([first | opcode])
    if n < 126:
        head += bytes([0x80 | n])
    elif n < 65536:
        head += bytes([0xfe]) + struct.pack(">H", n)
    else:
        head += bytes([0xff]) + struct.pack(">Q", n)
    pad = (mask * (n // 4 + 1))[:n]
    body = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(n, "big")
    return head + mask + body


class Frames:
    """What comes, by frames. `reset` is the code of a stream that was broken off."""

    reset = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def take(self):
        """(first byte, payload) of the next frame, or None at the end."""
        head = self.read(2)
        if len(head) < 2:
            return None
        assert not head[1] & 0x80, "a server does not mask"
        n = head[1]
        if n == 126:
            n = struct.unpack(">H", self.read(2))[0]
        elif n == 127:
            n = struct.unpack(">Q", self.read(8))[0]
        return head[0], self.read(n)

    def take_close(self):
        """The code of the close frame, behind which all ends in good order."""
        while True:
            first, payload = self.take()
            if first == FIN | CLOSE:
                assert self.take() is None
                assert self.reset is None
                return struct.unpack(">H", payload[:2])[0] if payload else None

    def send_while_open(self, data):
        """Sends all of it, or as much as the server takes."""
        try:
            self.send(data)
        except (BrokenPipeError, ConnectionResetError):
            pass


class Raw1(Frames, Wire):
    opened, protocol, method = 101, "HTTP/1.1", "GET"

    def __init__(self, server):
        super().__init__(server.address, SECONDS)

    def open(self, target="/echo", headers=None, behind=b"", key=KEY, version="13", host="a.test"):
        fields = {"Host": host, "Connection": "keep-alive, Upgrade", "Upgrade": "websocket",
                  "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": version, **(headers or {})}
        lines = [f"GET {target} HTTP/1.1"] + [f"{k}: {v}" for k, v in fields.items() if v]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + behind)
        status = int(self.file.readline().split()[1])
        self.headers = http.client.parse_headers(self.file)
        if status != self.opened:
            self.body = self.file.read(int(self.headers["Content-Length"]))
        return status

    def read(self, n):
        try:
            return self.file.read(n)
        except ConnectionResetError:
            self.reset = 0
            return b""

    def end(self):
        self.socket.shutdown(socket.SHUT_WR)

    def break_off(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


def connect_fields(scheme, target, headers, version, host, protocol="websocket"):
    """The head of an extended CONNECT."""
    fields = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", scheme),
              (":path", target), (":authority", host)]
    if version:
        fields.append(("sec-websocket-version", version))
    return fields + [(k.lower(), v) for k, v in (headers or {}).items()]


OPEN = h2.connection.ConnectionState.CLIENT_OPEN
GOAWAY_WHILE_OPEN = (OPEN, h2.connection.ConnectionInputs.RECV_GOAWAY)


class Raw2(Frames):
    opened, protocol, method = 200, "HTTP/2", "CONNECT"
    cancelled = h2.errors.ErrorCodes.CANCEL

    def __init__(self, server):
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8",
                                           validate_outbound_headers=False,
                                           normalize_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        # python3-h2 takes every GOAWAY for the end; RFC 9113 6.8 lets what is under way go on.
        machine = self.h2.state_machine
        machine._transitions = {**machine._transitions, GOAWAY_WHILE_OPEN: (None, OPEN)}
        context = ssl.create_default_context(cafile=str(server.root_pem))
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(server.https_address, timeout=SECONDS)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        assert self.socket.selected_alpn_protocol() == "h2"
        self.stream = None
        self.status = None
        self.trailers = None
        self.got = bytearray()
        self.is_over = False
        self.is_silent = False  # takes nothing
        self.owed = 0
        self.h2.initiate_connection()
        self.flush()
        # RFC 8441 section 3: the client waits for the setting.
        while not self.h2.remote_settings.enable_connect_protocol:
            self.pump()

    def close(self):
        self.socket.close()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def pump(self):
        """What comes next."""
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, ssl.SSLError):
            data = b""
        if not data:
            assert self.stream, "the connection was closed"
            self.is_over = True
            return
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ConnectionTerminated):
                self.is_over |= event.error_code != h2.errors.ErrorCodes.NO_ERROR
            if getattr(event, "stream_id", None) != self.stream:
                continue
            if isinstance(event, h2.events.ResponseReceived):
                self.headers = email.message.Message()
                for name, value in event.headers:
                    self.headers[name] = value
                self.status = int(self.headers[":status"])
            elif isinstance(event, h2.events.TrailersReceived):
                self.trailers = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                self.got += event.data
                self.owed += event.flow_controlled_length
                self.pay()
            elif isinstance(event, h2.events.StreamEnded):
                self.is_over = True
            elif isinstance(event, h2.events.StreamReset):
                self.is_over = True
                self.reset = event.error_code
        self.flush()

    def pay(self):
        """Gives the server credit for what came."""
        if self.owed and not self.is_silent:
            self.h2.acknowledge_received_data(self.owed, self.stream)
            self.owed = 0

    def ask(self, fields, data=b"", is_end=False):
        """The status of the answer, None where the stream was reset."""
        self.stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(self.stream, fields, is_end)
        if data:
            self.send(data)
        self.flush()
        while self.status is None and not self.is_over:
            self.pump()
        return self.status

    def open(self, target="/echo", headers=None, behind=b"", key="", version="13", host="a.test"):
        status = self.ask(connect_fields("https", target, headers, version, host), behind)
        if status != self.opened:
            while not self.is_over:
                self.pump()
            self.body = bytes(self.got)
        return status

    def send(self, data):
        """Waits for the server's window; what comes meanwhile is kept."""
        at = 0
        while at < len(data):
            if self.is_over:
                raise BrokenPipeError
            n = min(self.h2.local_flow_control_window(self.stream),
                    self.h2.max_outbound_frame_size, len(data) - at)
            if n == 0:
                self.pump()
                continue
            self.h2.send_data(self.stream, data[at:at + n])
            self.flush()
            at += n

    def read(self, n):
        self.pay()
        self.flush()
        while len(self.got) < n and not self.is_over:
            self.pump()
        data = bytes(self.got[:n])
        del self.got[:n]
        return data

    def end(self, trailers=None):
        if trailers:
            self.h2.send_headers(self.stream, trailers, end_stream=True)
        else:
            self.h2.end_stream(self.stream)
        self.flush()

    def break_off(self):
        self.h2.reset_stream(self.stream, h2.errors.ErrorCodes.CANCEL)
        self.flush()


class Raw3(Frames):
    opened, protocol, method = 200, "HTTP/3", "CONNECT"
    cancelled = H3_REQUEST_CANCELLED

    def __init__(self, server):
        host, port = server.https_address
        self.arguments = [str(server.root_pem), "localhost", host, str(port)]
        self.process = None
        self.got = bytearray()
        self.is_over = False
        self.flags = []
        self.words = {}

    def close(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            for file in (self.process.stdin, self.process.stdout, self.errors):
                try:
                    file.close()
                except BrokenPipeError:
                    pass

    def ask(self, fields, data=b"", is_end=False, trailers=()):
        """The status of the answer, None where the stream was reset."""
        self.errors = tempfile.TemporaryFile()
        more = ["--", *("=".join(f) for f in trailers)] if trailers else []
        self.process = subprocess.Popen(
            [str(H3_CLIENT), *self.flags, *self.arguments, *("=".join(f) for f in fields), *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, bufsize=0)
        if data:
            self.send(data)
        if is_end:
            self.end()
        self.headers = email.message.Message()
        while True:
            line = self.read_line()
            if not line:
                break
            name, _, value = line[1:].partition(": ")
            self.headers[line[0] + name] = value
        return int(self.headers[":status"]) if self.headers[":status"] else None

    def open(self, target="/echo", headers=None, behind=b"", key="", version="13", host="a.test"):
        status = self.ask(connect_fields("https", target, headers, version, host), behind)
        if status != self.opened:
            self.body = self.read(1 << 20)
        return status

    def pump(self):
        is_readable, _, _ = select.select([self.process.stdout], [], [], SECONDS)
        assert is_readable, "no answer"
        data = os.read(self.process.stdout.fileno(), 65536)
        self.got += data
        if not data:
            self.is_over = True
            code = self.process.wait(SECONDS)
            self.errors.seek(0)
            said = self.errors.read().decode(errors="replace")
            self.words = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
            assert code in (0, 3, 4), f"h3_client ended with {code}: {said}"
            if code == 3:
                self.reset = int(self.words["reset"])

    def read_line(self):
        while b"\n" not in self.got and not self.is_over:
            self.pump()
        line, _, rest = bytes(self.got).partition(b"\n")
        self.got = bytearray(rest)
        return line.decode()

    def read(self, n):
        while len(self.got) < n and not self.is_over:
            self.pump()
        data = bytes(self.got[:n])
        del self.got[:n]
        return data

    def send(self, data):
        view = memoryview(data)
        while view:
            view = view[self.process.stdin.write(view):]

    def end(self):
        self.process.stdin.close()

    def break_off(self):
        """With `flags` of -r."""
        self.process.stdin.close()


RAW = {"h1": Raw1, "h2": Raw2, "h3": Raw3}
