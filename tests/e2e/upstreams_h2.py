# SPDX-License-Identifier: Apache-2.0
"""Upstreams that speak HTTP/2: other people's, and one by python3-h2 that does as a test tells it."""
import contextlib
import pathlib
import shutil
import socket
import ssl
import struct
import threading

import h2.config
import h2.connection
import h2.events
import h2.settings

from conftest import free_port
from upstreams import Upstream, running


class Request:
    def __init__(self, stream, fields):
        self.stream = stream
        self.fields = fields
        self.known = dict(fields)
        self.body = b""
        self.trailers = None
        self.is_whole = False


class H2Upstream:
    """One connection. `requests` are those that began, by stream; `resets` the codes of those that
    we reset."""

    def __init__(self, connection, settings=None):
        self.connection = connection
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=False, header_encoding="latin-1", validate_outbound_headers=False,
            normalize_outbound_headers=False))
        self.requests = {}
        self.resets = {}
        self.is_leaving = False
        self.acknowledges = True
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values={
            h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 100, **(settings or {})})
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        self.connection.send(self.h2.data_to_send())

    def raw(self, kind, flags, stream, payload=b""):
        """A frame past the library."""
        self.flush()
        self.connection.send(struct.pack(">I", len(payload))[1:] +
                             struct.pack(">BBI", kind, flags, stream) + payload)

    def read(self):
        """Takes what comes next and returns its events."""
        data = self.connection.socket.recv(65536)
        if not data:
            raise EOFError
        events = self.h2.receive_data(data)
        for event in events:
            request = self.requests.get(getattr(event, "stream_id", None))
            if isinstance(event, h2.events.RequestReceived):
                self.requests[event.stream_id] = Request(event.stream_id, event.headers)
            elif isinstance(event, h2.events.DataReceived):
                request.body += event.data
                if self.acknowledges:
                    self.h2.acknowledge_received_data(event.flow_controlled_length,
                                                      event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                request.trailers = event.headers
            elif isinstance(event, h2.events.StreamEnded):
                request.is_whole = True
            elif isinstance(event, h2.events.StreamReset):
                self.resets[event.stream_id] = event.error_code
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.is_leaving = True
        self.flush()
        return events

    def wait(self, condition):
        while not (found := condition()):
            self.read()
        return found

    def request(self, whole=True):
        """The next request, whole or as soon as it begins; it is not given again."""
        def next_one():
            return next((r for r in self.requests.values()
                         if not hasattr(r, "was_given") and (r.is_whole or not whole)), None)
        request = self.wait(next_one)
        request.was_given = True
        return request

    def head(self, stream, fields=(), status=200, end=False):
        self.h2.send_headers(stream, [(":status", str(status)), *fields], end_stream=end)
        self.flush()

    def data(self, stream, data, end=False):
        while data or end:
            window = self.h2.local_flow_control_window(stream)
            n = min(len(data), window, self.h2.max_outbound_frame_size)
            if data and n == 0:
                self.read()
                continue
            self.h2.send_data(stream, data[:n], end_stream=end and n == len(data))
            self.flush()
            end = end and n != len(data)
            data = data[n:]

    def answer(self, stream, body=b"ok\n", fields=(), status=200, trailers=None):
        self.head(stream, fields, status, end=not body and not trailers)
        if body:
            self.data(stream, body, end=not trailers)
        if trailers:
            self.h2.send_headers(stream, trailers, end_stream=True)
            self.flush()


    def end(self):
        """Ends in order: a close with bytes unread would take back what was sent."""
        self.connection.socket.shutdown(socket.SHUT_WR)
        self.wait(lambda: False)


def h2_url(upstream, scheme="h2c"):
    return upstream.url.replace("https", "h2").replace("http", scheme)


@contextlib.contextmanager
def h2_upstream(*serves, settings=None, path=None):
    """`serves` are called with the first connections, the last of them with all that follow."""
    rest, lock = list(serves), threading.Lock()

    def serve(connection):
        with lock:
            mine = rest.pop(0) if len(rest) > 1 else rest[0]
        mine(H2Upstream(connection, settings))
    with Upstream(serve, path) as upstream:
        yield upstream


def answering(body=b"ok\n", **more):
    """Answers every request the same way."""
    def serve(peer):
        while True:
            peer.answer(peer.request().stream, body, **more)
    return serve


# ---- other people's ----

NODE = r"""
const http2 = require("http2"), fs = require("fs");
const [port, key, cert, connect] = process.argv.slice(1);
const options = {settings: {enableConnectProtocol: connect == "connect"}, maxSessionMemory: 100};
const server = key ? http2.createSecureServer({key: fs.readFileSync(key),
    cert: fs.readFileSync(cert), ...options}) : http2.createServer(options);
let sessions = 0;
server.on("session", () => { sessions++; });
server.on("stream", (stream, headers) => {
    let n = 0, trailers = null;
    const path = headers[":path"];
    stream.on("error", () => {});
    stream.on("trailers", (t) => { trailers = {...t}; });
    stream.on("data", (d) => {
        n += d.length;
        if (path == "/echo" && !stream.write(d)) { stream.pause(); }
    });
    if (path == "/echo") {
        stream.on("drain", () => stream.resume());
        stream.respond({":status": 200});
        stream.on("end", () => stream.end());
        return;
    }
    stream.on("end", () => {
        if (path.startsWith("/bytes/")) {
            stream.respond({":status": 200});
            stream.end(Buffer.alloc(+path.slice(7), "b"));
        } else if (path == "/trailers") {
            stream.respond({":status": 200}, {waitForTrailers: true});
            stream.on("wantTrailers", () => stream.sendTrailers({"x-sum": "42"}));
            stream.end("body");
        } else if (headers[":method"] == "HEAD") {
            stream.respond({":status": 200, "content-length": "5"}, {endStream: true});
        } else {
            stream.respond({":status": 200, "content-type": "application/json"});
            stream.end(JSON.stringify({headers, bytes: n, trailers, sessions}));
        }
    });
});
isFinite(port) ? server.listen(+port, "127.0.0.1") : server.listen(port);
"""


@contextlib.contextmanager
def node_h2(key=None, cert=None, connect=False):
    port = free_port()
    arguments = [str(key or ""), str(cert or ""), "connect" if connect else ""]
    with running(["node", "-e", NODE, str(port), *arguments], port):
        yield f"{'h2' if key else 'h2c'}://127.0.0.1:{port}"


@contextlib.contextmanager
def nginx_h2(home):
    """Files below home/www, by prior knowledge."""
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
        listen 127.0.0.1:{port} http2;
        root {home}/www;
        location = /facts {{ return 200 "$request_method $request_uri $http_host"; }}
    }}
}}
""")
    with running([shutil.which("nginx") or "/usr/sbin/nginx", "-p", str(home), "-c",
                  str(home / "nginx.conf"), "-e", "stderr"], port):
        yield f"h2c://127.0.0.1:{port}", home / "www"


def tls_context(folder, name, *protocols):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/{name}.pem", f"{folder}/{name}.key")
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context
