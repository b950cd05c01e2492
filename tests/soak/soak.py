#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The real program under a mixture of everything, for SOAK_SECONDS.

Clients with kept connections check every answer by its bytes; others pipeline, read slowly, break
off, and send garbage. Meanwhile files are replaced, cut and deleted, the configuration is loaded
again every few seconds, right and wrong, and in the first half the program is upgraded every 30
seconds. The second half belongs to one process, so that what it loses can be seen: at rest, its
memory, its descriptors and its counters are compared.

SWS names the program. Ends with code 0 when nothing was wrong.
"""
import collections
import gzip
import hashlib
import http.client
import os
import pathlib
import random
import re
import socket
import struct
import sys
import threading
import time
import traceback
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
from conftest import HAS_LEAK_CHECK, Server, Wire, wait_for  # noqa: E402

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
SEED = int(os.environ.get("SOAK_SEED", str(int(time.time()))))
WARM_UP_SECONDS = min(15.0, SECONDS / 6)
UPGRADE_SECONDS = 30.0
RELOAD_SECONDS = 3.0
PROGRESS_SECONDS = 10.0
FAILURES_MAX = 20
PSS_GROWTH_KIB_MAX = 8 * 1024  # the heap keeps what bursts and rotations of the log needed
DESCRIPTOR_GROWTH_MAX = 0
BIG_BYTES = 4_000_000
WEB_SOCKET = (b"GET / HTTP/1.1\r\nHost: echo.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
              b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
DISCONNECTS = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


def text_bytes(name, n):
    """Bytes that a name and a length give, and that a coding makes shorter."""
    lines, size, i = [], 0, 0
    while size < n:
        lines.append(f"{name} {i} {hashlib.sha256(f'{name}{i}'.encode()).hexdigest()}\n".encode())
        size += len(lines[-1])
        i += 1
    return b"".join(lines)[:n]


STABLE = {name: text_bytes(name, n) for name, n in [
    ("empty.txt", 0), ("small.txt", 1024), ("page.css", 20_000), ("memory.txt", 120_000),
    ("stream.txt", 400_000), ("big.bin", BIG_BYTES)]}
CUT = {f"cut{i}.txt": text_bytes(f"cut{i}", n) for i, n in enumerate([5_000, 90_000, 700_000])}


def versioned(name, version):
    """A content that says by itself whether it is whole."""
    body = text_bytes(f"{name} {version}", random.Random(version).choice([700, 30_000, 300_000]))
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def is_whole_version(content):
    digest, _, body = content.partition(b"\n")
    return hashlib.sha256(body).hexdigest().encode() == digest


class Soak:
    def __init__(self):
        self.failures = []
        self.counts = collections.Counter()   # what was done, by name
        self.statuses = collections.Counter()  # whole answers since the last rest
        self.opened = 0                        # connections since the last rest
        self.lock = threading.Lock()
        self.config_lock = threading.Lock()
        self.may_run = threading.Event()
        self.may_run.set()
        self.must_end = False
        self.resting = 0
        self.threads = []
        self.server = Server({"server": {"timeouts": {"drain": "20s"}},
                              "log": {"rotate": {"size": "1MB", "keep": 2}}})
        self.addresses = []
        self.version = 0

    # ---- notes ----

    def fail(self, what):
        with self.lock:
            self.failures.append(what)
            if len(self.failures) <= FAILURES_MAX:
                print(f"FAILURE {what}", flush=True)

    def note(self, name, status=None):
        with self.lock:
            self.counts[name] += 1
            if status:
                self.statuses[status] += 1

    def expect(self, condition, what):
        if not condition:
            self.fail(what)

    def connect(self):
        wire = Wire(self.addresses[0], 20)
        with self.lock:
            self.opened += 1
        return wire

    # ---- the threads ----

    def spawn(self, work, pause=0.0):
        """Calls work() again and again, but not at rest."""
        rng = random.Random(f"{SEED} {work.__name__} {len(self.threads)}")

        def run():
            while not self.must_end:
                if not self.may_run.is_set():
                    with self.lock:
                        self.resting += 1
                    self.may_run.wait()
                    with self.lock:
                        self.resting -= 1
                try:
                    work(rng)
                except Exception:  # a thread that dies in silence would hide what it found
                    self.fail(f"{work.__name__}: {traceback.format_exc()}")
                end = time.monotonic() + pause
                while time.monotonic() < end and self.may_run.is_set() and not self.must_end:
                    time.sleep(0.05)
        thread = threading.Thread(target=run, name=work.__name__, daemon=True)
        self.threads.append(thread)
        thread.start()

    def rest(self):
        """Stops all threads between two pieces of work and waits until the server is idle."""
        self.may_run.clear()
        wait_for(lambda: self.resting == len(self.threads), "rest of the clients", 60)
        wait_for(lambda: self.server.metric("sws_conn_active") == 0, "idle server", 60)

    def go_on(self):
        self.may_run.set()
        wait_for(lambda: self.resting == 0, "clients at work", 10)

    # ---- clients ----

    def check(self, wire, rng):
        """One request and its answer; returns whether the connection lives on."""
        kind = rng.choice(CHECKS)
        answer = kind(self, wire, rng)
        self.note(kind.__name__, answer.status)
        self.expect(answer.status < 500, f"{kind.__name__}: {answer.status}")
        return answer["Connection"] != "close"

    def keep_alive(self, rng):
        wire, is_fresh = self.connect(), True
        try:
            for _ in range(rng.randrange(1, 300)):
                if not self.may_run.is_set():
                    return
                try:
                    is_alive = self.check(wire, rng)
                except DISCONNECTS:
                    # An upgrade ends idle connections; a new one must be served.
                    if is_fresh:
                        raise
                    is_alive = False
                    self.note("reopened")
                is_fresh = False
                if not is_alive:
                    return
        finally:
            wire.close()

    def pipeline(self, rng):
        names = [rng.choice(["small.txt", "page.css", "memory.txt", "none"]) for _ in range(30)]
        with self.connect() as wire:
            wire.send("".join(f"GET /{n} HTTP/1.1\r\nHost: files.test\r\n\r\n"
                              for n in names).encode())
            for name in names:
                answer = wire.answer()
                self.note("pipelined", answer.status)
                right = STABLE.get(name)
                self.expect((answer.status, answer.body) == (200, right) if right is not None
                            else answer.status == 404, f"pipelined {name}: {answer.status}")
                if answer["Connection"] == "close":
                    return

    def break_off(self, rng):
        with self.connect() as wire:
            wire.send(b"GET /%s HTTP/1.1\r\nHost: %s\r\nAccept-Encoding: gzip\r\n\r\n" % (
                rng.choice([b"big.bin", b"stream.txt"]),
                rng.choice([b"files.test", b"coded.test"])))
            wire.socket.recv(rng.choice([1, 1000, 100_000]))
            if rng.random() < 0.5:
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.note("broken off")

    def read_slowly(self, rng):
        wire = self.connect()
        end = time.monotonic() + 3
        right, got = STABLE["big.bin"], b""
        try:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            wire.send(b"GET /big.bin HTTP/1.1\r\nHost: files.test\r\n\r\n")
            while wire.file.readline() not in (b"\r\n", b""):
                pass
            while time.monotonic() < end and len(got) < len(right) and self.may_run.is_set():
                piece = wire.file.read1(8192)
                self.expect(piece, "a slow reader was cut off")
                if not piece:
                    return
                got += piece
                time.sleep(0.01)
            self.expect(right.startswith(got), "a slow reader got other bytes")
            self.note("read slowly")
        finally:
            wire.close()

    def web_socket(self, rng):
        """Messages of all sizes come back, until one side ends it in one of many ways."""
        is_coded = rng.random() < 0.5
        with self.connect() as wire:
            wire.send(WEB_SOCKET + (DEFLATE if is_coded else b"") + b"\r\n")
            status = int(wire.file.readline().split()[1])
            self.note("WebSockets", status)
            while wire.file.readline() not in (b"\r\n", b""):
                pass
            if status == 503:
                return  # it drains
            self.expect(status == 101, f"a WebSocket was answered {status}")
            for _ in range(rng.randrange(40)):
                data = rng.randbytes(rng.choice([1, 50, 100])) * rng.choice([1, 10, 1000])
                wire.send(client_frame(0xc2, deflated(data)) if is_coded
                          else client_frame(0x82, data))
                got = server_message(wire.file)
                if got is None:
                    return  # it says goodbye
                self.expect(got == data, f"a message of {len(data)} bytes came back as another")
            way = rng.choice(["close", "break", "cut", "wrong"])
            if way == "cut":
                wire.send(client_frame(0x82, bytes(1000))[:500])
            elif way == "break":
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                wire.send(client_frame(0x88, b"\x03\xe8") if way == "close" else b"\xff")
                self.expect(server_message(wire.file) is None, "a WebSocket went on")

    def send_garbage(self, rng):
        seed = rng.choice([
            b"", b"GET /small.txt HTTP/1.1\r\nHost: files.test\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
            b"GET /big.bin HTTP/1.1\r\nHost: files.test\r\nRange: bytes=1-2,5-,-3\r\n\r\n"])
        data = bytearray(seed + rng.randbytes(rng.choice([0, 3, 200, 9000])))
        for _ in range(rng.randrange(6)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        with self.connect() as wire:
            try:
                wire.send(bytes(data))
                wire.socket.shutdown(socket.SHUT_WR)
                wire.socket.settimeout(5)
                got = wire.socket.recv(65536)
                self.expect(not got or re.match(rb"HTTP/1\.1 [1-4]\d\d |HTTP/1\.1 50[15] ", got),
                            f"garbage {bytes(data)!r} was answered {got[:80]!r}")
            except (OSError, TimeoutError):
                pass
        self.note("garbage")

    # ---- what happens to the server ----

    def change_files(self, rng):
        self.version += 1
        www = self.server.www
        for name in rng.sample(["new0.txt", "new1.txt", "new2.txt"], 2):
            replace(www / name, versioned(name, self.version))
        name = rng.choice(list(CUT))
        with open(www / name, "r+b") as f:
            f.truncate(rng.randrange(len(CUT[name])))
        replace(www / name, CUT[name])
        if rng.random() < 0.5:
            replace(www / "come.txt", STABLE["page.css"])
            replace(www / "come.txt.gz", gzip.compress(STABLE["page.css"]))
        else:
            for name in ("come.txt.gz", "come.txt"):
                (www / name).unlink(missing_ok=True)
        if rng.random() < 0.5:
            replace(www / "page.css.gz", gzip.compress(STABLE["page.css"]))
        else:
            (www / "page.css.gz").unlink(missing_ok=True)
        self.note("files changed")

    def reload(self, rng):
        with self.config_lock:
            is_wrong = rng.random() < 0.3
            if is_wrong:
                self.server.write_text("hosts:\n  - domains: default\n    rot: /srv\n")
            else:
                self.write_config(f"extra{rng.randrange(10**6)}.test")
            status, text = self.post_reload()
            self.write_config()
        self.expect(status == (422 if is_wrong else 200) or "under way" in text,
                    f"a reload was answered {status} {text}")
        self.note("reloads")

    def post_reload(self):
        return self.server.admin("POST", "/reload")

    def upgrade(self):
        with self.config_lock:
            old = self.server.status()["pid"]
            status, text = self.server.admin("POST", "/upgrade")
            self.expect(status in (200, 202), f"an upgrade was answered {status} {text}")
            wait_for(lambda: pid_of(self.server) not in (None, old), "new process", 30)
        self.note("upgrades")

    def write_config(self, *more):
        files = {"root": "@home/www", "listing": "html"}
        self.server.write({"hosts": [
            {"domains": "default", "respond": {"body": "ok\n"}},
            {"domains": "files.test", **files, "compress": "off", "routes": [
                {"path": "/to/**", "redirect": "https://other.test/"}]},
            {"domains": "coded.test", **files, "fallback": "/page.css", "rewrites": [
                {"from": "^/old/(.*)$", "to": "/$1"}]},
            {"domains": "echo.test", "backend": "echo"},
            *({"domains": name, "respond": 204} for name in more)]})

    # ---- the run ----

    def pss_kib(self):
        text = pathlib.Path(f"/proc/{self.server.status()['pid']}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+) kB", text, re.M).group(1))

    def progress_pss(self):
        """For people to look at: a process that is just being replaced has none."""
        try:
            return self.pss_kib()
        except (OSError, ValueError, http.client.HTTPException):
            return "?"

    def figures(self):
        """At rest, and with the caches of files empty: what must not grow."""
        self.write_config()
        wait_for(lambda: len(self.server.leftover()) == 2, "end of old processes", 30)
        # The second one is taken when the loops have applied the first and emptied their caches.
        for _ in range(2):
            wait_for(lambda: self.post_reload()[0] == 200, "reload at rest", 30)
        edge, supervisor = self.server.status()["pid"], self.server.process.pid
        return {"pid": edge, "pss": self.pss_kib(), "descriptors": descriptors(edge),
                "supervisor descriptors": descriptors(supervisor),
                "metrics": self.server.metrics()}

    def compare(self, before, after):
        """The counters of one process between two rests, beside what the clients saw."""
        def grown(name):
            return after["metrics"].get(name, 0) - before["metrics"].get(name, 0)

        requests, by_status = 0, collections.Counter()
        for name in after["metrics"]:
            found = re.match(r'sws_http_requests_total\{.*status="(\d+)"', name)
            if found:
                by_status[int(found.group(1))] += grown(name)
                requests += grown(name)
        for status, count in self.statuses.items():
            self.expect(by_status[status] >= count,
                        f"{count} answers {status} came, {by_status[status]} were counted")
        accepted = grown("sws_conn_accepted_total")
        self.expect(accepted == self.opened,
                    f"{self.opened} connections were opened, {accepted:.0f} counted")
        timed = grown("sws_http_request_duration_seconds_count")
        self.expect(timed == requests, f"{requests:.0f} requests counted, {timed:.0f} timed")
        self.expect(grown("sws_log_dropped_lines_total") == 0 or HAS_LEAK_CHECK,
                    "lines of the log were dropped")
        self.expect(after["descriptors"] <= before["descriptors"] + DESCRIPTOR_GROWTH_MAX,
                    f"descriptors: {before['descriptors']}, then {after['descriptors']}")
        growth = after["pss"] - before["pss"]
        # The sanitizer keeps what was freed for a while; it looks for leaks at the end.
        self.expect(growth <= PSS_GROWTH_KIB_MAX or HAS_LEAK_CHECK, f"memory grew by {growth} KiB")
        print(f"between two rests: {requests:.0f} requests, {accepted:.0f} connections, memory "
              f"{before['pss']} to {after['pss']} KiB, descriptors {before['descriptors']} to "
              f"{after['descriptors']}", flush=True)

    def run_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(max(0, min(PROGRESS_SECONDS, end - time.monotonic())))
            with self.lock:
                answers = sum(n for name, n in self.counts.items() if name.startswith("ask"))
            print(f"{time.monotonic() - self.start:4.0f} s: {answers} answers checked, "
                  f"{self.counts['upgrades']} upgrades, {self.counts['reloads']} reloads, "
                  f"{self.progress_pss()} KiB, {len(self.failures)} failures", flush=True)

    def begin_phase(self):
        with self.lock:
            self.statuses.clear()
            self.opened = 0
        return self.figures()

    def run(self):
        server = self.server
        for name, content in {**STABLE, **CUT}.items():
            (server.www / name).write_bytes(content)
        for name in ("new0.txt", "new1.txt", "new2.txt"):
            (server.www / name).write_bytes(versioned(name, 0))
        self.write_config()
        server.start()
        self.addresses = server.addresses
        self.start = time.monotonic()
        half = SECONDS / 2
        for _ in range(4):
            self.spawn(self.keep_alive)
        for work, pause in [(self.pipeline, 0.05), (self.break_off, 0.05), (self.read_slowly, 0.5),
                            (self.read_slowly, 0.5), (self.send_garbage, 0.02),
                            (self.web_socket, 0.02), (self.web_socket, 0.02),
                            (self.change_files, 0.1), (self.reload, RELOAD_SECONDS)]:
            self.spawn(work, pause)
        next_upgrade = min(UPGRADE_SECONDS, half / 3)
        self.run_for(next_upgrade)
        self.rest()
        first = self.begin_phase()
        self.go_on()
        while time.monotonic() - self.start + next_upgrade < half:
            self.upgrade()
            self.run_for(next_upgrade)
        self.upgrade()
        self.run_for(WARM_UP_SECONDS)
        self.rest()
        before = self.begin_phase()
        self.expect(before["supervisor descriptors"] == first["supervisor descriptors"],
                    f"descriptors of the supervisor: {first['supervisor descriptors']}, then "
                    f"{before['supervisor descriptors']}")
        self.go_on()
        self.run_for(SECONDS - (time.monotonic() - self.start))
        self.rest()
        after = self.figures()
        self.expect(after["pid"] == before["pid"], "the process is another one")
        self.compare(before, after)
        self.must_end = True
        self.may_run.set()
        for thread in self.threads:
            thread.join(30)


def pid_of(server):
    try:
        return server.status()["pid"]
    except (OSError, ValueError, http.client.HTTPException):
        return None


def descriptors(pid):
    """How many it holds, but for the roots that a reload changes just now."""
    seen = collections.deque(maxlen=10)

    def are_steady():
        seen.append(len(os.listdir(f"/proc/{pid}/fd")))
        return len(seen) == seen.maxlen and len(set(seen)) == 1
    wait_for(are_steady, "steady descriptors")
    return seen[-1]


def replace(path, content):
    new = path.with_name(path.name + "~")
    new.write_bytes(content)
    os.replace(new, path)


# ---- one request each: sends it, judges the answer, returns it ----

def client_frame(first, payload):
    """Masked with zeros, which a server cannot tell from other masks."""
    n = len(payload)
    length = bytes([0x80 | n]) if n < 126 else b"\xfe" + struct.pack(">H", n) if n < 65536 \
        else b"\xff" + struct.pack(">Q", n)
    return bytes([first]) + length + bytes(4) + payload


def server_message(file):
    """The next message, inflated; None where a close frame or the end comes."""
    message, is_coded, is_last = b"", False, False
    while not is_last:
        head = file.read(2)
        if len(head) < 2 or head[0] == 0x88:
            return None
        n = head[1]
        if n >= 126:
            n = int.from_bytes(file.read(2 if n == 126 else 8), "big")
        is_last, is_coded = bool(head[0] & 0x80), is_coded or bool(head[0] & 0x40)
        message += file.read(n)
    if is_coded:
        message = zlib.decompressobj(-15).decompress(message + b"\0\0\xff\xff")
    return message


def deflated(data):
    deflater = zlib.compressobj(1, zlib.DEFLATED, -15)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def ask_file(soak, wire, rng):
    name = rng.choice(list(STABLE))
    answer = wire.get(f"/{name}", host="files.test")
    soak.expect((answer.status, answer.body) == (200, STABLE[name]), f"{name}: {answer.status}")
    return answer


def ask_coded(soak, wire, rng):
    name = rng.choice(["page.css", "memory.txt", "stream.txt"])
    answer = wire.get(f"/old/{name}", {"Accept-Encoding": "gzip"}, host="coded.test")
    soak.expect(answer.status == 200 and answer["Content-Encoding"] == "gzip" and
                gzip.decompress(answer.body) == STABLE[name], f"coded {name}: {answer.status}")
    return answer


def ask_head(soak, wire, rng):
    name = rng.choice(list(STABLE))
    answer = wire.get(f"/{name}", host="files.test", method="HEAD")
    soak.expect((answer.status, answer["Content-Length"]) == (200, str(len(STABLE[name]))),
                f"HEAD of {name}: {answer.status} {answer['Content-Length']}")
    return answer


def ask_range(soak, wire, rng):
    name = rng.choice(["small.txt", "memory.txt", "big.bin"])
    whole = STABLE[name]
    first = rng.randrange(len(whole))
    last = rng.randrange(first, min(first + 200_000, len(whole)))
    answer = wire.get(f"/{name}", {"Range": f"bytes={first}-{last}"}, host="files.test")
    soak.expect((answer.status, answer.body) == (206, whole[first:last + 1]),
                f"range {first}-{last} of {name}: {answer.status}")
    return answer


def ask_ranges(soak, wire, rng):
    answer = wire.get("/memory.txt", {"Range": "bytes=0-99,50000-50099"}, host="files.test")
    whole = STABLE["memory.txt"]
    soak.expect(answer.status == 206 and whole[:100] in answer.body and
                whole[50000:50100] in answer.body, f"two ranges: {answer.status}")
    return answer


def ask_again(soak, wire, rng):
    first = wire.get("/page.css", host="files.test")
    soak.note("ask_file", first.status)
    if first["Connection"] == "close":
        return first
    answer = wire.get("/page.css", {"If-None-Match": first["ETag"]}, host="files.test")
    soak.expect((answer.status, answer.body) == (304, b""), f"known tag: {answer.status}")
    return answer


def ask_changing(soak, wire, rng):
    name = rng.choice(["new0.txt", "new1.txt", "new2.txt"])
    headers = {"Accept-Encoding": "gzip"} if rng.random() < 0.5 else None
    answer = wire.get(f"/{name}", headers, host="coded.test")
    is_coded = answer["Content-Encoding"] == "gzip"
    content = gzip.decompress(answer.body) if is_coded else answer.body
    soak.expect(answer.status == 200 and is_whole_version(content), f"{name}: {answer.status}, torn")
    return answer


def is_beginning(content, whole):
    """Zeros may stand in it: Linux blanks the rest of a page behind the cut, and what sendfile has
    queued refers to that page."""
    if whole.startswith(content):
        return True
    return len(content) <= len(whole) and all(a in (b, 0) for a, b in zip(content, whole))


def ask_cut(soak, wire, rng):
    """A file that is cut while it is sent ends in a reset; what is whole must be a beginning."""
    name = rng.choice(list(CUT))
    headers = {"Accept-Encoding": "gzip"} if rng.random() < 0.5 else None
    with soak.connect() as own:
        try:
            answer = own.get(f"/{name}", headers, host="coded.test")
        except (*DISCONNECTS, http.client.IncompleteRead):
            soak.note("cut while sent")
            return ask_fixed(soak, wire, rng)
    is_coded = answer["Content-Encoding"] == "gzip"
    content = gzip.decompress(answer.body) if is_coded else answer.body
    soak.note("ask_cut", answer.status)
    soak.expect(answer.status == 200 and is_beginning(content, CUT[name]),
                f"{name}: {answer.status}, {len(content)} bytes")
    return ask_fixed(soak, wire, rng)


def ask_coming(soak, wire, rng):
    headers = {"Accept-Encoding": "gzip"} if rng.random() < 0.5 else None
    answer = wire.get("/come.txt", headers, host="files.test")
    is_coded = answer["Content-Encoding"] == "gzip"
    content = gzip.decompress(answer.body) if is_coded else answer.body
    soak.expect(answer.status == 404 or (answer.status, content) == (200, STABLE["page.css"]),
                f"a file that comes and goes: {answer.status}")
    return answer


def ask_listing(soak, wire, rng):
    answer = wire.get("/", {"Accept": rng.choice(["text/html", "application/json"])},
                      host="files.test")
    soak.expect(answer.status == 200 and b"stream.txt" in answer.body, f"listing: {answer.status}")
    return answer


def ask_fixed(soak, wire, rng):
    answer = wire.get("/", host="a.test")
    soak.expect((answer.status, answer.body) == (200, b"ok\n"), f"fixed: {answer.status}")
    return answer


def ask_wrong(soak, wire, rng):
    target, method, status = rng.choice([
        ("/none", "GET", 404), ("/../x", "GET", 400), ("/small.txt/", "GET", 404),
        ("/small.txt", "DELETE", 405), ("/", "TRACE", 405), ("/.hidden", "GET", 404),
        ("/to/x", "GET", 308), ("/a%2fb", "GET", 404)])
    answer = wire.get(target, host="files.test", method=method)
    soak.expect(answer.status == status, f"{method} {target}: {answer.status}, not {status}")
    return answer


def ask_with_body(soak, wire, rng):
    n = rng.choice([1, 1000, 60_000])
    if rng.random() < 0.5:
        wire.send(b"POST /small.txt HTTP/1.1\r\nHost: files.test\r\nContent-Length: %d\r\n\r\n" % n +
                  bytes(n))
    else:
        wire.send(b"POST /small.txt HTTP/1.1\r\nHost: files.test\r\nTransfer-Encoding: chunked\r\n"
                  b"\r\n%x\r\n" % n + bytes(n) + b"\r\n0\r\n\r\n")
    answer = wire.answer()
    soak.expect(answer.status == 405, f"POST: {answer.status}")
    return answer


def ask_echo(soak, wire, rng):
    body = rng.randbytes(rng.choice([0, 1, 1000, 300_000]))
    wire.send(b"PUT / HTTP/1.1\r\nHost: echo.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    answer = wire.answer()
    soak.expect(answer.status == 200 and (not body or answer.body == body),
                f"echo of {len(body)} bytes: {answer.status}, {len(answer.body)} bytes")
    return answer


CHECKS = [ask_file, ask_file, ask_file, ask_coded, ask_head, ask_range, ask_ranges, ask_again,
          ask_changing, ask_cut, ask_coming, ask_listing, ask_fixed, ask_fixed, ask_wrong,
          ask_with_body, ask_echo]


def main():
    soak = Soak()
    print(f"soaking {soak.server.program} for {SECONDS:.0f} s, seed {SEED}", flush=True)
    try:
        soak.run()
    except BaseException:
        soak.server.kill()
        raise
    soak.server.finish()
    for name, count in sorted(soak.counts.items()):
        print(f"{count:8} {name}")
    print(f"{len(soak.failures)} failures")
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main())
