# SPDX-License-Identifier: Apache-2.0
"""gRPC through the proxy: its own client and server on both sides, over TLS towards the client."""
import concurrent.futures
import threading

import grpc
import pytest

from conftest import ANSWER_SECONDS, Server, free_port, wait_for
from test_tls import make_certificate
from upstreams_h2 import answering, h2_upstream, h2_url
from versions import versions_config

SERVICE = "test.Test"


class Service:
    """Messages are bytes. What a call saw of its end is kept."""

    def __init__(self):
        self.ended = threading.Event()
        self.seen = []
        self.calls = 0

    def unary(self, message, context):
        self.calls += 1
        context.send_initial_metadata([("x-first", "1")])
        context.set_trailing_metadata([("x-last", "2"), ("x-data-bin", b"\0\1\xff")])
        return message * 2

    def fail(self, message, context):
        context.set_trailing_metadata([("x-why", "because")])
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not \u2713 so")

    def download(self, message, context):
        for i in range(int(message)):
            yield b"%d" % i

    def upload(self, messages, context):
        return b"%d" % sum(len(m) for m in messages)

    def talk(self, messages, context):
        for message in messages:
            yield message[::-1]

    def hang(self, message, context):
        context.add_callback(self.ended.set)
        yield b"first"
        self.ended.wait(3 * ANSWER_SECONDS)

    def refuse_early(self, messages, context):
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")

    def handler(self):
        return grpc.method_handlers_generic_handler(SERVICE, {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Download": grpc.unary_stream_rpc_method_handler(self.download),
            "Upload": grpc.stream_unary_rpc_method_handler(self.upload),
            "Talk": grpc.stream_stream_rpc_method_handler(self.talk),
            "Hang": grpc.unary_stream_rpc_method_handler(self.hang),
            "RefuseEarly": grpc.stream_unary_rpc_method_handler(self.refuse_early)})


def start_service(service, credentials=None):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=64),
                         options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((service.handler(),))
    port = server.add_secure_port("127.0.0.1:0", credentials) if credentials \
        else server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def grpc_config(backend, **server):
    return versions_config([{"domains": ["localhost"], "backend": backend}],
                           protocols=["h1", "h2", "h2c"], max={"body": "1GB"}, **server)


def channel_to(server):
    host, port = server.https_address
    credentials = grpc.ssl_channel_credentials(server.root_pem.read_bytes())
    return grpc.secure_channel(f"{host}:{port}", credentials, options=[
        ("grpc.ssl_target_name_override", "localhost"), ("grpc.default_authority", "localhost"),
        ("grpc.enable_retries", 0), ("grpc.max_receive_message_length", -1)])


def call(channel, kind, method):
    return getattr(channel, kind)(f"/{SERVICE}/{method}")


@pytest.fixture
def grpc_proxy():
    servers = []

    def start(backend, **server):
        servers.append(Server(grpc_config(backend, **server)))
        return servers[-1].start()
    yield start
    for server in servers:
        server.finish()


@pytest.fixture(scope="module", params=["grpc", "grpcs", "h2c"])
def channel(request, tmp_path_factory):
    """A channel through the proxy, in front of a server of its own kind."""
    service, credentials, tls = Service(), None, {}
    if request.param == "grpcs":
        folder = tmp_path_factory.mktemp("grpcs")
        make_certificate(folder, "up", "127.0.0.1", ca=True)
        credentials = grpc.ssl_server_credentials([((folder / "up.key").read_bytes(),
                                                    (folder / "up.pem").read_bytes())])
        tls = {"tls": {"ca": f"{folder}/up.pem"}}
    upstream, port = start_service(service, credentials)
    server = Server(grpc_config({"proxy": f"{request.param}://127.0.0.1:{port}", **tls})).start()
    with channel_to(server) as opened:
        opened.service = service
        opened.proxy = server
        yield opened
    upstream.stop(0).wait()
    server.finish()


# ---- calls ----

def test_unary(channel):
    unary = call(channel, "unary_unary", "Unary")
    for n in [0, 1, 1000, 100_000, 3_000_000]:
        got, rest = unary.with_call(b"m" * n, metadata=[("x-own", "yes")], timeout=60)
        assert got == b"m" * (2 * n)
        assert ("x-first", "1") in list(rest.initial_metadata())
        trailing = dict(rest.trailing_metadata())
        assert trailing["x-last"] == "2" and trailing["x-data-bin"] == b"\0\1\xff"


def test_error(channel):
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, "unary_unary", "Fail")(b"", timeout=60)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "not \u2713 so"
    assert ("x-why", "because") in list(caught.value.trailing_metadata())


def test_unknown_method(channel):
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, "unary_unary", "None")(b"", timeout=60)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_server_streaming(channel):
    got = list(call(channel, "unary_stream", "Download")(b"500", timeout=60))
    assert got == [b"%d" % i for i in range(500)]


def test_client_streaming(channel):
    messages = (b"x" * 10_000 for _ in range(200))
    assert call(channel, "stream_unary", "Upload")(messages, timeout=60) == b"2000000"


def test_bidirectional(channel):
    """Each message is answered before the next one is sent."""
    turn = threading.Semaphore(1)

    def messages():
        for i in range(100):
            assert turn.acquire(timeout=ANSWER_SECONDS)
            yield b"message %d" % i
    got = []
    for answer in call(channel, "stream_stream", "Talk")(messages(), timeout=60):
        got.append(answer[::-1])
        turn.release()
    assert got == [b"message %d" % i for i in range(100)]


def test_early_end(channel):
    """The server ends the call while the client still sends."""
    def messages():
        for _ in range(1000):
            yield b"x" * 10_000
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, "stream_unary", "RefuseEarly")(messages(), timeout=60)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_deadline(channel):
    """It ends at the client, and the server behind is told."""
    channel.service.ended.clear()
    answers = call(channel, "unary_stream", "Hang")(b"", timeout=1)
    assert next(answers) == b"first"
    with pytest.raises(grpc.RpcError) as caught:
        next(answers)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert channel.service.ended.wait(ANSWER_SECONDS)


def test_cancellation(channel):
    channel.service.ended.clear()
    answers = call(channel, "unary_stream", "Hang")(b"")
    assert next(answers) == b"first"
    answers.cancel()
    assert channel.service.ended.wait(ANSWER_SECONDS)


def test_many_calls(channel):
    unary = call(channel, "unary_unary", "Unary")
    calls = [unary.future(b"%d" % i, timeout=60) for i in range(300)]
    assert [c.result() for c in calls] == [b"%d%d" % (i, i) for i in range(300)]


# ---- errors of our own ----

def assert_code(server, code, method="Unary"):
    with channel_to(server) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            call(channel, "unary_unary", method)(b"x", timeout=60)
    assert caught.value.code() == code
    return caught.value


@pytest.mark.parametrize("scheme", ["grpc", "h2c", "http"])
def test_nobody_listens(grpc_proxy, scheme):
    server = grpc_proxy(f"{scheme}://127.0.0.1:{free_port()}")
    error = assert_code(server, grpc.StatusCode.UNAVAILABLE)
    assert error.details() == "502 Bad Gateway"


def test_upstream_is_late(grpc_proxy):
    def serve(peer):
        peer.request()
        peer.wait(lambda: peer.resets)
    with h2_upstream(serve) as upstream:
        server = grpc_proxy({"proxy": h2_url(upstream, "grpc"), "timeout": {"first": "300ms"}})
        assert_code(server, grpc.StatusCode.DEADLINE_EXCEEDED)


def test_own_error_on_the_wire(grpc_proxy):
    """Trailers alone, behind a 200; what is not gRPC, and gRPC-Web, get the error of HTTP."""
    server = grpc_proxy(f"grpc://127.0.0.1:{free_port()}")

    def ask(kind):
        return server.https("localhost", "-i", "-X", "POST", "-d", "x", "-H",
                            f"Content-Type: {kind}", server.https_url("localhost")).stdout
    for kind in ["application/grpc", "application/grpc+proto", "Application/GRPC; x=y"]:
        got = ask(kind).decode()
        assert got.startswith("HTTP/2 200") and got.endswith("\r\n\r\n")
        assert "content-type: application/grpc\r\n" in got
        assert "grpc-status: 14\r\n" in got and "grpc-message: 502 Bad Gateway\r\n" in got
    for kind in ["application/grpc-web", "application/json"]:
        assert ask(kind).startswith(b"HTTP/2 502")


def test_nothing_is_sent_twice(grpc_proxy):
    """A connection that breaks behind a request: it may have been seen, so it is not repeated."""
    def serve(peer):
        peer.answer(peer.request().stream, b"", [("content-type", "application/grpc"),
                                                 ("grpc-status", "0")])
        peer.request()
    with h2_upstream(serve, answering()) as upstream:
        server = grpc_proxy(h2_url(upstream, "grpc"))
        with server.wire() as wire:
            for _ in range(2):
                answer = wire.get("/", {"Content-Type": "application/grpc"}, host="localhost")
            # GET is idempotent; over http:// and h2c:// it would have been made again.
            assert answer["grpc-status"] == "14"
        assert upstream.count == 1


def test_unprocessed_calls_move(grpc_proxy):
    """What the upstream says it did not look at goes to another connection, as gRPC has it."""
    def leave(peer):
        peer.request()
        peer.raw(7, 0, 0, b"\0" * 8)
        peer.connection.take(1)
    service = Service()
    real, port = start_service(service)
    with h2_upstream(leave, lambda peer: relay(peer, port)) as upstream:
        server = grpc_proxy(h2_url(upstream, "grpc"))
        with channel_to(server) as channel:
            assert call(channel, "unary_unary", "Unary")(b"ab", timeout=60) == b"abab"
    real.stop(0).wait()
    assert service.calls == 1


def relay(peer, port):
    """Makes the call that came to a real server and gives its answer."""
    request = peer.request()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        got = call(channel, "unary_unary", "Unary")(request.body[5:])
    peer.head(request.stream, [("content-type", "application/grpc")])
    peer.data(request.stream, b"\0" + len(got).to_bytes(4, "big") + got)
    peer.h2.send_headers(request.stream, [("grpc-status", "0")], end_stream=True)
    peer.flush()
    peer.end()


def test_closed_within_a_stream(grpc_proxy):
    """A call whose answer has begun breaks off; no status is made up for it."""
    def serve(peer):
        stream = peer.request().stream
        peer.head(stream, [("content-type", "application/grpc")])
        peer.data(stream, b"\0\0\0\0\1x")
        peer.end()
    with h2_upstream(serve) as upstream:
        server = grpc_proxy(h2_url(upstream, "grpc"))
        with channel_to(server) as channel:
            answers = call(channel, "unary_stream", "Download")(b"", timeout=60)
            assert next(answers) == b"x"
            with pytest.raises(grpc.RpcError) as caught:
                next(answers)
            assert caught.value.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE,
                                           grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)


def test_server_restarts(grpc_proxy):
    """A graceful stop of the server behind, and the next one on its port. This server cancels calls
    that it took and did not begin, which is an answer; none fails but for that."""
    service = Service()
    first, port = start_service(service)
    server = grpc_proxy({"proxy": f"grpc://127.0.0.1:{port}"})
    failures, done = [], threading.Event()
    with channel_to(server) as channel:
        unary = call(channel, "unary_unary", "Unary")
        assert unary(b"a", timeout=60) == b"aa"

        def ask():
            while not done.is_set():
                try:
                    assert unary(b"a", timeout=60) == b"aa"
                except grpc.RpcError as e:
                    failures.append(e.code())
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        second = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=64))
        second.add_generic_rpc_handlers((service.handler(),))
        assert second.add_insecure_port(f"127.0.0.1:{port}") == port  # SO_REUSEPORT
        second.start()
        before = service.calls
        wait_for(lambda: service.calls > before + 50, "calls before")
        first.stop(ANSWER_SECONDS).wait()
        before = service.calls
        wait_for(lambda: service.calls > before + 50, "calls behind it")
        done.set()
        for thread in threads:
            thread.join()
    second.stop(0).wait()
    assert set(failures) <= {grpc.StatusCode.CANCELLED}
