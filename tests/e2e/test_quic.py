# SPDX-License-Identifier: Apache-2.0
"""What QUIC does below HTTP/3: early data, tokens, Retry, versions, keys, paths, floods, with
ngtcp2's client and with packets that no client sends."""
import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import pycurl
import pytest

from conftest import ANSWER_SECONDS, wait_for
from quic_wire import Impostor, Relay, destination_of, initial, open_initial, varint
from test_http3 import config, fill, first_datagrams, get, gtlsclient, is_up
from test_tls import make_certificate
from upstreams import Upstream, answering, ok

CLIENT_SECONDS = 60
CURL_EARLY_DATA = 1 << 6
EARLY = {"tls": {"early_data": "safe"}}


@pytest.fixture
def memory(tmp_path):
    """What a client remembers of its first connection."""
    return [f"--session-file={tmp_path}/session", f"--tp-file={tmp_path}/params",
            f"--token-file={tmp_path}/token", "--wait-for-ticket"]


def visit(server, path, *arguments, port=None, host="127.0.0.1"):
    """All that the client writes, for one request over one connection. It names localhost where
    the host is an address, else the host."""
    own_port = server.https_address[1]
    done = subprocess.run(
        ["gtlsclient", host, str(port or own_port), f"https://localhost:{own_port}{path}",
         "--exit-on-all-streams-close", "--no-quic-dump", "--no-http-dump", "--timeout=20s",
         *arguments],
        capture_output=True, text=True, errors="replace", timeout=CLIENT_SECONDS, check=False)
    return done.stdout + done.stderr


def status_of(text):
    found = re.findall(r"\[:status: (\d+)\]", text)
    return int(found[-1]) if found else 0


def has_certificate(text):
    """The server sent one: the session was not resumed."""
    sizes = re.findall(r"frm rx \d+ Handshake CRYPTO\(0x06\) offset=\d+ len=(\d+)", text)
    assert sizes, text
    return sum(map(int, sizes)) > 400


def early(server):
    metrics = server.metrics()
    return [int(metrics[f"sws_{name}_total"]) for name in
            ("early_requests", "early_requests_held", "early_data_refused")]


def start_early(serve, **more):
    server = serve({**config(**EARLY), **more})
    fill(server)
    return server


# ---- early data ----

def test_a_get_is_answered_before_the_handshake_is_over(serve, memory):
    server = start_early(serve)
    first = visit(server, "/text.txt", *memory)
    assert status_of(first) == 200
    assert has_certificate(first) and "type=0RTT" not in first
    second = visit(server, "/text.txt", *memory)
    assert status_of(second) == 200
    assert not has_certificate(second)
    assert "pkt tx" in second and "type=0RTT" in second
    answer = second.index("[:status: 200]")
    finished = re.search(r"pkt tx pkn=\d+ .*type=Handshake", second).start()
    assert answer < finished, "the answer came before the client had finished"
    assert early(server) == [1, 0, 0]


def test_libcurl_comes_early(serve):
    server = start_early(serve)
    share = pycurl.CurlShare()
    share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_SSL_SESSION)
    for path, want in (("/text.txt", [0, 0, 0]), ("/text.txt", [1, 0, 0]),
                       ("/text.txt?a=b", [1, 1, 0])):
        got = get(server, path, share=share, ssl_options=CURL_EARLY_DATA, fresh_connect=1)
        assert (got.status, got.version, len(got.body)) == (200, 30, 1000)
        assert early(server) == want


@pytest.mark.parametrize("path, method, status",
                         [("/text.txt", "POST", 405), ("/text.txt?a=b", "GET", 200)])
def test_what_is_not_safe_waits(serve, memory, path, method, status):
    server = start_early(serve)
    assert status_of(visit(server, "/text.txt", *memory)) == 200
    text = visit(server, path, *memory, f"--http-method={method}")
    assert "type=0RTT" in text
    assert status_of(text) == status
    assert early(server) == [0, 1, 0]


def test_who_asks_for_the_address_waits(serve, memory):
    """The address may be forged until the handshake is over."""
    server = start_early(serve, hosts=[
        {"domains": ["default", "localhost"], "root": "@home/www", "routes": [
            {"path": "/text.txt", "match": {"ip": ["127.0.0.0/8"]}, "respond": {"body": "in\n"}}]}])
    assert status_of(visit(server, "/text.txt", *memory)) == 200
    text = visit(server, "/text.txt", *memory)
    assert "type=0RTT" in text
    assert status_of(text) == 200
    assert early(server) == [0, 1, 0]


def test_backends_are_told(serve, memory):
    """RFC 8470 5.1: the next hop learns that it may be a repetition."""
    with Upstream(answering(ok())) as upstream:
        server = serve({**config(**EARLY), "hosts": [
            {"domains": ["default", "localhost"], "backend": upstream.url}]})
        for want in ([], ["1"]):
            assert status_of(visit(server, "/", *memory)) == 200
            assert [v for n, v in upstream.heads[-1][1] if n == "Early-Data"] == want


def echo_config(**server):
    hosts = [{"domains": ["default", "localhost"], "root": "@home/www",
              "routes": [{"path": "/echo", "backend": "echo"}]}]
    return {**config(**server), "hosts": hosts}


def test_a_body_that_comes_early_waits_with_its_request(serve, memory, tmp_path):
    server = serve(echo_config(**EARLY))
    fill(server)
    body = tmp_path / "body"
    body.write_bytes(os.urandom(100_000))
    assert status_of(visit(server, "/text.txt", *memory)) == 200
    text = visit(server, "/echo", *memory, "--http-method=POST", f"--data={body}",
                 f"--download={tmp_path}")
    assert re.search(r"frm tx \d+ 0RTT STREAM\(0x0[ef]\) id=0x0", text), "part of the body"
    assert status_of(text) == 200
    assert (tmp_path / "echo").read_bytes() == body.read_bytes()
    assert early(server) == [0, 1, 0]


def test_hosts_may_differ(serve, memory):
    """Tickets of the one that takes none promise it as well, in vain."""
    server = serve({**config(), "hosts": [
        {"domains": ["default"], "root": "@home/www"},
        {"domains": ["localhost"], "root": "@home/www", "ssl": {"early_data": "safe"}}]})
    fill(server)
    for host, want in (("127.1", [0, 0, 0]), ("127.0.0.1", [1, 0, 0])):
        for path in (m.partition("=")[2] for m in memory if "=" in m):
            pathlib.Path(path).unlink(missing_ok=True)
        assert status_of(visit(server, "/text.txt", *memory, host=host)) == 200
        text = visit(server, "/text.txt", *memory, host=host)
        assert "type=0RTT" in text
        assert status_of(text) == 200
        assert not has_certificate(text)
        assert early(server) == want


def test_who_needs_a_certificate_is_not_early(serve, memory, tmp_path):
    """It is judged again at the end of the handshake."""
    make_certificate(tmp_path, "ca", ca=True)
    make_certificate(tmp_path, "alice", issuer="ca")
    server = serve(config(tls={"early_data": "safe", "client_ca": str(tmp_path / "ca.pem")}))
    fill(server)
    own = [f"--cert={tmp_path}/alice.pem", f"--key={tmp_path}/alice.key"]
    assert status_of(visit(server, "/text.txt", *memory, *own)) == 200
    text = visit(server, "/text.txt", *memory, *own)
    assert "type=0RTT" in text
    assert status_of(text) == 200
    assert not has_certificate(text)
    assert early(server) == [0, 0, 0]


def ticket_bytes(text):
    return int(re.search(r"frm rx \d+ 1RTT CRYPTO\(0x06\) offset=0 len=(\d+)", text).group(1))


def test_early_data_is_off_unless_asked_for(serve, memory):
    """This client sends it all the same; the server takes none, and resumes."""
    server = serve(config())
    fill(server)
    first = visit(server, "/text.txt", *memory)
    assert status_of(first) == 200
    text = visit(server, "/text.txt", *memory)
    assert status_of(text) == 200
    assert not has_certificate(text)
    assert early(server) == [0, 0, 0]
    other = start_early(serve)
    offering = visit(other, "/text.txt", *memory)
    assert ticket_bytes(offering) == ticket_bytes(first) + 8, "an extension with a number"


def replay(server, datagrams):
    """Sends a first flight again; true: the server began another handshake with it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(ANSWER_SECONDS)
        for datagram in datagrams:
            s.sendto(datagram, server.https_address)
        return s.recv(2048)[0] & 0xb0 == 0x80


def requests_of(server, target):
    return sum(f'"target":"{target}"'.encode() in line for line in server.access_lines(1))


def test_a_repeated_first_flight_is_served_once(serve, memory):
    """Whatever worker gets the repetition."""
    server = serve(config(timeouts={"header": "2s"}, **EARLY))
    fill(server)
    assert status_of(visit(server, "/text.txt", *memory)) == 200
    with Relay(server.https_address) as relay:
        text = visit(server, "/0.txt", *memory, port=relay.address[1])
        assert status_of(text) == 200
        first = relay.to_server[:2] if relay.to_server[1][0] & 0x80 else relay.to_server[:1]
        wait_for(lambda: server.metric("sws_conn_active") == 0, "end of the connection")
    assert early(server) == [1, 0, 0]
    count = 3
    for _ in range(count):
        assert replay(server, first)
        # The next one must not belong to this handshake.
        wait_for(lambda: server.metric("sws_conn_active") == 0, "end of the handshake")
    wait_for(lambda: early(server)[2] >= count, "refusals")
    assert early(server) == [1, 0, count]
    assert requests_of(server, "/0.txt") == 1


def test_the_next_edge_refuses_what_the_last_may_have_seen(serve, memory):
    server = start_early(serve)
    assert status_of(visit(server, "/text.txt", *memory)) == 200
    before = server.status()["pid"]
    assert server.command("upgrade").returncode == 0
    wait_for(lambda: is_up(server) and server.status()["pid"] != before, "next edge")
    for refused in (1, 2):
        text = visit(server, "/text.txt", *memory)
        assert "type=0RTT" in text
        assert status_of(text) == 200
        assert not has_certificate(text), "the ticket of the edge before is good"
        assert early(server)[:2] == [0, 0]
        wait_for(lambda: refused == 1 or early(server)[2] >= 1, "refusal")


def test_a_ticket_ends_with_what_it_promised(serve, memory):
    server = start_early(serve)
    assert status_of(visit(server, "/text.txt", *memory)) == 200
    server.write(config(max={"header": "16KB"}, **EARLY))
    assert server.reload().returncode == 0
    text = visit(server, "/text.txt", *memory)
    assert "type=0RTT" in text
    assert status_of(text) == 200
    assert has_certificate(text), "a new handshake"
    assert early(server) == [0, 0, 0]


def test_a_ticket_is_of_one_name_and_version(serve, memory):
    server = start_early(serve)
    assert status_of(visit(server, "/text.txt", *memory)) == 200
    kept = {m.partition("=")[2]: None for m in memory if "=" in m}
    for path in kept:
        kept[path] = pathlib.Path(path).read_bytes()
    for host, more in (("127.1", []), ("127.0.0.1", ["--version=v2"])):
        for path, data in kept.items():
            pathlib.Path(path).write_bytes(data)
        text = visit(server, "/text.txt", *memory, *more, host=host)
        assert status_of(text) == 200
        assert has_certificate(text)
    assert early(server) == [0, 0, 0]


# ---- addresses ----

@contextlib.contextmanager
def crowd(server):
    """So many handshakes under way that others must prove their address."""
    sockets = []
    for datagram in first_datagrams(100):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(ANSWER_SECONDS)
        s.sendto(datagram, server.https_address)
        s.recv(2048) # the handshake is under way
        sockets.append(s)
    yield
    for s in sockets:
        s.close()


def limit(server, name):
    return server.metric(f'sws_limit_hits_total{{limit="{name}"}}')


def test_who_was_here_before_needs_no_retry(serve, memory, tmp_path):
    server = serve(config(worker={"processes": 1}, timeouts={"header": "60s"}))
    fill(server)
    assert status_of(visit(server, "/", *memory)) == 200
    token = (tmp_path / "token").read_bytes()
    with crowd(server):
        text = visit(server, "/", *memory)
        assert status_of(text) == 200
        assert "type=Retry" not in text
        assert (tmp_path / "token").read_bytes() != token, "another one for the next visit"
        (tmp_path / "token").write_bytes(token)
        with Relay(server.https_address, "127.0.0.2") as relay:
            text = visit(server, "/", *memory, port=relay.address[1])
        assert status_of(text) == 200
        assert "type=Retry" in text, "the token is of another address"
        spoiled = token.replace(token[30:31], bytes([token[30] ^ 1]), 1)
        (tmp_path / "token").write_bytes(spoiled)
        text = visit(server, "/")
        assert status_of(text) == 200
        assert "type=Retry" in text
        assert limit(server, "quic_unproved") == 2
        assert limit(server, "quic_token") == 0, "a bad token of that kind is as none"


def bound(ip="127.0.0.1", port=0):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(ANSWER_SECONDS)
    s.bind((ip, port))
    return s


def retry_of(server, s):
    """Asks for a Retry, and returns what is needed to answer it."""
    destination, source = os.urandom(8), os.urandom(8)
    s.sendto(initial(destination, source), server.https_address)
    answer = s.recv(2048)
    assert answer[0] & 0xb0 == 0xb0, "a Retry"
    _, own = destination_of(answer)
    return own, source, answer[7 + len(source) + len(own):-16]


def is_refused(server, s, destination, source, token):
    """By CONNECTION_CLOSE with CONNECTION_REFUSED. Behind it goes a question that the server always
    answers, so that silence needs no waiting."""
    s.sendto(initial(destination, source, token), server.https_address)
    s.sendto(b"\xc0\x1a\x2a\x3a\x4a\x08SENTINEL\x08SENTINEL" + bytes(1200),
             server.https_address)
    answer = s.recv(2048)
    if answer[1:5] == bytes(4):
        return False
    assert s.recv(2048)[1:5] == bytes(4)
    return open_initial(answer, destination)[:2] == b"\x1c\x02"


def test_tokens_of_a_retry(serve):
    """Those that are too old: tests/unit/quic."""
    server = serve(config(worker={"processes": 1}, timeouts={"header": "60s"}))
    fill(server)
    with crowd(server), bound() as s, bound("127.0.0.2", s.getsockname()[1]) as other:
        own, source, token = retry_of(server, s)
        before = limit(server, "quic_token")
        for i in (1, 20, len(token) - 1):
            forged = bytearray(token)
            forged[i] ^= 1
            assert is_refused(server, s, own, source, bytes(forged))
        assert is_refused(server, other, own, source, token)
        assert is_refused(server, s, os.urandom(16), source, token)
        assert is_refused(server, s, own, source, token[:1] + os.urandom(80))
        assert limit(server, "quic_token") == before + 6
        assert not is_refused(server, s, own, source, token)
        assert limit(server, "quic_token") == before + 6


def test_not_more_than_three_times_goes_to_an_unknown_address(serve):
    server = serve(config(worker={"processes": 1}, timeouts={"header": "3s"}))
    fill(server)
    datagram = first_datagrams(1)[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(ANSWER_SECONDS)
        s.sendto(datagram[:1199], server.https_address) # RFC 9000 14.1: no answer
        assert server.metric("sws_conn_active") == 0
        s.sendto(datagram, server.https_address)
        received = len(s.recv(65536))
        wait_for(lambda: server.metric("sws_conn_active") == 0, "end of the handshake")
        s.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                received += len(s.recv(65536))
    assert len(datagram) <= received <= 3 * len(datagram)


def test_resets_are_few_and_shorter_than_what_asked_for_them(serve):
    server = serve(config(worker={"processes": 1}))
    fill(server)
    asked = b"\x40\x00" + b"I" * 15
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(ANSWER_SECONDS)
        s.sendto(asked + bytes(23), server.https_address) # too short to be answered
        s.sendto(asked + bytes(100), server.https_address)
        assert 0 < len(s.recv(2048)) < len(asked) + 100
        end = time.monotonic() + ANSWER_SECONDS
        while limit(server, "quic_resets") == 0:
            assert time.monotonic() < end
            for _ in range(1000):
                s.sendto(asked + bytes(100), server.https_address)
    assert status_of(visit(server, "/")) == 200


# ---- versions, keys, paths ----

def test_versions(serve):
    server = serve(config())
    fill(server)
    text = visit(server, "/", "--version=0x1a2a3a4a", "--preferred-versions=v1")
    assert "type=VN" in text
    assert status_of(text) == 200
    text = visit(server, "/", "--version=v2")
    assert "version=0x6b3343cf" in text and "version=0x00000001" not in text
    assert status_of(text) == 200


def test_keys_are_changed(serve, tmp_path):
    server = serve(config())
    fill(server)
    text = visit(server, "/big.bin", "--key-update=1ms", f"--download={tmp_path}")
    assert status_of(text) == 200
    assert re.search(r"pkt tx .*type=1RTT k=1", text)
    assert re.search(r"pkt rx .*type=1RTT k=1", text), "the server followed"
    assert re.search(r"frm rx \d+ 1RTT ACK\(0x0[23]\) ect0=[1-9]", text), "it counts ECN"
    assert is_whole(server, tmp_path)


def test_every_congestion_control(serve, tmp_path):
    """A reload gives it to the connections that come."""
    server = serve(config())
    fill(server)
    for kind in ("bbr", "reno", "cubic"):
        server.write(config(quic={"congestion": kind}))
        assert server.reload().returncode == 0
        text = visit(server, "/big.bin", f"--download={tmp_path}", "-q")
        assert text == ""
        assert is_whole(server, tmp_path)
    server.write(config(quic={"congestion": "vegas"}))
    done = server.reload()
    assert done.returncode != 0
    assert "congestion" in done.stdout + done.stderr


def is_whole(server, tmp_path):
    return (tmp_path / "big.bin").read_bytes() == (server.www / "big.bin").read_bytes()


def has_proved_path(text):
    """The server asked whether the client is there, and it was."""
    return (re.search(r"frm rx \d+ 1RTT PATH_CHALLENGE", text) and
            re.search(r"frm tx \d+ 1RTT PATH_RESPONSE", text))


def test_a_client_moves(serve, tmp_path):
    server = serve(config())
    fill(server)
    text = visit(server, "/big.bin", "--change-local-addr=5ms", f"--download={tmp_path}")
    assert status_of(text) == 200
    assert is_whole(server, tmp_path)
    assert "Changing local address" in text
    assert has_proved_path(text)


def test_a_client_is_moved(serve, tmp_path):
    """By a device on the way, which takes another port; the client does not know."""
    server = serve(config())
    fill(server)
    with Relay(server.https_address) as relay:
        mover = threading.Thread(target=lambda: (
            wait_for(lambda: len(relay.to_client) > 200, "part of a file"), relay.move()))
        mover.start()
        text = visit(server, "/big.bin", f"--download={tmp_path}", port=relay.address[1])
        mover.join()
        assert relay.moved_count > 200
    assert status_of(text) == 200
    assert is_whole(server, tmp_path)
    assert has_proved_path(text)


def test_a_request_keeps_its_connection(serve, tmp_path):
    """The rest of an upload is lost for longer than the idle time; the server asks whether the
    client is there."""
    server = serve(config(timeouts={"idle": "4s", "read_idle": "60s"}))
    server.write({**server.config, "hosts": [{"domains": ["default"], "backend": "echo"}]})
    assert server.reload().returncode == 0
    body = tmp_path / "body"
    body.write_bytes(os.urandom(2_000_000))
    result = {}
    with Relay(server.https_address) as relay:
        client = threading.Thread(target=lambda: result.update(text=visit(
            server, "/", "--http-method=POST", f"--data={body}", port=relay.address[1])))
        client.start()
        wait_for(lambda: len(relay.to_server) > 50, "part of the upload")
        relay.largest = 400
        time.sleep(9) # more than twice the idle time; that is what this is about
        assert client.is_alive()
        relay.largest = 65536
        client.join(CLIENT_SECONDS)
    assert status_of(result["text"]) == 200
    assert "frm rx" in result["text"] and "PING" in result["text"]
    assert re.search(r"frm rx \d+ 1RTT PING", result["text"])


@contextlib.contextmanager
def connection(server, tmp_path, *arguments):
    """A client whose connection stays, behind a relay, and an impostor with its keys."""
    log = tmp_path / "keys"
    host, own_port = server.https_address
    with Relay((host, own_port)) as relay, open(tmp_path / "output", "wb") as output:
        client = subprocess.Popen(
            ["gtlsclient", host, str(relay.address[1]), f"https://localhost:{own_port}/",
             "--ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM",
             "--no-quic-dump", "--timeout=60s", *arguments],
            stdout=output, stderr=output, env={**os.environ, "SSLKEYLOGFILE": str(log)})
        try:
            impostor = Impostor(relay, log)
            wait_for(lambda: b"[:status: 200]" in (tmp_path / "output").read_bytes(), "an answer")
            yield relay, impostor, tmp_path / "output"
        finally:
            client.kill()
            client.wait()


def test_a_client_hears_that_its_connection_is_lost(serve, tmp_path):
    server = serve(config(worker={"processes": 1}))
    server.may_crash = True
    fill(server)
    with connection(server, tmp_path, "--key-update=1h") as (relay, impostor, output):
        edge = server.status()["pid"]
        relay.hold()
        os.kill(edge, signal.SIGKILL)
        server.wait_log(r"supervisor: the edge \(process")
        wait_for(lambda: is_up(server), "next edge")
        came = len(relay.to_client)
        with relay.lock:
            relay.held.clear()
        relay.release()
        impostor.send(b"\x01" + bytes(60))
        wait_for(lambda: len(relay.to_client) > came, "reset")
        wait_for(lambda: "STATELESS_RESET" in output.read_text(errors="replace").upper()
                 .replace(" ", "_"), "word of the client that it was reset")


# ---- frames that no client sends ----

def is_closed(server):
    return lambda: server.metric("sws_conn_active") == 0


def frame(kind, *numbers, data=b""):
    return varint(kind) + b"".join(varint(n) if isinstance(n, int) else n for n in numbers) + data


NEW_CONNECTION_ID, PATH_CHALLENGE, CRYPTO, STREAM, STREAMS_BLOCKED, NEW_TOKEN = (
    0x18, 0x1a, 0x06, 0x0e, 0x16, 0x07)


def retiring(first, count):
    """Each retires all before it, so that the server owes a RETIRE_CONNECTION_ID for each."""
    return b"".join(frame(NEW_CONNECTION_ID, n, n, bytes([16]), os.urandom(16), os.urandom(16))
                    for n in range(first, first + count))


# Each brings the server to close the connection: it is told by a counter.
FLOODS = {
    "ids beyond the limit": lambda n: b"".join(
        frame(NEW_CONNECTION_ID, 10 + 8 * n + i, 0, bytes([16]), os.urandom(16), os.urandom(16))
        for i in range(8)),
    "ids that retire each other": lambda n: retiring(100 + 16 * n, 16),
    "CRYPTO that leaves a gap": lambda n: frame(CRYPTO, 100_000 + n, 10, data=bytes(10)),
    "a stream beyond its window": lambda n: frame(STREAM, 0x60, 1 << 40, 1, data=b"x"),
    "a stream beyond their number": lambda n: frame(STREAM, 4 * 5000, 0, 1, data=b"x"),
    "a frame that clients do not send": lambda n: frame(NEW_TOKEN, 4, data=b"abcd"),
    "a frame that does not exist": lambda n: frame(0x3f),
    "half a frame": lambda n: frame(CRYPTO, 0, 4000, data=bytes(10)),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_and_faults_end_the_connection(serve, tmp_path, name):
    server = serve(config())
    fill(server)
    with connection(server, tmp_path) as (_, impostor, _):
        end = time.monotonic() + ANSWER_SECONDS
        n = 0
        while limit(server, "quic_fault") == 0:
            assert time.monotonic() < end
            impostor.send(FLOODS[name](n))
            n += 1
        wait_for(is_closed(server), "end of the connection")
    assert limit(server, "quic_fault") == 1
    assert status_of(visit(server, "/")) == 200


def test_challenges_of_a_path_are_not_kept(serve, tmp_path):
    """10,000 of them in packets that carry many: what is answered is bounded, nothing grows."""
    server = serve(config())
    fill(server)
    with connection(server, tmp_path) as (relay, impostor, _):
        before = server.metric("sws_sent_bytes_total")
        for _ in range(100):
            impostor.send(b"".join(frame(PATH_CHALLENGE, os.urandom(8)) for _ in range(100)))
        impostor.send(b"\x01")
        came = len(relay.to_client)
        wait_for(lambda: len(relay.to_client) > came or server.metric("sws_conn_active") == 0,
                 "an answer")
        assert server.metric("sws_sent_bytes_total") - before < 500_000
    assert status_of(visit(server, "/")) == 200
