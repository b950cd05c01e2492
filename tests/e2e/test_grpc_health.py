# SPDX-License-Identifier: Apache-2.0
"""Checks by grpc.health.v1: a service of grpcio that says what a test wants, and wire answers that
no library gives."""
import concurrent.futures
import subprocess
import threading

import grpc
import pytest

from conftest import SWS, Server, wait_for
from test_health import endpoint, wait_health
from test_tls import make_certificate
from upstreams_h2 import h2_upstream, h2_url
from versions import versions_config

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


class Health:
    """grpc.health.v1.Health/Check; messages are bytes."""

    def __init__(self):
        self.answers = {b"": SERVING, b"\n\x0bshop.Orders": SERVING}
        self.asked = []
        self.metadata = {}
        self.hangs = threading.Event()
        self.ended = threading.Event()

    def check(self, message, context):
        self.asked.append(message)
        self.metadata = dict(context.invocation_metadata())
        if self.hangs.is_set():
            self.ended.wait(30)
        if message not in self.answers:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return self.answers[message]

    def start(self, name="grpc.health.v1.Health", credentials=None, address="127.0.0.1:0"):
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=8))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {
            "Check": grpc.unary_unary_rpc_method_handler(self.check)}),))
        port = server.add_secure_port(address, credentials) if credentials \
            else server.add_insecure_port(address)
        server.start()
        return server, port


@pytest.fixture
def health():
    service = Health()
    yield service
    service.ended.set()


@pytest.fixture
def checked():
    """Starts a proxy whose endpoint `url` is checked."""
    servers = []

    def start(url, check, **backend):
        config = versions_config([{"domains": "default", "backend": {
            "proxy": url, "health": check, **backend}}], worker={"processes": 1})
        servers.append(Server(config))
        return servers[-1].start()
    yield start
    for server in servers:
        server.finish()


FAST = {"interval": "50ms", "timeout": "2s", "rise": 1, "fall": 1}


def said(server, reason):
    wait_for(lambda: reason in server.log(), f"the log to say {reason}")


@pytest.mark.parametrize("scheme", ["grpc", "grpcs", "h2c", "h2", "unix+grpc", "unix+h2c"])
def test_schemes(checked, health, scheme, tmp_path):
    credentials, more, address = None, {}, "127.0.0.1:0"
    if scheme in ("grpcs", "h2"):
        make_certificate(tmp_path, "up", "127.0.0.1", ca=True)
        credentials = grpc.ssl_server_credentials([((tmp_path / "up.key").read_bytes(),
                                                    (tmp_path / "up.pem").read_bytes())])
        more = {"tls": {"ca": f"{tmp_path}/up.pem"}}
    if scheme.startswith("unix"):
        address = f"unix:{tmp_path}/s"
    upstream, port = health.start(credentials=credentials, address=address)
    url = f"{scheme}:{tmp_path}/s" if scheme.startswith("unix") else f"{scheme}://127.0.0.1:{port}"
    server = checked(url, {"grpc": "shop.Orders", **FAST}, **more)
    wait_health(server, url, "healthy")
    assert set(health.asked) == {b"\n\x0bshop.Orders"}
    assert health.metadata["user-agent"].startswith("selenia-health/")
    upstream.stop(0).wait()
    wait_health(server, url, "unhealthy")


@pytest.mark.parametrize("check", [{"grpc": True}, {}])
def test_whole_server(checked, health, check):
    """{}: an endpoint of gRPC is asked so by itself."""
    upstream, port = health.start()
    url = f"grpc://127.0.0.1:{port}"
    server = checked(url, {**check, **FAST})
    wait_health(server, url, "healthy")
    assert set(health.asked) == {b""}
    upstream.stop(0).wait()


def test_not_serving_and_back(checked, health):
    upstream, port = health.start()
    url = f"grpc://127.0.0.1:{port}"
    server = checked(url, {"grpc": "shop.Orders", **FAST})
    wait_health(server, url, "healthy")
    for answer, reason in [(NOT_SERVING, "the service says NOT_SERVING"),
                           (b"", "the service says UNKNOWN"),
                           (b"\x08\x03", "the service says SERVICE_UNKNOWN"),
                           (b"\x12\x01a", "no HealthCheckResponse"),
                           (b"\x08\x01\x08\x01", "no HealthCheckResponse")]:
        health.answers[b"\n\x0bshop.Orders"] = answer
        wait_health(server, url, "unhealthy")
        said(server, reason)
        health.answers[b"\n\x0bshop.Orders"] = SERVING
        wait_health(server, url, "healthy")
    upstream.stop(0).wait()


def test_long_name(checked, health):
    """Its length takes two bytes."""
    upstream, port = health.start()
    name = "a" * 200
    health.answers[b"\n\xc8\x01" + name.encode()] = SERVING
    url = f"grpc://127.0.0.1:{port}"
    wait_health(checked(url, {"grpc": name, **FAST}), url, "healthy")
    upstream.stop(0).wait()


def test_failures(checked, health):
    upstream, port = health.start()
    url = f"grpc://127.0.0.1:{port}"
    server = checked(url, {"grpc": "no.Such", **FAST})
    wait_health(server, url, "unhealthy")
    said(server, "gRPC: NOT_FOUND: unknown service")
    upstream.stop(0).wait()


def test_unimplemented(checked, health):
    upstream, port = health.start(name="other.Service")
    url = f"grpc://127.0.0.1:{port}"
    server = checked(url, {"grpc": True, **FAST})
    wait_health(server, url, "unhealthy")
    said(server, "gRPC: UNIMPLEMENTED")
    upstream.stop(0).wait()


def test_late(checked, health):
    health.hangs.set()
    upstream, port = health.start()
    url = f"grpc://127.0.0.1:{port}"
    server = checked(url, {"grpc": True, **FAST, "timeout": "200ms"})
    wait_health(server, url, "unhealthy")
    said(server, "no answer within 200 ms")
    health.ended.set()
    upstream.stop(0).wait()


@pytest.mark.parametrize("fields, reason", [
    ([("content-type", "text/html")], "not gRPC"),
    ([("content-type", "application/grpc")], "the answer has no status"),
    ([("content-type", "application/grpc"), ("grpc-status", "77")], "no status that gRPC knows"),
    ([("content-type", "application/grpc"), ("grpc-status", "0")], "no HealthCheckResponse"),
])
def test_wire(checked, fields, reason):
    def serve(peer):
        peer.answer(peer.request().stream, b"", fields)
        peer.end()
    with h2_upstream(serve, serve) as upstream:
        server = checked(h2_url(upstream, "h2c"), {"grpc": True, **FAST, "interval": "1h"})
        wait_health(server, h2_url(upstream, "h2c"), "unhealthy")
        said(server, reason)


def test_path_over_h2(checked):
    """A path is asked for by GET, over HTTP/2 where the endpoint speaks it."""
    seen = []

    def serve(peer):
        request = peer.request()
        seen.append(request.known)
        peer.answer(request.stream, b"fine")
        peer.end()
    with h2_upstream(serve) as upstream:
        url = h2_url(upstream, "grpc")
        server = checked(url, {"path": "/healthz", "body": "fine", "interval": "1h"})
        wait_health(server, url, "healthy")
        assert endpoint(server, url)["health"] == "healthy"
    assert seen[0][":path"] == "/healthz" and seen[0][":method"] == "GET"


@pytest.mark.parametrize("backend, sentence", [
    ("{proxy: 'http://127.0.0.1:1', health: {grpc: true}}", "it is spoken over HTTP/2"),
    ("{proxy: echo, health: {grpc: true}}", "it is spoken over HTTP/2"),
    ("{proxy: 'grpc://127.0.0.1:1', health: {grpc: true, path: /a}}", "belong to a GET"),
    ("{proxy: 'grpc://127.0.0.1:1', health: {grpc: true, tcp: true}}", "asks for less"),
    ("{proxy: 'grpc://127.0.0.1:1', health: {grpc: false}}", "leave the key out"),
    ("{proxy: 'grpc://127.0.0.1:1', health: {grpc: 'a b'}}", "no such character"),
])
def test_refused(tmp_path, backend, sentence):
    config = tmp_path / "sws.yaml"
    config.write_text(f"hosts: [{{domains: default, backend: {backend}}}]\n")
    got = subprocess.run([SWS, "check", "-c", config], capture_output=True, text=True, check=False)
    assert got.returncode == 2 and sentence in got.stderr + got.stdout
