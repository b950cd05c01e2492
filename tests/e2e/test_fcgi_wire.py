# SPDX-License-Identifier: Apache-2.0
"""FastCGI towards a server whose records are wrong, cut, late, or only unusual."""
import contextlib
import os
import re
import subprocess
import threading

import pytest

from conftest import ANSWER_SECONDS, Server, wait_for
from upstreams import Upstream
from upstreams_fcgi import (END, GET_VALUES_RESULT, PARAMS, STDERR, STDIN, STDOUT, UNKNOWN_TYPE,
                            FcgiRequest, FcgiServer, answer, end, record, said, saying)
from versions import VERSIONS, versions_config, wire_of

HEAD = b"Content-Type: text/plain\r\n\r\n"
OK = answer(b"ok\n")


@pytest.fixture
def proxy():
    servers = []

    def start(*urls, fcgi=None, **backend):
        servers.append(Server(versions_config([{"domains": ["default", "localhost"], "backend": {
            "proxy": list(urls), "fcgi": {"root": "/srv/app", **(fcgi or {})}, "outlier": "off",
            **backend}}], protocols=["h1", "h2", "h2c", "h3"], max={"body": "100MB"})))
        return servers[-1].start()
    yield start
    for server in servers:
        server.finish()


# ---- what is right ----

ANSWERS = [
    (answer(b"ok\n"), b"ok\n"),
    (said(HEAD + b"x" * 200000, padding=255) + end(padding=255), b"x" * 200000),
    (said(HEAD + b"ok\n", size=1, padding=3) + end(), b"ok\n"),
    (record(STDOUT, HEAD + b"ok") + end(), b"ok"),  # streams need not be ended
    (record(STDERR, b"a") + record(STDERR) + OK, b"ok\n"),
    (record(STDOUT, HEAD) + record(STDERR, b"in between") + record(STDOUT, b"ok") + end(), b"ok"),
    (record(GET_VALUES_RESULT, b"abc", 5, request=0) + record(UNKNOWN_TYPE, b"\0" * 8, request=0) +
     OK, b"ok\n"),
    (said(b"Status: 201\nX: y\nContent-Type: a/b\n\nbody") + end(), b"body"),
    (said(HEAD) + end(), b""),
    (said(b"Content-Length: 2\r\n" + HEAD + b"ab") + end(), b"ab"),
]


@pytest.mark.parametrize("data,body", ANSWERS, ids=range(len(ANSWERS)))
def test_answers(proxy, data, body):
    with FcgiServer(saying(data)) as upstream:
        server = proxy(upstream.url)
        got = server.get("/index.php")
        assert got.status == (201 if b"Status: 201" in data else 200)
        assert got.body == body


def test_connection_is_kept(proxy):
    with FcgiServer(saying(said(HEAD + b"ok", padding=255) + end(padding=1))) as upstream:
        server = proxy(upstream.url, fcgi={"keepalive": True}, keepalive={"max": 4})
        with server.wire() as wire:
            for _ in range(20):
                assert wire.get().body == b"ok"
        assert upstream.count == 1 and all(r.keeps for r in upstream.requests)


def test_connection_is_not_kept(proxy):
    with FcgiServer(saying(OK)) as upstream:
        server = proxy(upstream.url)
        with server.wire() as wire:
            for _ in range(3):
                assert wire.get().body == b"ok\n"
        assert upstream.count == 3 and not any(r.keeps for r in upstream.requests)


def test_connection_ends_behind_what_nobody_asked(proxy):
    with FcgiServer(saying(OK + record(STDOUT, b"more"))) as upstream:
        server = proxy(upstream.url, fcgi={"keepalive": True})
        with server.wire() as wire:
            for _ in range(3):
                assert wire.get().body == b"ok\n"
        assert upstream.count == 3


@pytest.mark.parametrize("split,target,wanted", [
    (".php", "/a/b.php/c?x=y", {"SCRIPT_NAME": "/a/b.php", "PATH_INFO": "/c",
                                "SCRIPT_FILENAME": "/srv/app/a/b.php", "QUERY_STRING": "x=y"}),
    (".php", "/a/b.PHP/c", {"SCRIPT_NAME": "/index.php", "PATH_INFO": None}),
    (".cgi", "/a.cgi", {"SCRIPT_NAME": "/a.cgi"}),
    ("off", "/a%2Fb/c.php?x", {"SCRIPT_NAME": "", "PATH_INFO": "/a/b/c.php", "QUERY_STRING": "x",
                               "SCRIPT_FILENAME": None, "REQUEST_URI": "/a%2Fb/c.php?x"}),
])
def test_split(proxy, split, target, wanted):
    with FcgiServer(saying(OK)) as upstream:
        server = proxy(upstream.url, fcgi={"split": split})
        assert server.get(target).status == 200
        params = upstream.requests[0].params
        assert {k: params.get(k) for k in wanted} == wanted


def test_long_values_and_many(proxy):
    """Pairs with lengths of one and four bytes, more of them than one record holds."""
    with FcgiServer(saying(OK)) as upstream:
        server = proxy(upstream.url, fcgi={"env": {f"E{i}": "v" * 4000 for i in range(40)}})
        fields = {f"X-{n}": "a" * n for n in (1, 126, 127, 128, 129, 255, 256, 4000)}
        assert server.get("/", fields).status == 200
        params = upstream.requests[0].params
        assert all(params[f"HTTP_X_{n}"] == "a" * n for n in (1, 126, 127, 128, 129, 255, 256, 4000))
        assert all(params[f"E{i}"] == "v" * 4000 for i in range(40))


def test_what_no_record_holds_is_no_request(proxy):
    with FcgiServer(saying(OK)) as upstream:
        server = proxy(upstream.url, fcgi={"env": {"BIG": "v" * 70000}})
        assert server.get("/").status == 502
        assert not upstream.requests


# ---- bodies ----

@pytest.mark.parametrize("n", [0, 1, 65535, 65536, 3_000_000])
def test_body(proxy, n):
    body = os.urandom(n)
    with FcgiServer(saying(OK)) as upstream:
        server = proxy(upstream.url)
        with server.wire() as wire:
            assert wire.get(method="POST", body=body).status == 200
        assert upstream.requests[0].body == body
        assert upstream.requests[0].params["CONTENT_LENGTH"] == str(n)


def chunked(body, size=1000):
    pieces = [body[i:i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n"


@pytest.mark.parametrize("n", [0, 1, 100_000])
def test_body_without_a_length_is_gathered(proxy, n):
    body = os.urandom(n)
    with FcgiServer(saying(OK)) as upstream:
        server = proxy(upstream.url, fcgi={"body": "100000B"})
        with server.wire() as wire:
            for _ in range(2):
                wire.send(POST + b"\r\n" + chunked(body))
                assert wire.answer("POST").status == 200
        assert [r.body for r in upstream.requests] == [body, body]
        assert upstream.requests[0].params["CONTENT_LENGTH"] == str(n)


def test_body_without_a_length_may_be_too_long(proxy):
    with FcgiServer(saying(OK)) as upstream:
        server = proxy(upstream.url, fcgi={"body": "1000B"})
        with server.wire() as wire:
            wire.send(POST + b"\r\n" + chunked(b"x" * 1001))
            assert wire.answer("POST").status == 413
        assert not upstream.requests


def test_body_without_a_length_may_be_refused(proxy):
    with FcgiServer(saying(OK)) as upstream:
        server = proxy(upstream.url, fcgi={"body": "off"})
        with server.wire() as wire:
            wire.send(POST + b"\r\n" + chunked(b"x"))
            assert wire.answer("POST").status == 411
        assert not upstream.requests


@pytest.mark.parametrize("head", [b"", b"5\r\nhel", b"5\r\nhello\r\n", b"nonsense\r\n"])
def test_client_leaves_while_its_body_is_gathered(proxy, head):
    with FcgiServer(saying(OK)) as upstream:
        server = proxy(upstream.url)
        for _ in range(5):
            with server.wire() as wire:
                wire.send(POST + b"\r\n" + head)
        assert server.get("/").status == 200
        assert len(upstream.requests) == 1


@pytest.mark.parametrize("flag", ["--http1.1", "--http2-prior-knowledge"])
def test_body_from_a_pipe(proxy, flag):
    """curl does not know how long it is."""
    body = os.urandom(200_000)
    with FcgiServer(saying(OK)) as upstream:
        server = proxy(upstream.url)
        got = subprocess.run(["curl", "-sS", flag, "-T", "-", server.url + "/"], input=body,
                             capture_output=True, timeout=30, check=True)
        assert got.stdout == b"ok\n"
        assert upstream.requests[0].body == body


def test_gathered_body_is_sent_again(proxy):
    """It is kept whole, so another endpoint can have it."""
    with FcgiServer(saying(end(protocol_status=2))) as busy, FcgiServer(saying(OK)) as upstream:
        server = proxy(busy.url, upstream.url, balance="first")
        with server.wire() as wire:
            wire.send(POST + b"\r\n" + chunked(b"x" * 300_000))
            assert wire.answer("POST").status == 200
        assert [len(r.body) for r in busy.requests + upstream.requests] == [300_000] * 2


def test_client_waits_for_continue(proxy):
    with FcgiServer(saying(OK)) as upstream:
        server = proxy(upstream.url)
        with server.wire() as wire:
            wire.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n"
                      b"Content-Length: 3\r\n\r\n")
            assert wire.file.readline() == b"HTTP/1.1 100 Continue\r\n"
            assert wire.file.readline() == b"\r\n"
            wire.send(b"abc")
            assert wire.answer("POST").status == 200
        assert upstream.requests[0].body == b"abc"


def test_client_waits_for_continue_before_it_gathers(proxy):
    with FcgiServer(saying(OK)) as upstream:
        server = proxy(upstream.url)
        with server.wire() as wire:
            wire.send(POST + b"Expect: 100-continue\r\n\r\n")
            assert wire.file.readline() == b"HTTP/1.1 100 Continue\r\n"
            assert wire.file.readline() == b"\r\n"
            wire.send(chunked(b"abc"))
            assert wire.answer("POST").status == 200
        assert upstream.requests[0].body == b"abc"


def test_fields_of_one_name_are_one_variable(proxy):
    with FcgiServer(saying(OK)) as upstream:
        server = proxy(upstream.url)
        with server.wire() as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nCookie: a=1\r\nX-A: 1\r\nCookie: b=2\r\n"
                      b"x-a: 2\r\nX!: 3\r\nAccept: a/b\r\nAccept: c/d\r\n\r\n")
            assert wire.answer().status == 200
        params = upstream.requests[0].params
        assert (params["HTTP_COOKIE"], params["HTTP_X_A"]) == ("a=1; b=2", "1, 2")
        assert params["HTTP_ACCEPT"] == "a/b, c/d"
        assert all(re.fullmatch("[A-Z0-9_]+", name) for name in params)


def test_websocket_is_not_passed_on(proxy):
    with FcgiServer(saying(OK)) as upstream:
        server = proxy(upstream.url)
        got = server.get("/", {"Connection": "upgrade", "Upgrade": "websocket",
                               "Sec-WebSocket-Version": "13",
                               "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="})
        assert (got.status, got.body) == (200, b"ok\n")
        assert "HTTP_UPGRADE" not in upstream.requests[0].params


# ---- what is wrong ----

WRONG = [
    b"HTTP/1.1 200 OK\r\n\r\n",
    record(STDOUT, HEAD, version=2),
    record(STDOUT, HEAD, request=2),
    record(STDOUT, HEAD, request=256),
    record(STDOUT, HEAD, request=0),
    record(STDIN, b"x"),
    record(PARAMS, b"x"),
    record(12, b"x"),
    record(0),
    record(UNKNOWN_TYPE, b"\0" * 8),
    record(END, b"\0" * 7),
    record(END, b"\0" * 9),
    record(END),
    record(END, b"\0" * 8, request=3),
    record(STDOUT) + record(STDOUT, HEAD),
    record(STDERR) + record(STDERR),
    record(GET_VALUES_RESULT, request=0) * 33,
    end(),
    end(app_status=1),
    end(protocol_status=3),
    end(protocol_status=77),
    said(b"\r\n") + end(),
    said(b"\n") + end(),
    said(b"X: y\r\n\r\n") + end(),
    said(b"Content-Type: a/b\r\n") + end(),
    said(b"Status: abc\r\n\r\n") + end(),
    said(b"Status: 20\r\n\r\n") + end(),
    said(b"Status: 2000\r\n\r\n") + end(),
    said(b"Status: 101\r\n\r\n") + end(),
    said(b"Status: 700\r\n\r\n") + end(),
    said(b"Status: 200\r\nStatus: 200\r\n\r\n") + end(),
    said(b"Content-Type: a/b\r\nContent-Type: a/b\r\n\r\n") + end(),
    said(b"Location: /a\r\nLocation: /b\r\n\r\n") + end(),
    said(b"Location:\r\n\r\n") + end(),
    said(b"Content-Length: 1\r\nContent-Length: 1\r\n" + HEAD + b"x") + end(),
    said(b"Content-Length: -1\r\n" + HEAD) + end(),
    said(b"Transfer-Encoding: chunked\r\n" + HEAD) + end(),
    said(b"HTTP/1.1 200 OK\r\n" + HEAD) + end(),
    said(b"Content-Type: a\rb\r\n\r\n") + end(),
    said(b"Content-Type : a/b\r\n\r\n") + end(),
    said(b"Content-Type: a/b\r\n folded\r\n\r\n") + end(),
    said(b"Content-Type: a\0b\r\n\r\n") + end(),
    said(b"X: " + b"y" * 70000 + b"\r\n" + HEAD) + end(),
    said(b"".join(b"X%d: y\r\n" % i for i in range(300)) + HEAD) + end(),
]


@pytest.mark.parametrize("data", WRONG, ids=range(len(WRONG)))
def test_wrong(proxy, data):
    with FcgiServer(saying(data)) as upstream:
        server = proxy(upstream.url, retry="off", fcgi={"keepalive": True})
        with server.wire() as wire:
            assert wire.get("/").status == 502
            assert wire.get("/").status == 502
        assert upstream.count == 2


WRONG_LATER = [
    record(STDOUT, HEAD + b"begun") + end(app_status=1),
    record(STDOUT, HEAD + b"begun") + end(protocol_status=2),
    record(STDOUT, HEAD + b"begun") + record(STDOUT, b"x", request=2),
    record(STDOUT, HEAD + b"begun") + record(STDOUT) + record(STDOUT, b"x"),
    record(STDOUT, b"Content-Length: 6\r\n" + HEAD + b"begun") + end(),
    record(STDOUT, b"Content-Length: 4\r\n" + HEAD + b"begun") + end(),
    record(STDOUT, HEAD + b"begun") + b"nonsense",
]


@pytest.mark.parametrize("data", WRONG_LATER, ids=range(len(WRONG_LATER)))
@pytest.mark.parametrize("version", VERSIONS)
def test_wrong_behind_the_head(proxy, data, version):
    """The answer is broken off, never passed on as whole."""
    with FcgiServer(saying(data)) as upstream:
        server = proxy(upstream.url)
        if version == "h1":
            with server.wire() as wire:
                wire.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
                got, was_reset = wire.rest()
                assert was_reset or not got.endswith(b"0\r\n\r\n")
                length = re.search(rb"Content-Length: (\d+)", got)
                assert not length or len(got.split(b"\r\n\r\n", 1)[1]) < int(length[1])
        elif version == "h2":
            url = server.url + "/"
            assert server.curl("--http2-prior-knowledge", url).returncode != 0
        else:
            with wire_of(server, version) as wire:
                with contextlib.suppress(ConnectionResetError):  # not even the head came
                    wire.get("/")
                assert wire.curl.errstr()


def test_cut_at_each_byte(proxy):
    whole = record(STDERR, b"e", 2) + said(b"Status: 200\r\n" + HEAD + b"hello", padding=2) + \
        end(padding=2)
    state = {"cut": 0}

    def serve(connection, request):
        connection.send(whole[:state["cut"]])
        raise EOFError
    with FcgiServer(serve) as upstream:
        server = proxy(upstream.url, retry="off")
        for cut in range(len(whole)):
            state["cut"] = cut
            with server.wire() as wire:
                wire.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
                if cut < whole.index(b"hello"):
                    # The head alone may have gone out before the end was seen.
                    first = wire.file.readline()
                    assert first[9:12] in (b"502", b"200")
                    if first[9:12] == b"502":
                        continue
                got, was_reset = wire.rest()
                assert was_reset or not got.endswith(b"0\r\n\r\n"), cut


def test_overload_is_tried_elsewhere(proxy):
    """The server says that it did nothing, so any method may be tried again."""
    with FcgiServer(saying(end(protocol_status=2))) as busy, FcgiServer(saying(OK)) as other:
        server = proxy(busy.url, other.url, balance="first")
        with server.wire() as wire:
            assert wire.get("/", method="POST", body=b"abc").status == 200
        assert (len(busy.requests), len(other.requests)) == (1, 1)
        assert other.requests[0].body == b"abc"


def test_log_of_programs_is_bounded(proxy):
    """A flood of it ends in time, and costs no more lines than are allowed."""
    def flood(connection, request):
        while True:
            connection.send(record(STDERR, b"PHP message: \x1b[31m" + b"x" * 60000))
    with FcgiServer(flood) as upstream:
        server = proxy(upstream.url, retry="off", timeout={"first": "700ms"})
        assert server.get("/").status == 504
        server.wait_log("a program says")
        lines = [l for l in server.log().splitlines() if "a program says" in l]
        assert 1 <= len(lines) <= 20
        assert all("\x1b" not in l and len(l) < 4096 for l in lines)


def test_many_who_say_much(proxy):
    with FcgiServer(saying(record(STDERR, b"hello") + OK)) as upstream:
        server = proxy(upstream.url)
        with server.wire() as wire:
            for _ in range(100):
                assert wire.get("/").status == 200
        lines = [l for l in server.log().splitlines() if "a program says" in l]
        assert 10 <= len(lines) < 100


def test_answer_before_the_body_is_read(proxy):
    """The rest of the request is not sent, and the client has its answer."""
    def serve(connection):
        FcgiRequest(connection).read()
        connection.send(answer(b"enough\n"))
        connection.take_until(b"never comes")
    with Upstream(serve) as upstream:
        server = proxy(upstream.url.replace("http://", "fcgi://"))
        with server.wire() as wire:
            wire.send_while_open(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 50000000\r\n"
                                 b"\r\n" + b"x" * 100000)
            assert wire.answer("POST").body == b"enough\n"


def test_slow_client_holds_the_program_back(proxy):
    """What nobody takes stays with the program."""
    sent = []
    is_over = threading.Event()

    def serve(connection, request):
        connection.send(record(STDOUT, HEAD))
        connection.socket.settimeout(1)
        try:
            for _ in range(2000):
                connection.send(record(STDOUT, b"x" * 65535))
                sent.append(65535)
        except TimeoutError:
            is_over.set()
            raise EOFError from None
    with FcgiServer(serve) as upstream:
        server = proxy(upstream.url)
        with server.wire() as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            wait_for(is_over.is_set, "program that must wait", 3 * ANSWER_SECONDS)
            assert sum(sent) < 40_000_000


def test_slow_program_holds_the_client_back(proxy):
    """What it does not read stays with the client."""
    may_end = threading.Event()

    def serve(connection):
        FcgiRequest(connection).read()
        assert may_end.wait(3 * ANSWER_SECONDS)
        connection.send(answer(b"enough\n"))
    with Upstream(serve) as upstream:
        server = proxy(upstream.url.replace("http://", "fcgi://"))
        with server.wire() as wire:
            wire.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 90000000\r\n\r\n")
            wire.socket.settimeout(1)
            sent = 0
            with pytest.raises(TimeoutError):
                while sent < 90_000_000:
                    sent += wire.socket.send(b"x" * 65536)
            assert sent < 40_000_000
            may_end.set()
            wire.socket.settimeout(ANSWER_SECONDS)
            assert wire.answer("POST").body == b"enough\n"
