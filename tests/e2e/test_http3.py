# SPDX-License-Identifier: Apache-2.0
"""HTTP/3 with clients that other people wrote: libcurl (by pycurl), ngtcp2's client, Chromium."""
import base64
import hashlib
import io
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import threading

import pycurl
import pytest

from conftest import ANSWER_SECONDS, Server, wait_for

BIG = os.urandom(30_000_000)
CURL_HTTP3 = 1 << 25
HTTP3_ONLY = 31
SMALL_COUNT = 50


def config(**server):
    return {"server": {"listen": ["127.0.0.1:0", "https://127.0.0.1:0"], "state": "@home/state",
                       "timeouts": {"drain": "10s"}, **server},
            "hosts": [{"domains": ["default", "localhost"], "root": "@home/www"}]}


def fill(server):
    (server.www / "index.html").write_text("index\n")
    (server.www / "big.bin").write_bytes(BIG)
    (server.www / "text.txt").write_text("0123456789" * 100)
    for i in range(SMALL_COUNT):
        (server.www / f"{i}.txt").write_text(f"file {i}\n")
    (server.www / "page.html").write_text(
        "<p id=a></p><script>fetch('/big.bin').then(r => r.arrayBuffer()).then(b => {"
        "document.getElementById('a').textContent = 'size ' + b.byteLength + ' ' +"
        "performance.getEntriesByType('resource')[0].nextHopProtocol})</script>")


@pytest.fixture(scope="module")
def server():
    server = Server(config())
    fill(server)
    server.start()
    yield server
    server.finish()


class Got:
    def __init__(self):
        self.raw = io.BytesIO()
        self.headers = {}
        self.status = self.version = 0

    def take_line(self, line):
        name, colon, value = line.decode().strip().partition(":")
        if colon:
            self.headers[name.lower()] = value.strip()

    @property
    def body(self):
        return self.raw.getvalue()


def curl_of(server, path, got, headers=(), **options):
    assert pycurl.version_info()[4] & CURL_HTTP3, pycurl.version
    curl = pycurl.Curl()
    port = server.https_address[1]
    curl.setopt(pycurl.URL, f"https://localhost:{port}{path}")
    curl.setopt(pycurl.RESOLVE, [f"localhost:{port}:127.0.0.1"])
    curl.setopt(pycurl.CAINFO, str(server.root_pem))
    curl.setopt(pycurl.HTTP_VERSION, HTTP3_ONLY)
    curl.setopt(pycurl.TIMEOUT, 60)
    curl.setopt(pycurl.HTTPHEADER, list(headers))
    curl.setopt(pycurl.WRITEFUNCTION, got.raw.write)
    curl.setopt(pycurl.HEADERFUNCTION, got.take_line)
    for name, value in options.items():
        curl.setopt(getattr(pycurl, name.upper()), value)
    return curl


def finish(curl, got):
    got.status = curl.getinfo(pycurl.RESPONSE_CODE)
    got.version = curl.getinfo(pycurl.INFO_HTTP_VERSION)
    got.connects = curl.getinfo(pycurl.NUM_CONNECTS)
    curl.close()
    return got


def get(server, path="/", headers=(), **options):
    got = Got()
    curl = curl_of(server, path, got, headers, **options)
    curl.perform()
    return finish(curl, got)


def test_a_file(server):
    got = get(server)
    assert (got.status, got.version, got.body) == (200, 30, b"index\n")
    assert got.headers["content-length"] == "6"
    assert "connection" not in got.headers


def test_a_big_file_is_whole(server):
    got = get(server, "/big.bin")
    assert hashlib.sha256(got.body).digest() == hashlib.sha256(BIG).digest()


def test_head_range_and_condition(server):
    head = get(server, "/text.txt", nobody=True)
    assert (head.status, head.headers["content-length"], head.body) == (200, "1000", b"")
    part = get(server, "/text.txt", ["Range: bytes=995-"])
    assert (part.status, part.body) == (206, b"56789")
    assert part.headers["content-range"] == "bytes 995-999/1000"
    same = get(server, "/text.txt", [f"If-None-Match: {head.headers['etag']}"])
    assert (same.status, same.body) == (304, b"")
    beyond = get(server, "/text.txt", ["Range: bytes=2000-"])
    assert beyond.status == 416
    assert get(server, "/nothing").status == 404


def test_heads_that_are_too_large(server):
    assert get(server, "/" + "a" * 20000).status == 414
    assert get(server, "/", [f"X-Long: {'b' * 60000}"]).status == 431
    assert get(server, "/").status == 200


def test_many_streams_on_one_connection(server):
    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_PIPELINING, 2)
    pairs = []
    for i in range(SMALL_COUNT):
        got = Got()
        curl = curl_of(server, f"/{i}.txt", got, pipewait=1)
        pairs.append((curl, got))
        multi.add_handle(curl)
    active = len(pairs)
    while active:
        _, active = multi.perform()
        multi.select(0.1)
    connects = 0
    for i, (curl, got) in enumerate(pairs):
        multi.remove_handle(curl)
        finish(curl, got)
        assert (got.status, got.version, got.body) == (200, 30, b"file %d\n" % i)
        connects += got.connects
    assert connects == 1


def test_other_versions_name_it_and_the_log_knows(server):
    port = server.https_address[1]
    first = get(server, "/text.txt", http_version=pycurl.CURL_HTTP_VERSION_2_0)
    assert first.version == pycurl.CURL_HTTP_VERSION_2_0
    assert first.headers["alt-svc"] == f'h3=":{port}"; ma=86400'
    plain = server.get("/text.txt", host="localhost")
    assert plain["Alt-Svc"] is None
    assert get(server, "/text.txt?log").status == 200

    def logged():
        lines = map(json.loads, server.access_lines(1))
        return [l for l in lines if l.get("target") == "/text.txt?log"]
    found = wait_for(logged, "the line of the request")
    assert [l["protocol"] for l in found] == ["HTTP/3"]


def gtlsclient(server, path="/", *arguments):
    host, port = server.https_address
    return subprocess.run(
        ["gtlsclient", host, str(port), f"https://localhost:{port}{path}",
         "--exit-on-all-streams-close", *arguments],
        capture_output=True, text=True, errors="replace", timeout=60, check=False)


def test_the_client_of_ngtcp2(server, tmp_path):
    done = gtlsclient(server, "/big.bin", "--quiet", f"--download={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "big.bin").read_bytes() == BIG
    done = gtlsclient(server, "/", "-n", "300", "--timeout=10s")
    assert (done.stdout + done.stderr).count("[:status: 200]") == 300


def test_keys_change_and_the_client_moves(server, tmp_path):
    """--change-local-addr takes another port, and the kernel gives what comes from there to the
    same worker as before."""
    passed = server.metric("sws_quic_passed_datagrams_total")
    for _ in range(5):
        done = gtlsclient(server, "/big.bin", "--quiet", f"--download={tmp_path}",
                          "--key-update=10ms", "--change-local-addr=20ms")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "big.bin").read_bytes() == BIG
        (tmp_path / "big.bin").unlink()
    assert server.metric("sws_quic_passed_datagrams_total") == passed


def spki_hash(server):
    certificate = ssl.get_server_certificate(server.https_address)
    run = lambda text, *a: subprocess.run(["openssl", *a], input=text, capture_output=True,
                                          timeout=30, check=True).stdout
    key = run(certificate.encode(), "x509", "-pubkey", "-noout")
    der = run(key, "pkey", "-pubin", "-outform", "der")
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def test_chromium(server):
    port = server.https_address[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu",
             f"--user-data-dir={profile}", f"--origin-to-force-quic-on=localhost:{port}",
             f"--ignore-certificate-errors-spki-list={spki_hash(server)}",
             "--host-resolver-rules=MAP localhost 127.0.0.1", "--virtual-time-budget=10000",
             "--dump-dom", f"https://localhost:{port}/page.html"],
            capture_output=True, text=True, timeout=90, check=False)
    assert f"size {len(BIG)} h3" in done.stdout, done.stdout + done.stderr


# ---- datagrams of no connection ----

def ask(server, datagram, seconds=ANSWER_SECONDS):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(seconds)
        s.sendto(datagram, server.https_address)
        return s.recv(2048)


def long_packet(version, size=1200):
    head = b"\xc0" + version + b"\x08" + b"D" * 8 + b"\x08" + b"S" * 8
    return head + bytes(size - len(head))


def test_an_unknown_version_is_answered(server):
    answer = ask(server, long_packet(b"\x1a\x2a\x3a\x4a"))
    assert answer[0] & 0x80
    assert answer[1:5] == bytes(4)
    assert answer[5:23] == b"\x08" + b"S" * 8 + b"\x08" + b"D" * 8
    offered = [answer[i:i + 4] for i in range(23, len(answer), 4)]
    assert b"\x00\x00\x00\x01" in offered


def test_small_or_senseless_datagrams_get_no_answer(server):
    """The server answers the last one only, though all came before it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(ANSWER_SECONDS)
        for datagram in (b"", b"\x40", b"\xc0", long_packet(b"\x1a\x2a\x3a\x4a", 600),
                         long_packet(b"\0\0\0\1")):
            s.sendto(datagram, server.https_address)
        last = long_packet(b"\x1a\x2a\x3a\x4b").replace(b"S" * 8, b"T" * 8)
        s.sendto(last, server.https_address)
        assert b"T" * 8 in s.recv(2048)
        s.settimeout(0.2)
        with pytest.raises(socket.timeout):
            s.recv(2048)


def short_packet(worker):
    return b"\x40" + bytes([worker]) + b"I" * 15 + bytes(100)


def test_a_lost_connection_is_reset_also_by_the_next_edge(serve):
    server = serve(config(worker={"processes": 1}))
    server.may_crash = True
    fill(server)
    first = ask(server, short_packet(0))
    assert first[0] & 0xc0 == 0x40
    assert len(first) < len(short_packet(0))
    edge = server.status()["pid"]
    assert server.https_address
    os.kill(edge, signal.SIGKILL)
    server.wait_log(r"supervisor: the edge \(process")
    wait_for(lambda: is_up(server), "next edge")
    again = ask(server, short_packet(0))
    assert again[-16:] == first[-16:], "the token that the peer knows"
    assert get(server).body == b"index\n"


def is_up(server):
    try:
        return server.admin("GET", "/readyz")[0] == 200
    except OSError:
        return False


def first_datagrams(count):
    """The first datagrams of so many clients, each with an id of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        s.settimeout(ANSWER_SECONDS)
        port = s.getsockname()[1]
        found = {}
        while len(found) < count:
            clients = [subprocess.Popen(
                ["gtlsclient", "-q", "127.0.0.1", str(port), f"https://localhost:{port}/"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(10)]
            for _ in clients:
                datagram = s.recv(2048)
                found[datagram[6:6 + datagram[5]]] = datagram
            for client in clients:
                client.kill()
                client.wait()
        return list(found.values())


def test_under_load_addresses_must_be_proved(serve):
    server = serve(config(worker={"processes": 1}))
    fill(server)
    done = gtlsclient(server)
    assert "type=Retry" not in done.stdout + done.stderr
    sockets = []
    for datagram in first_datagrams(100):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(ANSWER_SECONDS)
        s.sendto(datagram, server.https_address)
        s.recv(2048) # the handshake is under way
        sockets.append(s)
    done = gtlsclient(server)
    text = done.stdout + done.stderr
    assert "type=Retry" in text
    assert "[:status: 200]" in text
    assert get(server).status == 200
    for s in sockets:
        s.close()


# ---- the end ----

def slow_get(server, result, speed=10_000_000):
    got = Got()
    curl = curl_of(server, "/big.bin", got, max_recv_speed_large=speed)
    result["curl"] = got
    try:
        curl.perform()
        finish(curl, got)
    except pycurl.error as e:
        result["error"] = e


def test_a_drain_lets_downloads_end(serve):
    server = serve(config())
    fill(server)
    get(server)
    result = {}
    thread = threading.Thread(target=slow_get, args=(server, result))
    thread.start()
    wait_for(lambda: "curl" in result and len(result["curl"].body) > 1_000_000, "part of a file")
    assert server.stop() == 0
    thread.join(ANSWER_SECONDS)
    assert "error" not in result
    assert result["curl"].body == BIG


def upgrade(server):
    before = server.status()["pid"]
    done = server.command("upgrade")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_for(lambda: is_up(server) and server.status()["pid"] != before, "next edge")


def test_upgrades_keep_the_port_and_what_is_under_way(serve):
    """The download goes on in the first edge, which the third one reaches through the second."""
    server = serve(config(timeouts={"drain": "60s"}))
    fill(server)
    port = server.https_address[1]
    slow = {}
    thread = threading.Thread(target=slow_get, args=(server, slow, 3_000_000))
    thread.start()
    for part in (1_000_000, 6_000_000):
        wait_for(lambda: "curl" in slow and len(slow["curl"].body) > part, "part of a file")
        upgrade(server)
        for _ in range(20):
            got = get(server)
            assert (got.status, got.version) == (200, 30)
        assert f'h3=":{port}"' in got.headers["alt-svc"]
    assert len(slow["curl"].body) < len(BIG)
    wait_for(lambda: server.metric("sws_quic_passed_datagrams_total") > 10, "passed datagrams")
    thread.join(60)
    assert "error" not in slow
    assert slow["curl"].body == BIG
    wait_for(lambda: len(re.findall("supervisor: old process .* exited", server.log())) == 2,
             "end of the old edges")


def test_a_reload_ends_it(serve):
    server = serve(config())
    fill(server)
    assert get(server).status == 200
    server.write(config(protocols=["h1", "h2"]))
    assert server.reload().returncode == 0
    with pytest.raises(pycurl.error):
        get(server, connecttimeout=1, timeout=1)
    answer = get(server, http_version=pycurl.CURL_HTTP_VERSION_2_0)
    assert (answer.status, "alt-svc" in answer.headers) == (200, False)
    server.write(config())
    assert server.reload().returncode == 0
    assert get(server).status == 200
