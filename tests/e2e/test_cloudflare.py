# SPDX-License-Identifier: Apache-2.0
"""Certificates of an Origin CA, whose API is played by a small server that really signs."""
import http.server
import json
import pathlib
import re
import shutil
import ssl
import subprocess
import tempfile
import threading

import pytest

from conftest import SWS, run_sws
from test_acme import handshake, issuers, ports, serial, wait_issued  # noqa: F401 fixtures
from test_tls import make_certificate

SECONDS = 60
TOKEN = "0123456789abcdef-token"


class Api(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        api = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        api.asked.append((self.path, dict(self.headers), body))
        status, answer = api.answer(self.headers, body)
        text = json.dumps(answer).encode() if not isinstance(answer, bytes) else answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class OriginCa(http.server.ThreadingHTTPServer):
    """POST /client/v4/certificates; signs with `origin`, is itself known by `api`."""

    def __init__(self, home):
        super().__init__(("127.0.0.1", 0), Api)
        self.home, self.asked, self.days = home, [], None
        self.answer = self.sign
        make_certificate(home, "origin", ca=True)
        make_certificate(home, "api", "127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(home / "api.pem", home / "api.key")
        self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"https://127.0.0.1:{self.server_address[1]}/client/v4"

    def root(self):
        return (self.home / "origin.pem").read_text()

    def sign(self, headers, body):
        if headers["Authorization"] != f"Bearer {TOKEN}" and \
                headers["X-Auth-User-Service-Key"] != f"v1.0-{TOKEN}":
            return 403, {"success": False, "result": None,
                         "errors": [{"code": 9109, "message": "Invalid access token"}]}
        names = ",".join(f"DNS:{name}" for name in body["hostnames"])
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder)
            (work / "csr").write_text(body["csr"])
            (work / "ext").write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n")
            days = self.days if self.days is not None else body["requested_validity"]
            done = subprocess.run(
                ["openssl", "x509", "-req", "-in", work / "csr", "-CA", self.home / "origin.pem",
                 "-CAkey", self.home / "origin.key", "-CAcreateserial", "-CAserial", work / "s",
                 "-days", str(days), "-extfile", work / "ext"],
                capture_output=True, text=True, timeout=30, check=True)
        return 200, {"success": True, "errors": [], "messages": [], "result": {
            "id": "1", "certificate": done.stdout, "hostnames": body["hostnames"],
            "request_type": body["request_type"]}}


@pytest.fixture
def api():
    home = pathlib.Path(tempfile.mkdtemp(prefix="origin-"))
    home.chmod(0o755)
    server = OriginCa(home)
    yield server
    server.shutdown()
    server.server_close()
    shutil.rmtree(home)


def config(ports, api, domains, more=(), **cloudflare):
    return {
        "server": {"listen": [f"https://127.0.0.1:{ports.tls}"], "state": "@home/state",
                   "tls": {"issuer": "cloudflare",
                           "cloudflare": {"url": api.url, "token": TOKEN,
                                          "ca_file": str(api.home / "api.pem"), **cloudflare}}},
        "hosts": [{"domains": domains, "respond": {"body": "ok\n"}}, *more]}


def test_certificates(serve, ports, api):
    """Wildcards need nothing more; names of this machine have the local authority."""
    more = [{"domains": ["localhost", "default"], "respond": {"body": "local\n"}}]
    server = serve(config(ports, api, [".a.example.com", "b.example.com"], more=more))
    for name in ("a.example.com", "x.a.example.com", "b.example.com"):
        with wait_issued(server, ports, name, api.root()) as connection:
            before = serial(connection)
    handshake(ports, "localhost").close()
    [(path, headers, body)] = api.asked
    assert path == "/client/v4/certificates"
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert "X-Auth-User-Service-Key" not in headers
    assert body["hostnames"] == ["a.example.com", "*.a.example.com", "b.example.com"]
    assert (body["request_type"], body["requested_validity"]) == ("origin-ecc", 90)
    shown = {c["name"]: c for c in server.status()["certificates"]}["a.example.com"]
    assert (shown["issuer"], shown["ca"], shown["state"]) == ("cloudflare", api.url, "good")
    # The token is nowhere to be read, and what was got is kept.
    check = server.command("check")
    assert TOKEN not in check.stdout + server.log() and check.returncode == 0
    for path in (server.home / "state").rglob("*"):
        assert not path.is_file() or TOKEN not in path.read_text(errors="replace")
    server.stop()
    server.start()
    with handshake(ports, "a.example.com", api.root()) as connection:
        assert serial(connection) == before
    assert len(api.asked) == 1


def test_library_for_requests_is_loaded_where_it_is_used(serve, ports, api):
    server = serve(config(ports, api, "a.example.com"))
    wait_issued(server, ports, "a.example.com", api.root()).close()
    [issuer] = issuers(server)
    users = [pid for pid in server.leftover()
             if "libcurl" in pathlib.Path(f"/proc/{pid}/maps").read_text()]
    assert users == [issuer]


def test_library_for_requests_that_is_missing(serve, ports, api, tmp_path, monkeypatch):
    used = re.search(rb"libcurl[a-z-]*\.so\.\d+", pathlib.Path(SWS).read_bytes())[0].decode()
    (tmp_path / used).write_bytes(b"no library")
    tmp_path.chmod(0o755)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    server = serve(config(ports, api, "a.example.com"))
    server.wait_log("was not issued.*libcurl cannot be loaded", SECONDS)
    assert server.status()["state"] == "serving"


def test_origin_ca_key(serve, ports, api):
    server = serve(config(ports, api, "a.example.com", token=f"v1.0-{TOKEN}", validity="365d"))
    wait_issued(server, ports, "a.example.com", api.root()).close()
    [(_, headers, body)] = api.asked
    assert headers["X-Auth-User-Service-Key"] == f"v1.0-{TOKEN}"
    assert "Authorization" not in headers and body["requested_validity"] == 365


def test_what_the_api_says(serve, ports, api):
    """A wrong token is reported; a right one makes it good without waiting."""
    settings = config(ports, api, "a.example.com", token="wrong")
    server = serve(settings)
    server.wait_log("status 403, code 9109: Invalid access token", SECONDS)
    with pytest.raises(ssl.SSLError):
        handshake(ports, "a.example.com")
    [shown] = [c for c in server.status()["certificates"] if c["name"] == "a.example.com"]
    assert "Invalid access token" in shown["error"]
    settings["server"]["tls"]["cloudflare"]["token"] = TOKEN
    server.write(settings)
    assert server.reload().returncode == 0
    wait_issued(server, ports, "a.example.com", api.root()).close()


@pytest.mark.parametrize("status,answer,words", [
    (500, b"<html>", "status 500"),
    (200, b"", "status 200"),
    (200, {"success": True, "result": {"certificate": "no PEM"}}, "no certificate could be read"),
    (302, b"", "status 302"),
], ids=["error", "empty", "garbage", "redirect"])
def test_wrong_answers(serve, ports, api, status, answer, words):
    api.answer = lambda *_: (status, answer)
    server = serve(config(ports, api, "a.example.com"))
    server.wait_log(f"was not issued.*{words}", SECONDS)
    assert not list((server.home / "state/acme").rglob("*example*.pem"))


def test_certificate_for_another_key(serve, ports, api):
    other = (api.home / "api.pem").read_text()
    api.answer = lambda *_: (200, {"success": True, "result": {"certificate": other}})
    server = serve(config(ports, api, "a.example.com"))
    server.wait_log("was not issued.*does not belong", SECONDS)


def test_api_that_is_not_there_and_not_trusted(serve, ports, api):
    make_certificate(api.home, "stranger", ca=True)
    settings = config(ports, api, "a.example.com", ca_file=str(api.home / "stranger.pem"))
    server = serve(settings)
    server.wait_log("was not issued.*(certificate|SSL|TLS)", SECONDS)
    assert api.asked == []
    settings["server"]["tls"]["cloudflare"]["ca_file"] = str(api.home / "api.pem")
    server.write(settings)
    assert server.reload().returncode == 0
    wait_issued(server, ports, "a.example.com", api.root()).close()


def test_renewal(serve, ports, api):
    """One whose life is over is due at once."""
    api.days = 0
    server = serve(config(ports, api, "a.example.com"))
    server.wait_log("a certificate is issued", SECONDS)
    api.days = None
    server.stop()
    server.start()
    wait_issued(server, ports, "a.example.com", api.root()).close()


@pytest.mark.parametrize("tls,words", [
    ({"issuer": "cloudflare"}, "wants a token"),
    ({"issuer": "cloudflare", "cloudflare": {"token": "a b"}}, "without spaces"),
    ({"issuer": "cloudflare", "cloudflare": {"token": "x", "url": "http://a.test"}}, "https://"),
    ({"issuer": "cloudflare", "cloudflare": {"token": "x", "validity": "60d"}}, "60d"),
    ({"issuer": "cloudflare", "cloudflare": {"url": "https://a.test"}}, "token"),
    ({"issuer": "cloudflare", "cloudflare": {"token": "x", "ca_file": "none"}}, "none"),
])
def test_refused_settings(tmp_path, tls, words):
    path = tmp_path / "sws.yaml"
    path.write_text(json.dumps({"server": {"tls": tls}, "hosts": [
        {"domains": "a.example.com", "respond": {"body": "x"}}]}))
    done = run_sws("check", "-c", path)
    assert done.returncode == 2 and words in done.stderr, done.stderr
