# SPDX-License-Identifier: Apache-2.0
"""Which host, which route, and what rewrites make of a request."""
import re
import time

import pytest

from conftest import Server


def says(text, **more):
    return {"respond": {"body": text + "\n"}, **more}


HOSTS = [
    {"domains": "exact.test", **says("exact")},
    {"domains": ["*.star.test"], **says("star")},
    {"domains": "deep.star.test", **says("deep")},
    {"domains": "*.more.star.test", **says("more star")},
    {"domains": ".dot.test", **says("dot")},
    {"domains": "api.*", **says("prefix")},
    {"domains": "*.loud.test", **says("quiet")},
    {"domains": "a.loud.test", "priority": -1, **says("exact but low")},
    {"domains": "prio.*", "priority": 5, **says("high prefix")},
    {"domains": "prio.test", **says("low exact")},
    {"domains": "[::1]", **says("six")},
    {"domains": "xn--bcher-kva.test", **says("idn")},
]

ROUTES = [
    {"path": "/exact", **says("exact")},
    {"path": "/one/*", **says("one")},
    {"path": "/one/two", **says("one two")},
    {"path": "/one/*/end", **says("one star end")},
    {"path": "/rest/**", **says("rest")},
    {"path": "/rest/deep/**", **says("rest deep")},
    {"path": "/rest/*/x", **says("rest star x")},
    {"path": "/method", "methods": ["POST"], **says("post")},
    {"path": "/method", "methods": ["GET", "HEAD"], **says("get")},
    {"path": "/header", "match": {"header": {"X-Preview": "*"}}, **says("any preview")},
    {"path": "/header", "match": {"header": {"X-Version": "2"}}, **says("version 2")},
    {"path": "/header", "match": {"header": {"Cookie": None}}, **says("no cookie")},
    {"path": "/header", **says("plain")},
    {"path": "/query", "match": {"query": {"v": "2"}}, **says("v 2")},
    {"path": "/query", "match": {"query": {"debug": "*"}}, **says("debug")},
    {"path": "/query", **says("plain")},
    {"path": "/ip", "match": {"ip": ["127.0.0.0/8"]}, **says("local")},
    {"path": "/ip", **says("remote")},
    {"path": "/far", "match": {"ip": ["192.0.2.0/24"]}, **says("far")},
    {"path": "/re/**", "match": {"regex": "^/re/[a-z]+/[0-9]+$"}, **says("regex")},
    {"path": "/re/**", **says("no regex")},
    {"path": "/loud/**", "priority": 10, **says("loud")},
    {"path": "/loud/quiet", **says("never")},
    {"path": "/to", "redirect": "https://other.test"},
    {"path": "/to/deep/**", "redirect": "https://other.test/base/"},
    {"path": "/to/here", "redirect": {"to": "/there", "keep_path": False, "status": 302}},
    {"path": "/gone", "respond": 410},
    {"path": "/json", "respond": {"status": 201, "body": "{}", "type": "application/json"}},
    {"path": "/empty", "respond": 204},
    {"path": "/first", **says("first")},
    {"path": "/first", **says("second")},
]

REWRITES = [
    {"from": "^/old/(.*)$", "to": "/new/$1"},
    {"from": "^/moved/(.*)$", "to": "https://other.test/$1", "flags": ["R"], "status": 301},
    {"from": "^/moved-here$", "to": "/new/x", "flags": ["R"]},
    {"from": "^/forbidden", "flags": ["F"]},
    {"from": "^/gone", "flags": ["G"]},
    {"from": "^/last$", "to": "/mid", "flags": ["L"]},
    {"from": "^/chain$", "to": "/mid"},
    {"from": "^/mid$", "to": "/end"},
    {"from": "^/loop(.*)$", "to": "/loop$1x"},
    {"from": "^/front/.*$", "to": "/front.html", "if": "!exists"},
    {"from": "^/only-post$", "to": "/new/post", "if": "method POST"},
    {"from": "^/by-header$", "to": "/new/$0", "if": "header X-Old ^y"},
    {"from": "^/by-query$", "to": "/new/query?from=rule", "if": "query v ^2$ && !header X-No"},
    {"from": "^/by-host$", "to": "/new/host", "if": "host ^re"},
    {"from": "^/evil/(a+)+$", "to": "/new/evil"},
    {"from": "^/swap/([^/]+)/([^/]+)$", "to": "/new/$2/$1"},
]


@pytest.fixture(scope="module")
def server():
    server = Server({"server": {"trusted_proxies": ["127.0.0.0/8"]}, "hosts": HOSTS + [
        {"domains": "default", **says("default")},
        {"domains": "routes.test", **says("host"), "routes": ROUTES},
        {"domains": "re.test", "root": "@home/www", "rewrites": REWRITES, "routes": [
            {"path": "/new/**", **says("new")}, {"path": "/mid", **says("mid")},
            {"path": "/end", **says("end")}, {"path": "/loop*", **says("loop")}]
            [:3]},
    ]})
    (server.www / "front").mkdir()
    (server.www / "front/real.txt").write_text("real\n")
    (server.www / "front.html").write_text("front page\n")
    server.start()
    yield server
    server.finish()


@pytest.fixture
def wire(server):
    with server.wire() as wire:
        yield wire


@pytest.mark.parametrize("host, body", [
    ("exact.test", "exact"), ("EXACT.Test", "exact"), ("exact.test:8080", "exact"),
    ("exact.test.", "exact"), ("www.exact.test", "default"),
    ("a.star.test", "star"), ("a.b.star.test", "star"), ("star.test", "default"),
    ("deep.star.test", "deep"), ("x.more.star.test", "more star"), ("more.star.test", "star"),
    ("dot.test", "dot"), ("a.dot.test", "dot"), ("a.b.dot.test", "dot"), ("notdot.test", "default"),
    ("api.anything", "prefix"), ("api.x.y", "prefix"), ("api", "default"),
    ("b.loud.test", "quiet"), ("a.loud.test", "quiet"), ("prio.test", "high prefix"),
    ("[::1]", "six"), ("[0:0::1]:80", "six"), ("xn--bcher-kva.test", "idn"),
    ("unknown.test", "default"), ("127.0.0.1", "default")])
def test_host(wire, host, body):
    assert wire.get("/", host=host).body.decode() == body + "\n"


def test_unknown_host_is_421(serve):
    server = serve({"hosts": [{"domains": "known.test", **says("known")}]})
    with server.wire() as wire:
        assert wire.get("/", host="known.test").status == 200
        assert wire.get("/", host="unknown.test").status == 421
        wire.send(b"GET http://unknown.test/ HTTP/1.1\r\nHost: known.test\r\n\r\n")
        assert wire.answer().status == 421
        wire.send(b"GET / HTTP/1.0\r\n\r\n")
        assert wire.answer().status == 421


@pytest.mark.parametrize("target, body", [
    ("/exact", "exact"), ("/exact/", "host"), ("/exact/x", "host"), ("/exactly", "host"),
    ("/one/x", "one"), ("/one/two", "one two"), ("/one/x/end", "one star end"),
    ("/one", "host"), ("/one/x/y", "host"),
    ("/rest", "rest"), ("/rest/", "rest"), ("/rest/a/b/c", "rest"), ("/resto", "host"),
    ("/rest/deep", "rest deep"), ("/rest/deep/x", "rest deep"), ("/rest/y/x", "rest star x"),
    ("/method", "get"), ("/header", "no cookie"), ("/query", "plain"), ("/query?v=2", "v 2"),
    ("/query?v=3", "plain"), ("/query?a=b&v=2", "v 2"), ("/query?debug", "debug"),
    ("/query?debug=", "debug"), ("/query?xdebug=1", "plain"), ("/ip", "local"), ("/far", "host"),
    ("/re/abc/42", "regex"), ("/re/abc/x", "no regex"), ("/loud/quiet", "loud"),
    ("/first", "first"),
    # one canonical path for all
    ("/%6fne/two", "one two"), ("//exact", "exact"), ("/rest/../exact", "exact"),
    ("/./exact", "exact"), ("/EXACT", "host"), ("/exact?x#", None), ("/one/a%2fb", "one")])
def test_route(wire, target, body):
    answer = wire.get(target, host="routes.test")
    if body is None:
        assert answer.status == 400
    else:
        assert answer.body.decode() == body + "\n"


@pytest.mark.parametrize("fields, body", [
    ({"X-Preview": "1", "Cookie": "a=b"}, "any preview"),
    ({"x-preview": "", "Cookie": "a=b"}, "any preview"),
    ({"X-Version": "2", "Cookie": "a=b"}, "version 2"),
    ({"X-Version": "3", "Cookie": "a=b"}, "plain"), ({"Cookie": "a=b"}, "plain"), ({}, "no cookie")])
def test_route_by_header(wire, fields, body):
    assert wire.get("/header", fields, host="routes.test").body.decode() == body + "\n"


def test_route_by_method(wire):
    assert wire.get("/method", host="routes.test", method="POST").body == b"post\n"
    assert wire.get("/method", host="routes.test", method="DELETE").body == b"host\n"


@pytest.mark.parametrize("forwarded, body", [
    ("203.0.113.5", "remote"), ("127.0.0.9", "local"), ("127.0.0.9, 203.0.113.5", "remote"),
    ("203.0.113.5, 127.0.0.1", "remote"), ("nonsense", "local")])
def test_route_by_address_behind_a_trusted_proxy(wire, forwarded, body):
    answer = wire.get("/ip", {"X-Forwarded-For": forwarded}, host="routes.test")
    assert answer.body.decode() == body + "\n"


def test_address_of_an_untrusted_proxy_is_not_believed(serve):
    server = serve({"hosts": [{"domains": "default", **says("else"), "routes": [
        {"path": "/**", "match": {"ip": ["192.0.2.0/24"]}, **says("inside")}]}]})
    assert server.get("/", {"X-Forwarded-For": "192.0.2.1"}).body == b"else\n"


@pytest.mark.parametrize("target, status, location", [
    ("/to?a=b", 308, "https://other.test/to?a=b"),
    ("/to/deep/x%20y?q", 308, "https://other.test/base/to/deep/x%20y?q"),
    ("/to/here?a", 302, "/there")])
def test_redirect(wire, target, status, location):
    answer = wire.get(target, host="routes.test")
    assert (answer.status, answer["Location"]) == (status, location)


def test_respond(wire):
    assert wire.get("/gone", host="routes.test").status == 410
    answer = wire.get("/json", host="routes.test")
    assert (answer.status, answer["Content-Type"], answer.body) == (201, "application/json", b"{}")
    empty = wire.get("/empty", host="routes.test")
    assert (empty.status, empty.body, empty["Content-Length"]) == (204, b"", None)
    assert wire.get("/exact", host="routes.test").status == 200


@pytest.mark.parametrize("target, status, what", [
    ("/old/x", 200, "new"), ("/old/x?q=1", 200, "new"),
    ("/moved/a/b?q=1", 301, "https://other.test/a/b?q=1"), ("/moved-here", 302, "/new/x"),
    ("/forbidden/x", 403, None), ("/gone", 410, None),
    ("/last", 200, "mid"), ("/chain", 200, "end"), ("/loopy", 500, None),
    ("/front/real.txt", 200, "real"), ("/front/page", 200, "front page"),
    ("/only-post", 404, None), ("/by-header", 404, None), ("/by-query?v=2", 200, "new"),
    ("/by-query?v=22", 404, None), ("/by-query", 404, None), ("/by-host", 200, "new"),
    ("/swap/a/b", 200, "new")])
def test_rewrite(wire, target, status, what):
    answer = wire.get(target, host="re.test")
    assert answer.status == status
    if status in (301, 302):
        assert answer["Location"] == what
    elif what:
        assert answer.body.decode() == what + "\n"


def test_rewrite_conditions_that_hold(wire):
    assert wire.get("/only-post", host="re.test", method="POST").body == b"new\n"
    assert wire.get("/by-header", {"X-Old": "yes"}, host="re.test").body == b"new\n"
    assert wire.get("/by-header", {"X-Old": "no"}, host="re.test").status == 404
    assert wire.get("/by-query?v=2", {"X-No": "1"}, host="re.test").status == 404


@pytest.mark.parametrize("target", ["/moved/a%0d%0aX-Injected:%20y", "/moved/%0a", "/moved/a%00b",
                                    "/moved/%0d"])
def test_rewrite_cannot_split_an_answer(wire, target):
    """Row 32: CR and LF in a capture."""
    answer = wire.get(target, host="re.test")
    assert answer["X-Injected"] is None
    assert answer.status == 400 or re.fullmatch(r"https://other\.test/[!-~]*", answer["Location"])


def test_rewrite_regex_does_not_explode(wire):
    start = time.monotonic()
    answer = wire.get("/evil/" + "a" * 2000 + "!", host="re.test")
    assert answer.status in (404, 500) and time.monotonic() - start < 2


def test_many_routes(serve):
    routes = [{"path": f"/r{i}/*/x", **says(str(i))} for i in range(2000)]
    server = serve({"hosts": [{"domains": "default", **says("none"), "routes": routes}]})
    with server.wire() as wire:
        for i in (0, 7, 999, 1999):
            assert wire.get(f"/r{i}/a/x").body.decode() == f"{i}\n"
        assert wire.get("/r2000/a/x").body == b"none\n"
