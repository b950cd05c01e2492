# SPDX-License-Identifier: Apache-2.0
"""The commands of the program: what they print and how they end."""
import ctypes
import json
import os
import re
import signal
import socket
import subprocess

import httpx
import pytest

from conftest import SANITIZER, SWS, run_sws, wait_for


def write(tmp_path, text, name="site.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


GOOD = """\
server:
  listen: [8080]
  admin: off
hosts:
  - domains: example.com
    respond: {status: 200, body: "ok\\n"}
    routes:
      - {path: /old/**, redirect: https://example.com}
"""


def test_version():
    for spelling in ("version", "--version", "-V"):
        done = run_sws(spelling)
        assert done.returncode == 0
        assert re.fullmatch(r"sws \d+\.\d+\.\d+\S* \(Selenia\)\n", done.stdout)


def test_help_names_every_command():
    done = run_sws("help")
    assert done.returncode == 0 and done.stderr == ""
    for word in ("serve", "start", "stop", "reload", "upgrade", "status", "check", "explain",
                 "version", "--config", "EXIT CODES", "SIGNALS"):
        assert word in done.stdout
    assert run_sws("--help").stdout == done.stdout
    assert run_sws("start", "--help").stdout == done.stdout


@pytest.mark.parametrize("arguments, word", [
    (["serv"], "serve"), (["relaod"], "reload"), (["statsu"], "status"), (["chek"], "check")])
def test_unknown_command_names_the_nearest(arguments, word):
    done = run_sws(*arguments)
    assert done.returncode == 64
    assert arguments[0] in done.stderr and f'"{word}"' in done.stderr and done.stdout == ""


@pytest.mark.parametrize("arguments", [
    ["frobnicate"], ["start", "--frobnicate"], ["check", "-c"], ["serve"], ["explain"],
    ["serve", ".", "--port", "70000"], ["serve", ".", "--port", "x"], ["serve", "a", "b"],
    ["start", "x"]])
def test_wrong_command_line_is_64(arguments):
    done = run_sws(*arguments)
    assert done.returncode == 64
    assert done.stderr.startswith("sws: ") and done.stdout == ""


def test_check_prints_the_effective_configuration_with_origins(tmp_path):
    path = write(tmp_path, GOOD)
    done = run_sws("check", "-c", path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"site\.yaml:2\b", done.stdout), "the origin of server.listen"
    assert re.search(r"header: *\"?10s\"?.*default", done.stdout)
    quiet = run_sws("check", "--quiet", "-c", path)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_what_check_prints_loads_again(tmp_path):
    first = run_sws("check", "-c", write(tmp_path, GOOD))
    second = run_sws("check", "-c", write(tmp_path, first.stdout, "again.yaml"))
    assert second.returncode == 0, second.stderr

    def values(text):
        return [re.sub(r"\s+#.*", "", line) for line in text.splitlines()]
    assert values(second.stdout) == values(first.stdout)


def test_check_proposes_records_for_the_dns(tmp_path):
    path = write(tmp_path, "hosts:\n  - {domains: example.com, respond: {body: x}}\n")
    done = run_sws("check", "-c", path)
    assert done.stdout.endswith('\n# example.com. 3600 IN HTTPS 1 . alpn="h3,h2"\n'), done.stdout
    again = run_sws("check", "-c", write(tmp_path, done.stdout, "again.yaml"))
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("text, line, column, words", [
    ("hosts:\n  - domains: a.test\n    rot: /srv\n", 3, 5, ["rot", '"root"']),
    ("server:\n  timeouts: {header: 10}\nhosts: []\n", 2, 22, ["10"]),
    ("server:\n  listen: [99999]\n", 2, 12, ["99999"]),
    ("hosts:\n  - domains: a.test\n    domains: b.test\n", 3, 5, ["domains"]),
    ("hosts:\n  - root: /srv\n", 2, 5, ["domains"]),
    ("hosts:\n  - domains: a.test\n    symlinks: insid\n", 3, 15, ["insid", "inside"]),
    ("hosts:\n  - domains: a.test\n\troot: /srv\n", 3, 1, ["tab"]),
])
def test_wrong_configuration_is_2_and_shows_where(tmp_path, text, line, column, words):
    path = write(tmp_path, text)
    for command in ("check", "start"):
        done = run_sws(command, "-c", path)
        assert done.returncode == 2, done.stderr
        assert f"{path}:{line}:{column}: " in done.stderr
        assert re.search(r"^ *\^", done.stderr, re.M), "a caret below the line"
        for word in words:
            assert word in done.stderr


def test_missing_configuration_is_2(tmp_path):
    done = run_sws("start", "-c", tmp_path / "none.yaml")
    assert done.returncode == 2 and "none.yaml" in done.stderr


def test_key_of_a_later_version_is_refused(tmp_path):
    path = write(tmp_path, "hosts:\n  - domains: a.test\n    respond: 204\n    limits: []\n")
    done = run_sws("start", "-c", path)
    assert done.returncode == 2 and "limits" in done.stderr


def test_missing_root_is_a_start_error(tmp_path):
    path = write(tmp_path, f"hosts:\n  - domains: a.test\n    root: {tmp_path}/none\n")
    done = run_sws("start", "-c", path)
    assert done.returncode == 2 and f"{path}:3" in done.stderr


def test_environment_and_includes(tmp_path):
    write(tmp_path, "hosts:\n  - {domains: b.test, respond: 204}\n", "b.yaml")
    path = write(tmp_path, "include: \"[b]*.yaml\"\nlog: {level: \"${env:SWS_E2E_LEVEL}\"}\n"
                 "hosts:\n  - {domains: a.test, respond: 204}\n")
    os.environ["SWS_E2E_LEVEL"] = "debug"
    try:
        done = run_sws("check", "-c", path)
    finally:
        del os.environ["SWS_E2E_LEVEL"]
    assert done.returncode == 0, done.stderr
    assert "a.test" in done.stdout and "b.test" in done.stdout and "debug" in done.stdout
    unset = run_sws("check", "-c", path)
    assert unset.returncode == 2 and "SWS_E2E_LEVEL" in unset.stderr


def test_explain(tmp_path):
    path = write(tmp_path, GOOD)
    done = run_sws("explain", "-c", path, "http://example.com/old/x?y=1")
    assert done.returncode == 0
    assert "/old/**" in done.stdout and "redirect 308 to https://example.com" in done.stdout
    assert "421" in run_sws("explain", "-c", path, "http://other.test/").stdout
    assert "respond 200" in run_sws("explain", "-c", path, "example.com").stdout


def refuse_executable_memory():
    """What MemoryDenyWriteExecute of systemd asks the kernel for (Linux 6.3)."""
    return ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)


def test_expressions_where_the_kernel_refuses_to_compile_them(tmp_path):
    if subprocess.run([SWS, "version"], stdout=subprocess.DEVNULL, check=False,
                      preexec_fn=lambda: os._exit(0 if refuse_executable_memory() else 1)
                      ).returncode == 0:
        pytest.skip("this kernel does not know how")
    path = write(tmp_path, "server: {admin: off, listen: [80]}\nhosts:\n  - domains: default\n"
                 "    rewrites: [{from: '^/old/(.*)$', to: /new/$1}]\n"
                 "    routes: [{path: /**, match: {regex: '^/new/[a-z]+$'}, respond: 204}]\n")
    done = subprocess.run([SWS, "explain", "-c", path, "http://a/old/x"], capture_output=True,
                          text=True, timeout=30, check=False, preexec_fn=refuse_executable_memory)
    assert done.returncode == 0, done.stderr
    assert "to /new/x" in done.stdout and "respond 204" in done.stdout


def test_generated_texts():
    assert json.loads(run_sws("schema").stdout)["title"] == "Selenia configuration"
    assert "max_connections" in run_sws("reference").stdout
    script = run_sws("completion").stdout
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_serve_a_directory_without_a_file(tmp_path):
    (tmp_path / "index.html").write_text("<p>hello\n")
    with open(tmp_path / "err", "wb") as err:
        process = subprocess.Popen([SWS, "serve", str(tmp_path), "--port", "0"], stderr=err,
                                   stdout=subprocess.DEVNULL, cwd="/", start_new_session=True,
                                   env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
    try:
        found = wait_for(
            lambda: re.search(r"http://localhost:(\d+)/", (tmp_path / "err").read_text()),
            "line that says where to look", 20)
        assert httpx.get(f"http://127.0.0.1:{found[1]}/").text == "<p>hello\n"
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(20)
    assert code == 0
    assert not SANITIZER.search((tmp_path / "err").read_text())


def test_serve_of_no_directory(tmp_path):
    done = run_sws("serve", tmp_path / "none", "--port", "0")
    assert done.returncode in (1, 2) and "none" in done.stderr


def test_status_for_people_and_programs(serve):
    server = serve()
    httpx.get(server.url)
    done = server.command("status")
    assert done.returncode == 0
    assert re.search(r"^State +serving$", done.stdout, re.M)
    assert re.search(rf"^Process +{server.status()['pid']}$", done.stdout, re.M)
    assert "%s:%d" % server.address in done.stdout
    exact = json.loads(server.command("status", "--json").stdout)
    assert exact["state"] == "serving" and exact["workers"] == 2 and exact["accepted"] >= 1
    assert exact["listen"] == ["%s:%d" % server.address]


def test_status_of_nothing_is_1(tmp_path):
    path = write(tmp_path, f"server: {{admin: 'unix:{tmp_path}/admin.sock'}}\n"
                 "hosts: [{domains: default, respond: 204}]\n")
    for command in ("status", "stop", "reload", "upgrade"):
        done = run_sws(command, "-c", path)
        assert done.returncode == 1 and "no server answers" in done.stderr


def test_stop(serve):
    server = serve()
    assert server.command("stop").returncode == 0
    assert server.process.wait(10) == 0
    with pytest.raises(OSError):
        socket.create_connection(server.address, 1)
    assert not os.path.exists(server.admin_path), "the admin socket is removed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_by_signal_finishes_what_is_under_way(serve, number):
    server = serve({"server": {"timeouts": {"drain": "10s"}},
                    "hosts": [{"domains": "default", "root": "@home/www"}]})
    with open(server.www / "big", "wb") as f:
        f.truncate(50_000_000)
    with server.wire() as idle, server.wire() as loading:
        idle.get("/none")
        loading.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        assert loading.file.read(100).startswith(b"HTTP/1.1 200")
        server.process.send_signal(number)
        assert idle.is_closed(), "an idle connection goes at once"
        data, was_reset = loading.rest()
        assert not was_reset
        assert len(data) > 50_000_000
    assert server.process.wait(10) == 0


def test_second_signal_stops_at_once(serve):
    server = serve({"server": {"timeouts": {"drain": "60s"}},
                    "hosts": [{"domains": "default", "root": "@home/www"}]})
    with open(server.www / "big", "wb") as f:
        f.truncate(50_000_000)
    with server.wire() as loading:
        loading.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        loading.file.read(100)
        server.process.send_signal(signal.SIGTERM)
        server.wait_log("draining")
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(10)
    server.end_codes = range(256)
    server.may_crash = True


def test_port_in_use_is_1_with_a_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        path = write(tmp_path, f"server: {{listen: ['127.0.0.1:{port}'], admin: off}}\n"
                     "hosts: [{domains: default, respond: 204}]\n")
        done = run_sws("start", "-c", path)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_poller_that_is_not_built_in_is_1_with_a_sentence(tmp_path):
    libraries = subprocess.run(["ldd", SWS], capture_output=True, text=True, check=True).stdout
    if "libkqueue" in libraries:
        pytest.skip("this program has kqueue")
    path = write(tmp_path, "server: {listen: ['127.0.0.1:0'], poller: kqueue, admin: off}\n"
                 "hosts: [{domains: default, respond: 204}]\n")
    done = run_sws("start", "-c", path)
    assert done.returncode == 1
    assert "server.poller is kqueue, but this program was built without it" in done.stderr


def test_crashed_edge_is_restarted_and_reported(serve):
    server = serve()
    server.may_crash = True
    address, old = server.address, server.status()["pid"]
    os.kill(old, signal.SIGKILL)

    def again():
        try:
            return server.status()["pid"] not in (0, old) and server.is_ready()
        except (OSError, ValueError, AssertionError):
            assert server.process.poll() is None
            return False
    wait_for(again, "restarted edge")
    assert re.search(rf"process {old}\) .*(signal|kill)", server.log(), re.I)
    assert "starts again" in server.log()
    assert server.addresses == [address], "the port stays the same"
    assert httpx.get(server.url).status_code == 200


def test_crash_while_stopping_or_twice_backs_off(serve):
    server = serve()
    server.may_crash = True
    for _ in range(3):
        pid = server.status()["pid"]
        os.kill(pid, signal.SIGKILL)

        def again():
            try:
                return server.status()["pid"] != pid and server.is_ready()
            except (OSError, ValueError, AssertionError):
                return False
        wait_for(again, "restarted edge")
    delays = [int(ms) for ms in re.findall(r"starts again in (\d+) ms", server.log())]
    assert len(delays) == 3 and delays == sorted(delays) and delays[2] > delays[0]


def test_admin_refuses_browsers_and_unknown_things(serve):
    server = serve()
    assert server.admin("GET", "/status", {"Origin": "http://evil.test"})[0] == 403
    assert server.admin("POST", "/stop", {"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert server.admin("GET", "/none")[0] == 404
    assert server.admin("DELETE", "/status")[0] == 405
    assert server.admin("GET", "/livez") == (200, "ok\n")
    assert "domains" in server.admin("GET", "/config")[1]
    assert server.status()["state"] == "serving"
