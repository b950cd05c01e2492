# SPDX-License-Identifier: Apache-2.0
"""Certificates from a public authority, played by Pebble, which other people wrote."""
import base64
import contextlib
import hashlib
import json
import os
import pathlib
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
import urllib.request

import pytest

from conftest import Wire, free_port, run_sws, wait_for

ISSUE_SECONDS = 30
EAB_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


def run(*arguments, cwd=None):
    subprocess.run(arguments, cwd=cwd, check=True, capture_output=True, timeout=30)


class Authority:
    """Pebble and the DNS server that it asks."""

    def __init__(self, home, http_port, tls_port, environment=None, dns=None, **settings):
        self.home = home
        self.port, self.management, self.dns = free_port(), free_port(), dns or free_port()
        self.has_dns = dns is None
        self.hook_port = free_port()
        self.environment = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "5",
                            "PEBBLE_AUTHZREUSE": "0", **(environment or {})}
        self.settings = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(home / "ca.pem"), "privateKey": str(home / "ca.key"),
            "httpPort": http_port, "tlsPort": tls_port, "ocspResponderURL": "", **settings}
        self.processes = []
        if not (home / "ca.pem").exists():
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                "-keyout", "ca.key", "-out", "ca.pem", cwd=home)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}/dir"

    def start(self):
        config = self.home / f"pebble-{self.port}.json"
        config.write_text(json.dumps({"pebble": self.settings}))
        self.log = self.home / f"pebble-{self.port}.log"
        with open(self.log, "ab") as log:
            if self.has_dns:
                self.processes.append(subprocess.Popen(
                    ["pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "",
                     "-dns01", f"127.0.0.1:{self.dns}", "-http01", "", "-https01", "",
                     "-tlsalpn01", "", "-management", f"127.0.0.1:{self.hook_port}"],
                    stdout=log, stderr=log))
            self.processes.append(subprocess.Popen(
                ["pebble", "-config", str(config), "-dnsserver", f"127.0.0.1:{self.dns}"],
                stdout=log, stderr=log, env={**os.environ, **self.environment}))
        for port in (self.port, self.hook_port) if self.has_dns else (self.port,):
            wait_for(lambda p=port: self.is_open(p), "open port of the authority")
        return self

    def is_open(self, port):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        return False

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait(10)
        self.processes = []

    def root(self):
        """The root of its certificates, which is another after each start."""
        trust = ssl.create_default_context(cafile=self.home / "ca.pem")
        url = f"https://127.0.0.1:{self.management}/roots/0"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                             urllib.request.HTTPSHandler(context=trust))
        return opener.open(url, timeout=10).read().decode()

    def orders(self):
        return self.log.read_text(errors="replace").count("Added order ")


@pytest.fixture
def home():
    path = pathlib.Path(tempfile.mkdtemp(prefix="acme-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def authority(home):
    """authority(http_port, tls_port) makes one that ends with the test."""
    with contextlib.ExitStack() as ends:
        def make(http_port=1, tls_port=1, start=True, **options):
            ca = Authority(home, http_port, tls_port, **options)
            ends.callback(ca.stop)
            return ca.start() if start else ca
        yield make


class Ports:
    def __init__(self):
        self.http, self.tls = free_port(), free_port()


@pytest.fixture
def ports():
    return Ports()


def config(ports, ca, domains, plain=True, more=(), **acme):
    listen = [f"https://127.0.0.1:{ports.tls}"] + ([f"127.0.0.1:{ports.http}"] if plain else [])
    return {
        "server": {"listen": listen, "state": "@home/state",
                   "tls": {"issuer": "acme",
                           "acme": {"ca": ca.url, "ca_file": str(ca.home / "ca.pem"), **acme}}},
        "hosts": [{"domains": domains, "respond": {"body": "ok\n"}}, *more]}


def handshake(ports, name, root=None, protocols=None):
    """A connection whose certificate was verified against `root` (None: not at all)."""
    context = ssl.create_default_context(cadata=root) if root else ssl._create_unverified_context()
    if protocols:
        context.set_alpn_protocols(protocols)
    raw = socket.create_connection(("127.0.0.1", ports.tls), 10)
    try:
        return context.wrap_socket(raw, server_hostname=name)
    except BaseException:
        raw.close()
        raise


def serial(connection):
    der = connection.getpeercert(binary_form=True)
    return hashlib.sha256(der).hexdigest()


def wait_issued(server, ports, name, root=None, seconds=ISSUE_SECONDS):
    def try_it():
        with contextlib.suppress(ssl.SSLError, OSError):
            return handshake(ports, name, root)
        assert server.process.poll() is None, server.log()
        return None
    try:
        return wait_for(try_it, f"certificate for {name}", seconds, 0.05)
    except AssertionError as e:
        raise AssertionError(f"{e}\n{server.log()}") from None


def issuers(server):
    """The process that gets certificates."""
    found = []
    for pid in server.leftover():
        with contextlib.suppress(OSError):
            line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            found += [pid] if line[1:2] == [b"issuer"] else []
    return found


def plain_get(ports, target, host):
    with Wire(("127.0.0.1", ports.http)) as wire:
        return wire.get(target, host=host)


def dns_hook(home, ca):
    """The program of acme.dns.exec, in the words of pebble-challtestsrv; it notes its calls."""
    path = home / "hook"
    path.write_text(f"""#!/bin/sh
echo "$*" >> {home}/hook.log
case "$1" in
present) verb=set-txt ;;
cleanup) verb=clear-txt ;;
*) exit 64 ;;
esac
curl -sSf --noproxy '*' -d '{{"host":"'$2'.","value":"'$3'"}}' \\
    http://127.0.0.1:{ca.hook_port}/$verb
""")
    path.chmod(0o755)
    return str(path)


def test_tls_alpn_01(serve, authority, ports):
    """Without a plain listener; several names; and nonces that are refused half of the time."""
    ca = authority(tls_port=ports.tls, environment={"PEBBLE_WFE_NONCEREJECT": "50"})
    server = serve(config(ports, ca, ["a.test", "b.test", "c.a.test"], plain=False,
                          email="admin@a.test"))
    root = ca.root()
    for name in ("a.test", "b.test", "c.a.test"):
        with wait_issued(server, ports, name, root) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: " + name.encode() + b"\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert ca.orders() == 1
    [shown] = server.status()["certificates"]
    assert (shown["name"], shown["issuer"], shown["ca"], shown["state"], shown["error"]) == (
        "a.test", "acme", ca.url, "good", "")
    assert shown["expires"].endswith(" GMT")
    assert "a.test" in server.command("status").stdout
    # What is not asked by a CA right now is not answered, and no secret is left about.
    with pytest.raises(ssl.SSLError):
        handshake(ports, "a.test", protocols=["acme-tls/1"])
    assert list((server.home / "state/acme/alpn").iterdir()) == []
    for path in (server.home / "state/acme").rglob("*.*"):
        assert not path.is_file() or path.stat().st_mode & 0o7 == 0, path


def test_http_01_after_tls_alpn_01(serve, authority, ports):
    """Where the CA cannot come by TLS it comes by HTTP; validation takes its time; and until the
    certificate is there the host is served without, another one with its own."""
    ca = authority(http_port=ports.http, tls_port=1, environment={
        "PEBBLE_VA_NOSLEEP": "0", "PEBBLE_VA_SLEEPTIME": "2"})
    local = {"domains": "localhost", "respond": {"body": "local\n"}, "ssl": {"issuer": "internal"}}
    server = serve(config(ports, ca, "a.test", more=[local]))
    assert plain_get(ports, "/", "a.test").body == b"ok\n"
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized"):
        handshake(ports, "a.test")
    handshake(ports, "localhost").close()
    wait_issued(server, ports, "a.test", ca.root()).close()
    assert plain_get(ports, "/", "a.test").status == 308
    assert "tls-alpn" in server.log() or "could not be proved" in server.log()
    assert list((server.home / "state/acme/challenge").iterdir()) == []
    # A challenge is answered before hosts and redirects, and is no way to other files.
    (server.home / "state/acme/challenge/token_-1").write_text("token.thumb")
    for host in ("a.test", "unknown.test"):
        answer = plain_get(ports, "/.well-known/acme-challenge/token_-1", host)
        assert (answer.status, answer.body) == (200, b"token.thumb")
    for bad in ("..%2flock", "token_-1/", "none", "token_-1%00"):
        assert plain_get(ports, "/.well-known/acme-challenge/" + bad, "a.test").status != 200


def test_dns_01_and_wildcard(serve, authority, ports, home):
    ca = authority()
    server = serve(config(ports, ca, [".a.test", "b.test"],
                          dns={"exec": dns_hook(home, ca)}))
    root = ca.root()
    for name in ("a.test", "x.a.test", "b.test"):
        wait_issued(server, ports, name, root).close()
    calls = [line.split() for line in (home / "hook.log").read_text().splitlines()]
    names = ["_acme-challenge.a.test", "_acme-challenge.a.test", "_acme-challenge.b.test"]
    for verb in ("present", "cleanup"):
        assert sorted(c[1] for c in calls if c[0] == verb) == names
    assert {tuple(c[1:]) for c in calls if c[0] == "present"} == {
        tuple(c[1:]) for c in calls if c[0] == "cleanup"}


class NameServer:
    """Knot DNS with the zone a.test, which takes signed updates."""

    KEY = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I="

    def __init__(self, home):
        self.home = home
        self.port = free_port()
        (home / "knot").mkdir()
        (home / "a.test.zone").write_text(
            "$ORIGIN a.test.\n$TTL 60\n@ SOA ns.a.test. a.a.test. 1 60 60 600 60\n@ NS ns\n"
            "ns A 127.0.0.1\n")
        (home / "knot.conf").write_text(f"""
server:
    rundir: "{home}"
    listen: 127.0.0.1@{self.port}
log:
  - target: stderr
    any: info
database:
    storage: "{home}/knot"
key:
  - id: selenia
    algorithm: hmac-sha256
    secret: {self.KEY}
acl:
  - id: update
    key: selenia
    action: update
zone:
  - domain: a.test
    file: "{home}/a.test.zone"
    acl: update
    zonefile-sync: -1
""")
        with open(home / "knot.log", "wb") as log:
            self.process = subprocess.Popen(["/usr/sbin/knotd", "-c", str(home / "knot.conf")],
                                            stdout=log, stderr=log)

    def log(self):
        return (self.home / "knot.log").read_text(errors="replace")

    def stop(self):
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def name_server(home):
    server = NameServer(home)
    try:
        wait_for(lambda: "loaded, serial" in server.log(), "loaded zone")
        yield server
    finally:
        server.stop()


def test_dns_01_by_update(serve, authority, ports, name_server):
    ca = authority(dns=name_server.port)
    dns = {"server": f"127.0.0.1:{name_server.port}", "key_name": "selenia",
           "key_secret": base64.b64encode(b"another key, which is wrong......").decode()}
    server = serve(config(ports, ca, ["*.a.test", "a.test", "x.y.a.test"], dns={"rfc2136": dns}))
    server.wait_log("the name server refuses an update of a.test with code 16")
    dns["key_secret"] = NameServer.KEY
    server.write(config(ports, ca, ["*.a.test", "a.test", "x.y.a.test"], dns={"rfc2136": dns}))
    assert server.reload().returncode == 0
    root = ca.root()
    for name in ("a.test", "w.a.test", "x.y.a.test"):
        wait_issued(server, ports, name, root).close()
    # Six changes went in; what they added is gone again.
    assert name_server.log().count("DDNS, finished") == 6, name_server.log()


def test_external_account(serve, authority, ports):
    ca = authority(tls_port=ports.tls, externalAccountBindingRequired=True,
                   externalAccountMACKeys={"kid-1": EAB_KEY})
    server = serve(config(ports, ca, "a.test"))
    server.wait_log("external account")
    server.write(config(ports, ca, "a.test", eab={"kid": "kid-1", "key": EAB_KEY}))
    # The failure of before is no reason to wait: what was asked for is another thing now.
    assert server.reload().returncode == 0
    wait_issued(server, ports, "a.test", ca.root()).close()


def test_restart_does_not_order_again(serve, authority, ports, home):
    ca = authority(tls_port=ports.tls)
    first = serve(config(ports, ca, "a.test"))
    with wait_issued(first, ports, "a.test", ca.root()) as connection:
        before = serial(connection)
    accounts = ca.log.read_text().count("accounts in memory")
    assert first.stop() == 0
    first.start()
    with wait_issued(first, ports, "a.test", ca.root(), 5) as connection:
        assert serial(connection) == before
    # A further name is a further certificate, of the same account; the first one stays.
    more = {"domains": "b.test", "respond": {"body": "b\n"}}
    first.write(config(ports, ca, "a.test", more=[more]))
    assert first.reload().returncode == 0
    wait_issued(first, ports, "b.test", ca.root()).close()
    with handshake(ports, "a.test") as connection:
        assert serial(connection) == before
    assert ca.orders() == 2
    assert ca.log.read_text().count("accounts in memory") == accounts


def test_renewal_under_open_connections(serve, authority, ports):
    ca = authority(tls_port=ports.tls, certificateValidityPeriod=9)
    server = serve(config(ports, ca, "a.test"))
    request = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
    with wait_issued(server, ports, "a.test") as connection:
        before = serial(connection)

        def is_renewed():
            connection.sendall(request)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            with handshake(ports, "a.test") as fresh:
                return serial(fresh) != before
        wait_for(is_renewed, "renewed certificate", 15, 0.1)
        connection.sendall(request)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    wait_for(lambda: server.status()["certificates"][0]["state"] == "good", "good state")


def test_authority_down_at_start(serve, authority, ports):
    ca = authority(tls_port=ports.tls, start=False)
    server = serve(config(ports, ca, "a.test"))
    assert plain_get(ports, "/", "a.test").body == b"ok\n"
    wait_for(lambda: "cannot be reached" in server.status()["certificates"][0]["error"],
             "reason in the status")
    assert server.status()["certificates"][0]["state"] == "waiting"
    ca.start()
    wait_issued(server, ports, "a.test", ca.root()).close()


def test_second_authority(serve, authority, ports):
    down, ca = authority(start=False), authority(tls_port=ports.tls)
    server = serve(config(ports, down, "a.test", fallback=ca.url))
    wait_issued(server, ports, "a.test", ca.root()).close()
    [shown] = server.status()["certificates"]
    assert shown["ca"] == ca.url


def test_killed_issuer_goes_on(serve, authority, ports):
    """Whenever the issuer dies, its successor finishes the order; the sites notice nothing."""
    ca = authority(tls_port=ports.tls, environment={
        "PEBBLE_VA_NOSLEEP": "0", "PEBBLE_VA_SLEEPTIME": "2"})
    server = serve(config(ports, ca, "a.test"))
    for _ in range(2):
        [pid] = wait_for(lambda: issuers(server), "issuer")
        wait_for(lambda: ca.orders() >= 1, "order")
        os.kill(pid, 9)
        wait_for(lambda p=pid: issuers(server) not in ([], [p]), "next issuer")
    wait_issued(server, ports, "a.test", ca.root()).close()
    assert ca.orders() <= 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
def test_as_another_user_and_upgraded(serve, authority, ports):
    ca = authority(tls_port=ports.tls)
    settings = config(ports, ca, "a.test")
    settings["server"]["user"] = "nobody"
    (ca.home / "ca.pem").chmod(0o600)
    server = serve(settings)
    with wait_issued(server, ports, "a.test", ca.root()) as connection:
        before = serial(connection)
    owner = pwd.getpwnam("nobody").pw_uid
    kept = [path for path in (server.home / "state/acme").rglob("*") if path.is_file()]
    assert kept and {path.stat().st_uid for path in kept} == {owner}
    [issuer] = issuers(server)
    assert os.stat(f"/proc/{issuer}").st_uid == owner
    old = server.status()["pid"]
    assert server.command("upgrade").returncode == 0
    wait_for(lambda: server.status()["pid"] != old, "new process")
    wait_for(lambda: issuers(server) not in ([], [issuer]), "issuer of the new program")
    with handshake(ports, "a.test", ca.root()) as connection:
        assert serial(connection) == before
    settings["hosts"].append({"domains": "b.test", "respond": {"body": "b\n"}})
    server.write(settings)
    assert server.reload().returncode == 0
    wait_issued(server, ports, "b.test", ca.root()).close()
    assert ca.orders() == 2
    # Without hosts that need one there is no issuer.
    settings["hosts"] = [{"domains": "a.test", "respond": {"body": "a\n"},
                          "ssl": {"issuer": "internal"}}]
    server.write(settings)
    assert server.reload().returncode == 0
    wait_for(lambda: not issuers(server), "end of the issuer")


@pytest.mark.parametrize("domains,acme,reason", [
    ("*.example.com", {}, "wildcard"),
    (".example.com", {}, "wildcard"),
    ("api.*", {}, "no certificate"),
    ("a.example.com", {"ca": "http://ca.test/dir"}, "https://"),
    ("a.example.com", {"eab": {"kid": "k", "key": "no key!"}}, "base64url"),
    ("a.example.com", {"ask": "ftp://x.test/"}, "http:// or https://"),
    ("a.example.com", {"ca_file": "none.pem"}, "cannot be read"),
    ("a.example.com", {"dns": {}}, "exec or rfc2136"),
    ("a.example.com", {"dns": {"rfc2136": {"server": "ns.test:53", "key_name": "k",
                                           "key_secret": "AAAA"}}}, "address"),
])
def test_refused_settings(home, domains, acme, reason):
    (home / "sws.yaml").write_text(json.dumps({
        "server": {"tls": {"acme": acme}},
        "hosts": [{"domains": domains, "respond": {"body": "x"}}]}))
    done = run_sws("check", "-c", home / "sws.yaml")
    assert done.returncode == 2 and reason in done.stderr, done.stderr
