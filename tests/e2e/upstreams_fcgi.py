# SPDX-License-Identifier: Apache-2.0
"""Servers of FastCGI: Debian's php-fpm, and one whose records a test writes itself."""
import contextlib
import os
import pathlib
import shutil
import socket
import struct
import subprocess

from conftest import ANSWER_SECONDS, wait_for
from upstreams import Upstream

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR = range(1, 8)
GET_VALUES_RESULT, UNKNOWN_TYPE = 10, 11


def record(kind, content=b"", padding=0, request=1, version=1):
    return struct.pack(">BBHHBB", version, kind, request, len(content), padding, 0) + content + \
        b"\xaa" * padding


def end(app_status=0, protocol_status=0, padding=0):
    return record(END, struct.pack(">IB3x", app_status, protocol_status), padding)


def said(text, padding=0, size=65535):
    """All of `text` as records of the program's output, with its end."""
    pieces = [text[i:i + size] for i in range(0, len(text), size)]
    return b"".join(record(STDOUT, piece, padding) for piece in pieces) + record(STDOUT)


def answer(body=b"ok\n", head=b"Content-Type: text/plain\r\n"):
    return said(head + b"\r\n" + body) + end()


class FcgiRequest:
    def __init__(self, connection):
        self.connection = connection
        self.keeps = False
        self.params = {}
        self.names = []
        self.body = b""

    def record(self):
        version, kind, request, n, padding, _ = struct.unpack(">BBHHBB", self.connection.take(8))
        assert (version, request) == (1, 1)
        content = self.connection.take(n)
        self.connection.take(padding)
        return kind, content

    def take_pairs(self, data):
        """Pairs are whole in each record."""
        at = 0
        while at < len(data):
            lengths = []
            for _ in range(2):
                n = data[at]
                if n & 0x80:
                    n = struct.unpack(">I", data[at:at + 4])[0] & 0x7fffffff
                    at += 3
                at += 1
                lengths.append(n)
            name, value = data[at:at + lengths[0]], data[at + lengths[0]:at + sum(lengths)]
            assert len(value) == lengths[1]
            at += sum(lengths)
            self.names.append(name.decode())
            self.params[name.decode()] = value.decode("latin-1")

    def read(self):
        kind, content = self.record()
        role, flags = struct.unpack(">HB5x", content)
        assert (kind, role) == (BEGIN, 1) and flags in (0, 1)
        self.keeps = flags == 1
        while True:
            kind, content = self.record()
            assert kind == PARAMS
            if not content:
                return self
            self.take_pairs(content)

    def read_body(self):
        while True:
            kind, content = self.record()
            assert kind == STDIN
            if not content:
                return self
            self.body += content


class FcgiServer(Upstream):
    """Calls `serve(connection, request)` for each request that came with its body; `requests`: all
    of them. A connection goes on where the request asked for that and nothing was raised."""

    def __init__(self, serve, path=None):
        self.requests = []

        def run(connection):
            while True:
                request = FcgiRequest(connection).read().read_body()
                self.requests.append(request)
                assert len(set(request.names)) == len(request.names), request.names
                serve(connection, request)
                if not request.keeps:
                    return
        super().__init__(run, path)
        self.url = f"unix+fcgi:{path}" if path else self.url.replace("http://", "fcgi://")


def saying(data):
    """The same bytes for every request."""
    return lambda connection, request: connection.send(data)


@contextlib.contextmanager
def php_fpm(home, children=4, **pool):
    """A pool of php-fpm on a socket in `home`, whose path is given."""
    home = pathlib.Path(home)
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o755)
    sessions = home / "sessions"
    sessions.mkdir(exist_ok=True)
    sessions.chmod(0o777)
    user = "user = nobody\ngroup = nogroup\n" if os.geteuid() == 0 else ""
    more = "".join(f"{name} = {value}\n" for name, value in pool.items())
    (home / "fpm.conf").write_text(f"""
[global]
error_log = {home}/fpm.log
daemonize = no
[www]
{user}listen = {home}/fpm.sock
listen.mode = 0666
pm = static
pm.max_children = {children}
ping.path = /ping
catch_workers_output = yes
php_admin_value[session.save_path] = {sessions}
php_admin_value[upload_max_filesize] = 100M
php_admin_value[post_max_size] = 100M
php_admin_value[memory_limit] = 256M
php_admin_value[log_errors] = 1
php_admin_value[display_errors] = 0
php_admin_value[upload_tmp_dir] = {sessions}
{more}""")
    program = shutil.which("php-fpm8.2") or "/usr/sbin/php-fpm8.2"
    with subprocess.Popen([program, "-F", "-y", str(home / "fpm.conf")], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            def is_ready():
                assert process.poll() is None, process.stderr.read().decode()
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
                    s.connect(str(home / "fpm.sock"))
                    return True
                return False
            wait_for(is_ready, "start of php-fpm", 3 * ANSWER_SECONDS, 0.05)
            yield str(home / "fpm.sock")
        finally:
            process.terminate()
            try:
                process.wait(ANSWER_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
