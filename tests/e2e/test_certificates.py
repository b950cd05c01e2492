# SPDX-License-Identifier: Apache-2.0
"""Certificates that change while the configuration stays: files, and what is stapled to them."""
import contextlib
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import ssl

import pytest

from conftest import Server, wait_for
from test_tls import config, make_certificate, openssl

TAKEN_SECONDS = 60


def subject(server, name="a.test"):
    """Of the certificate that a new connection gets."""
    host, port = server.https_address
    text = openssl("s_client", "-connect", f"{host}:{port}", "-servername", name).stdout
    return next((line.split()[-1] for line in text.splitlines() if line.startswith("subject=")),
                "none")


def wait_subject(server, expected, name="a.test"):
    wait_for(lambda: subject(server, name) == expected, f"certificate {expected}", TAKEN_SECONDS)


def put(source, target):
    """As a careful program does: the file is there at once, or not at all."""
    shutil.copy(source, f"{target}.new")
    os.rename(f"{target}.new", target)


def put_pair(folder, name, target="now"):
    for end in (".pem", ".key"):
        put(folder / (name + end), folder / (target + end))


@pytest.fixture
def certificates(tmp_path):
    tmp_path.chmod(0o755)
    for name in ("one", "two", "three"):
        make_certificate(tmp_path, name, "a.test")
    put_pair(tmp_path, "one")
    return tmp_path


def site(folder, **tls):
    now = {"cert": str(folder / "now.pem"), "key": str(folder / "now.key"), **tls}
    return {"domains": "a.test", "respond": {"body": "a\n"}, "ssl": now}


def watchers(server):
    found = []
    for pid in server.leftover():
        with contextlib.suppress(OSError):
            line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            found += [pid] if line[1:2] == [b"watcher"] else []
    return found


def test_changed_files_are_taken_under_open_connections(serve, certificates):
    server = serve(config(site(certificates)))
    trust = ssl.create_default_context(cafile=str(certificates / "one.pem"))
    with socket.create_connection(server.https_address, 30) as raw:
        with trust.wrap_socket(raw, server_hostname="a.test") as wire:
            for name in ("two", "three"):
                put_pair(certificates, name)
                wait_subject(server, name)
            wire.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert wire.recv(65536).startswith(b"HTTP/1.1 200")
    status = server.status()
    assert status["reload"]["count"] == 0, "the configuration was not loaded again"
    assert server.metric("sws_certificate_files_refused_total") == 0 or "not belong" in server.log()
    done = server.https("a.test", server.https_url("a.test"), root=certificates / "three.pem")
    assert done.stdout == b"a\n", done.stderr


def test_files_written_in_place(serve, certificates):
    """Also where certificate and key are one file."""
    both = certificates / "both.pem"

    def write(name):
        both.write_text("".join((certificates / (name + end)).read_text()
                                for end in (".key", ".pem")))
    write("one")
    server = serve(config(site(certificates, cert=str(both), key=[])))
    assert subject(server) == "one"
    write("two")
    wait_subject(server, "two")


def test_symbolic_links_are_followed(serve, certificates):
    """As certbot has them: a link for each file, which a renewal points elsewhere."""
    live, archive = certificates / "live/a.test", certificates / "archive/a.test"
    live.mkdir(parents=True)
    archive.mkdir(parents=True)

    def link(number):
        for kind, end in (("fullchain", ".pem"), ("privkey", ".key")):
            os.symlink(f"../../archive/a.test/{kind}{number}.pem", live / "new")
            os.rename(live / "new", live / f"{kind}.pem")

    def renew(number, name):
        for kind, end in (("fullchain", ".pem"), ("privkey", ".key")):
            shutil.copy(certificates / (name + end), archive / f"{kind}{number}.pem")
        link(number)
    renew(1, "one")
    server = serve(config(site(certificates, cert=str(live / "fullchain.pem"),
                               key=str(live / "privkey.pem"))))
    assert subject(server) == "one"
    renew(2, "two")
    wait_subject(server, "two")
    renew(3, "three")
    wait_subject(server, "three")
    link(1)
    wait_subject(server, "one")


def test_directory_behind_a_link_is_followed(serve, certificates):
    """As Kubernetes mounts secrets: ..data is a link to the directory of today."""
    volume = certificates / "volume"
    volume.mkdir()

    def publish(name):
        (volume / f"..{name}").mkdir()
        shutil.copy(certificates / f"{name}.pem", volume / f"..{name}/tls.crt")
        shutil.copy(certificates / f"{name}.key", volume / f"..{name}/tls.key")
        os.symlink(f"..{name}", volume / "..tmp")
        os.rename(volume / "..tmp", volume / "..data")
    publish("one")
    os.symlink("..data/tls.crt", volume / "tls.crt")
    os.symlink("..data/tls.key", volume / "tls.key")
    server = serve(config(site(certificates, cert=str(volume / "tls.crt"),
                               key=str(volume / "tls.key"))))
    assert subject(server) == "one"
    publish("two")
    wait_subject(server, "two")
    shutil.rmtree(volume / "..one")
    # The whole directory is another one.
    os.rename(volume, certificates / "old")
    volume.mkdir()
    publish("three")
    os.symlink("..data/tls.crt", volume / "tls.crt")
    os.symlink("..data/tls.key", volume / "tls.key")
    wait_subject(server, "three")


def test_certificate_waits_for_its_key(serve, certificates):
    server = serve(config(site(certificates)))
    put(certificates / "two.pem", certificates / "now.pem")
    server.wait_log("does not belong", TAKEN_SECONDS)
    assert subject(server) == "one"
    # Looking again finds the same, and says nothing more.
    os.utime(certificates / "now.pem", (1, 1))
    put(certificates / "three.pem", certificates / "other.pem")
    put(certificates / "two.key", certificates / "now.key")
    wait_subject(server, "two")
    assert server.log().count("does not belong") == 1, server.log()
    assert server.metric("sws_certificate_files_refused_total") == 1


def test_broken_files_change_nothing(serve, certificates):
    make_certificate(certificates, "other", "b.test")
    server = serve(config(site(certificates)))
    refused = 0
    for text, words in ((b"garbage", "no certificate could be read"),
                        (b"\0" * (2 << 20), "a limit was reached"), (None, "not found"),
                        (b"", "no certificate could be read")):
        if text is None:
            (certificates / "now.pem").unlink()
        else:
            (certificates / "new").write_bytes(text)
            os.rename(certificates / "new", certificates / "now.pem")
        refused += 1
        wait_for(lambda: server.metric("sws_certificate_files_refused_total") == refused,
                 f"refusal {refused}", TAKEN_SECONDS)
        assert words in server.log().splitlines()[-1], server.log()
        assert subject(server) == "one"
    put_pair(certificates, "other")
    server.wait_log("does not carry the name a.test any more", TAKEN_SECONDS)
    assert subject(server) == "one"
    put_pair(certificates, "two")
    wait_subject(server, "two")


def test_hosts_share_what_they_share(serve, certificates):
    """The certificate of the server, of a host that inherits it, and of one with its own."""
    make_certificate(certificates, "mine", "b.test")
    mine = {"cert": str(certificates / "mine.pem"), "key": str(certificates / "mine.key")}
    server = serve(config({"domains": "a.test", "respond": {"body": "a"}},
                          {"domains": "b.test", "respond": {"body": "b"}, "ssl": mine},
                          tls=site(certificates)["ssl"]))
    put_pair(certificates, "two")
    wait_subject(server, "two")
    assert subject(server, "unknown.test") == "two"
    assert subject(server, "b.test") == "mine"
    # A reload brings what the files hold, and they are followed on.
    put_pair(certificates, "three")
    assert server.reload().returncode == 0
    assert subject(server) == "three"
    put_pair(certificates, "one")
    wait_subject(server, "one")


def test_files_of_a_new_configuration_are_watched(serve, certificates):
    server = serve(config({"domains": "a.test", "respond": {"body": "a"},
                           "ssl": {"issuer": "internal"}}))
    assert watchers(server) == []
    server.write(config(site(certificates)))
    assert server.reload().returncode == 0
    put_pair(certificates, "two")
    wait_subject(server, "two")
    server.config["hosts"][0]["ssl"] = {"issuer": "internal"}
    server.write_text(json.dumps(server.config))
    assert server.reload().returncode == 0
    wait_for(lambda: watchers(server) == [], "end of the watcher", TAKEN_SECONDS)


def test_watcher_that_is_killed_starts_again(serve, certificates):
    server = serve(config(site(certificates)))
    [pid] = wait_for(lambda: watchers(server), "watcher")
    os.kill(pid, signal.SIGKILL)
    put_pair(certificates, "two")
    wait_subject(server, "two")
    wait_for(lambda: watchers(server) not in ([], [pid]), "another watcher", TAKEN_SECONDS)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_files_that_the_edge_may_not_read(serve, certificates):
    """Also after an upgrade; and the watcher keeps no right but to read."""
    vault = certificates / "vault"
    vault.mkdir()
    put_pair(certificates, "one", "vault/now")
    vault.chmod(0o700)
    user = pwd.getpwnam("nobody")
    server = Server(config(site(vault), user="nobody"))
    shutil.chown(server.home, "nobody")
    server = serve(server)

    def renew(name):
        put_pair(certificates, name, "vault/now")
        os.chmod(vault / "now.key", 0o600)
        wait_subject(server, name)
    renew("two")
    [pid] = watchers(server)
    facts = pathlib.Path(f"/proc/{pid}/status").read_text()
    assert "CapEff:\t0000000000000004" in facts, facts
    edges = [p for p in server.leftover() if b"\0edge\0" in
             pathlib.Path(f"/proc/{p}/cmdline").read_bytes()]
    assert [os.stat(f"/proc/{p}").st_uid for p in edges] == [user.pw_uid]
    assert server.command("upgrade").returncode == 0
    server.wait_log("the supervisor is the new program", TAKEN_SECONDS)
    renew("three")
