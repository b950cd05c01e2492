# SPDX-License-Identifier: Apache-2.0
"""FastCGI towards php-fpm, with a site laid out as WordPress is."""
import hashlib
import json
import os
import pathlib
import shutil
import tempfile

import pytest

from conftest import REPOSITORY, Server, wait_for
from upstreams_fcgi import php_fpm
from versions import VERSIONS, versions_config, wire_of

FACTS = """<?php
header('Content-Type: application/json');
$body = file_get_contents('php://input');
echo json_encode(['script' => __FILE__, 'server' => $_SERVER, 'get' => $_GET, 'post' => $_POST,
                  'bytes' => strlen($body), 'md5' => md5($body)]);
"""
SCRIPTS = {
    "index.php": FACTS,
    "wp-login.php": FACTS,
    "wp-admin/index.php": FACTS,
    "sp ace/\u00e9.php": FACTS,
    ".hidden/x.php": FACTS,
    "folder.php/inner.php": FACTS,
    "big.php": """<?php
        $block = str_repeat(implode('', array_map('chr', range(0, 255))), 256);
        if (isset($_GET['length'])) { header('Content-Length: ' . 65536 * (int)$_GET['n']); }
        for ($i = 0; $i < (int)$_GET['n']; $i++) { echo $block; }""",
    "upload.php": """<?php
        header('Content-Type: application/json');
        echo json_encode(['error' => $_FILES['file']['error'],
                          'md5' => md5_file($_FILES['file']['tmp_name'])]);""",
    "session.php": """<?php session_start();
        $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1; echo $_SESSION['n'];""",
    "redirect.php": "<?php header('Location: ' . $_GET['to']);",
    "status.php": "<?php http_response_code((int)$_GET['code']); echo 'body';",
    "fields.php": """<?php header('X-Accel-Redirect: /secret'); header('X-A: 1');
        setcookie('a', '1'); setcookie('b', '2'); echo 'x';""",
    "fatal.php": "<?php error_log('a word for the log'); undefined_function();",
    "slow.php": "<?php echo 'begun'; flush(); sleep(60);",
    "die.php": "<?php echo str_repeat('x', 100000); flush(); posix_kill(getmypid(), 9);",
    "pid.php": "<?php echo getmypid();",
}
FILES = {"style.css": "body {}\n", "readme.PHP": "<?php secret();", "pages/index.html": "a page\n",
         "x.php.txt": "text\n", ".env": "SECRET=1\n"}


def lay_out(www):
    for name, text in {**SCRIPTS, **FILES}.items():
        path = www / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (www / "empty").mkdir()
    (www / "link.php").symlink_to("/etc/hostname")


@pytest.fixture(scope="module")
def www():
    home = pathlib.Path(tempfile.mkdtemp(prefix="sws-php-"))
    home.chmod(0o755)
    (home / "www").mkdir()
    lay_out(home / "www")
    yield home / "www"
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def pool(www):
    with php_fpm(www.parent / "fpm") as path:
        yield path


def config_of(www, backend, **more):
    return versions_config([{"domains": ["default", "localhost"], "root": str(www),
                             "backend": backend, **more}],
                           protocols=["h1", "h2", "h2c", "h3"], max={"body": "100MB"})


@pytest.fixture(scope="module")
def php(www, pool):
    """The short configuration: a root and a socket."""
    server = Server(config_of(www, f"unix+fcgi:{pool}")).start()
    yield server
    server.finish()


@pytest.fixture
def serve_php(www):
    servers = []

    def start(backend, **more):
        servers.append(Server(config_of(www, backend, **more)))
        return servers[-1].start()
    yield start
    for server in servers:
        server.finish()


def facts(server, target, **how):
    with server.wire() as wire:
        answer = wire.get(target, **how)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


# ---- which script ----

@pytest.mark.parametrize("target,script,info", [
    ("/", "index.php", None),
    ("/index.php", "index.php", None),
    ("/2026/12/hello-world/", "index.php", None),
    ("/a%2Fb", "index.php", None),
    ("/no/such.css", "index.php", None),
    ("/empty/", "index.php", None),
    ("/wp-login.php", "wp-login.php", None),
    ("/wp-admin/", "wp-admin/index.php", None),
    ("/wp-login.php/a/b%20c", "wp-login.php", "/a/b c"),
    ("/wp-login.php/", "wp-login.php", "/"),
    ("/wp-login.php/x%2Fy%25", "wp-login.php", "/x/y%"),
    ("/wp-login.php/other.php", "wp-login.php", "/other.php"),
    ("/%77p-login%2Ephp", "wp-login.php", None),
    ("/sp%20ace/%C3%A9.php", "sp ace/\u00e9.php", None),
    ("/folder.php/inner.php/z", "folder.php/inner.php", "/z"),
])
def test_script(php, www, target, script, info):
    got = facts(php, target + "?q=1&r=%20")
    server = got["server"]
    assert got["script"] == str(www / script)
    assert server["SCRIPT_FILENAME"] == str(www / script)
    assert server["SCRIPT_NAME"] == f"/{script}"
    assert server["DOCUMENT_ROOT"] == str(www)
    assert server["REQUEST_URI"] == target + "?q=1&r=%20"
    assert server["QUERY_STRING"] == "q=1&r=%20"
    assert got["get"] == {"q": "1", "r": " "}
    assert server.get("PATH_INFO") == info
    assert server.get("PATH_TRANSLATED") == (info and str(www) + info)
    assert server["PHP_SELF"] == f"/{script}{info or ''}"


@pytest.mark.parametrize("target", [
    "/none.php", "/none.php/x", "/style.css/x.php", "/readme.PHP", "/link.php", "/.env",
    "/.hidden/x.php", "/wp-login.php%2Fx/none.php", "/empty/x.php", "/.php",
])
def test_there_is_nothing(php, target):
    assert php.get(target).status == 404


@pytest.mark.parametrize("target", ["/wp-login.PHP", "/wp-login.PHP/x", "/wp-login.p%C4%A7p",
                                    "/wp-login%EF%BC%8Ephp", "/wp-login.php%20/x", "/x.php.txt/y"])
def test_suffix_is_compared_byte_for_byte(php, www, target):
    """Nothing but the script of the site takes what only looks like another one."""
    assert facts(php, target)["script"] == str(www / "index.php")


def test_files(php):
    answer = php.get("/style.css")
    assert (answer.status, answer.body) == (200, b"body {}\n")
    assert answer["Content-Type"].startswith("text/css")
    assert php.get("/pages/").body == b"a page\n"
    assert php.get("/x.php.txt").body == b"text\n"
    for target, to in (("/wp-admin", "/wp-admin/"), ("/pages?a=b", "/pages/?a=b")):
        answer = php.get(target)
        assert (answer.status, answer["Location"]) == (308, to)
    with php.wire() as wire:
        assert wire.get("/style.css", method="POST", body=b"x").status == 405


@pytest.mark.parametrize("version", VERSIONS)
def test_variables(php, version):
    with wire_of(php, version) as wire:
        answer = wire.get("/wp-login.php", {"X-A-b": "1", "Proxy": "evil", "X_A_B": "2",
                                            "X.A.B": "3", "Cookie": "a=1; b=2",
                                            "Authorization": "Basic YTpi",
                                            "X-Forwarded-For": "1.2.3.4",
                                            "Content-Type": "text/x"}, method="POST", body=b"12345")
    got = json.loads(answer.body)
    server = got["server"]
    assert (got["bytes"], server["CONTENT_LENGTH"], server["CONTENT_TYPE"]) == (5, "5", "text/x")
    assert server["HTTP_X_A_B"] == "1"
    assert "HTTP_PROXY" not in server and "HTTP_CONTENT_TYPE" not in server
    assert server["HTTP_COOKIE"] == "a=1; b=2"
    assert (server["PHP_AUTH_USER"], server["PHP_AUTH_PW"]) == ("a", "b")
    assert server["HTTP_X_FORWARDED_FOR"] == server["REMOTE_ADDR"] == "127.0.0.1"
    assert 0 < int(server["REMOTE_PORT"]) < 65536
    assert server["REQUEST_METHOD"] == "POST"
    assert server["GATEWAY_INTERFACE"] == "CGI/1.1"
    assert server["SERVER_PROTOCOL"] == {"h1": "HTTP/1.1", "h2": "HTTP/2.0", "h3": "HTTP/3.0"}[version]
    is_https = version == "h3"
    assert server["REQUEST_SCHEME"] == ("https" if is_https else "http")
    assert server.get("HTTPS") == ("on" if is_https else None)
    if version == "h1":
        assert int(server["SERVER_PORT"]) == php.address[1]
        assert (server["SERVER_ADDR"], server["SERVER_NAME"]) == ("127.0.0.1", "a.test")
        assert server["HTTP_HOST"] == "a.test"


def test_settings(serve_php, pool):
    server = serve_php({"proxy": f"unix+fcgi:{pool}", "fcgi": {
        "index": "wp-login.php", "env": {"APP_ENV": "test", "SERVER_NAME": "own.test",
                                         "SERVER_SOFTWARE": None}}},
                       headers={"request": {"X-Own": "1"}})
    got = facts(server, "/anything")["server"]
    assert got["SCRIPT_NAME"] == "/wp-login.php"
    assert (got["APP_ENV"], got["SERVER_NAME"], got["HTTP_X_OWN"]) == ("test", "own.test", "1")
    assert "SERVER_SOFTWARE" not in got


def test_trusted_proxy_says_who_asks(www, pool):
    config = config_of(www, f"unix+fcgi:{pool}")
    config["server"]["trusted_proxies"] = ["127.0.0.0/8"]
    server = Server(config).start()
    try:
        got = facts(server, "/", headers={"X-Forwarded-For": "192.0.2.7",
                                          "X-Forwarded-Proto": "https"})["server"]
        assert (got["REMOTE_ADDR"], got["HTTPS"]) == ("192.0.2.7", "on")
        assert "REMOTE_PORT" not in got
    finally:
        server.finish()


def test_root_elsewhere(www, pool):
    """Without a root here, what exists is for php-fpm to say."""
    config = config_of(www, {"proxy": f"unix+fcgi:{pool}", "fcgi": str(www) + "/"})
    del config["hosts"][0]["root"]
    server = Server(config).start()
    try:
        assert facts(server, "/wp-login.php/x")["server"]["PATH_INFO"] == "/x"
        assert facts(server, "/style.css")["script"] == str(www / "index.php")
        answer = server.get("/none.php")
        assert (answer.status, answer.body) == (404, b"File not found.\n")
        server.wait_log("a program says.*Primary script unknown")
    finally:
        server.finish()


def test_routes(serve_php, www, pool):
    """A route takes the backend over, or leaves it."""
    server = serve_php(f"unix+fcgi:{pool}", routes=[
        {"path": "/no/**", "respond": {"body": "mine"}},
        {"path": "/pages/**", "root": str(www)}])
    assert server.get("/no/index.php").body == b"mine"
    assert server.get("/pages/none").status == 404
    assert facts(server, "/other")["script"] == str(www / "index.php")


def test_rewrites(serve_php, www, pool):
    """The script follows the rewritten path, REQUEST_URI stays as it was sent."""
    server = serve_php(f"unix+fcgi:{pool}", rewrites=[
        {"from": "^/old/(.*)$", "to": "/wp-login.php/$1?p=$1"},
        {"from": "^/(.*)F$", "to": "/wp-login.php/$1"},
        {"from": "^/away$", "to": "/none.php"}])
    got = facts(server, "/old/a%20b?q=1")
    assert got["script"] == str(www / "wp-login.php")
    assert got["server"]["PATH_INFO"] == "/a b"
    assert got["server"]["REQUEST_URI"] == "/old/a%20b?q=1"
    assert got["get"] == {"p": "a b", "q": "1"}
    # What is left of an encoded slash stands for itself.
    assert facts(server, "/x%2F")["server"]["PATH_INFO"] == "/x%2"
    assert server.get("/away").status == 404


def test_endpoints_from_a_file(www, pool, tmp_path):
    listed = tmp_path / "php.list"
    tmp_path.chmod(0o755)
    listed.write_text(f"unix+fcgi:{pool}\n")
    server = Server(config_of(www, {"discover": {"by": "file", "file": str(listed)},
                                    "fcgi": {"index": "index.php"}})).start()
    try:
        wait_for(lambda: server.get("/x").status == 200, "endpoint of the file")
        # One of HTTP cannot join them.
        listed.write_text("http://127.0.0.1:1\n")
        server.wait_log("either requests of HTTP or of FastCGI")
        assert server.get("/x").status == 200
    finally:
        server.finish()


# ---- answers ----

@pytest.mark.parametrize("version", VERSIONS)
def test_answers(php, version):
    with wire_of(php, version) as wire:
        answer = wire.get("/status.php?code=404")
        assert (answer.status, answer.body) == (404, b"body")
        answer = wire.get("/redirect.php?to=/here")
        assert (answer.status, answer["Location"]) == (302, "/here")
        answer = wire.get("/redirect.php?to=https://a.test/b")
        assert (answer.status, answer["Location"]) == (302, "https://a.test/b")
        assert wire.get("/status.php?code=204").body == b""
        assert wire.get("/status.php?code=304").status == 304
        answer = wire.get("/status.php?code=200", method="HEAD")
        assert (answer.status, answer.body) == (200, b"")
        answer = wire.get("/fields.php")
        assert answer["X-Accel-Redirect"] is None and answer["X-A"] == "1"
        assert answer.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert wire.get("/fatal.php").status == 500
    php.wait_log("a program says.*a word for the log")


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions(php, version):
    with wire_of(php, version) as wire:
        answer = wire.get("/session.php")
        cookie = answer["Set-Cookie"].split(";")[0]
        assert answer.body == b"1"
        for n in (b"2", b"3"):
            assert wire.get("/session.php", {"Cookie": cookie}).body == n


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("query", ["n=320", "n=320&length=1"])
def test_download(php, version, query):
    wanted = bytes(range(256)) * 256 * 320  # 20 MB
    with wire_of(php, version) as wire:
        answer = wire.get(f"/big.php?{query}")
    assert hashlib.md5(answer.body).digest() == hashlib.md5(wanted).digest()
    assert ("Content-Length" in answer.headers) == ("length" in query)


@pytest.mark.parametrize("version", VERSIONS)
def test_upload(php, version):
    body = os.urandom(20_000_000)
    with wire_of(php, version) as wire:
        got = json.loads(wire.get("/wp-login.php", method="POST", body=body).body)
    assert (got["bytes"], got["md5"]) == (len(body), hashlib.md5(body).hexdigest())


@pytest.mark.parametrize("flag", ["--http1.1", "--http2-prior-knowledge"])
def test_form_upload(php, tmp_path, flag):
    body = os.urandom(20_000_000)
    (tmp_path / "file").write_bytes(body)
    got = json.loads(php.curl(flag, "-F", f"file=@{tmp_path}/file", php.url + "/upload.php").stdout)
    assert got == {"error": 0, "md5": hashlib.md5(body).hexdigest()}


def test_a_program_that_dies_cuts_its_answer(php):
    with php.wire() as wire:
        wire.send(b"GET /die.php HTTP/1.1\r\nHost: a.test\r\n\r\n")
        data, was_reset = wire.rest()
    assert was_reset or not data.endswith(b"0\r\n\r\n")


# ---- several pools ----

def test_two_pools(serve_php, www, pool):
    with php_fpm(www.parent / "second") as second:
        both = [f"unix+fcgi:{pool}", f"unix+fcgi:{second}"]
        server = serve_php({"proxy": both, "balance": "rr", "health": {"path": "/ping", "body": "pong"},
                            "outlier": "off", "slow_start": "off"})
        wait_for(lambda: {e["health"] for e in server.status()["endpoints"]} == {"healthy"},
                 "both healthy")
        pids = {server.get("/pid.php").body for _ in range(16)}
        assert len(pids) >= 2
    # The second pool is gone: what it gets is tried again at the first.
    for _ in range(8):
        assert server.get("/pid.php").status == 200


def test_connections_are_kept_where_that_is_asked(serve_php, pool):
    server = serve_php({"proxy": f"unix+fcgi:{pool}", "fcgi": {"keepalive": True},
                        "keepalive": {"max": 1}})
    with server.wire() as wire:
        pids = {wire.get("/pid.php").body for _ in range(10)}
    assert len(pids) == 1


# ---- what the documentation shows ----

def test_example(serve, pool):
    text = (REPOSITORY / "examples/php/sws.yaml").read_text()
    page = (REPOSITORY / "docs/php.md").read_text()
    assert f"`examples/php/sws.yaml`:\n\n```yaml\n{text}```" in page
    server = Server()
    shutil.copytree(REPOSITORY / "examples/php/public", server.home / "public")
    ours = {**server.config["server"], "state": str(server.home / "state")}
    server.write_text(text.replace("server:\n  listen: [8080]\n", f"server: {json.dumps(ours)}\n")
                      .replace("/run/php/php8.2-fpm.sock", pool))
    serve(server)
    assert server.get("/any/path?x").body == b"Hello from PHP, you asked for /any/path?x\n"
