# SPDX-License-Identifier: Apache-2.0
"""Reload and upgrade under load: nothing fails, nothing closes that need not."""
import http.client
import os
import pwd
import shutil
import signal
import socket
import tempfile
import threading
import time

import pytest

from conftest import SWS, Busy, Server, Wire, free_port, wait_for

FILES = {"domains": "files.test", "root": "@home/www", "compress": "off"}
OK = {"domains": "default", "respond": {"body": "ok\n"}}
DRAIN = {"timeouts": {"drain": "20s"}}


def config(*more, listen=None, host=OK, **server):
    return {"server": {**DRAIN, **({"listen": listen} if listen else {}), **server},
            "hosts": [host, FILES, *more]}


def is_reachable(address):
    try:
        socket.create_connection(address, 1).close()
        return True
    except ConnectionRefusedError:
        return False


class Download(threading.Thread):
    """Takes a large file slowly, so that it is under way for as long as the test wants."""

    SIZE = 40_000_000

    def __init__(self, server):
        super().__init__(daemon=True)
        big = server.www / "big"
        if not big.exists():  # cut anew, it would reset the downloads that are under way
            with open(big, "wb") as f:
                f.truncate(self.SIZE)
        self.wire = Wire(server.address, 30)
        self.may_end = threading.Event()
        self.head = b""
        self.got = 0
        self.error = None
        self.wire.send(b"GET /big HTTP/1.1\r\nHost: files.test\r\n\r\n")
        while not self.head.endswith(b"\r\n\r\n"):
            line = self.wire.file.readline()
            assert line, "the download was not answered"
            self.head += line
        self.start()

    def run(self):
        try:
            while self.got < self.SIZE:
                piece = self.wire.file.read1(16384)
                if not piece:
                    raise EOFError(f"cut after {self.got} bytes")
                self.got += len(piece)
                self.may_end.wait(0.01)
        except (OSError, EOFError) as e:
            self.error = e

    def finish(self):
        assert self.is_alive() or self.error, "it ended too early to show anything"
        self.may_end.set()
        self.join(30)
        self.wire.close()
        assert self.error is None, self.error
        assert self.got == self.SIZE


def test_reload_under_load(serve):
    server = serve(config())
    with Busy(server.address, 1000) as busy:
        downloads = [Download(server) for _ in range(5)]
        for i in range(5):
            server.write(config({"domains": f"new{i}.test", "respond": 204}))
            done = server.reload()
            assert done.returncode == 0, done.stderr
            assert server.get("/", host=f"new{i}.test").status == 204
            busy.wait_rounds(2)
        for download in downloads:
            download.finish()
        busy.wait_rounds(2)
        assert busy.reopened == 0
    assert server.metric("sws_reload_state") == 1
    assert server.status()["reload"]["count"] >= 5
    assert server.metric("sws_conn_accepted_total") <= 1000 + 5 + 5


def test_reload_by_signal(serve):
    server = serve(config())
    with server.wire() as wire:
        assert wire.get("/", host="late.test").body == b"ok\n"
        server.write(config({"domains": "late.test", "respond": {"body": "late\n"}}))
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: wire.get("/", host="late.test").body == b"late\n", "new configuration")


def test_reloads_that_overtake_each_other(serve):
    """Only the last state counts, and each who asked is answered."""
    server = serve(config())
    with Busy(server.address, 20) as busy:
        codes = []
        server.write(config({"domains": "late.test", "respond": {"body": "late\n"}}))
        askers = [threading.Thread(target=lambda: codes.append(server.admin("POST", "/reload")[0]))
                  for _ in range(8)]
        for asker in askers:
            asker.start()
            server.process.send_signal(signal.SIGHUP)
        for asker in askers:
            asker.join(10)
        assert codes == [200] * 8
        assert server.get("/", host="late.test").body == b"late\n"
        busy.wait_rounds(1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
def test_reload_of_files_that_only_root_may_read(serve):
    """The edge runs as another user; what the configuration is made of stays secret to it."""
    server = Server(config(user="nobody"))
    secret = server.home / "secret"
    server.home.chmod(0o755)

    def write(word):
        secret.write_text(word)
        secret.chmod(0o600)
        server.write(config(host={"domains": "default",
                                  "respond": {"body": "${file:%s}" % secret}}, user="nobody"))
        server.config_path.chmod(0o600)

    write("first")
    serve(server)
    assert server.get("/").body == b"first"
    owner = os.stat(f"/proc/{server.status()['pid']}").st_uid
    assert owner == pwd.getpwnam("nobody").pw_uid
    write("second")
    assert server.reload().returncode == 0
    assert server.get("/").body == b"second"
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: server.status()["reload"]["count"] == 2, "second reload")
    os.remove(secret)
    done = server.reload()
    assert done.returncode == 2 and str(secret) in done.stderr
    assert server.admin("POST", "/reload")[0] == 422
    assert server.get("/").body == b"second"


def test_reload_names_what_needs_an_upgrade(serve):
    server = serve(config())
    server.write(config(worker={"processes": 1}, poller="io_uring"))
    done = server.reload()
    assert done.returncode == 0
    assert "server.worker.processes, server.poller" in done.stdout and "upgrade" in done.stdout
    assert server.status()["workers"] == 2


@pytest.mark.parametrize("text, words", [
    ("hosts:\n  - domains: default\n    rot: /srv\n", ["rot", "root", ":3:5"]),
    ("server: [\n", [":"]),
    ("server: {admin: 'unix:@home/admin.sock'}\n"
     "hosts:\n  - domains: default\n    root: /does/not/exist\n", ["/does/not/exist"]),
])
def test_wrong_configuration_changes_nothing_and_says_why(serve, text, words):
    server = serve(config())
    with Busy(server.address, 20) as busy:
        server.write_text(text)
        done = server.reload()
        assert done.returncode != 0
        for word in words:
            assert word in done.stderr
        assert server.admin("POST", "/reload")[0] == 422
        assert server.metric("sws_reload_state") == 2
        error = server.status()["reload"]
        assert error["state"] == "failed" and all(word in error["error"] for word in words)
        busy.wait_rounds(2)
        assert busy.reopened == 0
        server.write(config())
        assert server.reload().returncode == 0
        assert server.metric("sws_reload_state") == 1


def test_wrong_configuration_by_signal_is_logged(serve):
    server = serve(config())
    server.write_text("hosts:\n  - domains: default\n    rot: /srv\n")
    server.process.send_signal(signal.SIGHUP)
    server.wait_log(r"rot")
    wait_for(lambda: server.metric("sws_reload_state") == 2, "failed reload")
    assert server.get("/").status == 200


def test_address_in_use_fails_the_reload(serve):
    server = serve(config())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server.write(config(listen=["127.0.0.1:0", f"127.0.0.1:{port}"]))
        done = server.reload()
    assert done.returncode == 1 and str(port) in done.stderr
    assert server.get("/").status == 200


def test_new_address_appears_and_an_old_one_goes(serve):
    server = serve(config())
    old, new = server.address, ("127.0.0.1", free_port())
    with Busy(old, 20) as busy:
        server.write(config(listen=["127.0.0.1:0", f"127.0.0.1:{new[1]}"]))
        assert server.reload().returncode == 0
        assert server.addresses == [old, new]
        with Wire(new) as wire:
            assert wire.get("/").body == b"ok\n"
        server.write(config(listen=[f"127.0.0.1:{new[1]}"]))
        assert server.reload().returncode == 0
        assert server.addresses == [new]
        wait_for(lambda: not is_reachable(old), "end of the old address")
        busy.wait_rounds(2)
        assert busy.reopened == 0, "connections of the old address go on"
        with Wire(new) as wire:
            assert wire.get("/").body == b"ok\n"


def test_limits_and_logs_change_live(serve):
    server = serve(config(max={"uri": "1KB"}))
    target = "/" + "a" * 1500
    assert server.get(target).status == 414
    server.write({**config(max={"uri": "4KB"}), "log": {"access": str(server.home / "other.log")}})
    assert server.reload().returncode == 0
    assert server.get(target).status == 200
    server.access_lines(1, server.home / "other.log")


# ---- upgrade ----

def start_upgrade(server, how):
    if how == "signal":
        server.process.send_signal(signal.SIGUSR2)
    else:
        done = server.command("upgrade")
        assert done.returncode == 0, done.stderr


def pid_of(server):
    try:
        return server.status()["pid"]
    except (OSError, ValueError):
        return None


@pytest.mark.parametrize("how", ["signal", "command"])
def test_upgrade_under_load(serve, how):
    server = serve(config())
    old = pid_of(server)
    with Busy(server.address, 50, may_close=True) as busy:
        download = Download(server)
        start_upgrade(server, how)
        wait_for(lambda: pid_of(server) not in (None, old), "new process", 15)
        busy.wait_rounds(3)
        server.wait_log("the supervisor is the new program")
        busy.wait_rounds(3)
        download.finish()
        assert busy.reopened <= 50, "each connection moved once at most"
    wait_for(lambda: not os.path.exists(f"/proc/{old}") or f"old process {old}" in server.log(),
             "end of the old process", 25)
    assert server.get("/").body == b"ok\n"
    assert server.reload().returncode == 0, "the new program obeys"


def test_upgrade_to_fewer_and_more_workers(serve):
    """No connection is lost that waits in the queue of a worker that is gone."""
    server = serve(config(worker={"processes": 4}))
    pids = {pid_of(server)}
    for count in (1, 3):
        server.write(config(worker={"processes": count}))
        stop = threading.Event()
        failures = []

        def connect():
            while not stop.is_set():
                try:
                    with Wire(server.address, 10) as wire:
                        assert wire.get("/").body == b"ok\n"
                except (OSError, AssertionError, http.client.HTTPException) as e:
                    failures.append(repr(e))

        clients = [threading.Thread(target=connect) for _ in range(8)]
        for client in clients:
            client.start()
        start_upgrade(server, "command")
        wait_for(lambda: pid_of(server) not in (None, *pids), "new process", 15)
        server.wait_log("the supervisor is the new program")
        pids.add(pid_of(server))
        wait_for(lambda: f"old process" in server.log(), "end of the old process", 25)
        for _ in range(40):
            assert server.get("/").status == 200
        stop.set()
        for client in clients:
            client.join(20)
        assert not failures, failures[:3]
        assert server.status()["workers"] == count


def test_upgrade_twice(serve):
    server = serve(config())
    pids = {pid_of(server)}
    for _ in range(2):
        start_upgrade(server, "command")
        wait_for(lambda: pid_of(server) not in (None, *pids), "new process", 15)
        server.wait_log("the supervisor is the new program")
        pids.add(pid_of(server))
        assert server.get("/").status == 200
    assert server.command("status").returncode == 0


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\nkill -9 $$\n",
                                    "no program at all\n"])
def test_upgrade_to_a_program_that_fails_rolls_back(serve, script):
    folder = tempfile.mkdtemp(prefix="sws-program-")
    program = os.path.join(folder, "sws")
    shutil.copy(SWS, program)
    try:
        server = serve(config(), program=program)
        old = pid_of(server)
        with Busy(server.address, 20) as busy:
            broken = program + ".new"
            with open(broken, "w", encoding="ascii") as f:
                f.write(script)
            os.chmod(broken, 0o755)
            os.replace(broken, program)
            server.process.send_signal(signal.SIGUSR2)
            server.wait_log(r"upgrade given up|cannot start")
            busy.wait_rounds(2)
            assert pid_of(server) == old and busy.reopened == 0
            shutil.copy(SWS, broken)
            os.replace(broken, program)
            server.process.send_signal(signal.SIGUSR2)
            wait_for(lambda: pid_of(server) not in (None, old), "new process", 15)
            busy.may_close = True
        assert server.get("/").status == 200
    finally:
        shutil.rmtree(folder)


def test_upgrade_with_a_wrong_configuration_rolls_back(serve):
    server = serve(config())
    old = pid_of(server)
    with Busy(server.address, 20) as busy:
        server.write_text("hosts:\n  - domains: default\n    rot: /srv\n")
        server.process.send_signal(signal.SIGUSR2)
        server.wait_log("upgrade given up")
        busy.wait_rounds(2)
        assert pid_of(server) == old and busy.reopened == 0


def test_log_files_are_opened_again(serve):
    server = serve(config())
    server.get("/one")
    server.access_lines(1)
    moved = server.home / "moved.log"
    server.access_path.rename(moved)
    server.process.send_signal(signal.SIGUSR1)
    wait_for(server.access_path.exists, "new log file")
    server.get("/two")
    assert b"/two" in server.access_lines(1)[0]
    assert b"/two" not in moved.read_bytes()


def test_upgrade_keeps_the_count_of_time_low(serve):
    """The new process is ready soon: an upgrade is no outage in waiting."""
    server = serve(config())
    old, start = pid_of(server), time.monotonic()
    start_upgrade(server, "signal")
    wait_for(lambda: pid_of(server) not in (None, old), "new process", 5)
    assert time.monotonic() - start < 3
