# SPDX-License-Identifier: Apache-2.0
"""Certificates from a public authority, played by Pebble, which other people wrote."""
import base64
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request

import pytest

from conftest import Server, Wire, free_port, wait_for

ISSUE_SECONDS = 30
EAB_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


def run(*arguments, cwd=None):
    subprocess.run(arguments, cwd=cwd, check=True, capture_output=True, timeout=30)


class Authority:
    """Pebble and the DNS server that it asks."""

    def __init__(self, home, http_port, tls_port, environment=None, **settings):
        self.home = home
        self.port, self.management, self.dns = free_port(), free_port(), free_port()
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
        return f"https://localhost:{self.port}/dir"

    def start(self):
        config = self.home / f"pebble-{self.port}.json"
        config.write_text(json.dumps({"pebble": self.settings}))
        self.log = self.home / f"pebble-{self.port}.log"
        with open(self.log, "ab") as log:
            self.processes = [
                subprocess.Popen(
                    ["pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "",
                     "-dns01", f"127.0.0.1:{self.dns}", "-http01", "", "-https01", "",
                     "-tlsalpn01", "", "-management", f"127.0.0.1:{self.hook_port}"],
                    stdout=log, stderr=log),
                subprocess.Popen(
                    ["pebble", "-config", str(config), "-dnsserver", f"127.0.0.1:{self.dns}"],
                    stdout=log, stderr=log, env={**os.environ, **self.environment})]
        for port in (self.port, self.hook_port):
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
        url = f"https://localhost:{self.management}/roots/0"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                             urllib.request.HTTPSHandler(context=trust))
        return opener.open(url, timeout=10).read().decode()

    def orders(self):
        return self.log.read_text(errors="replace").count("/order-plz -> calling handler")


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


def plain_get(ports, target, host):
    with Wire(("127.0.0.1", ports.http)) as wire:
        return wire.get(target, host=host)


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
    assert server.status()["certificates"][0]["state"] == "good"
