# SPDX-License-Identifier: Apache-2.0
"""OCSP stapling: the responder is openssl's, the clients are openssl's, GnuTLS's and curl."""
import http.server
import shutil
import ssl
import subprocess
import threading
import urllib.request

import pytest

import test_acme
from conftest import free_port, wait_for
from test_acme import authority, home, ports  # noqa: F401 fixtures
from test_certificates import put_pair, wait_subject
from test_tls import config, make_certificate, openssl

STAPLE_SECONDS = 90


class Responder:
    """openssl ocsp for the certificates that `note` told it of."""

    def __init__(self, folder, ca="ca"):
        self.folder, self.ca = folder, ca
        self.port = free_port()
        self.process = None
        self.index = {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def note(self, certificate, is_revoked=False):
        """Takes certificate.pem as good, or as revoked."""
        text = openssl("x509", "-in", certificate, "-noout", "-serial", cwd=self.folder).stdout
        serial = text.strip().partition("=")[2]
        revoked = "200101000000Z" if is_revoked else ""
        self.index[serial] = (f"{'R' if is_revoked else 'V'}\t491231235959Z\t{revoked}\t{serial}"
                              f"\tunknown\t/CN={serial}\n")
        (self.folder / "index.txt").write_text("".join(self.index.values()))

    def start(self):
        with open(self.folder / "responder.log", "wb") as log:
            self.process = subprocess.Popen(
                ["openssl", "ocsp", "-port", str(self.port), "-index", "index.txt",
                 "-CA", f"{self.ca}.pem", "-rsigner", f"{self.ca}.pem", "-rkey", f"{self.ca}.key",
                 "-nmin", "60"], cwd=self.folder, stdout=log, stderr=log)
        # It serves one client at a time, and hangs on one that says nothing.
        wait_for(lambda: "waiting for OCSP client" in (self.folder / "responder.log").read_text(),
                 "responder that listens")
        return self

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait(10)
            self.process = None


def make_leaf(folder, name, url, *more, ca="ca"):
    """name.pem (with its issuer behind it) and name.key, for a.test."""
    done = openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                   "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", 30,
                   "-subj", f"/CN={name}", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key",
                   "-addext", "subjectAltName=DNS:a.test", "-addext", "basicConstraints=CA:FALSE",
                   "-addext", f"authorityInfoAccess=OCSP;URI:{url}", *more, cwd=folder)
    assert done.returncode == 0, done.stderr
    with open(folder / f"{name}.pem", "a") as pem:
        pem.write((folder / f"{ca}.pem").read_text())


@pytest.fixture
def responder(tmp_path):
    tmp_path.chmod(0o755)
    make_certificate(tmp_path, "ca", ca=True)
    one = Responder(tmp_path)
    make_leaf(tmp_path, "one", one.url)
    one.note("one.pem")
    put_pair(tmp_path, "one")
    yield one
    one.stop()


def site(folder, *more):
    now = {"cert": str(folder / "now.pem"), "key": str(folder / "now.key")}
    return config({"domains": "a.test", "respond": {"body": "a\n"}, "ssl": now}, *more)


def staple(server, *arguments, name="a.test"):
    """What openssl says of the staple: successful, or none."""
    host, port = server.https_address
    text = openssl("s_client", "-connect", f"{host}:{port}", "-servername", name, "-status",
                   *arguments).stdout
    assert "OCSP" in text, text
    return "good" if "Cert Status: good" in text else "none"


def wait_staple(server, expected="good"):
    try:
        wait_for(lambda: staple(server) == expected, f"staple {expected}", STAPLE_SECONDS, 0.1)
    except AssertionError as e:
        raise AssertionError(f"{e}\n{server.log()}") from None


def missing(server):
    return server.metric("sws_certificates_without_staple")


def test_staple_for_every_client(serve, responder):
    folder = responder.folder
    responder.start()
    server = serve(site(folder))
    wait_staple(server)
    for version in ("-tls1_2", "-tls1_3"):
        assert staple(server, version) == "good"
    wait_for(lambda: missing(server) == 0, "gauge", STAPLE_SECONDS)
    host, port = server.https_address
    done = subprocess.run(["gnutls-cli", "--x509cafile", str(folder / "ca.pem"), "-p", str(port),
                           "--sni-hostname", "a.test", "--verify-hostname", "a.test", host],
                          input="", capture_output=True, text=True, timeout=30, check=False)
    assert "OCSP status request" in done.stdout and "certificate is trusted" in done.stdout
    done = server.https("a.test", "--cert-status", server.https_url("a.test"),
                        root=folder / "ca.pem")
    assert done.stdout == b"a\n", done.stderr
    # Kept: a restart while the responder is away staples at once.
    responder.stop()
    server.stop()
    server.start()
    del server.first_https
    assert staple(server) == "good"
    kept = list((server.home / "state/acme/ocsp").iterdir())
    assert len(kept) == 1 and kept[0].stat().st_mode & 0o7 == 0


def test_responder_that_comes_late(serve, responder):
    server = serve(site(responder.folder))
    server.wait_log("the OCSP responder cannot be asked", STAPLE_SECONDS)
    assert staple(server) == "none" and missing(server) == 1
    done = server.https("a.test", "--cert-status", server.https_url("a.test"),
                        root=responder.folder / "ca.pem")
    assert done.returncode == 91, "curl wants a staple"
    responder.start()
    wait_staple(server)
    assert server.log().count("cannot be asked") == 1


def test_revoked(serve, responder):
    responder.note("one.pem", is_revoked=True)
    responder.start()
    server = serve(site(responder.folder))
    server.wait_log("error .*REVOKED.*a.test", STAPLE_SECONDS)
    assert staple(server) == "none" and missing(server) == 1
    assert not list((server.home / "state/acme").rglob("*.der"))
    # A new certificate makes it good again, and what was kept for the old one is gone.
    make_leaf(responder.folder, "two", responder.url)
    responder.note("two.pem")
    responder.stop()
    responder.start()
    put_pair(responder.folder, "two")
    wait_subject(server, "two")
    wait_staple(server)
    kept = [f.name for f in (server.home / "state/acme/ocsp").iterdir()]
    make_leaf(responder.folder, "three", responder.url)
    responder.note("three.pem")
    responder.stop()
    responder.start()
    put_pair(responder.folder, "three")
    wait_subject(server, "three")
    wait_staple(server)
    wait_for(lambda: kept[0] not in [f.name for f in (server.home / "state/acme/ocsp").iterdir()],
             "end of what was kept", STAPLE_SECONDS)


class Wrong(http.server.BaseHTTPRequestHandler):
    """Answers with what the test says; no bytes at all: never."""
    status, body, silence = 200, b"", threading.Event()

    def do_POST(self):
        self.server.asked.append((self.headers["Content-Type"],
                                  self.rfile.read(int(self.headers["Content-Length"]))))
        if self.body is None:
            self.silence.wait(60)
            return
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


@pytest.fixture
def wrong(responder):
    """wrong(status, body) answers where the certificate expects its responder."""
    servers = []

    def make(status, body):
        kind = type("Kind", (Wrong,), {"status": status, "body": body,
                                       "silence": threading.Event()})
        one = http.server.ThreadingHTTPServer(("127.0.0.1", responder.port), kind)
        one.asked = []
        threading.Thread(target=one.serve_forever, daemon=True).start()
        servers.append((one, kind))
        return one
    yield make
    for one, kind in servers:
        kind.silence.set()
        one.shutdown()
        one.server_close()


@pytest.mark.parametrize("status,body,words", [
    (200, b"garbage", "OCSP response"),
    (200, b"", "OCSP response"),
    (200, b"\x30\x03\x0a\x01\x06", r"answered with an error \(6\)"),
    (500, b"x", "status 500"),
    (302, b"", "status 302"),
    (200, b"x" * (2 << 20), "cannot be asked"),
], ids=["garbage", "empty", "unauthorized", "error", "redirect", "long"])
def test_wrong_answers(serve, responder, wrong, status, body, words):
    asked = wrong(status, body).asked
    server = serve(site(responder.folder))
    server.wait_log(f"no new OCSP answer.*{words}", STAPLE_SECONDS)
    assert asked[0][0] == "application/ocsp-request"
    assert staple(server) == "none" and missing(server) == 1
    assert not list((server.home / "state/acme").rglob("*.der"))


def test_answer_for_another_certificate_or_by_another_signer(serve, responder):
    """Signed by somebody else, and about a serial of another issuer."""
    make_certificate(responder.folder, "evil", ca=True)
    responder.ca = "evil"
    responder.start()
    server = serve(site(responder.folder))
    server.wait_log("not signed by the issuer|another certificate", STAPLE_SECONDS)
    assert staple(server) == "none"


def test_slow_responder_keeps_nobody_waiting(serve, responder, wrong):
    asked = wrong(200, None).asked
    server = serve(site(responder.folder))
    wait_for(lambda: asked, "question", STAPLE_SECONDS)
    assert staple(server) == "none"
    make_leaf(responder.folder, "two", f"http://127.0.0.1:{free_port()}")
    put_pair(responder.folder, "two")
    wait_subject(server, "two")
    server.wait_log("cannot be asked", STAPLE_SECONDS)


def test_certificate_that_demands_a_staple(serve, responder):
    folder = responder.folder
    make_leaf(folder, "must", responder.url, "-addext", "tlsfeature=status_request")
    responder.note("must.pem")
    put_pair(folder, "must")
    server = serve(site(folder))
    server.wait_log("demand an OCSP answer", STAPLE_SECONDS)

    def gnutls():
        host, port = server.https_address
        return subprocess.run(
            ["gnutls-cli", "--x509cafile", str(folder / "ca.pem"), "-p", str(port),
             "--sni-hostname", "a.test", "--verify-hostname", "a.test", host],
            input="", capture_output=True, text=True, timeout=30, check=False)
    assert gnutls().returncode != 0, "GnuTLS refuses a certificate that lacks what it demands"
    responder.start()
    wait_staple(server)
    done = gnutls()
    assert "certificate is trusted" in done.stdout, done.stdout


def test_chain_without_its_issuer(serve, responder):
    pem = responder.folder / "now.pem"
    pem.write_text(pem.read_text().partition("-----END CERTIFICATE-----")[0]
                   + "-----END CERTIFICATE-----\n")
    server = serve(site(responder.folder))
    server.wait_log("its file lacks the issuer", STAPLE_SECONDS)
    assert staple(server) == "none"


def test_certificate_of_a_public_authority(serve, authority, ports, home):
    """Pebble's certificates, and a responder that has the key of its intermediate."""
    responder = Responder(home, "intermediate")
    (home / "index.txt").write_text("")
    ca = authority(tls_port=ports.tls, ocspResponderURL=responder.url)
    trust = ssl.create_default_context(cafile=home / "ca.pem")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                         urllib.request.HTTPSHandler(context=trust))
    for what, file in (("intermediates", "pem"), ("intermediate-keys", "key")):
        url = f"https://127.0.0.1:{ca.management}/{what}/0"
        (home / f"intermediate.{file}").write_bytes(opener.open(url, timeout=10).read())
    server = serve(test_acme.config(ports, ca, "a.test"))
    test_acme.wait_issued(server, ports, "a.test", ca.root()).close()
    server.wait_log("no new OCSP answer", STAPLE_SECONDS)
    [chain] = [f for f in (server.home / "state/acme").rglob("*.pem") if "/alpn/" not in str(f)
               and f.name != "trusted.pem"]
    shutil.copy(chain, home / "leaf.pem")
    responder.note("leaf.pem")
    responder.start()
    try:
        wait_staple(server)
    finally:
        responder.stop()
