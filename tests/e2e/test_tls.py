# SPDX-License-Identifier: Apache-2.0
"""HTTPS with clients that other people wrote: names, certificates, clients, tickets, redirects."""
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest

from conftest import Wire, run_sws, wait_for

TLS = {"listen": ["127.0.0.1:0", "https://127.0.0.1:0"], "state": "@home/state"}
SITE = {"domains": ["default", "a.test"], "root": "@home/www"}


def config(*hosts, tls=None, **server):
    return {"server": {**TLS, **({"tls": tls} if tls else {}), **server},
            "hosts": list(hosts) or [SITE]}


def openssl(*arguments, cwd=None, text=""):
    return subprocess.run(["openssl", *map(str, arguments)], cwd=cwd, input=text, timeout=30,
                          capture_output=True, text=True, check=False)


def make_certificate(folder, name, *names, kind="ec", issuer=None, days=30, ca=False):
    """name.pem and name.key below `folder`, signed by itself or by `issuer`."""
    algorithm = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
                 "rsa": ["-newkey", "rsa:2048"]}[kind]
    more = ["-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key"] if issuer else []
    alternative = ",".join(("IP:" if n[0].isdigit() else "DNS:") + n for n in names) or "DNS:x"
    constraint = "critical,CA:TRUE" if ca else "CA:FALSE"
    done = openssl("req", "-x509", *algorithm, "-nodes", "-keyout", f"{name}.key", "-out",
                   f"{name}.pem", "-days", days, "-subj", f"/CN={name}", *more,
                   "-addext", f"subjectAltName={alternative}",
                   "-addext", f"basicConstraints={constraint}", cwd=folder)
    assert done.returncode == 0, done.stderr


def s_client(server, *arguments, name="a.test", request="", wait=False):
    host, port = server.https_address
    more = [] if wait else ["-ign_eof"]
    return openssl("s_client", "-connect", f"{host}:{port}", "-servername", name, *more,
                   *arguments, text=request)


GET = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"


@pytest.fixture
def site(serve):
    def start(*hosts, **options):
        server = serve(config(*hosts, **options))
        (server.www / "index.html").write_text("hello\n")
        return server
    return start


# ---- names and certificates ----

def test_local_authority(site):
    server = site()
    done = server.https("a.test", server.https_url("a.test"))
    assert (done.returncode, done.stdout) == (0, b"hello\n"), done.stderr
    assert server.https("localhost", server.https_url("localhost")).stdout == b"hello\n"
    assert server.https("x", server.https_url("127.0.0.1")).stdout == b"hello\n"
    wrong = server.https("b.test", server.https_url("b.test"))
    assert wrong.returncode == 60, "a name that nobody serves has no certificate"
    assert oct(os.stat(server.home / "state/local/root.key").st_mode & 0o777) == "0o600"
    assert oct(os.stat(server.home / "state").st_mode & 0o777) == "0o700"


def test_local_authority_is_kept(serve):
    server = serve(config())
    root = server.root_pem.read_bytes()
    (server.www / "index.html").write_text("hello\n")
    server.write(config({"domains": "new.test", "root": "@home/www"}))
    assert server.reload().returncode == 0
    assert server.https("new.test", server.https_url("new.test")).returncode == 0
    assert server.root_pem.read_bytes() == root


def test_exact_wildcard_and_default(serve, tmp_path):
    make_certificate(tmp_path, "exact", "a.test")
    make_certificate(tmp_path, "wild", "*.b.test", "b.test")
    make_certificate(tmp_path, "other", "other.test")

    def ssl_of(name):
        return {"cert": str(tmp_path / f"{name}.pem"), "key": str(tmp_path / f"{name}.key")}
    server = serve(config({"domains": "a.test", "respond": {"body": "a"}, "ssl": ssl_of("exact")},
                          {"domains": [".b.test"], "respond": {"body": "b"}, "ssl": ssl_of("wild")},
                          {"domains": "default", "respond": {"body": "other"}},
                          tls=ssl_of("other")))
    for name, certificate in (("a.test", "exact"), ("x.b.test", "wild"), ("b.test", "wild"),
                              ("nobody.test", "other"), ("x.a.test", "other")):
        text = s_client(server, name=name, request=GET).stdout
        assert f"subject=CN = {certificate}\n" in text, (name, text)
    host, port = server.https_address
    text = openssl("s_client", "-connect", f"{host}:{port}", "-noservername").stdout
    assert "subject=CN = other\n" in text, "who names nobody gets the certificate of the server"
    assert server.https("a.test", server.https_url("a.test"),
                        root=tmp_path / "exact.pem").stdout == b"a"


def test_ecdsa_and_rsa_side_by_side(serve, tmp_path):
    make_certificate(tmp_path, "ec", "a.test")
    make_certificate(tmp_path, "rsa", "a.test", kind="rsa")
    pair = {"cert": [str(tmp_path / "rsa.pem"), str(tmp_path / "ec.pem")],
            "key": [str(tmp_path / "rsa.key"), str(tmp_path / "ec.key")]}
    server = serve(config({"domains": "a.test", "respond": {"body": "a"}, "ssl": pair}))
    assert "subject=CN = ec\n" in s_client(server, request=GET).stdout
    assert "subject=CN = rsa\n" in s_client(server, "-sigalgs", "rsa_pss_rsae_sha256",
                                            request=GET).stdout


def test_versions_and_ciphers(site):
    server = site({**SITE, "ssl": {"min_version": "1.3"}},
                  {"domains": "old.test", "root": "@home/www"})
    assert "TLSv1.3" in s_client(server, request=GET).stdout
    assert "TLSv1.2" in s_client(server, "-tls1_2", name="old.test", request=GET).stdout
    assert "Cipher is (NONE)" in s_client(server, "-tls1_2", request=GET).stdout
    for old in ("-tls1", "-tls1_1"):
        assert "Cipher is (NONE)" in s_client(server, old, "-cipher", "ALL:@SECLEVEL=0",
                                              name="old.test", request=GET).stdout
    scan = subprocess.run(["sslscan", "--no-colour", "--sni-name=old.test",
                           "%s:%d" % server.https_address],
                          capture_output=True, text=True, timeout=60, check=False).stdout
    assert re.search(r"TLSv1.2\s+enabled", scan) and re.search(r"TLSv1.3\s+enabled", scan)
    assert not re.search(r"TLSv1\.[01]\s+enabled|SSLv\d\s+enabled", scan)
    assert "not vulnerable to heartbleed" in scan
    assert not re.search(r"(Accepted|Preferred).*(CBC|RC4|3DES|NULL|anon)", scan), scan


def test_which_cipher(site):
    """AES-128, whose hash costs a fraction, unless the client likes ChaCha20 best or the user says
    otherwise."""
    server = site(SITE, {"domains": "own.test", "root": "@home/www",
                         "ssl": {"ciphers": ["AES-256-GCM", "CHACHA20-POLY1305"]}})
    aes, aes256, chacha = "AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256"

    def agreed(name, *order, old=False):
        if old:
            names = {aes: "ECDHE-ECDSA-AES128-GCM-SHA256", aes256: "ECDHE-ECDSA-AES256-GCM-SHA384",
                     chacha: "ECDHE-ECDSA-CHACHA20-POLY1305"}
            args = ["-tls1_2", "-cipher", ":".join(names[c] for c in order)]
        else:
            names = {c: "TLS_" + c for c in order}
            args = ["-tls1_3", "-ciphersuites", ":".join(names[c] for c in order)]
        text = s_client(server, *args, name=name, request=GET).stdout
        found = re.search(r"Cipher is ([\w-]+)", text).group(1)
        return next(c for c, n in names.items() if n == found)
    for old in (False, True):
        assert agreed("a.test", aes256, chacha, aes, old=old) == aes
        assert agreed("a.test", aes, chacha, old=old) == aes
        assert agreed("a.test", chacha, aes256, aes, old=old) == chacha
        assert agreed("a.test", aes256, chacha, old=old) == aes256
        assert agreed("own.test", chacha, aes, aes256, old=old) == aes256
        assert agreed("own.test", aes, chacha, old=old) == chacha


def test_gnutls_cli(site):
    server = site()
    host, port = server.https_address
    done = subprocess.run(["gnutls-cli", f"--x509cafile={server.root_pem}", "--port", str(port),
                           "--sni-hostname=a.test", "--verify-hostname=a.test", host],
                          input=GET, capture_output=True, text=True, timeout=30, check=False)
    assert "Status: The certificate is trusted." in done.stdout
    assert "hello" in done.stdout


# ---- what is transferred ----

def test_large_files_and_ranges(site):
    server = site()
    data = os.urandom(5_000_000)
    (server.www / "big").write_bytes(data)
    assert server.https("a.test", server.https_url("a.test", "/big")).stdout == data
    part = server.https("a.test", "-r", "1000-2999999", server.https_url("a.test", "/big"))
    assert part.stdout == data[1000:3000000]
    slow = server.https("a.test", "--limit-rate", "3M", server.https_url("a.test", "/big"))
    assert slow.stdout == data
    twice = server.https("a.test", *[server.https_url("a.test", "/big")] * 3, "-w",
                         "%{num_connects}")
    assert twice.stdout.endswith(b"0") and len(twice.stdout) == 3 * (len(data) + 1)


def context(server):
    c = ssl.create_default_context(cafile=str(server.root_pem))
    c.minimum_version = ssl.TLSVersion.TLSv1_2
    return c


def test_every_cut_of_a_request(site):
    """The TLS records of a request may cut it anywhere."""
    server = site()
    request = b"GET /?a=b HTTP/1.1\r\nHost: a.test\r\n\r\n"
    with socket.create_connection(server.https_address) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context(server).wrap_socket(raw, server_hostname="a.test") as wire:
            for cut in range(1, len(request), 3):
                wire.sendall(request[:cut])
                wire.sendall(request[cut:])
                got = b""
                while not got.endswith(b"hello\n"):
                    got += wire.recv(65536)
                assert got.startswith(b"HTTP/1.1 200")


def test_orderly_end(site):
    """Python reports an end without close_notify as an error."""
    server = site()
    with socket.create_connection(server.https_address) as raw:
        with context(server).wrap_socket(raw, server_hostname="a.test",
                                         suppress_ragged_eofs=False) as wire:
            wire.sendall(GET.encode())
            got = b""
            while True:
                piece = wire.recv(65536)
                if not piece:
                    break
                got += piece
            assert got.endswith(b"hello\n")


def test_many_clients_at_once(site):
    server = site()
    wires = []
    for _ in range(100):
        raw = socket.create_connection(server.https_address)
        wires.append(context(server).wrap_socket(raw, server_hostname="a.test"))
    for _ in range(3):
        for wire in wires:
            wire.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        for wire in wires:
            got = b""
            while not got.endswith(b"hello\n"):
                got += wire.recv(65536)
    for wire in wires:
        wire.close()
    wait_for(lambda: server.metric("sws_conn_active") == 0, "end of all connections")


# ---- what is refused ----

def test_plain_http_on_the_https_port(site):
    server = site()
    with Wire(server.https_address) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        answer = wire.answer()
        assert answer.status == 400 and b"HTTPS" in answer.body
    with Wire(server.https_address) as wire:
        wire.send(b"\xff" * 500)
        wire.rest()
    wait_for(lambda: server.metric('sws_limit_hits_total{limit="tls_handshake"}') == 2,
             "both refusals in the counter")


def test_a_handshake_that_stands_still(serve):
    server = serve(config(SITE, timeouts={"header": "500ms"}))
    with Wire(server.https_address) as wire:
        wire.send(b"\x16\x03\x01\x02\x00\x01")
        start = time.monotonic()
        wire.rest()
        assert time.monotonic() - start < 5
    assert server.metric('sws_limit_hits_total{limit="header_timeout"}') == 1


@pytest.mark.parametrize("text, words", [
    ({"cert": "@home/none.pem"}, ["none.pem", "cannot be read"]),
    ({"cert": "@home/sws.yaml"}, ["cert"]),
    ({"key": "@home/sws.yaml"}, ["no certificate"]),
    ({"client_ca": "@home/none.pem"}, ["client_ca", "none.pem"]),
    ({"client_ca": "@home/sws.yaml"}, ["client_ca"]),
    ({"ciphers": ["RC4"]}, ["RC4", "AES-128-GCM"]),
])
def test_wrong_settings_are_a_start_error(serve, text, words):
    server = serve(config())
    server.write(config({**SITE, "ssl": text}))
    assert server.reload().returncode != 0
    answer = server.admin("POST", "/reload")
    assert answer[0] == 422
    for word in words:
        assert word in answer[1], answer
    assert server.command("check").returncode == 2


def test_a_certificate_of_another_name_or_key(serve, tmp_path):
    make_certificate(tmp_path, "one", "one.test")
    make_certificate(tmp_path, "two", "two.test")
    server = serve(config())
    for cert, key, words in (("one", "two", "key"), ("two", "two", "one.test")):
        server.write(config({"domains": "one.test", "respond": {"body": "x"},
                             "ssl": {"cert": str(tmp_path / f"{cert}.pem"),
                                     "key": str(tmp_path / f"{key}.key")}}))
        status, text = server.admin("POST", "/reload")
        assert status == 422 and words in text, text


def test_a_name_that_nobody_signs_for_needs_a_certificate(serve):
    server = serve(config())
    server.write(config({"domains": "example.com", "respond": {"body": "x"}, "ssl": {"issuer": "none"}}))
    status, text = server.admin("POST", "/reload")
    assert status == 422 and "example.com" in text and "ssl: off" in text
    server.write(config({"domains": "example.com", "respond": {"body": "x"}, "ssl": {"issuer": "internal"}}))
    assert server.reload().returncode == 0
    assert server.https("example.com", server.https_url("example.com")).stdout == b"x"


# ---- clients with certificates ----

@pytest.fixture
def clients(tmp_path):
    make_certificate(tmp_path, "ca", ca=True)
    make_certificate(tmp_path, "alice", issuer="ca")
    make_certificate(tmp_path, "mallory")
    return tmp_path


def test_client_certificates(serve, clients):
    closed = {"client_ca": str(clients / "ca.pem")}
    server = serve(config({"domains": "a.test", "respond": {"body": "closed"}, "ssl": closed},
                          {"domains": "open.test", "respond": {"body": "open"}},
                          {"domains": "maybe.test", "respond": {"body": "maybe"},
                           "ssl": {**closed, "client_auth": "optional"}}))

    def get(name, who=None, *more):
        keys = ["--cert", f"{clients / who}.pem", "--key", f"{clients / who}.key"] if who else []
        return server.https(name, *keys, *more, server.https_url(name))
    assert get("a.test", "alice").stdout == b"closed"
    assert get("a.test").returncode != 0
    assert get("a.test", "mallory").returncode != 0
    assert get("open.test").stdout == b"open"
    assert get("maybe.test").stdout == b"maybe"
    assert get("maybe.test", "alice").stdout == b"maybe"
    assert get("maybe.test", "mallory").returncode != 0
    # A connection to one host does not open another.
    answer = get("open.test", None, "-H", "Host: a.test", "-w", "%{http_code}")
    assert answer.stdout.endswith(b"421"), answer.stdout
    assert b"closed" not in answer.stdout


def test_an_empty_authority_fails_the_start(serve, clients):
    (clients / "empty.pem").write_text("")
    server = serve(config())
    server.write(config({**SITE, "ssl": {"client_ca": str(clients / "empty.pem")}}))
    assert server.admin("POST", "/reload")[0] == 422


# ---- sessions ----

def resume(server, session, name="a.test", *more):
    text = s_client(server, "-sess_in", session, *more, name=name, request=GET).stdout
    return "Reused, TLS" in text


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_resumption_survives_reload_and_upgrade(site, version, tmp_path):
    server = site()
    session = tmp_path / "session"
    assert "hello" in s_client(server, version, "-sess_out", session, request=GET).stdout
    assert resume(server, session, "a.test", version)
    assert server.reload().returncode == 0
    assert resume(server, session, "a.test", version)
    old = server.status()["pid"]
    assert server.command("upgrade").returncode == 0
    wait_for(lambda: server.is_ready() and server.status()["pid"] != old, "new process", 20)
    server.wait_log("the supervisor is the new program")
    assert resume(server, session, "a.test", version)
    assert not resume(server, session, "other.test", version), "a ticket is for one name"


def test_sessions_survive_a_crash_of_the_edge(site, tmp_path):
    server = site()
    server.may_crash = True
    session = tmp_path / "session"
    s_client(server, "-sess_out", session, request=GET)
    old = server.status()["pid"]
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: server.is_ready() and server.status()["pid"] != old, "new process", 20)
    assert resume(server, session)


def test_early_data(site, tmp_path):
    """The request of the first flight is answered, once."""
    server = site({**SITE, "ssl": {"early_data": "safe"}},
                  {"domains": "late.test", "root": "@home/www"})
    early = tmp_path / "early"
    for name, is_taken in (("a.test", True), ("late.test", False)):
        session = tmp_path / name
        request = GET.replace("a.test", name)
        early.write_text(request)
        s_client(server, "-sess_out", session, name=name, request=request)
        if is_taken:
            text = s_client(server, "-sess_in", session, "-early_data", early, name=name).stdout
            assert "Early data was accepted" in text and text.count("hello") == 1, text
        else:
            text = s_client(server, "-sess_in", session, name=name, request=request).stdout
            assert text.count("hello") == 1


def test_early_data_of_any_size(site, tmp_path):
    """Early data may hold the beginning of a request, or several."""
    server = site(tls={"early_data": "safe"})
    session, early = tmp_path / "session", tmp_path / "early"
    s_client(server, "-sess_out", session, request=GET)
    early.write_text(GET[:20])
    assert s_client(server, "-sess_in", session, "-early_data", early,
                    request=GET[20:]).stdout.count("hello") == 1
    early.write_text("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n" * 100)
    assert s_client(server, "-sess_in", session, "-early_data", early,
                    request=GET).stdout.count("hello") == 101


# ---- redirects and HSTS ----

def test_plain_requests_are_sent_to_https(site):
    server = site({**SITE, "ssl": {"hsts": "1d"}},
                  {"domains": "plain.test", "root": "@home/www", "https_redirect": False},
                  {"domains": "never.test", "root": "@home/www", "ssl": "off"})
    answer = server.get("/a%20b?x=1")
    port = server.https_address[1]
    assert answer.status == 308 and answer["Location"] == f"https://a.test:{port}/a%20b?x=1"
    assert answer["Strict-Transport-Security"] is None
    assert server.get("/", host="plain.test").status == 200
    assert server.get("/", host="never.test").status == 200
    assert server.get("/livez").status == 200, "health answers come before the redirect"
    head = server.https("a.test", "-sI", server.https_url("a.test")).stdout.decode()
    assert "strict-transport-security: max-age=86400\r\n" in head.lower()
    for _ in range(2):
        assert server.get("/", host="plain.test")["Strict-Transport-Security"] is None
    wrong = server.https("never.test", "-k", server.https_url("never.test"))
    assert wrong.returncode == 35, "a host without TLS has no handshake"


def test_reload_swaps_certificates_without_closing(serve, tmp_path):
    make_certificate(tmp_path, "one", "a.test")
    make_certificate(tmp_path, "two", "a.test")
    shutil.copy(tmp_path / "one.pem", tmp_path / "now.pem")
    shutil.copy(tmp_path / "one.key", tmp_path / "now.key")
    now = {"cert": str(tmp_path / "now.pem"), "key": str(tmp_path / "now.key")}
    server = serve(config({"domains": "a.test", "respond": {"body": "a"}, "ssl": now}))
    c = ssl.create_default_context(cafile=str(tmp_path / "one.pem"))
    with socket.create_connection(server.https_address) as raw:
        with c.wrap_socket(raw, server_hostname="a.test") as wire:
            shutil.copy(tmp_path / "two.pem", tmp_path / "now.pem")
            shutil.copy(tmp_path / "two.key", tmp_path / "now.key")
            assert server.reload().returncode == 0
            assert "subject=CN = two\n" in s_client(server, request=GET).stdout
            wire.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert wire.recv(65536).startswith(b"HTTP/1.1 200")


def test_addresses_change_between_http_and_https(serve):
    server = serve(config())
    port = server.https_address[1]
    server.write(config(listen=["127.0.0.1:0", f"http://127.0.0.1:{port}"]))
    assert server.reload().returncode == 0


# ---- sws serve --https, sws trust ----

def test_serve_https(tmp_path):
    (tmp_path / "index.html").write_text("hello\n")
    state = tmp_path / "home/.local/state/selenia"
    environment = {**os.environ, "HOME": str(tmp_path / "home")}
    environment.pop("XDG_STATE_HOME", None)
    from conftest import SWS, free_port
    port = free_port()
    command = [SWS, "serve", str(tmp_path), "--https", "--port", str(port)]
    if os.geteuid() == 0:
        pytest.skip("root keeps its authority in /var/lib, which belongs to the machine")
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: (state / "local/root.pem").exists(), "root certificate")

        def get():
            return subprocess.run(["curl", "-s", "--cacert", state / "local/root.pem",
                                   f"https://localhost:{port}/"], capture_output=True,
                                  check=False).stdout
        wait_for(lambda: get() == b"hello\n", "page")
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0


def test_trust_says_what_is_missing(tmp_path):
    done = run_sws("trust", "-c", tmp_path / "none.yaml")
    assert done.returncode == 2
