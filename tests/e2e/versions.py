# SPDX-License-Identifier: Apache-2.0
"""The same request on every version of HTTP, so that one table of tests serves all of them.

Wire (conftest) speaks HTTP/1.1, Wire2 HTTP/2 by python3-h2, Wire3 HTTP/3 by libcurl. Each keeps one
connection; get() gives an answer with status, fields and body."""
import email.message
import io
import socket

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pycurl

from conftest import ANSWER_SECONDS, Wire

VERSIONS = ["h1", "h2", "h3"]
CURL_HTTP3_ONLY = 31


class FieldAnswer:
    def __init__(self, version, status, fields, body):
        self.version = version
        self.status = status
        self.headers = email.message.Message()
        for name, value in fields:
            self.headers[name] = value
        self.body = body

    def __getitem__(self, name):
        return self.headers[name]


class Wire2:
    """HTTP/2 in the clear."""

    def __init__(self, address, seconds=ANSWER_SECONDS):
        config = h2.config.H2Configuration(client_side=True, header_encoding="latin-1",
                                           validate_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.socket = socket.create_connection(address, timeout=seconds)
        self.h2.initiate_connection()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def get(self, target="/", headers=None, host="a.test", method="GET", body=None):
        stream = self.h2.get_next_available_stream_id()
        fields = [(k.lower(), v) for k, v in (headers or {}).items()]
        if body is not None:
            fields.append(("content-length", str(len(body))))
        self.h2.send_headers(stream, [(":method", method), (":scheme", "http"),
                                      (":authority", host), (":path", target), *fields], not body)
        rest, answer, got, is_ended = body or b"", None, b"", False
        while not is_ended:
            while rest:
                n = min(len(rest), self.h2.local_flow_control_window(stream),
                        self.h2.max_outbound_frame_size)
                if n == 0:
                    break
                self.h2.send_data(stream, rest[:n], end_stream=n == len(rest))
                rest = rest[n:]
            self.socket.sendall(self.h2.data_to_send())
            data = self.socket.recv(65536)
            assert data, "the connection was closed"
            for event in self.h2.receive_data(data):
                if getattr(event, "stream_id", None) != stream:
                    continue
                if isinstance(event, h2.events.ResponseReceived):
                    answer = event.headers
                elif isinstance(event, h2.events.DataReceived):
                    got += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.StreamReset):
                    if answer is None:
                        raise ConnectionResetError(f"the stream was reset: {event.error_code}")
                    is_ended = True
                elif isinstance(event, h2.events.StreamEnded):
                    is_ended = True
                    rest = b""
        self.socket.sendall(self.h2.data_to_send())
        fields = [(n, v) for n, v in answer if not n.startswith(":")]
        return FieldAnswer(20, int(dict(answer)[":status"]), fields, got)


class Wire3:
    """HTTP/3; whether the certificate is right is the matter of other tests."""

    def __init__(self, address, seconds=ANSWER_SECONDS):
        self.base = "https://%s:%d" % address
        self.seconds = seconds
        self.curl = pycurl.Curl()
        self.fields = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.curl.close()

    def take_line(self, line):
        name, colon, value = line.decode("latin-1").strip().partition(": ")
        if line.startswith(b"HTTP/"):
            self.fields = []
        elif colon:
            self.fields.append((name, value))

    def get(self, target="/", headers=None, host="a.test", method="GET", body=None):
        got = io.BytesIO()
        curl = self.curl
        curl.reset()
        headers = {"Accept": None, "User-Agent": None, "Content-Type": None, "Expect": None,
                   **(headers or {}), "Host": host}
        for option, value in {
                pycurl.URL: (self.base + target).encode("latin-1"), pycurl.PATH_AS_IS: 1,
                pycurl.HTTP_VERSION: CURL_HTTP3_ONLY, pycurl.SSL_VERIFYPEER: 0,
                pycurl.SSL_VERIFYHOST: 0, pycurl.TIMEOUT: self.seconds,
                pycurl.HTTPHEADER: [(f"{k}:" if v is None else f"{k};" if v == "" else
                                     f"{k}: {v}").encode("latin-1") for k, v in headers.items()],
                pycurl.WRITEFUNCTION: got.write,
                pycurl.HEADERFUNCTION: self.take_line}.items():
            curl.setopt(option, value)
        if method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        elif body is not None:
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDSIZE, len(body))
            curl.setopt(pycurl.POSTFIELDS, body)
        if method not in ("GET", "HEAD"):
            curl.setopt(pycurl.CUSTOMREQUEST, method)
        try:
            curl.perform()
        except pycurl.error as e:
            if not curl.getinfo(pycurl.RESPONSE_CODE):
                raise ConnectionResetError(str(e)) from None
        return FieldAnswer(30, curl.getinfo(pycurl.RESPONSE_CODE), self.fields, got.getvalue())


def wire_of(server, version):
    """A connection to a server that has a plain listener with h2c and an https one with h3."""
    if version == "h3":
        return Wire3(server.https_address)
    return {"h1": Wire, "h2": Wire2}[version](server.address)


def versions_config(hosts, **server):
    """A configuration for wire_of."""
    return {"server": {"listen": ["127.0.0.1:0", "https://127.0.0.1:0"], "state": "@home/state",
                       "protocols": ["h1", "h2c", "h3"], **server},
            "hosts": [{"ssl": {"issuer": "internal", "hsts": "off"}, "https_redirect": False, **host} for host in hosts]}
