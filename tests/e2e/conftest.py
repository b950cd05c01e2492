# SPDX-License-Identifier: Apache-2.0
"""The real program, started on port 0 in a directory of its own, and the clients that ask it.

A configuration is written as a dict and handed over as JSON, which is YAML. Every server ends
with the test that started it: by SIGTERM, with code 0, without a report of a sanitizer,
without a crash of the edge and without leaving a process behind.
"""
import contextlib
import http.client
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SWS = os.path.abspath(os.environ.get("SWS", REPOSITORY / "build/release/sws"))
# The leak check traces its own process, which the sandbox forbids.
HAS_LEAK_CHECK = b"__lsan_do_leak_check" in pathlib.Path(SWS).read_bytes()
START_SECONDS = 20
ANSWER_SECONDS = 10
SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:")


def wait_for(condition, what, seconds=ANSWER_SECONDS, pause=0.02):
    """The first true value of condition(); fails once the deadline is over."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"no {what} within {seconds} s"
        time.sleep(pause)


def run_sws(*arguments, cwd=None, program=SWS):
    """One command that ends by itself."""
    return subprocess.run([program, *map(str, arguments)], cwd=cwd, capture_output=True,
                          text=True, timeout=30, check=False)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def merge(base, more):
    """Dicts merge by key, everything else is replaced."""
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value
    return base


class SharedFile:
    """What http.client takes for a socket, without reading past the end of an answer."""

    def __init__(self, file):
        self.file = file

    def makefile(self, *_):
        return self

    def close(self):
        pass

    def __getattr__(self, name):
        return getattr(self.file, name)


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.version = response.version
        self.headers = response.headers
        self.body = body

    def __getitem__(self, name):
        return self.headers[name]


class Wire:
    """A raw connection: bytes go out as they are, answers are read by http.client."""

    def __init__(self, address, seconds=ANSWER_SECONDS):
        self.socket = socket.create_connection(address, timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def send_while_open(self, data, step=None):
        """Sends all of it, or as much as the server takes before it closes."""
        step = step or len(data)
        try:
            for i in range(0, len(data), step):
                self.socket.sendall(data[i:i + step])
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answer(self, method="GET"):
        response = http.client.HTTPResponse(SharedFile(self.file), method=method)
        response.begin()
        return Answer(response, response.read())

    def get(self, target="/", headers=None, host="a.test", method="GET", body=None):
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
        lines += [f"{k}: {v}" for k, v in (headers or {}).items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        self.send_while_open(head + (body or b""))
        return self.answer(method)

    def rest(self):
        """Everything until the end of the connection, and whether it ended by a reset."""
        got = io.BytesIO()
        try:
            while True:
                piece = self.file.read1(65536)
                if not piece:
                    return got.getvalue(), False
                got.write(piece)
        except ConnectionResetError:
            return got.getvalue(), True

    def is_closed(self):
        """Waits for the end of the connection; a further byte is a failure."""
        data, _ = self.rest()
        assert data == b""
        return True


def split_answers(data):
    """All answers of a stream that ended, in order."""
    file = io.BytesIO(data)
    answers = []
    while file.tell() < len(data):
        response = http.client.HTTPResponse(SharedFile(file))
        response.begin()
        answers.append(Answer(response, response.read()))
    return answers


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("admin", timeout=ANSWER_SECONDS)
        self.unix_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.unix_path)


class Server:
    def __init__(self, config=None, program=SWS, name="sws.yaml"):
        # Short: the path of a Unix socket has 107 bytes.
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="sws-"))
        self.home.chmod(0o755)
        self.www = self.home / "www"
        self.www.mkdir()
        self.program = program
        self.admin_path = str(self.home / "admin.sock")
        self.config_path = self.home / name
        self.stderr_path = self.home / "stderr"
        self.access_path = self.home / "access.log"
        self.config = {}
        self.process = None
        self.end_codes = (0,)
        self.may_crash = False
        self.write(config or {})

    # ---- configuration ----

    def write(self, config):
        """Writes the configuration; what a test does not say is set for tests. @home is the
        directory of the server, which has an empty one in it, www."""
        base = {
            "server": {"listen": ["127.0.0.1:0"], "admin": f"unix:{self.admin_path}", "user": "",
                       "worker": {"processes": 2}, "timeouts": {"drain": "3s"},
                       **({"sandbox": False} if HAS_LEAK_CHECK else {})},
            "log": {"access": str(self.access_path)},
            "hosts": [{"domains": "default", "respond": {"body": "ok\n"}}],
        }
        self.config = merge(base, config)
        self.write_text(json.dumps(self.config, indent=1))

    def write_text(self, text):
        self.config_path.write_text(text.replace("@home", str(self.home)))

    # ---- the process ----

    def start(self):
        with open(self.stderr_path, "ab") as err:
            self.process = subprocess.Popen(
                [self.program, "start", "-c", str(self.config_path)], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=err, cwd=self.home, start_new_session=True)
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def is_ready(self):
        code = self.process.poll()
        assert code is None, f"the server ended with {code}:\n{self.log()}"
        try:
            return self.admin("GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait_ready(self):
        wait_for(self.is_ready, "ready server", START_SECONDS)

    def stop(self):
        """Ends it by SIGTERM and returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(START_SECONDS)

    def leftover(self):
        """The processes of our session that still live."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(session) == self.process.pid and state != "Z":
                found.append(int(entry.name))
        return found

    def kill(self):
        """Ends every process that is left, and removes the directory."""
        for pid in self.leftover():
            os.kill(pid, signal.SIGKILL)
        self.process.wait(START_SECONDS)
        shutil.rmtree(self.home, ignore_errors=True)

    def finish(self):
        """What holds at the end of every test."""
        code, text, left = None, "", []
        try:
            code = self.stop()
            left = self.leftover()
        finally:
            text = self.log()
            self.kill()
        assert not SANITIZER.search(text), text
        assert self.may_crash or "supervisor: the edge (process" not in text, text
        assert code in self.end_codes, f"exit code {code}:\n{text}"
        assert not left, f"processes {left} were left behind:\n{text}"

    def log(self):
        return self.stderr_path.read_text(errors="replace")

    def wait_log(self, pattern, seconds=ANSWER_SECONDS):
        return wait_for(lambda: re.search(pattern, self.log()), f"line /{pattern}/ in the log",
                        seconds)

    # ---- the admin socket ----

    def admin(self, method, path, headers=None):
        connection = UnixConnection(self.admin_path)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def status(self):
        code, text = self.admin("GET", "/status")
        assert code == 200
        return json.loads(text)

    def metrics(self):
        """{'name{labels}': value}"""
        code, text = self.admin("GET", "/metrics")
        assert code == 200
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def metric(self, name):
        return self.metrics().get(name, 0)

    def reload(self):
        return self.command("reload")

    def command(self, name, *more):
        return run_sws(name, "-c", self.config_path, *more, program=self.program)

    # ---- clients ----

    @property
    def addresses(self):
        listen = [a.rpartition(":") for a in self.status()["listen"] if a.startswith("127.")]
        return [(host, int(port)) for host, _, port in listen]

    @property
    def address(self):
        if not hasattr(self, "first_address"):
            self.first_address = self.addresses[0]
        return self.first_address

    @property
    def https_address(self):
        """The first address that speaks HTTPS."""
        if not hasattr(self, "first_https"):
            found = [a for a in self.status()["listen"] if a.startswith("https://127.")]
            host, _, port = found[0].removeprefix("https://").rpartition(":")
            self.first_https = (host, int(port))
        return self.first_https

    @property
    def root_pem(self):
        """The root of the local authority, where `state` is @home/state."""
        return self.home / "state/local/root.pem"

    def https(self, name, *arguments, root=None):
        """curl to a host of ours by its name, which trusts `root` alone."""
        port = self.https_address[1]
        return self.curl("--cacert", str(root or self.root_pem),
                         "--resolve", f"{name}:{port}:127.0.0.1", *arguments)

    def https_url(self, name, path="/"):
        return f"https://{name}:{self.https_address[1]}{path}"

    @property
    def url(self):
        return "http://%s:%d" % self.address

    def wire(self, seconds=ANSWER_SECONDS):
        return Wire(self.address, seconds)

    def get(self, target="/", headers=None, host="a.test", method="GET"):
        with self.wire() as wire:
            return wire.get(target, headers, host, method)

    def curl(self, *arguments):
        return subprocess.run(["curl", "-sS", "--max-time", "60", *arguments],
                              capture_output=True, timeout=90, check=False)

    def access_lines(self, count, path=None):
        """The lines of the access log, once there are as many."""
        path = path or self.access_path

        def enough():
            lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
            return lines if len(lines) >= count else None
        return wait_for(enough, f"{count} lines in the access log")


@pytest.fixture
def serve():
    """serve(config) starts a server that lives as long as the test."""
    with contextlib.ExitStack() as ends:
        def start(config=None, **options):
            server = config if isinstance(config, Server) else Server(config, **options)
            server.start()
            ends.callback(server.finish)
            return server
        yield start


class Busy(threading.Thread):
    """Keep-alive clients that ask without pause and check every answer.

    A server that drains may close a connection between two requests; as every client does, the
    request is then sent again, once, on a new connection.
    """

    def __init__(self, address, connections, target="/", body=b"ok\n", may_close=False):
        super().__init__(daemon=True)
        self.address = address
        self.request = f"GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode()
        self.expected = body
        self.may_close = may_close
        self.wires = [Wire(address) for _ in range(connections)]
        self.fresh = [True] * connections
        self.answers = 0
        self.reopened = 0
        self.rounds = 0
        self.failures = []
        self.must_end = False

    def __enter__(self):
        self.start()
        wait_for(lambda: self.rounds >= 1 or self.failures, "first round of answers", 30)
        return self

    def __exit__(self, *_):
        self.must_end = True
        self.join(30)
        for wire in self.wires:
            wire.close()

    def reopen(self, i):
        self.wires[i].close()
        self.wires[i] = Wire(self.address)
        self.fresh[i] = True
        self.reopened += 1

    def read(self, i):
        try:
            answer = self.wires[i].answer()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if not self.may_close or self.fresh[i]:
                raise
            self.reopen(i)
            self.wires[i].send(self.request)
            answer = self.wires[i].answer()
        self.fresh[i] = False
        assert (answer.status, answer.body) == (200, self.expected)
        self.answers += 1
        if answer["Connection"] == "close":
            assert self.may_close, "the connection was closed"
            self.reopen(i)

    def run(self):
        while not self.must_end and not self.failures:
            for i, wire in enumerate(self.wires):
                try:
                    wire.send(self.request)
                except OSError as e:
                    if not self.may_close:
                        self.failures.append(f"connection {i}: {e!r}")
            for i in range(len(self.wires)):
                try:
                    self.read(i)
                except (OSError, AssertionError, http.client.HTTPException) as e:
                    self.failures.append(f"connection {i}, after {self.answers} answers: {e!r}")
            self.rounds += 1

    def wait_rounds(self, more):
        goal = self.rounds + more
        wait_for(lambda: self.rounds >= goal or self.failures, f"{more} rounds of answers", 30)
        assert not self.failures, self.failures[:3]
