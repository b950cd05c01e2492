# SPDX-License-Identifier: Apache-2.0
"""What `sws explain` says of a request is what happens to it: a table of requests is explained and
then sent, and status, route, backend and fields must agree."""
import json
import re

import pytest

from conftest import Server, run_sws
from upstreams import Upstream, ok
from versions import versions_config


class Named:
    """Answers with its name and the fields that came."""

    def __init__(self, name):
        self.name = name
        self.heads = []
        self.line = None

    def __call__(self, connection):
        while True:
            line, fields = connection.head()
            self.heads.append(dict(fields))
            self.line = line
            connection.send(ok(self.name.encode()))


HOSTS = [
    {"domains": ["a.test", "*.a.test"], "root": "@home/www", "fallback": "/index.html",
     "index": ["index.html"], "security": "strict", "error_pages": {"404": "404.html"},
     "precompressed": ["br", "gz"],
     "rewrites": [{"from": "^/old/(.*)$", "to": "/api/$1"},
                  {"from": "^/once(.*)$", "to": "/twice$1x", "flags": "L"},
                  {"from": "^/l/(.*)$", "to": "/l/l/$1", "flags": "L"},
                  {"from": "^/secret", "flags": "F"}, {"from": "^/dead", "flags": "G"},
                  {"from": "^/away/(.*)$", "to": "https://o.test/$1", "flags": "R"},
                  {"from": "^/try/(.*)$", "to": "/plain.txt", "if": "!file"}],
     "routes": [
         {"path": "/api/**", "match": {"header": {"X-Key": "1"}}, "backend": "app",
          "headers": {"request": {"X-Up": "1", "X-Drop": None},
                      "response": {"X-Down": "2", "Server": None}}},
         {"path": "/api/**", "methods": ["POST"], "split": {"app": 1, "other": 2},
          "split_by": "header:X-User"},
         {"path": "/api/**", "match": {"query": {"v": "2"}}, "backend": "other"},
         {"path": "/api/**", "match": {"ip": ["127.0.0.0/8"]}, "respond": {"body": "local\n"}},
         {"path": "/digits/**", "match": {"regex": "^/digits/[0-9]+$"}, "respond": 204},
         {"path": "/r/**", "redirect": {"to": "https://x.test/", "status": 301,
                                        "keep_path": True}},
         {"path": "/made", "respond": {"status": 201, "body": "made\n"}},
         {"path": "/twicex", "respond": {"status": 202, "body": "x"}},
         {"path": "/list/**", "listing": "html"},
         {"path": "/l/**", "backend": "other"},
         {"path": "/echo/**", "backend": "echo"},
         {"path": "/quiet", "respond": 204, "log": "off"},
         {"path": "/own/**", "rewrites": [{"from": "^/own/(.*)$", "to": "/mine/$1"}],
          "backend": "app"}]},
    {"domains": "b.test", "backend": "other"},
    {"domains": "none.test", "routes": [{"path": "/only", "respond": 204}]},
]

# Target, and what else the request is made of.
REQUESTS = [
    ("/", {}), ("/index.html", {}), ("/plain.txt", {}), ("/plain.txt", {"method": "HEAD"}),
    ("/plain.txt", {"method": "POST"}), ("/plain.txt", {"method": "OPTIONS"}),
    ("/plain.txt", {"headers": {"Range": "bytes=1-3"}}),
    ("/plain.txt", {"headers": {"Range": "bytes=100-"}}),
    ("/plain.txt", {"headers": {"If-None-Match": "*"}}),
    ("/plain.txt", {"headers": {"If-Match": '"no"'}}),
    ("/dir", {}), ("/dir?x=1", {}), ("/dir/", {}), ("/plain.txt/", {}), ("/missing", {}),
    ("/missing", {"headers": {"Accept": "text/html"}}), ("/.env", {}), ("/out", {}), ("/in", {}),
    ("/a%2fb", {}), ("/%zz", {}), ("/..%2f", {}), ("/../x", {}), ("//plain.txt", {}),
    ("/%70lain.txt", {}), ("/list/", {}), ("/list/x", {}),
    ("/app.js", {"headers": {"Accept-Encoding": "br"}}), ("/app.js", {}),
    ("/big.css", {"headers": {"Accept-Encoding": "gzip"}}),
    ("/api/x", {}), ("/api/x", {"headers": {"X-Key": "1", "X-Drop": "d"}}),
    ("/api/x?v=2", {}), ("/api/x?v=3", {}), ("/api/x?v=2", {"headers": {"X-Key": "1"}}),
    ("/api/y", {"method": "POST", "headers": {"X-User": "ann"}}),
    ("/api/y", {"method": "POST", "headers": {"X-User": "bob"}}),
    ("/api/y", {"method": "POST", "headers": {"X-User": "eve"}}),
    ("/api/y", {"method": "POST", "headers": {"X-User": "zoe"}}),
    ("/old/x", {}), ("/old/x?v=2", {}), ("/once", {}), ("/secret", {}), ("/l/one", {}), ("/dead", {}),
    ("/away/y?q", {}), ("/try/y", {}), ("/digits/12", {}), ("/digits/ab", {}),
    ("/r/x?a=b", {}), ("/made", {}), ("/made", {"method": "DELETE"}), ("/own/z?k", {}),
    ("/echo/", {}), ("/quiet", {}), ("/livez", {}), ("/readyz", {}), ("/x", {"host": "b.test"}),
    ("/x", {"host": "b.test:99"}), ("/x", {"host": "sub.a.test"}), ("/x", {"host": "none.test"}),
    ("/x", {"host": "else.test"}), ("/" + "x" * 9000, {}), ("/x", {"method": "TRACE"}),
    ("/api/z", {"method": "POST", "headers": {"Content-Length": "99999999999"}}),
]


def make_files(server):
    (server.www / "index.html").write_text("<p>index\n")
    (server.www / "404.html").write_text("<p>none\n")
    (server.www / "plain.txt").write_text("plain text\n")
    (server.www / ".env").write_text("secret\n")
    (server.www / "app.js").write_text("let a;\n")
    (server.www / "app.js.br").write_bytes(b"coded")
    (server.www / "big.css").write_text("a { color: red }\n" * 500)
    for name in ("dir", "list"):
        (server.www / name).mkdir()
    (server.www / "dir/index.html").write_text("<p>dir\n")
    (server.home / "outside.txt").write_text("outside\n")
    (server.www / "out").symlink_to(server.home / "outside.txt")
    (server.www / "in").symlink_to("plain.txt")


@pytest.fixture(scope="module")
def site():
    app, other = Named("app"), Named("other")
    with Upstream(app) as app_at, Upstream(other) as other_at:
        config = versions_config(HOSTS, worker={"processes": 1})
        config["backends"] = {name: {"proxy": at.url, "keepalive": {"idle": "1s"}}
                              for name, at in (("app", app_at), ("other", other_at))}
        server = Server(config)
        make_files(server)
        server.backends = {"app": app, "other": other}
        yield server.start()
        server.finish()


def explain(server, target, *, host="a.test", method="GET", headers=None, scheme="http", more=()):
    fields = [part for k, v in (headers or {}).items() for part in ("-H", f"{k}: {v}")]
    done = server.command("explain", f"{scheme}://{host}{target}", "-X", method, *fields, "--json",
                          *more)
    assert done.returncode == 0, done.stderr
    said = {}
    for step in json.loads(done.stdout)["steps"]:
        said.setdefault(step["phase"], []).append(step["text"])
    return said


def fields_of(lines):
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def check_answer(said, answer):
    for name, value in fields_of(said["answer"][1:]).items():
        if name.startswith("without "):
            assert answer[name[len("without "):]] is None
        elif name not in ("x-request-id", "date"):
            assert answer[name] == value, name


def check_backend(said, backend):
    up = fields_of(said["upstream"][1:])
    assert backend.line.strip() == said["upstream"][0].replace(" over", "")
    seen = {k.lower(): v for k, v in backend.heads[-1].items()}
    for name in set(up) - {"x-request-id"}:
        if not name.startswith("without "):
            assert seen[name] == up[name]
    # What frames the message belongs to the connection.
    assert set(seen) - set(up) <= {"content-length", "transfer-encoding", "connection"}


def check_one(site, target, request_of):
    """Explains a request and makes it; gives what was said and what came."""
    said = explain(site, target, **request_of)
    counts = {name: len(one.heads) for name, one in site.backends.items()}
    answer = site.get(target, **request_of)
    asked = [name for name, one in site.backends.items() if len(one.heads) > counts[name]]
    assert asked == said.get("backend", [])
    if asked:
        assert answer.status == 200
        check_backend(said, site.backends[asked[0]])
    else:
        assert answer.status == int(re.match(r"\d+", said["answer"][0])[0])
    if "backend echo" not in said.get("handler", [""])[0]:
        check_answer(said, answer)
    return said, answer.status


def test_says_what_happens(site):
    made = [check_one(site, target, request_of) for target, request_of in REQUESTS]
    assert len(made) >= 50
    logged = [one for one in made if one[0].get("log") != ["off"]]
    lines = [json.loads(line) for line in site.access_lines(len(logged))]
    assert len(lines) == len(logged)
    for (said, status), line in zip(logged, lines):
        assert line["status"] == status
        routes = [text for text in said.get("route", []) if " passed over: " not in text]
        if routes:
            assert line["route"] == ("-" if routes[0].startswith("the host") else routes[0])


def test_address_is_evaluated(site):
    local = explain(site, "/api/x")
    assert local["handler"] == ["respond 200, 6 bytes"]
    far = explain(site, "/api/x", more=("--ip", "192.0.2.1"))
    assert "/api/** passed over: its address does not match" in far["route"]
    assert explain(site, "/livez", more=("--ip", "192.0.2.1"))["health"] == [
        "passed over: only the machine itself is told"]


def test_reasons(site):
    said = explain(site, "/api/x", more=("--ip", "2001:db8::1"))["route"]
    assert said[:3] == ["/api/** passed over: its header X-Key does not match",
                        "/api/** passed over: its method does not match",
                        "/api/** passed over: its query v does not match"]
    assert "/digits/** passed over: its regex does not match" in \
        explain(site, "/digits/ab")["route"]


def test_inherited_rewrites_run_once(site):
    assert explain(site, "/l/one")["upstream"][0] == "GET /l/l/one over HTTP/1.1"


def test_http2(site):
    said = explain(site, "/api/x", headers={"X-Key": "1"}, more=("--http2",))
    assert "via: 2 selenia" in said["upstream"]


def test_connections(tmp_path):
    """What TLS decides: passed on, sent on, refused."""
    config = tmp_path / "sws.yaml"
    config.write_text("""\
server: {listen: [80, 443], admin: off, tls: {issuer: internal}}
hosts:
  - {domains: passed.test, backend: "tcp://127.0.0.1:1"}
  - {domains: own.test, respond: 204}
""")

    def text(url, *more):
        return run_sws("explain", "-c", config, url, *more).stdout
    assert "TLS for this name is passed on as it is" in text("https://passed.test/")
    assert "answer     308" in text("http://passed.test/")
    assert "answer     308" in text("http://own.test/x?y")
    assert "location: https://own.test/x?y\n" in text("http://own.test/x?y")
    assert "answer     204" in text("https://own.test/x")
    assert "answer     204" in text("own.test/x", "--http3")
    assert "answer     421" in text("https://else.test/")


def test_golden(tmp_path):
    """The whole text for a request that meets most of it."""
    config = tmp_path / "sws.yaml"
    config.write_text("""\
server: {listen: [80], admin: off, trusted_proxies: [10.0.0.0/8]}
backends:
  app:
    proxy: [http://10.1.0.1:8080, {url: "http://10.1.0.2:8080", backup: true}]
    balance: hash
    hash: cookie:id
    sticky: {cookie: at}
    health: /healthz
  new: http://10.1.0.3:8080
hosts:
  - domains: shop.example
    security: basic
    error_pages: {502: /srv/errors/502.html}
    rewrites: [{from: '^/shop/(.*)$', to: /api/$1}]
    routes:
      - {path: /api/admin/**, match: {ip: [10.0.0.0/8]}, respond: 204}
      - path: /api/**
        split: {app: 9, new: 1}
        split_by: header:X-User
        mirror: {to: new, share: "10%"}
        headers: {request: {X-Shop: "1"}, response: {Server: null}}
""")
    done = run_sws("explain", "-c", config, "http://shop.example/shop/admin/x?y=1", "-X", "POST",
                   "-H", "X-User: ann", "-H", "X-Forwarded-For: 192.0.2.7", "-H", "Proxy: x",
                   "--ip", "10.0.0.9")
    assert done.returncode == 0, done.stderr
    text = re.sub(r"x-request-id: [0-9a-f]{32}", "x-request-id: ID", done.stdout)
    assert text == GOLDEN


GOLDEN = """\
limits     bodies up to 100000000 bytes
normalise  path /shop/admin/x
client     192.0.2.7, as a trusted proxy says
host       shop.example
rewrite    to /api/admin/x?y=1 by rule 1
route      /api/admin/** passed over: its address does not match
           /api/**
log        json
handler    split by header:X-User: app 9, new 1; here
backend    app
handler    backend app: http://10.1.0.1:8080, http://10.1.0.2:8080 (backup)
           endpoint: by hash of cookie:id
           or the one that the cookie at names
           host pass, connect within 2000 ms, first byte within 60000 ms
           up to 2 more tries elsewhere, bodies up to 64000 bytes
           checked every 5000 ms
           copies of 10 % of the requests to new
upstream   POST /api/admin/x?y=1 over HTTP/1.1
           host: shop.example
           X-User: ann
           x-request-id: ID
           forwarded: for=10.0.0.9;host="shop.example";proto=http
           x-forwarded-for: 192.0.2.7, 10.0.0.9
           x-forwarded-proto: http
           x-forwarded-host: shop.example
           via: 1.1 selenia
           X-Shop: 1
           without Proxy
answer     that of the backend, with
           via: 1.1 selenia
           X-Content-Type-Options: nosniff
           Referrer-Policy: strict-origin-when-cross-origin
           Content-Security-Policy: frame-ancestors 'self'
           without Server
failure    502: /srv/errors/502.html
           503: the built-in page
           504: the built-in page
"""
