# SPDX-License-Identifier: Apache-2.0
"""Files: what is found, how it is described, and what is never given away."""
import email.utils
import json
import os
import random
import re
import shutil
import socket
import subprocess
import time
import urllib.parse

import httpx
import pytest

from conftest import Server, wait_for
from versions import VERSIONS, versions_config, wire_of

SECRET = "the secret outside of the root"
TEXT = "".join(f"line {i} of a text that is worth compressing\n" for i in range(400))
LETTERS = "abcdefghijklmnopqrstuvwxyz" * 10  # 260 bytes, below the least size for compression
HTML = {"Accept": "text/html"}


def build_tree(www):
    for folder in ("dir/sub", "plain", ".git", ".well-known", "errors", "spa/assets", "sibling"):
        (www / folder).mkdir(parents=True)
    for name, text in {
            "index.html": "<p>index\n", "dir/index.html": "<p>dir\n", "letters.txt": LETTERS,
            "text.txt": TEXT, "plain/a.txt": "a\n", "plain/sub.txt": "b\n", ".env": SECRET,
            ".git/config": SECRET, "dir/.hidden": SECRET, ".well-known/x.txt": "known\n",
            "errors/404.html": "<p>my 404\n", "errors/4xx.html": "<p>my 4xx\n",
            "spa/index.html": "<p>spa\n", "spa/assets/app.js": "app()\n", "empty.txt": "",
            "with space.txt": "space\n", "ü.txt": "umlaut\n", "a+b.txt": "plus\n",
            "100%.txt": "percent\n"}.items():
        (www / name).write_text(text)
    for name in ("a.html", "a.htm", "a.css", "a.js", "a.mjs", "a.json", "a.svg", "a.png", "a.jpg",
                 "a.woff2", "a.wasm", "a.txt", "a.xml", "a.pdf", "a.mp4", "a.webp", "a.ico",
                 "A.HTML", "a.tar.gz", "a.unknown", "noext"):
        (www / "dir/sub" / name).write_text("x\n")
    random_text = random.Random(1)
    (www / "big.txt").write_text("".join(
        f"{random_text.random()} is number {i}\n" for i in range(100_000)))
    (www / "random.bin").write_bytes(random_text.randbytes(5000))
    with open(www / "sparse.bin", "wb") as f:
        f.truncate(200_000_000)
    for coding, text in (("gz", "gzip sibling\n"), ("br", "br sibling\n"), ("zst", "zstd sibling\n")):
        (www / "sibling/app.js").write_text("plain\n" * 200)
        plain = www / "sibling/one"
        plain.write_text(text)
        with open(www / f"sibling/app.js.{coding}", "wb") as f:
            subprocess.run([{"gz": "gzip", "br": "brotli", "zst": "zstd"}[coding], "-c",
                            str(plain)], stdout=f, check=True)
    shutil.copy(www / "sibling/app.js.gz", www / "sibling/only.css.gz")
    (www / "sibling/only.css").write_text("plain\n" * 200)
    # An old date, so that the validators are strong.
    for path in www.rglob("*"):
        if path.is_file():
            os.utime(path, (1_700_000_000, 1_700_000_000))


def build_links(home):
    www = home / "www"
    (home / "secret.txt").write_text(SECRET)
    (home / "outside").mkdir()
    (home / "outside/secret.txt").write_text(SECRET)
    (www / "links").mkdir()
    for name, target in {"inside.txt": "../letters.txt", "out.txt": "../../secret.txt",
                         "outdir": "../../outside", "absolute.txt": str(home / "secret.txt"),
                         "loop": "loop", "dangling": "none", "indir": "../plain"}.items():
        (www / "links" / name).symlink_to(target)
    os.mkfifo(www / "fifo")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(www / "socket"))


@pytest.fixture(scope="module")
def server():
    root = {"root": "@home/www"}
    server = Server(versions_config([
        {"domains": "default", **root},
        {"domains": "html.test", "listing": "html", **root},
        {"domains": "json.test", "listing": "json", **root},
        {"domains": "dot.test", "dotfiles": True, **root},
        {"domains": "nolinks.test", "symlinks": "off", **root},
        {"domains": "links.test", "symlinks": "all", **root},
        {"domains": "spa.test", "root": "@home/www/spa", "fallback": "/index.html"},
        {"domains": "pages.test", **root,
         "error_pages": {"404": "errors/404.html", "4xx": "errors/4xx.html"}},
        {"domains": "ownpages.test", **root, "error_pages": {"404": "@home/page.html"}},
        {"domains": "strict.test", "security": "strict", **root},
        {"domains": "unsafe.test", "security": "off", **root},
        {"domains": "raw.test", "compress": "off", "precompressed": "off", **root},
        {"domains": "gzip.test", "compress": ["gzip"], **root},
        {"domains": "charset.test", "charset": "iso-8859-1", **root},
        {"domains": "index.test", "index": ["none.html", "letters.txt"], **root},
        {"domains": "headers.test", **root,
         "headers": {"response": {"X-Site": "one", "X-Both": "host", "Server": None}},
         "routes": [{"path": "/dir/**", "headers": {"response": {
             "X-Both": "route", "X-Site": None, "X-Route": "yes", "Cache-Control": "no-cache"}}}]},
    ]))
    build_tree(server.www)
    build_links(server.home)
    (server.home / "page.html").write_text("<p>outside of the root\n")
    server.start()
    yield server
    server.finish()


@pytest.fixture(params=VERSIONS)
def wire(server, request):
    """Every test that asks by it runs on each version."""
    with wire_of(server, request.param) as wire:
        yield wire


@pytest.fixture
def wire1(server):
    with server.wire() as wire:
        yield wire


# ---- which file ----

def test_index(wire):
    assert wire.get("/").body == b"<p>index\n"
    assert wire.get("/dir/").body == b"<p>dir\n"
    assert wire.get("/plain/").status == 404, "no index and no listing"
    assert wire.get("/", host="index.test").body == LETTERS.encode()


@pytest.mark.parametrize("target, location", [
    ("/dir", "/dir/"), ("/dir?a=b&c", "/dir/?a=b&c"), ("//dir", "/dir/"), ("/%64ir", "/dir/"),
    ("/plain/../dir", "/dir/"), ("/dir/sub", "/dir/sub/")])
def test_directory_without_a_slash_is_redirected(wire, target, location):
    answer = wire.get(target)
    assert (answer.status, answer["Location"]) == (308, location)


@pytest.mark.parametrize("target", ["//evil.test/..", "/\\evil.test/../dir", "//evil.test/%2e%2e/dir",
                                    "///dir", "/%2f/dir"])
def test_no_redirect_to_another_host(wire, target):
    location = wire.get(target)["Location"]
    assert location is None or re.match(r"/[^/\\]", location)


def test_missing(wire):
    for target in ("/none", "/none/", "/dir/none.html", "/letters.txt/", "/letters.txt/x",
                   "/" + "a" * 300):
        assert wire.get(target).status == 404


def test_names_with_special_characters(wire):
    assert wire.get("/with%20space.txt").body == b"space\n"
    assert wire.get("/%C3%BC.txt").body == "umlaut\n".encode()
    assert wire.get("/a+b.txt").body == b"plus\n"
    assert wire.get("/100%25.txt").body == b"percent\n"
    assert wire.get("/letters.txt?x=/../y").status == 200


@pytest.mark.parametrize("target", ["/.env", "/.git/config", "/.git/", "/.git", "/dir/.hidden",
                                    "/%2eenv", "/dir/%2Ehidden", "/.well-known/../.env"])
def test_dotfiles_are_hidden(wire, target):
    answer = wire.get(target)
    assert answer.status == 404 and SECRET.encode() not in answer.body


def test_dotfiles_that_are_served(wire):
    assert wire.get("/.well-known/x.txt").body == b"known\n"
    assert wire.get("/dir/.hidden", host="dot.test").status == 200


@pytest.mark.parametrize("host, target, status", [
    ("a.test", "/links/inside.txt", 200), ("a.test", "/links/indir/a.txt", 200),
    ("a.test", "/links/out.txt", 404), ("a.test", "/links/outdir/secret.txt", 404),
    ("a.test", "/links/absolute.txt", 404),
    ("nolinks.test", "/links/inside.txt", 404), ("nolinks.test", "/links/indir/a.txt", 404),
    ("nolinks.test", "/letters.txt", 200), ("nolinks.test", "/links/out.txt", 404),
    ("links.test", "/links/out.txt", 200), ("links.test", "/links/outdir/secret.txt", 200),
    ("links.test", "/links/inside.txt", 200), ("links.test", "/links/absolute.txt", 200),
    ("links.test", "/links/loop", 404), ("a.test", "/links/loop", 404),
    ("a.test", "/links/dangling", 404), ("links.test", "/links/dangling", 404)])
def test_symlinks(wire, host, target, status):
    answer = wire.get(target, host=host)
    assert answer.status == status
    if host != "links.test":
        assert SECRET.encode() not in answer.body


@pytest.mark.parametrize("target", ["/fifo", "/socket", "/fifo/", "/socket/x"])
@pytest.mark.parametrize("host", ["a.test", "links.test"])
def test_special_files_are_not_served_and_do_not_hang(wire, host, target):
    start = time.monotonic()
    assert wire.get(target, host=host).status in (403, 404)
    assert time.monotonic() - start < 2
    assert wire.get("/letters.txt", host=host).status == 200


TRAVERSALS = [
    "/../secret.txt", "/../../../../secret.txt", "/%2e%2e/secret.txt", "/.%2e/secret.txt",
    "/%2e./secret.txt", "/%252e%252e/secret.txt", "/..;/secret.txt", "/..%2fsecret.txt",
    "/..%252fsecret.txt", "/..%5csecret.txt", "/..\\secret.txt", "/dir/..%2f..%2fsecret.txt",
    "/dir../secret.txt", "/dir/../../secret.txt", "//../secret.txt", "/./../secret.txt",
    "/dir/sub/../../../secret.txt", "/%00", "/letters.txt%00.html", "/..%00/secret.txt",
    "/%c0%ae%c0%ae/secret.txt", "/%uff0e%uff0e/secret.txt", "/%", "/%2", "/%zz", "/..",
    "/dir/..;/..;/secret.txt", "/%2e%2e%2fsecret.txt", "/.../secret.txt", "/%2f..%2fsecret.txt"]


@pytest.mark.parametrize("target", TRAVERSALS)
def test_traversal(server, wire, target):
    """Row 30, by hand and by curl."""
    for host in ("a.test", "html.test", "links.test"):
        answer = wire.get(target, host=host)
        assert answer.status in (400, 404) or answer.body == b"<p>index\n"
        assert SECRET.encode() not in answer.body
    done = server.curl("--path-as-is", "-w", "%{http_code}", server.url + target)
    assert done.stdout[-3:] in (b"400", b"404", b"200") and SECRET.encode() not in done.stdout


@pytest.mark.parametrize("target", ["/%00", "/letters.txt%00", "/%", "/%2", "/%zz", "/a%2", "/%u0041"])
def test_malformed_escapes_are_400(wire, target):
    assert wire.get(target).status == 400


# ---- what it is ----

@pytest.mark.parametrize("name, kind", [
    ("a.html", "text/html; charset=utf-8"), ("a.htm", "text/html; charset=utf-8"),
    ("A.HTML", "text/html; charset=utf-8"), ("a.css", "text/css; charset=utf-8"),
    ("a.js", "text/javascript; charset=utf-8"), ("a.mjs", "text/javascript; charset=utf-8"),
    ("a.txt", "text/plain; charset=utf-8"), ("a.png", "image/png"), ("a.jpg", "image/jpeg"),
    ("a.webp", "image/webp"), ("a.woff2", "font/woff2"), ("a.wasm", "application/wasm"),
    ("a.pdf", "application/pdf"), ("a.mp4", "video/mp4"), ("a.tar.gz", "application/gzip"),
    ("a.unknown", "application/octet-stream"), ("noext", "application/octet-stream")])
def test_media_type(wire, name, kind):
    answer = wire.get("/dir/sub/" + name)
    assert answer["Content-Type"] == kind
    assert answer["Content-Encoding"] is None


@pytest.mark.parametrize("name, kind", [("a.json", "application/json"), ("a.svg", "image/svg+xml"),
                                        ("a.ico", "image/")])
def test_media_type_with_or_without_charset(wire, name, kind):
    assert wire.get("/dir/sub/" + name)["Content-Type"].startswith(kind)


def test_charset(wire):
    assert wire.get("/a", host="charset.test").status == 404
    kind = wire.get("/letters.txt", host="charset.test")["Content-Type"]
    assert kind == "text/plain; charset=iso-8859-1"


def test_validators(wire):
    answer = wire.get("/letters.txt")
    assert re.fullmatch(r'"[!#-~]+"', answer["ETag"]), "strong"
    assert answer["Last-Modified"] == email.utils.formatdate(1_700_000_000, usegmt=True)
    assert answer["Accept-Ranges"] == "bytes"
    assert abs(email.utils.parsedate_to_datetime(answer["Date"]).timestamp() - time.time()) < 5


PAST, THEN, LATER = (email.utils.formatdate(1_700_000_000 + d, usegmt=True) for d in (-10, 0, 10))


@pytest.mark.parametrize("fields, status", [
    ({"If-None-Match": "ETAG"}, 304), ({"If-None-Match": "W/ETAG"}, 304),
    ({"If-None-Match": '"a", ETAG, "b"'}, 304), ({"If-None-Match": '"a",W/ETAG'}, 304),
    ({"If-None-Match": "*"}, 304), ({"If-None-Match": '"other"'}, 200),
    ({"If-None-Match": 'W/"other"'}, 200),
    ({"If-Match": "ETAG"}, 200), ({"If-Match": "*"}, 200), ({"If-Match": '"a", ETAG'}, 200),
    ({"If-Match": '"other"'}, 412), ({"If-Match": "W/ETAG"}, 412),
    ({"If-Modified-Since": THEN}, 304), ({"If-Modified-Since": LATER}, 304),
    ({"If-Modified-Since": PAST}, 200), ({"If-Modified-Since": "nonsense"}, 200),
    ({"If-Modified-Since": "Tuesday, 14-Nov-23 22:13:20 GMT"}, 304),
    ({"If-Modified-Since": "Tue Nov 14 22:13:20 2023"}, 304),
    ({"If-Unmodified-Since": THEN}, 200), ({"If-Unmodified-Since": LATER}, 200),
    ({"If-Unmodified-Since": PAST}, 412), ({"If-Unmodified-Since": "nonsense"}, 200),
    # precedence, RFC 9110 13.2.2
    ({"If-None-Match": '"other"', "If-Modified-Since": LATER}, 200),
    ({"If-None-Match": "ETAG", "If-Modified-Since": PAST}, 304),
    ({"If-Match": "ETAG", "If-Unmodified-Since": PAST}, 200),
    ({"If-Match": '"other"', "If-Unmodified-Since": LATER}, 412),
    ({"If-Match": '"other"', "If-None-Match": "ETAG"}, 412),
    ({"If-Match": "ETAG", "If-None-Match": "ETAG"}, 304),
    ({"If-Unmodified-Since": PAST, "If-None-Match": "ETAG"}, 412),
    ({"If-None-Match": "ETAG", "Range": "bytes=0-1"}, 304),
    ({"If-Match": '"other"', "Range": "bytes=0-1"}, 412),
])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions(wire, method, fields, status):
    etag = wire.get("/letters.txt")["ETag"]
    fields = {k: v.replace("ETAG", etag) for k, v in fields.items()}
    answer = wire.get("/letters.txt", fields, method=method)
    assert answer.status == status
    if status == 304:
        assert answer.body == b"" and answer["ETag"] == etag
        assert answer["Content-Type"] is None
        assert answer["Content-Length"] in (None, str(len(LETTERS)))
    elif status == 200:
        assert answer.body == (LETTERS.encode() if method == "GET" else b"")
    assert wire.get("/letters.txt").body == LETTERS.encode(), "the connection is in step"


def test_conditions_of_what_is_missing(wire):
    assert wire.get("/none", {"If-None-Match": "*"}).status == 404
    assert wire.get("/none", {"If-Match": "*"}).status == 404


# ---- ranges ----

@pytest.mark.parametrize("value, start, end", [
    ("bytes=0-0", 0, 1), ("bytes=5-9", 5, 10), ("bytes=250-", 250, 260), ("bytes=-10", 250, 260),
    ("bytes=0-", 0, 260), ("bytes=-1000", 0, 260), ("bytes=250-1000", 250, 260),
    ("Bytes=5-9", 5, 10), ("bytes= 5-9", 5, 10),
    ("bytes=250-99999999999999999999999", 250, 260), ("bytes=5-9,1000-", 5, 10)])
def test_single_range(wire, value, start, end):
    answer = wire.get("/letters.txt", {"Range": value})
    assert answer.status == 206
    assert answer["Content-Range"] == f"bytes {start}-{end - 1}/260"
    assert answer.body == LETTERS[start:end].encode()


@pytest.mark.parametrize("value", ["bytes=260-", "bytes=1000-2000", "bytes=-0", "bytes=300-,400-"])
def test_unsatisfiable_range(wire, value):
    answer = wire.get("/letters.txt", {"Range": value})
    assert (answer.status, answer["Content-Range"]) == (416, "bytes */260")
    assert wire.get("/letters.txt").status == 200


def test_ranges_of_an_empty_file(wire):
    assert wire.get("/empty.txt").body == b""
    assert wire.get("/empty.txt", {"Range": "bytes=0-"}).status in (200, 416)


@pytest.mark.parametrize("value", [
    "bytes=9-5", "bytes=a-b", "bytes=5", "bytes=", "lines=1-2", "5-9", "bytes=5-9;x", "bytes=--5",
    "bytes=5--9", "bytes=+5-9", "bytes=0x5-9",
    "bytes=" + ",".join(f"{i}-{i}" for i in range(17)),
    "bytes=" + ",".join(f"{i}-{i}" for i in range(1000)),
    "bytes=0-199,100-259", "bytes=0-,0-", "bytes=0-99,0-99,0-99,0-99",
    "bytes=" + "0-," * 1000 + "0-"])
def test_ranges_that_are_ignored(wire, value):
    """Malformed, more than 16, or more bytes than the file: the whole file."""
    answer = wire.get("/letters.txt", {"Range": value})
    assert (answer.status, answer.body) == (200, LETTERS.encode())


def test_range_is_for_get_only(wire):
    answer = wire.get("/letters.txt", {"Range": "bytes=0-9"}, method="HEAD")
    assert answer.status == 200 and answer["Content-Length"] == "260"


def parse_parts(answer):
    kind = answer["Content-Type"]
    boundary = re.fullmatch(r'multipart/byteranges; ?boundary="?([^";]+)"?', kind)[1].encode()
    assert answer.body.endswith(b"\r\n--" + boundary + b"--\r\n")
    parts = (b"\r\n" + answer.body).split(b"\r\n--" + boundary)[1:-1]
    found = []
    for part in parts:
        head, _, data = part.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        found.append((fields["Content-Type"], fields["Content-Range"], data.decode()))
    return found


@pytest.mark.parametrize("n", [2, 3, 16])
def test_multipart_ranges(wire, n):
    ranges = [(i * 16, i * 16 + i + 1) for i in range(n)]
    value = "bytes=" + ", ".join(f"{a}-{b - 1}" for a, b in ranges)
    answer = wire.get("/letters.txt", {"Range": value})
    assert answer.status == 206 and answer["Content-Range"] is None
    assert int(answer["Content-Length"]) == len(answer.body)
    assert parse_parts(answer) == [
        ("text/plain; charset=utf-8", f"bytes {a}-{b - 1}/260", LETTERS[a:b]) for a, b in ranges]
    assert wire.get("/letters.txt").status == 200


def test_multipart_of_a_large_file(server, wire):
    whole = (server.www / "big.txt").read_bytes()
    ranges = [(10, 400_000), (1_000_000, 1_500_000), (len(whole) - 7, len(whole))]
    value = "bytes=" + ",".join(f"{a}-{b - 1}" for a, b in ranges)
    parts = parse_parts(wire.get("/big.txt", {"Range": value}))
    assert [p[2].encode() for p in parts] == [whole[a:b] for a, b in ranges]


def test_if_range(wire):
    etag = wire.get("/letters.txt")["ETag"]
    for condition, status in ((etag, 206), (THEN, 206), ("W/" + etag, 200), ('"other"', 200),
                              (PAST, 200), (LATER, 200), ("nonsense", 200)):
        answer = wire.get("/letters.txt", {"Range": "bytes=0-9", "If-Range": condition})
        assert answer.status == status, condition


def test_curl_resumes(server, tmp_path):
    target = tmp_path / "out"
    whole = (server.www / "big.txt").read_bytes()
    target.write_bytes(whole[:1_234_567])
    done = server.curl("-C", "-", "-o", str(target), server.url + "/big.txt")
    assert done.returncode == 0 and target.read_bytes() == whole


# ---- codings ----

def decode(coding, data):
    """By the tools that other people wrote."""
    tool = {"zstd": ["zstd", "-dc"], "br": ["brotli", "-dc"], "gzip": ["gzip", "-dc"]}[coding]
    return subprocess.run(tool, input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("accept, coding", [
    ("gzip, br, zstd", "zstd"), ("gzip", "gzip"), ("br", "br"), ("zstd;q=0.5, br", "br"),
    ("gzip;q=1, br;q=0.1", "gzip"), ("zstd;q=0, *", "br"), ("*", "zstd"), ("gzip;q=0", None),
    ("identity", None), ("", None), ("deflate, compress", None), ("GZIP", "gzip"),
    ("identity;q=1, gzip;q=0.5", None), ("gzip;q=1.000", "gzip"), ("x-gzip", "gzip"),
    ("gzip;q=nonsense", None)])
@pytest.mark.parametrize("target", ["/text.txt", "/sibling/app.js"])
def test_coding_is_negotiated(wire, target, accept, coding):
    answer = wire.get(target, {"Accept-Encoding": accept})
    assert answer.status == 200
    assert answer["Content-Encoding"] == coding
    assert "Accept-Encoding" in answer["Vary"]


@pytest.mark.parametrize("coding", ["zstd", "br", "gzip"])
@pytest.mark.parametrize("name", ["text.txt", "big.txt"])
def test_dynamic_coding(server, wire, coding, name):
    plain = (server.www / name).read_bytes()
    for _ in range(2):
        answer = wire.get("/" + name, {"Accept-Encoding": coding})
        assert answer["Content-Encoding"] == coding
        assert len(answer.body) < len(plain) * 0.7
        assert decode(coding, answer.body) == plain
    assert answer["ETag"].startswith('W/"'), "another representation, made on the fly"
    assert answer["Accept-Ranges"] in (None, "none")
    assert wire.get("/" + name, {"Accept-Encoding": coding, "If-None-Match": answer["ETag"]}
                    ).status == 304


@pytest.mark.parametrize("coding", ["zstd", "br", "gzip"])
def test_dynamic_coding_by_curl_and_httpx(server, coding):
    done = server.curl("--compressed", "-H", f"Accept-Encoding: {coding}",
                       server.url + "/big.txt")
    assert done.stdout == (server.www / "big.txt").read_bytes()
    if coding == "gzip":
        assert httpx.get(server.url + "/text.txt", headers={"Accept-Encoding": coding}).text == TEXT


def test_dynamic_coding_on_http10(server, wire1):
    wire1.send(b"GET /big.txt HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
    answer = wire1.answer()
    assert answer["Transfer-Encoding"] is None, "1.0 knows no chunks"
    body = decode("gzip", answer.body) if answer["Content-Encoding"] else answer.body
    assert body == (server.www / "big.txt").read_bytes()


def test_head_of_a_coded_file(wire):
    for name in ("/text.txt", "/big.txt"):
        answer = wire.get(name, {"Accept-Encoding": "gzip"}, method="HEAD")
        assert answer.status == 200 and answer["Content-Encoding"] == "gzip"
        assert wire.get(name).status == 200


def test_what_is_not_compressed(wire):
    every = {"Accept-Encoding": "gzip, br, zstd"}
    for host, target in (("a.test", "/letters.txt"), ("a.test", "/random.bin"),
                         ("raw.test", "/text.txt"), ("raw.test", "/sibling/app.js")):
        assert wire.get(target, every, host=host)["Content-Encoding"] is None, target
    assert wire.get("/text.txt", every, host="gzip.test")["Content-Encoding"] == "gzip"


def test_range_of_what_would_be_compressed(wire):
    """A range is of the file itself: the plain bytes, or the whole in a coding."""
    answer = wire.get("/text.txt", {"Accept-Encoding": "gzip", "Range": "bytes=0-9"})
    if answer.status == 206:
        assert answer["Content-Encoding"] is None and answer.body == TEXT[:10].encode()
    else:
        assert decode("gzip", answer.body) == TEXT.encode()


@pytest.mark.parametrize("accept, coding", [("gzip", "gzip"), ("br", "br"), ("zstd", "zstd")])
def test_precompressed_sibling(server, wire, accept, coding):
    answer = wire.get("/sibling/app.js", {"Accept-Encoding": accept})
    assert decode(coding, answer.body) == f"{coding} sibling\n".encode()
    assert answer["Content-Type"] == "text/javascript; charset=utf-8"
    plain = wire.get("/sibling/app.js")
    assert plain["Content-Encoding"] is None and plain.body.startswith(b"plain")
    assert plain["ETag"] != answer["ETag"]
    assert "Accept-Encoding" in plain["Vary"]
    part = wire.get("/sibling/app.js", {"Accept-Encoding": accept, "Range": "bytes=0-3"})
    assert part.status == 206 and part.body == answer.body[:4]


def test_only_sibling_there_is(wire):
    answer = wire.get("/sibling/only.css", {"Accept-Encoding": "zstd, br, gzip"})
    coding = answer["Content-Encoding"]
    assert coding in ("gzip", "zstd", "br")
    assert decode(coding, answer.body) in (b"gzip sibling\n", b"plain\n" * 200)


# ---- time ----

def test_changed_file_is_seen_within_a_second(server, wire):
    path = server.www / "changing.txt"
    for version in ("one\n", "second\n", "the third\n"):
        new = path.with_suffix(".new")
        new.write_text(version)
        os.replace(new, path)
        wait_for(lambda: wire.get("/changing.txt").body == version.encode(), "new content", 3)
    path.write_text("in place, longer than before\n")
    wait_for(lambda: wire.get("/changing.txt").body.startswith(b"in place"), "new content", 3)
    path.unlink()
    wait_for(lambda: wire.get("/changing.txt").status == 404, "end of the file", 3)
    path.write_text("again\n")
    wait_for(lambda: wire.get("/changing.txt").body == b"again\n", "new file", 3)


def test_large_file(server):
    done = server.curl("-o", "/dev/null", "-w", "%{http_code} %{size_download}",
                       server.url + "/sparse.bin")
    assert done.stdout == b"200 200000000"


def test_many_large_files_at_once(server):
    urls = [server.url + "/big.txt"] * 8
    done = server.curl("-Z", *[x for u in urls for x in ("-o", "-", u)])
    assert len(done.stdout) == 8 * (server.www / "big.txt").stat().st_size


@pytest.mark.parametrize("accept", [None, "gzip"])
def test_truncated_file_is_cut_and_never_padded(server, accept):
    path = server.www / "shrinking.txt"
    path.write_bytes(b"x" * 80_000_000 if not accept else random.Random(2).randbytes(20_000_000).hex().encode())
    size = path.stat().st_size
    with server.wire() as wire:
        extra = f"Accept-Encoding: {accept}\r\n" if accept else ""
        wire.send(f"GET /shrinking.txt HTTP/1.1\r\nHost: a\r\n{extra}\r\n".encode())
        first = wire.file.read(1000)
        # Where the kernel keeps no half page: it clears the rest of one that is on its way.
        os.truncate(path, 2 * 1024 * 1024)
        data, _ = wire.rest()
    head, _, body = (first + data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    if accept:
        assert not (first + data).endswith(b"\r\n0\r\n\r\n"), "a cut body must not look whole"
    else:
        assert f"content-length: {size}" in head.decode().lower()
        assert len(body) < size and body.strip(b"x") == b""


# ---- listings, fall-backs, pages ----

NASTY = "a<b>&\"c' #1?.txt"


@pytest.fixture(scope="module")
def nasty(server):
    folder = server.www / "list"
    (folder / "sub dir").mkdir(parents=True)
    (folder / NASTY).write_text("nasty\n")
    (folder / "javascript:alert(1)").write_text("scheme\n")
    (folder / "50%41.txt").write_text("percent\n")
    (folder / ".hidden").write_text("hidden\n")
    (folder / "link-out").symlink_to(server.home / "secret.txt")
    return {NASTY: "nasty\n", "javascript:alert(1)": "scheme\n", "50%41.txt": "percent\n"}


def test_html_listing(server, nasty):
    with httpx.Client(base_url=server.url, headers={"Host": "html.test"}) as client:
        answer = client.get("/list/")
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        page = answer.text
        assert "a&lt;b&gt;&amp;&quot;c" in page and "a<b>" not in page
        assert ".hidden" not in page and "link-out" not in page
        links = [link.replace("&amp;", "&") for link in re.findall(r'href="([^"]*)"', page)]
        assert "./sub%20dir/" in links and "../" in links
        bodies = {client.get(urllib.parse.urljoin("/list/", link)).text
                  for link in links if not link.endswith("/")}
        assert bodies == set(nasty.values())
        assert not [link for link in links if link.startswith("javascript:")]


def test_listing_shows_what_is_served(server):
    """A name that is no UTF-8: it can be opened, or it is not shown."""
    folder = server.www / "bytes"
    folder.mkdir()
    (folder / os.fsdecode(b"bad-\xff.txt")).write_text("bytes\n")
    with httpx.Client(base_url=server.url, headers={"Host": "html.test"}) as client:
        links = re.findall(r'href="(\./[^"]*)"', client.get("/bytes/").text)
        assert [client.get("/bytes/" + link).text for link in links] in ([], ["bytes\n"])


def test_json_listing(wire, nasty):
    for host, accept in (("json.test", "*/*"), ("html.test", "application/json")):
        answer = wire.get("/list/", {"Accept": accept}, host=host)
        assert answer["Content-Type"].startswith("application/json")
        entries = {e["name"]: e for e in json.loads(answer.body)}
        assert set(nasty) < set(entries)
        assert entries[NASTY]["type"] == "file" and entries[NASTY]["size"] == 6
        assert entries["sub dir"]["type"] == "directory"
        assert ".hidden" not in entries and "link-out" not in entries


def test_listing_prefers_the_index_and_is_off_by_default(wire, nasty):
    assert wire.get("/dir/", host="html.test").body == b"<p>dir\n"
    assert wire.get("/list/").status == 404


def test_spa_fallback_is_for_navigations(wire):
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for target in ("/", "/users/7", "/users/7/", "/some.page"):
        answer = wire.get(target, browser, host="spa.test")
        assert (answer.status, answer.body) == (200, b"<p>spa\n"), target
        assert answer["Content-Type"] == "text/html; charset=utf-8"
    assert wire.get("/assets/app.js", browser, host="spa.test").body == b"app()\n"
    for accept in ("*/*", "application/json", "text/html;q=0, */*", "image/*"):
        assert wire.get("/missing.js", {"Accept": accept}, host="spa.test").status == 404
    assert wire.get("/missing.js", host="spa.test").status == 404


def test_error_pages(wire):
    exact = wire.get("/none", host="pages.test")
    assert (exact.status, exact.body) == (404, b"<p>my 404\n")
    assert exact["Content-Type"] == "text/html; charset=utf-8"
    other = wire.get("/", host="pages.test", method="POST")
    assert (other.status, other.body) == (405, b"<p>my 4xx\n")
    assert "GET" in other["Allow"]
    conditional = wire.get("/none", {"If-None-Match": exact["ETag"] or "*"}, host="pages.test")
    assert conditional.status == 404
    ranged = wire.get("/none", {"Range": "bytes=0-1"}, host="pages.test")
    assert (ranged.status, ranged.body) == (404, b"<p>my 404\n")
    assert wire.get("/none", host="pages.test", method="HEAD").status == 404


def test_error_page_outside_of_the_root(wire):
    """An absolute name is a file, as the reference says."""
    answer = wire.get("/none", host="ownpages.test")
    assert (answer.status, answer.body) == (404, b"<p>outside of the root\n")


def test_built_in_pages_follow_accept(wire):
    assert b"<html" in wire.get("/none", HTML).body
    answer = wire.get("/none", {"Accept": "application/json"})
    assert json.loads(answer.body)["status"] == 404
    assert wire.get("/none")["Content-Type"].startswith("text/plain")


# ---- fields ----

def test_many_custom_fields_are_served_and_too_many_refused(serve):
    def config(count):
        return {"hosts": [{"domains": "default", "root": "@home/www", "headers": {
            "response": {f"X-{i}": "a" for i in range(count)}}}]}
    many = Server(config(44))
    (many.www / "a.txt").write_text("a\n" * 1000)
    many = serve(many)
    for fields in ({}, {"Range": "bytes=0-1"}, {"Range": "bytes=0-1,4-5"},
                   {"Accept-Encoding": "gzip"}, {"If-Match": '"x"'}):
        answer = many.get("/a.txt", fields)
        assert answer.status in (200, 206, 412)
        assert [answer[f"X-{i}"] for i in range(44)] == ["a"] * 44
    many.write(config(60))
    done = many.reload()
    assert done.returncode != 0
    assert "room for 48 fields" in done.stdout + done.stderr
    assert many.get("/a.txt").status == 200


def test_custom_fields_merge_and_are_removed(wire):
    host = wire.get("/", host="headers.test")
    assert (host["X-Site"], host["X-Both"], host["Server"]) == ("one", "host", None)
    route = wire.get("/dir/", host="headers.test")
    assert (route["X-Site"], route["X-Both"], route["X-Route"]) == (None, "route", "yes")
    assert route["Cache-Control"] == "no-cache" and route["Server"] is None
    assert wire.get("/dir/none", host="headers.test")["X-Route"] == "yes", "on errors too"


def test_security_presets(wire):
    names = ("X-Content-Type-Options", "Referrer-Policy", "Content-Security-Policy")
    for target in ("/", "/none"):
        basic, strict, off = (wire.get(target, host=h) for h in
                              ("a.test", "strict.test", "unsafe.test"))
        assert basic["X-Content-Type-Options"] == strict["X-Content-Type-Options"] == "nosniff"
        assert basic["Referrer-Policy"] and strict["Referrer-Policy"]
        assert "frame-ancestors 'self'" in basic["Content-Security-Policy"]
        assert "default-src" in strict["Content-Security-Policy"]
        assert [off[n] for n in names] == [None] * 3
