# SPDX-License-Identifier: Apache-2.0
"""Methods and limits, which are the same on every version of HTTP."""
import json

import pytest

from conftest import Server, wait_for
from versions import VERSIONS, versions_config, wire_of

BODY_MAX = 1_000_000
HEAD_MAX = 8000


@pytest.fixture(scope="module")
def server():
    server = Server(versions_config(
        [{"domains": "default", "respond": {"body": "front\n"},
          "routes": [{"path": "/echo", "backend": "echo"}]},
         {"domains": "files.test", "root": "@home/www"}],
        max={"body": "1MB", "header": "8KB", "headers": 20, "uri": "2KB"}))
    (server.www / "index.html").write_text("index\n")
    server.start()
    yield server
    server.finish()


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def wire(server, version):
    with wire_of(server, version) as wire:
        yield wire


def ask(server, version, *arguments, **options):
    """On a connection of its own, because over HTTP/1.1 some refusals end it."""
    with wire_of(server, version) as wire:
        return wire.get(*arguments, **options)


def test_head_has_the_length_and_no_body(wire):
    for host in ("a", "files.test"):
        get = wire.get("/", host=host)
        head = wire.get("/", host=host, method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head["Content-Length"] == get["Content-Length"] == "6"
        assert head["Content-Type"] == get["Content-Type"]
    missing = wire.get("/none", host="files.test", method="HEAD")
    assert (missing.status, missing.body) == (404, b"")


def test_options(wire):
    answer = wire.get("/", host="files.test", method="OPTIONS")
    assert answer.status in (200, 204)
    assert {"GET", "HEAD", "OPTIONS"} <= set(answer["Allow"].split(", "))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND", "FOO"])
def test_methods_that_files_do_not_serve(wire, method):
    answer = wire.get("/", host="files.test", method=method)
    assert answer.status in (405, 501)
    if answer.status == 405:
        assert "GET" in answer["Allow"]


def test_trace_gives_nothing_back(wire):
    answer = wire.get("/", {"X-Secret": "1"}, method="TRACE")
    assert answer.status == 405
    assert b"secret" not in answer.body.lower()


@pytest.mark.parametrize("host", ["a.test", "files.test"])
def test_longest_target(server, version, host):
    longest = "/" + "a" * 1999
    found = ask(server, version, longest, host=host)
    assert found.status == (404 if host == "files.test" else 200)
    for more in ("a", "?" + "q" * 5000):
        assert ask(server, version, longest + more, host=host).status == 414


def test_most_fields(server, version):
    name = 'sws_bad_requests_total{reason="field_count"}'
    before = server.metric(name)
    # HTTP/1 has Host besides.
    most = {f"x-{i}": "a" for i in range(19)}
    assert ask(server, version, "/", most).status == 200
    assert ask(server, version, "/", {**most, "x-19": "a", "x-20": "a"}).status == 431
    assert server.metric(name) == before + 1


def test_the_log_knows_what_a_refused_request_was(server, version):
    wanted = {"h1": "HTTP/1.1", "h2": "HTTP/2", "h3": "HTTP/3"}[version]
    assert ask(server, version, "/", {f"x-{i}": "a" for i in range(30)}).status == 431

    def found():
        lines = [json.loads(line) for line in server.access_lines(1)]
        return wanted in [line["protocol"] for line in lines if line["status"] == 431]
    wait_for(found, "line of the refused request")


def test_longest_field(server, version):
    """How much of the limit names and framing take differs; far below and above it does not."""
    assert ask(server, version, "/", {"x": "a" * (HEAD_MAX - 500)}).status == 200
    assert ask(server, version, "/", {"x": "a" * (HEAD_MAX + 1)}).status == 431


@pytest.mark.parametrize("length", [1, 65536, BODY_MAX])
def test_body_is_taken_whole(wire, length):
    body = bytes(i % 251 for i in range(length))
    answer = wire.get("/echo", {"Content-Type": "application/octet-stream"}, method="POST",
                      body=body)
    assert answer.status == 200
    assert answer.body == body


def test_many_bodies_go_there_and_back(wire):
    """Input waits for output again and again; none may be forgotten."""
    body = bytes(i % 251 for i in range(BODY_MAX))
    for _ in range(40):
        assert wire.get("/echo", {"Content-Type": "a/b"}, method="POST", body=body).body == body


@pytest.mark.parametrize("target", ["/echo", "/"])
def test_longer_body_is_refused(server, version, target):
    name = 'sws_limit_hits_total{limit="max_body"}'
    before = server.metric(name)
    assert ask(server, version, target, method="POST", body=bytes(BODY_MAX + 1)).status == 413
    assert server.metric(name) == before + 1
    assert ask(server, version, "/").status == 200


def test_other_expectations_are_417(wire):
    assert wire.get("/echo", {"Expect": "200-ok"}, method="POST", body=b"x").status == 417
