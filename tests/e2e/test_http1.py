# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on the wire: framing, grammar, limits and time-outs."""
import http.client
import random
import select
import socket
import time

import httpx
import pytest

from conftest import Server, Wire, split_answers, wait_for

BEHIND = b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
DRAIN_BYTES = 64 * 1024


@pytest.fixture(scope="module")
def server():
    server = Server({
        "server": {"max": {"body": "1MB", "header": "8KB", "headers": 20, "uri": "2KB"}},
        "hosts": [{"domains": "default", "respond": {"body": "front\n"}, "routes": [
            {"path": "/behind", "respond": {"body": "behind\n"}},
            {"path": "/n/*", "respond": {"body": "numbered\n"}},
            {"path": "/echo", "backend": "echo"},
        ]}, {"domains": "files.test", "root": "@home/www"}]})
    (server.www / "index.html").write_text("index\n")
    server.start()
    yield server
    server.finish()


def exchange(server, data, step=None):
    """All answers to these bytes; the server has to end the connection, without a reset."""
    with server.wire() as wire:
        wire.send_while_open(data, step)
        got, was_reset = wire.rest()
    assert not was_reset, f"reset after {got!r}"
    return split_answers(got)


# ---- what is right ----

def test_keep_alive(server):
    with server.wire() as wire:
        for _ in range(50):
            assert wire.get("/").body == b"front\n"
        assert wire.get("/", {"Connection": "close"})["Connection"] == "close"
        assert wire.is_closed()


def test_httpx_reuses_its_connection(server):
    before = server.metric("sws_conn_accepted_total")
    with httpx.Client(base_url=server.url) as client:
        for _ in range(20):
            assert client.get("/").text == "front\n"
    assert server.metric("sws_conn_accepted_total") == before + 1


def test_curl_reuses_its_connection(server):
    done = server.curl("-w", "%{num_connects}\n", server.url + "/behind", server.url + "/behind")
    assert done.stdout == b"behind\n1\nbehind\n0\n"


def pipelined(n):
    return b"".join(b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"behind" if i % 3 else b"")
                    for i in range(n))


def check_pipelined(wire, n):
    for i in range(n):
        assert wire.answer().body == (b"behind\n" if i % 3 else b"front\n"), i


@pytest.mark.parametrize("step", [None, 1, 7])
def test_pipelining(server, step):
    with server.wire() as wire:
        wire.send_while_open(pipelined(16), step)
        check_pipelined(wire, 16)


def test_pipelining_of_many_with_a_client_that_reads_late(server):
    with server.wire() as wire:
        wire.socket.setblocking(False)
        left = pipelined(5000)
        while left and select.select([], [wire.socket], [], 0.5)[1]:
            left = left[wire.socket.send(left):]
        wire.socket.settimeout(10)
        sent = 5000 - left.count(b"\r\n\r\n")
        check_pipelined(wire, sent)
        if left:
            wire.send(left)
            for _ in range(5000 - sent):
                assert wire.answer().status == 200


def test_one_empty_line_before_a_request_is_forgiven(server):
    with server.wire() as wire:
        wire.send(b"\r\n" + BEHIND)
        assert wire.answer().body == b"behind\n"


def test_http10(server):
    with server.wire() as wire:
        wire.send(b"GET / HTTP/1.0\r\n\r\n")
        answer = wire.answer()
        assert answer.body == b"front\n" and answer["Content-Length"] == "6"
        assert wire.is_closed()
    with server.wire() as wire:
        for _ in range(3):
            wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer = wire.answer()
            assert answer.body == b"front\n" and answer["Connection"].lower() == "keep-alive"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_trace_and_connect_are_refused(server, method):
    target = "a.test:80" if method == "CONNECT" else "/"
    with server.wire() as wire:
        wire.send(f"{method} {target} HTTP/1.1\r\nHost: a.test:80\r\nX-Secret: 1\r\n\r\n".encode())
        answer = wire.answer()
    assert answer.status == 405
    assert b"X-Secret" not in answer.body


def test_options_of_the_server(server):
    with server.wire() as wire:
        wire.send(b"OPTIONS * HTTP/1.1\r\nHost: files.test\r\n\r\n")
        assert wire.answer().status in (200, 204)


def test_absolute_form(server):
    with server.wire() as wire:
        wire.send(b"GET http://files.test/index.html?x HTTP/1.1\r\nHost: other.test\r\n\r\n")
        assert wire.answer().body == b"index\n", "the authority of the target rules"
        wire.send(b"GET http://files.test HTTP/1.1\r\nHost: files.test\r\n\r\n")
        assert wire.answer().body == b"index\n"
    proxied = server.curl("-x", server.url, "http://files.test/")
    assert proxied.stdout == b"index\n"


def test_connection_close_ends_it(server):
    answers = exchange(server, HEAD + b"Connection: close\r\n\r\n" + BEHIND)
    assert [a.body for a in answers] == [b"front\n"]
    assert answers[0]["Connection"] == "close"


def test_half_closed_client_gets_its_answers(server):
    with server.wire() as wire:
        wire.send(pipelined(4))
        wire.socket.shutdown(socket.SHUT_WR)
        check_pipelined(wire, 4)
        assert wire.is_closed()


# ---- bodies nobody reads ----

@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize("body", [
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;a=b;c=\"d e\"\r\nhello\r\n1\r\n!\r\n000\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"B\r\nGET / HTTP/\r\n0\r\n\r\n"])
def test_chunked_body_is_drained(server, body, step):
    with server.wire() as wire:
        wire.send_while_open(CHUNKED + body + BEHIND, step)
        assert wire.answer().body == b"front\n"
        assert wire.answer().body == b"behind\n"


@pytest.mark.parametrize("length", [1, 5, 4096, DRAIN_BYTES - 1])
def test_small_unread_body_is_drained(server, length):
    with server.wire() as wire:
        wire.send(POST + b"Content-Length: %d\r\n\r\n" % length + b"G" * length + BEHIND)
        assert wire.answer().body == b"front\n"
        assert wire.answer().body == b"behind\n"


@pytest.mark.parametrize("is_chunked", [False, True])
def test_large_unread_body_ends_the_connection(server, is_chunked):
    body = BEHIND * 20000
    if is_chunked:
        data = CHUNKED + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    else:
        data = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with server.wire() as wire:
        wire.send_while_open(data + BEHIND)
        got, _ = wire.rest()
    assert [a.body for a in split_answers(got)] == [b"front\n"]


def test_httpx_upload(server):
    with httpx.Client(base_url=server.url) as client:
        for _ in range(3):
            assert client.post("/", content=b"x" * 10000).text == "front\n"
            assert client.post("/", content=iter([b"abc", b"d" * 5000])).text == "front\n"


def test_expect_continue_is_answered_without_the_body(server):
    """Nobody reads the body, so the final answer comes at once; what follows it is the body or,
    where the connection was closed, nothing at all."""
    with server.wire() as wire:
        wire.send(POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BEHIND))
        assert wire.answer().body == b"front\n"
        wire.send_while_open(BEHIND + b"GET /n/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        got, _ = wire.rest()
    assert [a.body for a in split_answers(got)] in ([], [b"numbered\n"])


def test_expect_of_curl(server):
    done = server.curl("-H", "Expect: 100-continue", "--data-binary", "x" * 5000, server.url)
    assert done.stdout == b"front\n"


@pytest.mark.parametrize("expect", ["200-ok", "100-continue, x", "", "100-continue\r\nExpect: 100-continue"])
def test_other_expectations_are_417(server, expect):
    data = POST + f"Expect: {expect}\r\nContent-Length: 2\r\n\r\nhi".encode() + BEHIND
    assert [a.status for a in exchange(server, data)] == [417]


# ---- smuggling and grammar: rows 1, 2, 4, 5, 9 ----

LENGTH = b"Content-Length: 5\r\n"
CODING = b"Transfer-Encoding: chunked\r\n"
BODY = b"\r\n0\r\n\r\n"

BAD = [
    # row 1: two framings, disguised codings
    ("both", POST + LENGTH + CODING + BODY, 400, "content_length_and_coding"),
    ("both reversed", POST + CODING + LENGTH + BODY, 400, "content_length_and_coding"),
    ("xchunked", POST + b"Transfer-Encoding: xchunked\r\n" + BODY, 400, "transfer_coding"),
    ("chunked, identity", POST + b"Transfer-Encoding: chunked, identity\r\n" + BODY, 400,
     "transfer_coding"),
    ("identity", POST + b"Transfer-Encoding: identity\r\n" + BODY, 400, "transfer_coding"),
    ("chunked twice", POST + b"Transfer-Encoding: chunked, chunked\r\n" + BODY, 400,
     "transfer_coding"),
    ("coding lines", POST + CODING + CODING + BODY, 400, "transfer_coding"),
    ("coding lines differ", POST + CODING + b"Transfer-Encoding: x\r\n" + BODY, 400,
     "transfer_coding"),
    ("no coding", POST + b"Transfer-Encoding:\r\n" + BODY, 400, "transfer_coding"),
    ("quoted coding", POST + b"Transfer-Encoding: \"chunked\"\r\n" + BODY, 400,
     "transfer_coding"),
    ("coding parameter", POST + b"Transfer-Encoding: chunked;q=1\r\n" + BODY, 400,
     "transfer_coding"),
    ("space before colon", POST + b"Transfer-Encoding : chunked\r\n" + BODY, 400,
     "field_name_space"),
    ("tab before colon", POST + b"Transfer-Encoding\t: chunked\r\n" + BODY, 400,
     "field_name_space"),
    ("vertical tab", POST + b"Transfer-Encoding: \x0bchunked\r\n" + BODY, 400, "field_value"),
    ("coding on 1.0", b"POST / HTTP/1.0\r\nHost: a\r\n" + CODING + BODY, 400,
     "transfer_coding_version"),
    ("coding behind a bare CR", POST + b"X: y\rTransfer-Encoding: chunked\r\n" + BODY, 400, None),
    ("coding behind a bare LF", POST + b"X: y\nTransfer-Encoding: chunked\r\n" + BODY, 400,
     "line_end"),
    # row 2: Content-Length
    ("length empty", POST + b"Content-Length:\r\n\r\nhello", 400, "content_length"),
    ("length +5", POST + b"Content-Length: +5\r\n\r\nhello", 400, "content_length"),
    ("length -5", POST + b"Content-Length: -5\r\n\r\nhello", 400, "content_length"),
    ("length 0x5", POST + b"Content-Length: 0x5\r\n\r\nhello", 400, "content_length"),
    ("length 5, 6", POST + b"Content-Length: 5, 6\r\n\r\nhello", 400, "content_length"),
    ("length 5, 5", POST + b"Content-Length: 5, 5\r\n\r\nhello", 400, "content_length"),
    ("length 5.0", POST + b"Content-Length: 5.0\r\n\r\nhello", 400, "content_length"),
    ("length 5 5", POST + b"Content-Length: 5 5\r\n\r\nhello", 400, "content_length"),
    ("length 2^64", POST + b"Content-Length: 18446744073709551616\r\n\r\n", 400,
     "content_length"),
    ("length 2^64 + 5", POST + b"Content-Length: 18446744073709551621\r\n\r\nhello", 400,
     "content_length"),
    ("length 2^63", POST + b"Content-Length: 9223372036854775808\r\n\r\n", 400,
     "content_length"),
    ("length twice", POST + LENGTH + LENGTH + b"\r\nhello", 400, "content_length_duplicate"),
    ("lengths differ", POST + LENGTH + b"Content-Length: 6\r\n\r\nhello!", 400,
     "content_length_duplicate"),
    ("length too large", POST + b"Content-Length: 1000001\r\n\r\n", 413, "none"),
    ("length 2^63 - 1", POST + b"Content-Length: 9223372036854775807\r\n\r\n", 413, "none"),
    ("TRACE with a body", b"TRACE / HTTP/1.1\r\nHost: a\r\n" + LENGTH + b"\r\nhello", 400,
     "body_unexpected"),
    # row 4: fields
    ("empty name", HEAD + b": x\r\n\r\n", 400, "field_name"),
    ("no colon", HEAD + b"nonsense\r\n\r\n", 400, None),
    ("folded", HEAD + b"X: y\r\n folded\r\n\r\n", 400, "field_fold"),
    ("folded by a tab", HEAD + b"X: y\r\n\tfolded\r\n\r\n", 400, "field_fold"),
    ("first line folded", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "field_fold"),
    ("NUL in a value", HEAD + b"X: a\0b\r\n\r\n", 400, "field_value"),
    ("NUL in a name", HEAD + b"X\0: ab\r\n\r\n", 400, "field_name"),
    ("CR in a value", HEAD + b"X: a\rb\r\n\r\n", 400, None),
    ("LF line end", b"GET / HTTP/1.1\nHost: a\n\n", 400, "line_end"),
    ("LF field end", HEAD + b"X: a\nY: b\r\n\r\n", 400, "line_end"),
    ("LF as last line", HEAD + b"\n", 400, None),
    ("CR CR LF", HEAD + b"X: a\r\r\n\r\n", 400, None),
    ("control byte in a value", HEAD + b"X: a\x01b\r\n\r\n", 400, "field_value"),
    ("escape in a value", HEAD + b"X: \x1b[31m\r\n\r\n", 400, "field_value"),
    ("DEL in a value", HEAD + b"X: a\x7fb\r\n\r\n", 400, "field_value"),
    ("space in a name", HEAD + b"X Y: a\r\n\r\n", 400, "field_name_space"),
    ("parenthesis in a name", HEAD + b"X(Y: a\r\n\r\n", 400, "field_name"),
    ("UTF-8 in a name", HEAD + b"X\xc3\xa9: a\r\n\r\n", 400, "field_name"),
    # row 9: targets and hosts
    ("fragment", b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"),
    ("space in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, None),
    ("two spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"),
    ("tab behind the method", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "method"),
    ("control byte in the target", b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"),
    ("NUL in the target", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"),
    ("DEL in the target", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target"),
    ("userinfo in the target", b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "authority"),
    ("bad port in the target", b"GET http://a:99999/ HTTP/1.1\r\nHost: a\r\n\r\n", 400,
     "authority"),
    ("no host in the target", b"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 400, "authority"),
    ("other scheme", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target_form"),
    ("unix scheme", b"GET unix:/run/x|http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, None),
    ("no slash", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target_form"),
    ("star", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target_form"),
    ("no host", b"GET / HTTP/1.1\r\n\r\n", 400, "host_missing"),
    ("two hosts", HEAD + b"Host: b\r\n\r\n", 400, "host_duplicate"),
    ("two equal hosts", HEAD + b"Host: a\r\n\r\n", 400, "host_duplicate"),
    ("two hosts on 1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, "host_duplicate"),
    *[(f"host {h.decode('latin-1')!r}", b"GET / HTTP/1.1\r\nHost: " + h + b"\r\n\r\n", 400,
       "host_invalid")
      for h in (b"u@a", b"a b", b"a,b", b"a/b", b"a#b", b"a?b", b"a:x", b"a:99999", b"a:-1",
                b"a:80:80", b"[::1", b"[zz]", b"a\\b", b"a<b", b"a%00b")],
    ("no version", b"GET /\r\nHost: a\r\n\r\n", 400, "version"),
    ("small version", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400, "version"),
    ("version 1.10", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, None),
    ("space behind the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, None),
    ("version 2.0", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "version_unsupported"),
    ("method of no token", b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "method"),
    ("method too long", b"G" * 40 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "method_long"),
    ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n", 400,
     "method"),
    # limits
    ("long target", b"GET /" + b"a" * 2048 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414,
     "target_long"),
    ("long head", HEAD + b"X: " + b"a" * 8192 + b"\r\n\r\n", 431, "head_long"),
    ("many fields", HEAD + b"".join(b"X%d: a\r\n" % i for i in range(20)) + b"\r\n", 431,
     "field_count"),
    ("many cookies", HEAD + b"Cookie: a=b\r\n" * 20 + b"\r\n", 431, "field_count"),
]


@pytest.mark.parametrize("step", [None, 1], ids=["whole", "cut"])
@pytest.mark.parametrize("data, status, reason", [row[1:] for row in BAD],
                         ids=[row[0] for row in BAD])
def test_bad_request(server, data, status, reason, step):
    counter = 'sws_bad_requests_total{reason="%s"}' % reason
    before = server.metric(counter)
    answers = exchange(server, data + BEHIND, step)
    assert [a.status for a in answers] == [status], "one answer, and nothing behind it"
    assert answers[0]["Connection"] == "close"
    if reason:
        assert server.metric(counter) == before + 1


def test_longest_head(server):
    with server.wire() as wire:
        fixed = len("GET / HTTP/1.1\r\nHost: a.test\r\nX: \r\n\r\n")
        assert wire.get("/", {"X": "a" * (8000 - fixed)}).status == 200


@pytest.mark.parametrize("target", [b"/\\", b"/a\\b", b"/%", b"/%00", b"/%2", b"/\xff", b"/%ff",
                                    b"/..", b"/a/../.."])
@pytest.mark.parametrize("host", [b"a", b"files.test"])
def test_path_that_is_refused_leaves_the_server_alone(server, host, target):
    edge = server.status()["pid"]
    with server.wire() as wire:
        wire.send(b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, host))
        assert wire.answer().status in (200, 400, 404)
    assert server.status()["pid"] == edge, "it went on"


# ---- row 3: chunks ----

ECHOED = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD_CHUNKS = [
    ("bare LF", b"5\nhello\r\n0\r\n\r\n", 400),
    ("missing CR LF behind the data", b"5\r\nhello0\r\n\r\n", 200),
    ("LF behind the data", b"5\r\nhello\n0\r\n\r\n", 200),
    ("0x prefix", b"0x5\r\nhello\r\n0\r\n\r\n", 400),
    ("sign", b"+5\r\nhello\r\n0\r\n\r\n", 400),
    ("minus", b"-5\r\nhello\r\n0\r\n\r\n", 400),
    ("space before", b" 5\r\nhello\r\n0\r\n\r\n", 400),
    ("space behind", b"5 \r\nhello\r\n0\r\n\r\n", 400),
    ("underscore", b"1_0\r\nhello\r\n0\r\n\r\n", 400),
    ("no size", b"\r\nhello\r\n0\r\n\r\n", 400),
    ("no digit", b"z\r\nhello\r\n0\r\n\r\n", 400),
    ("overflow", b"10000000000000005\r\nhello\r\n0\r\n\r\n", 413),
    ("2^64 - 1", b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n", 413),
    ("many zeros", b"0" * 100 + b"5\r\nhello\r\n0\r\n\r\n", 413),
    ("CR in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n", 400),
    ("LF in an extension", b"5;a\nb\r\nhello\r\n0\r\n\r\n", 400),
    ("2 KB extension", b"5;" + b"a" * 2048 + b"\r\nhello\r\n0\r\n\r\n", 413),
    ("17 KB of extensions", (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 18 + b"0\r\n\r\n", 200),
    ("Content-Length as trailer", b"0\r\nContent-Length: 5\r\n\r\n", 400),
    ("Transfer-Encoding as trailer", b"0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("Host as trailer", b"0\r\nHost: b\r\n\r\n", 400),
    ("folded trailer", b"0\r\nX: y\r\n z\r\n\r\n", 400),
    ("LF trailer", b"0\r\nX: y\n\r\n", 400),
    ("LF at the end", b"0\r\n\n", 400),
]


@pytest.mark.parametrize("step", [None, 1], ids=["whole", "cut"])
@pytest.mark.parametrize("body, status", [row[1:] for row in BAD_CHUNKS],
                         ids=[row[0] for row in BAD_CHUNKS])
def test_bad_chunks(server, body, status, step):
    """Nothing behind a body that cannot be framed is a request. A handler that takes the body
    answers with its first byte: what breaks later (200) breaks the answer off."""
    for seen in (b"", b"5\r\nfirst\r\n"):
        with server.wire() as wire:
            wire.send_while_open(ECHOED + seen + body + BEHIND, step)
            got, _ = wire.rest()
        wanted = 200 if seen else status
        head, _, rest = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % wanted)
        assert b"HTTP/1.1" not in rest and b"behind" not in rest
        if wanted == 200:
            assert b"Transfer-Encoding: chunked" in head
            assert not rest.endswith(b"0\r\n\r\n"), "the answer seems whole"
            assert b"".join(rest.split(b"\r\n")[1::2]).startswith(b"first" if seen else b"")
        else:
            assert b"Connection: close" in head


@pytest.mark.parametrize("body", [row[1] for row in BAD_CHUNKS], ids=[row[0] for row in BAD_CHUNKS])
def test_bad_chunks_that_nobody_reads(server, body):
    """The answer may be on its way before the fault shows."""
    with server.wire() as wire:
        wire.send_while_open(CHUNKED + body + BEHIND)
        got, _ = wire.rest()
    answers = split_answers(got)
    assert [a.status for a in answers] in ([200], [400], [413]), "one answer, early or not"
    assert answers[0].body != b"behind\n"


def test_extension_of_a_megabyte(server):
    with server.wire() as wire:
        wire.send_while_open(CHUNKED + b"5;" + b"a" * 1_000_000 + b"\r\nhello\r\n0\r\n\r\n" + BEHIND)
        got, _ = wire.rest()
    assert len(split_answers(got)) == 1


def test_random_bytes_never_harm(server):
    source = random.Random(38)
    for _ in range(60):
        noise = bytes(source.choice(b"GET /\r\n :;,\0\xff0123456789HTTP") for _ in range(300))
        with server.wire() as wire:
            wire.send_while_open(noise + b"\r\n\r\n")
            wire.socket.shutdown(socket.SHUT_WR)
            wire.rest()
    assert server.get("/").body == b"front\n"


# ---- row 38: time ----

QUICK = {"server": {"timeouts": {"header": "1s", "idle": "1s", "read_idle": "1s",
                                 "write_idle": "1s"}}}


def seconds_until_closed(wire, drip=b"", every=0.2, limit=8):
    """How long the server holds the connection, while `drip` comes byte by byte."""
    start = time.monotonic()
    sent = 0
    while time.monotonic() - start < limit:
        if select.select([wire.socket], [], [], every)[0]:
            try:
                if not wire.socket.recv(65536):
                    break
            except ConnectionResetError:
                break
        elif sent < len(drip):
            wire.send_while_open(drip[sent:sent + 1])
            sent += 1
    else:
        pytest.fail(f"still open after {limit} s")
    return time.monotonic() - start


def hits(server, limit):
    return server.metric('sws_limit_hits_total{limit="%s"}' % limit)


def test_slow_head_is_cut(serve):
    server = serve(QUICK)
    with server.wire() as standing, server.wire() as dripping:
        standing.send(b"GET / HT")
        dripping.send(b"G")
        assert 0.8 < seconds_until_closed(dripping, b"ET / HTTP/1.1\r\nHost: " + b"a" * 99) < 3
        assert seconds_until_closed(standing) < 2
    assert hits(server, "header_timeout") == 2
    assert server.get("/").status == 200


def test_idle_connections_are_closed(serve):
    server = serve(QUICK)
    with server.wire() as silent, server.wire() as used:
        assert used.get("/").status == 200
        assert 0.8 < seconds_until_closed(used) < 3
        assert seconds_until_closed(silent) < 3
    assert hits(server, "idle_timeout") >= 1
    wait_for(lambda: server.metric("sws_conn_active") == 0, "end of all connections")


def test_body_that_stands_still_is_cut(serve):
    server = serve(QUICK)
    with server.wire() as wire:
        wire.send(POST + b"Content-Length: 1000\r\n\r\nhello")
        assert 0.8 < seconds_until_closed(wire) < 4
    assert hits(server, "read_idle_timeout") == 1


def test_body_below_the_least_rate_is_cut(serve):
    server = serve(merge_quick({"read_idle": "3s"}, {"min_rate": "10KB/s"}))
    with server.wire() as wire:
        wire.send(POST + b"Content-Length: 50000\r\n\r\n")
        seconds_until_closed(wire, b"x" * 1000, every=0.05, limit=15)
    assert hits(server, "min_rate") == 1


def merge_quick(timeouts, maxima):
    return {"server": {"timeouts": {**QUICK["server"]["timeouts"], **timeouts}, "max": maxima}}


def test_slow_upload_that_goes_on_is_not_cut(serve):
    server = serve(QUICK)
    with server.wire() as wire:
        wire.send(POST + b"Content-Length: 2000\r\n\r\n")
        assert wire.answer().status == 200
        for _ in range(10):
            assert not select.select([wire.socket], [], [], 0.3)[0], "cut, or answered again"
            wire.send(b"x" * 200)
        assert wire.get("/").status == 200


def test_client_that_does_not_read_is_cut(serve):
    server = serve({**QUICK, "hosts": [{"domains": "default", "root": "@home/www"}]})
    with open(server.www / "big", "wb") as f:
        f.truncate(200_000_000)
    with server.wire() as wire:
        wire.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: hits(server, "write_idle_timeout") == 1, "cut of the slow reader")
        data, _ = wire.rest()
    assert len(data) < 200_000_000


def test_slow_reader_that_goes_on_is_not_cut(serve):
    server = serve({**QUICK, "hosts": [{"domains": "default", "root": "@home/www"}]})
    with open(server.www / "big", "wb") as f:
        f.truncate(30_000_000)
    with server.wire() as wire:
        wire.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        start, got = time.monotonic(), 0
        while time.monotonic() - start < 3:
            select.select([], [], [], 0.1)
            got += len(wire.file.read(500_000))
        got += len(wire.rest()[0])
    assert got > 30_000_000


# ---- too many ----

def test_over_max_connections_is_503(serve):
    server = serve({"server": {"worker": {"processes": 1, "max_connections": 4}}})
    held = [server.wire() for _ in range(4)]
    for wire in held:
        assert wire.get("/").status == 200
    with server.wire() as extra:
        extra.send_while_open(BEHIND)
        data, _ = extra.rest()
    answers = split_answers(data)
    assert [a.status for a in answers] == [503]
    assert answers[0]["Connection"] == "close"
    assert hits(server, "max_connections") >= 1
    for wire in held:
        assert wire.get("/").status == 200, "those that were there go on"
    held.pop().close()

    def again():
        try:
            return server.get("/").status == 200
        except (OSError, http.client.HTTPException):
            return False
    wait_for(again, "place for a new connection")
    for wire in held:
        wire.close()


def test_client_that_vanishes_leaves_nothing(serve):
    server = serve()
    for _ in range(50):
        wire = Wire(server.address)
        wire.send(BEHIND * 3)
        # Closing with unread answers sends a reset.
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wire.close()
    wait_for(lambda: server.metric("sws_conn_active") == 0, "end of all connections")
    assert server.get("/").status == 200
