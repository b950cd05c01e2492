# SPDX-License-Identifier: Apache-2.0
"""Programs behind backends: started, watched, limited, replaced and ended by the server."""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

from conftest import REPOSITORY, SWS, Busy, Server, Wire, merge, run_sws, wait_for

PYTHON = "/usr/bin/python3"
IS_ROOT = os.geteuid() == 0

NODE = """
const http = require('http'), fs = require('fs');
const version = process.env.VERSION || '0';
const server = http.createServer((q, s) => {
    const url = new URL(q.url, 'http://x');
    if (url.pathname === '/pid') s.end(String(process.pid));
    else if (url.pathname === '/version') s.end(version);
    else if (url.pathname === '/env') s.end(JSON.stringify({env: process.env, cwd: process.cwd(),
        uid: process.getuid(), groups: process.getgroups()}));
    else if (url.pathname === '/slow') setTimeout(() => s.end('slow\\n'), 700);
    else if (url.pathname === '/healthz') {
        s.statusCode = fs.existsSync('ready') ? 200 : 503;
        s.end();
    } else if (url.pathname === '/exit') process.exit(Number(url.searchParams.get('code')));
    else if (url.pathname === '/write') { console.log(url.searchParams.get('text')); s.end(); }
    else s.end('ok\\n');
});
if (process.env.LISTEN_FDS) server.listen({fd: 3});
else if (process.env.SOCKET) server.listen(process.env.SOCKET);
else server.listen(process.env.PORT, process.env.HOST);
"""

# A program that does what its arguments say before and while it serves.
SCRIPT = """
import http.server, os, resource, signal, subprocess, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = b'ok\\n'
        if self.path == '/files': body = str(resource.getrlimit(resource.RLIMIT_NOFILE)).encode()
        if self.path == '/cpus': body = str(len(os.sched_getaffinity(0))).encode()
        if self.path == '/pid': body = str(os.getpid()).encode()
        if self.path == '/grow':
            self.server.hoard = [bytearray(os.urandom(1024)) * 1024 for _ in range(200)]
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

for word in sys.argv[1:]:
    if word == 'stubborn': signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if word == 'fail': sys.exit(3)
    if word == 'done': sys.exit(0)
    if word == 'abort': os.abort()
    if word == 'deaf':
        print('deaf', flush=True)
        while True: signal.pause()
    if word == 'long': print('a' * 20000 + 'end', flush=True); print('after', flush=True)
    if word == 'garbage':
        os.write(2, bytes(range(256)) * 8 + b'\\n' + b'\\xff\\x1b[31mred\\n')
    if word == 'flood':
        for i in range(20000): os.write(1, b'flood %d\\n' % i)
        print('the last line', flush=True)
    if word.startswith('child'):
        # A grandchild in a session of its own, which only its parent knows.
        pid = subprocess.Popen(['sleep', '1000'], start_new_session=word == 'child-session').pid
        print('grandchild', pid, flush=True)
http.server.ThreadingHTTPServer.request_queue_size = 128
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
"""

WSGI = """
import os
def app(environ, start_response):
    start_response('200 OK', [('Content-Length', '3')])
    return [b'ok\\n']
"""

ASGI = """
async def app(scope, receive, send):
    if scope['type'] != 'http': return
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'3')]})
    await send({'type': 'http.response.body', 'body': b'ok\\n'})
"""

FILES = {"app.js": NODE, "app.py": SCRIPT, "wsgi.py": WSGI, "asgi.py": ASGI}


def script(*words):
    return [PYTHON, "app.py", *words]


@pytest.fixture
def process(serve):
    """process(settings) starts a server whose default host is that process."""
    def start(settings, **config):
        # Not the one that a version manager put before it: it is not everyone's.
        if isinstance(settings, str):
            settings = {"command": settings}
        settings = merge({"env": {"PATH": "/usr/local/bin:/usr/bin:/bin"}}, settings)
        backend = {"process": settings, **config.pop("backend", {})}
        server = Server(merge({
            "server": {"state": "@home/state"},
            "hosts": [{"domains": "default", "backend": backend},
                      {"domains": "other.test", "respond": {"body": "other\n"}}]}, config))
        for name, text in FILES.items():
            (server.home / name).write_text(text)
        return serve(server)
    return start


def change(server, **settings):
    """Writes other settings of the process."""
    host = server.config["hosts"][0]
    merge(host["backend"]["process"], settings)
    server.write(server.config)


def reload(server):
    result = server.reload()
    assert result.returncode == 0, result.stderr


def instances(server, state=None):
    found = server.status()["processes"]
    return [p for p in found if state is None or p["state"] == state]


def wait_ready(server, count=1, seconds=20):
    """`count` instances are ready and no other one is there."""
    def condition():
        found = instances(server)
        return found if len(found) == count and all(p["state"] == "ready" for p in found) else None
    return wait_for(condition, f"{count} ready instances", seconds)


def body(server, target, host="a.test"):
    answer = server.get(target, host=host)
    assert answer.status == 200, answer.body
    return answer.body.decode()


def is_alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_gone(*pids):
    wait_for(lambda: not any(is_alive(p) for p in pids), f"end of {pids}")


def roles(server):
    """{role: pid} of the processes of the server itself."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(server.config_path).encode() in words and len(words) > 1:
                found[words[1].decode()] = int(entry.name)
    return found


# ---- starting ----

def test_node(process):
    server = process("node app.js")
    assert body(server, "/") == "ok\n"
    [one] = wait_ready(server)
    assert (one["process"], one["instance"], one["restarts"]) == ("default", 1, 0)
    assert body(server, "/pid") == str(one["pid"])
    assert f'"node app.js" address={one["address"]}' in server.log()
    assert server.metric('sws_process_running{process="default"}') == 1
    assert server.metric('sws_process_restarts_total{process="default"}') == 0
    text = server.command("status").stdout
    assert re.search(r"^PROCESS +INSTANCE +STATE +SECONDS +PID +RESTARTS", text, re.M)
    assert re.search(rf"^default +1 +ready +\d+ +{one['pid']} +0 +\d+$", text, re.M)
    text = server.command("explain", "http://a.test/").stdout
    assert "handler    backend process default: node app.js" in text
    server.stop()
    wait_gone(one["pid"])


def test_environment_is_clean(process, monkeypatch):
    monkeypatch.setenv("SECRET_OF_OURS", "1")
    monkeypatch.setenv("TOKEN", "s3cret")
    server = process({"command": "node app.js", "env": {"NODE_ENV": "production", "LANG": None,
                                                        "TOKEN": "${env:TOKEN}"}})
    told = json.loads(body(server, "/env"))
    assert set(told["env"]) == {"PATH", "HOME", "HOST", "PORT", "NODE_ENV", "TOKEN"}
    assert told["env"]["HOST"] == "127.0.0.1"
    assert told["env"]["TOKEN"] == "s3cret"
    assert told["cwd"] == str(server.home)
    [one] = wait_ready(server)
    assert one["address"] == f"http://127.0.0.1:{told['env']['PORT']}"
    # What came from elsewhere is not shown again.
    shown = server.command("check").stdout
    assert "s3cret" not in shown and "TOKEN: hidden" in shown and "NODE_ENV: production" in shown
    assert "s3cret" not in server.admin("GET", "/config")[1] + server.log()


@pytest.mark.skipif(not IS_ROOT, reason="only root becomes another user")
def test_user(process):
    server = process("node app.js")
    assert json.loads(body(server, "/env"))["uid"] == 65534
    change(server, user="daemon")
    reload(server)
    wait_for(lambda: json.loads(body(server, "/env"))["uid"] == 1, "program of another user")
    told = json.loads(body(server, "/env"))
    assert 0 not in told["groups"]
    status = pathlib.Path(f"/proc/{wait_ready(server)[0]['pid']}/status").read_text()
    assert re.search(r"CapEff:\s+0+\n", status) and re.search(r"NoNewPrivs:\s+1", status)


def test_words_and_cwd(process):
    server = process({"command": f"{PYTHON} -m http.server --bind $HOST $PORT", "cwd": "www"})
    (server.www / "a file").write_text("words\n")
    assert body(server, "/a%20file") == "words\n"
    change(server, command=f"{PYTHON} -m http.server --directory 'two words' --bind $HOST $PORT")
    (server.www / "two words").mkdir()
    (server.www / "two words/b").write_text("quoted\n")
    reload(server)
    wait_for(lambda: server.get("/b").status == 200, "file of the other directory")


@pytest.mark.parametrize("command", [
    [PYTHON, "-m", "gunicorn", "--workers", "2", "--bind", "$HOST:$PORT", "wsgi:app"],
    [PYTHON, "-m", "uvicorn", "--host", "$HOST", "--port", "$PORT", "asgi:app"],
])
def test_python_servers(process, command):
    server = process({"command": command})
    assert body(server, "/") == "ok\n"
    [one] = wait_ready(server)
    server.stop()
    wait_gone(one["pid"])
    assert "does not end in time" not in server.log()


@pytest.mark.parametrize("socket_kind, command", [
    ("true", ["node", "app.js"]),
    ("true", [PYTHON, "-m", "gunicorn", "--bind", "unix:$SOCKET", "wsgi:app"]),
    ("true", [PYTHON, "-m", "uvicorn", "--uds", "$SOCKET", "asgi:app"]),
    ("activate", ["node", "app.js"]),
    ("activate", [PYTHON, "-m", "gunicorn", "wsgi:app"]),
    ("activate", [PYTHON, "-m", "uvicorn", "--fd", "3", "asgi:app"]),
])
def test_sockets(process, socket_kind, command):
    server = process({"command": command, "socket": socket_kind})
    assert body(server, "/") == "ok\n"
    [one] = wait_ready(server)
    path = one["address"].removeprefix("unix:")
    assert path.startswith(str(server.home / "state/process"))
    with Busy(server.address, 4) as busy:
        assert server.command("restart", "default").returncode == 0
        busy.wait_rounds(10)
    [two] = wait_ready(server)
    assert two["address"] != one["address"]
    assert not os.path.exists(path)


@pytest.mark.skipif(not IS_ROOT, reason="only root becomes another user")
@pytest.mark.parametrize("kind", ["false", "true", "activate"])
def test_edge_and_program_are_other_users(process, kind):
    """Neither owns what the other one makes."""
    server = process({"command": "node app.js", "socket": "false"},
                     server={"user": "daemon"})
    change(server, socket=kind, env={"KIND": kind})
    reload(server)
    wait_for(lambda: json.loads(body(server, "/env"))["env"].get("KIND"), "other program")
    told = json.loads(body(server, "/env"))
    assert told["uid"] == 65534
    assert ("SOCKET" in told["env"]) == (kind != "false")
    [one] = wait_ready(server)
    if kind != "false":
        # Nobody else comes as far as the socket.
        folder = pathlib.Path(one["address"].removeprefix("unix:")).parent
        assert folder.stat().st_mode & 0o007 == 0


def test_socket_at_a_path(process):
    path = "/tmp/sws-test-%d.sock" % os.getpid()
    server = process({"command": "node app.js", "socket": path})
    wait_ready(server)

    def pid_there():
        wire = subprocess.run(["curl", "-sS", "--unix-socket", path, "http://x/pid"],
                              capture_output=True, text=True, timeout=20, check=True)
        return int(wire.stdout)
    first = pid_there()
    assert server.command("restart", "default").returncode == 0
    assert pid_there() != first
    # The queue belongs to the server: what comes while the program is away waits for it.
    pid = pid_there()
    os.kill(pid, signal.SIGKILL)
    assert pid_there() != pid
    server.stop()
    assert not os.path.exists(path)


# ---- what the documentation shows ----

def shown_files():
    """{path: text} of the files that the page shows."""
    page = (REPOSITORY / "docs/processes.md").read_text()
    return dict(re.findall(r"^`(examples/[^`]+)`[^\n]*\n\n```\w*\n(.*?)```", page, re.M | re.S))


def test_page_shows_the_examples():
    shown = shown_files()
    there = {str(p.relative_to(REPOSITORY)) for folder in ("node", "python")
             for p in (REPOSITORY / "examples" / folder).iterdir() if p.is_file()}
    assert set(shown) == there
    for path, text in shown.items():
        assert (REPOSITORY / path).read_text() == text, path


@pytest.mark.parametrize("folder, answers", [
    ("node", {"/": r"Hello from Node, process \d+"}),
    ("python", {"/": "Hello from WSGI", "/live/a": "Hello from ASGI"}),
])
def test_examples(serve, monkeypatch, folder, answers):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    server = Server()
    for path, text in shown_files().items():
        if path.startswith(f"examples/{folder}/"):
            (server.home / pathlib.Path(path).name).write_text(text)
    text = (server.home / "sws.yaml").read_text()
    ours = {**server.config["server"], "state": str(server.home / "state")}
    server.write_text(text.replace("server:\n  listen: [8080]\n",
                                   f"server: {json.dumps(ours)}\nlog: {{access: off}}\n"))
    serve(server)
    for target, pattern in answers.items():
        assert re.fullmatch(pattern + "\n", body(server, target))
    assert server.command("restart", "default").returncode == 0
    assert re.fullmatch(answers["/"] + "\n", body(server, "/"))


# ---- ready or not ----

def test_ready_by_http(process):
    server = process({"command": "node app.js", "ready": "/healthz"},
                     backend={"timeout": {"connect": "100ms"}})
    answer = server.get("/")
    assert (answer.status, answer["Retry-After"]) == (503, "1")
    [one] = instances(server)
    assert one["state"] == "starting"
    line = json.loads(server.access_lines(1)[0])
    assert "no instance of the process is ready" in line["error"]
    (server.home / "ready").touch()
    wait_ready(server)
    assert body(server, "/pid") == str(one["pid"])


def test_request_waits_for_an_instance(process):
    server = process({"command": "node app.js", "ready": "/healthz"},
                     backend={"timeout": {"connect": "20s"}})
    with server.wire(20) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        with server.wire() as other:
            assert other.get("/", host="other.test").body == b"other\n"
        (server.home / "ready").touch()
        assert wire.answer().body == b"ok\n"


def test_not_ready_in_time(process):
    server = process({"command": script("deaf"), "ready": {"timeout": "300ms"}})
    server.wait_log(r"error a program does not become ready process=default instance=1 .*"
                    r"not ready within 300 ms: nobody listens there at http://127\.0\.0\.1:\d+")
    server.wait_log("a program starts again after a pause")
    wait_for(lambda: instances(server)[0]["restarts"] >= 1, "restart")
    assert server.get("/", host="other.test").status == 200


# ---- ending and starting again ----

def pauses(server):
    return [int(n) for n in re.findall(r"after a pause .*pause_ms=(\d+)", server.log())]


def test_crash_loop_backs_off(process):
    server = process({"command": script("fail"), "backoff": {"min": "20ms", "max": "100ms"}},
                     backend={"timeout": {"connect": "50ms"}})
    wait_for(lambda: len(pauses(server)) >= 6, "six restarts", 30)
    assert pauses(server)[:6] == [20, 40, 80, 100, 100, 100]
    assert 'how="exited with code 3" because="of itself"' in server.log()
    assert server.get("/").status == 503
    assert body(server, "/", host="other.test") == "other\n"
    assert server.metric('sws_process_restarts_total{process="default"}') >= 5
    assert server.metric('sws_process_running{process="default"}') == 0
    change(server, command=script())
    reload(server)
    wait_ready(server)
    assert body(server, "/") == "ok\n"


def test_end_by_signal_is_named(process):
    server = process({"command": script("abort")})
    server.wait_log('how="was killed by SIGABRT"')


@pytest.mark.parametrize("restart, word, state", [
    ("never", "fail", "ended"), ("on-failure", "done", "ended"), ("on-failure", "fail", "waiting"),
    ("always", "done", "waiting")])
def test_restart_policy(process, restart, word, state):
    server = process({"command": script(word), "restart": restart, "backoff": {"min": "30s"}})
    wait_for(lambda: instances(server, state), f"instance that is {state}")
    assert instances(server)[0]["restarts"] == 0


def test_restart_after_exit(process):
    server = process("node app.js")
    [one] = wait_ready(server)
    with contextlib.suppress(Exception):
        server.get("/exit?code=7", method="POST")
    assert body(server, "/pid") != str(one["pid"])
    [two] = wait_ready(server)
    assert (two["restarts"], two["error"]) == (1, "")
    server.wait_log('how="exited with code 7"')


def test_killed_instance_is_not_noticed(process):
    server = process({"command": "node app.js", "instances": 2, "backoff": {"min": "10ms"}})
    wait_ready(server, 2)
    with Busy(server.address, 8) as busy:
        for _ in range(5):
            os.kill(wait_ready(server, 2)[0]["pid"], signal.SIGKILL)
            wait_for(lambda: len(instances(server, "ready")) < 2, "missing instance")
            busy.wait_rounds(5)
    assert not busy.failures
    server.wait_log('how="was killed by SIGKILL"')


def test_stubborn_program(process):
    server = process({"command": script("stubborn"), "stop": "200ms"})
    [one] = wait_ready(server)
    server.stop()
    assert not is_alive(one["pid"])
    assert "a program does not end in time and is killed" in server.log()


@pytest.mark.parametrize("kind", ["child", "child-session"])
def test_what_a_program_started_ends_with_it(process, kind):
    server = process({"command": script(kind)})
    [one] = wait_ready(server)
    grandchild = int(server.wait_log(r"grandchild (\d+)").group(1))
    assert is_alive(grandchild)
    if kind == "child":
        os.kill(one["pid"], signal.SIGKILL)
        wait_gone(grandchild)
    server.stop()
    wait_gone(grandchild)


def test_killed_runner(process):
    server = process({"command": script("child-session")})
    [one] = wait_ready(server)
    grandchild = int(server.wait_log(r"grandchild (\d+)").group(1))
    os.kill(roles(server)["runner"], signal.SIGKILL)
    wait_gone(one["pid"], grandchild)
    wait_for(lambda: instances(server, "ready") and instances(server)[0]["pid"] != one["pid"],
             "another instance")
    assert body(server, "/") == "ok\n"
    assert "the runner of programs was killed" in server.log()


def test_runner_killed_during_a_restart(process):
    """Who waits for the new instances hears that nobody knows of them any more."""
    server = process({"command": "node app.js", "ready": "/healthz"})
    (server.home / "ready").touch()
    wait_ready(server)
    (server.home / "ready").unlink()
    waiter = subprocess.Popen([SWS, "restart", "-c", str(server.config_path), "default"],
                              stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(instances(server)) == 2, "instance that shall take over")
    os.kill(roles(server)["runner"], signal.SIGKILL)
    assert waiter.communicate(timeout=20)[1] == "not restarted: the runner of programs ended\n"


def test_killed_edge(process):
    server = process("node app.js")
    server.may_crash = True
    [one] = wait_ready(server)
    os.kill(server.status()["pid"], signal.SIGKILL)
    server.wait_ready()
    assert body(server, "/pid") == str(one["pid"])


def test_killed_supervisor_leaves_nothing(process):
    server = process({"command": script("stubborn", "child-session"), "stop": "200ms"})
    server.end_codes = (-signal.SIGKILL,)
    [one] = wait_ready(server)
    grandchild = int(server.wait_log(r"grandchild (\d+)").group(1))
    pids = roles(server).values()
    os.kill(server.process.pid, signal.SIGKILL)
    wait_gone(one["pid"], grandchild, *pids)


# ---- replacing ----

def test_restart_under_load(process):
    server = process({"command": "node app.js", "instances": 2})
    old = {p["pid"] for p in wait_ready(server, 2)}
    with Busy(server.address, 8) as busy, Wire(server.address, 20) as slow:
        slow.send(b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n")
        busy.wait_rounds(2)
        result = server.command("restart", "default")
        assert (result.returncode, result.stdout) == (0, "the new instances serve\n")
        busy.wait_rounds(5)
        assert slow.answer().body == b"slow\n"  # by an instance that ends on SIGTERM at once
        busy.wait_rounds(5)
    assert not busy.failures
    new = {p["pid"] for p in wait_ready(server, 2)}
    assert not old & new
    wait_gone(*old)


def test_reloads_under_load(process):
    server = process({"command": "node app.js", "env": {"VERSION": "0"}})
    [one] = wait_ready(server)
    with Busy(server.address, 6) as busy:
        for i in range(10):
            if i % 2:
                change(server, env={"VERSION": str(i)})
            reload(server)
            busy.wait_rounds(2)
            if i % 2:
                wait_for(lambda: body(server, "/version") == str(i), f"version {i}")
            else:
                assert instances(server, "ready")[0]["pid"] == one["pid"]
            one = instances(server, "ready")[-1]
    assert not busy.failures
    wait_ready(server)


def test_unchanged_process_is_left_running(process):
    server = process({"command": "node app.js"})
    [one] = wait_ready(server)
    change(server, stop="5s", log="debug", ready={"timeout": "5s"}, instances=2)
    reload(server)
    two = wait_ready(server, 2)
    assert one["pid"] in [p["pid"] for p in two]
    assert "a process is replaced" not in server.log()
    change(server, instances=1)
    reload(server)
    assert wait_ready(server)[0]["pid"] == one["pid"]


def test_failed_restart_changes_nothing(process):
    server = process({"command": "node app.js"})
    [one] = wait_ready(server)
    text = (server.home / "app.js").read_text()
    (server.home / "app.js").write_text("process.exit(9)")
    result = server.command("restart", "default")
    assert (result.returncode, result.stderr) == (1, "not restarted: it exited with code 9\n")
    assert body(server, "/pid") == str(one["pid"])
    assert wait_ready(server)[0]["pid"] == one["pid"]
    result = server.command("restart", "nobody")
    assert (result.returncode, result.stderr) == (1, "there is no such process\n")
    (server.home / "app.js").write_text(text)
    assert server.command("restart", "default").returncode == 0


def test_bad_change_keeps_the_old_program(process):
    server = process({"command": "node app.js", "backoff": {"min": "10ms", "max": "50ms"}})
    [one] = wait_ready(server)
    change(server, command=script("fail"))
    reload(server)
    server.wait_log("cannot be replaced yet, what ran before serves on")
    assert body(server, "/pid") == str(one["pid"])
    change(server, command="node app.js")
    reload(server)
    assert wait_ready(server)[0]["pid"] == one["pid"]


def test_process_comes_and_goes(process):
    server = process("node app.js")
    [one] = wait_ready(server)
    hosts = server.config["hosts"]
    server.write({**server.config, "hosts": [hosts[1]]})
    reload(server)
    wait_gone(one["pid"])
    wait_for(lambda: "runner" not in roles(server), "end of the runner")
    server.write({**server.config, "hosts": hosts})
    reload(server)
    assert body(server, "/") == "ok\n"


def test_routes_share_what_they_inherit(process):
    host = {"routes": [{"path": "/a/**", "headers": {"response": {"X-A": "1"}}},
                       {"path": "/b/**", "backend": {"timeout": {"first": "5s"}}},
                       {"path": "/c/**", "backend": {"process": {"env": {"VERSION": "c"}}}}]}
    server = process("node app.js")
    merge(server.config["hosts"][0], host)
    server.write(server.config)
    reload(server)
    found = wait_ready(server, 2)
    assert sorted(p["process"] for p in found) == ["default", "default/c/**"]
    with server.wire() as wire:
        assert {wire.get(f"/{x}").status for x in ("a/1", "b/1", "c/1")} == {200}


def test_named_backends_share_a_process(process):
    """Two hosts name it, a split shares with it, and it is asked whether it is well."""
    server = process("node app.js")
    (server.home / "ready").touch()
    hosts = [{"domains": "default", "backend": "app"}, {"domains": "two.test", "backend": "app"},
             {"domains": "split.test", "split": {"app": 1, "other": 1}}]
    path = {"env": {"PATH": "/usr/bin:/bin"}}
    server.write({**server.config, "hosts": hosts, "backends": {
        "app": {"process": {"command": "node app.js", "instances": 2, **path},
                "health": {"path": "/healthz", "interval": "100ms"}},
        "other": {"process": {"command": script(), **path}}}})
    reload(server)
    found = wait_ready(server, 3)
    assert sorted(p["process"] for p in found) == ["app", "app", "other"]
    pids = {str(p["pid"]) for p in found}
    with Busy(server.address, 4) as busy:
        assert server.command("restart", "app").returncode == 0
        busy.wait_rounds(5)
    assert not busy.failures
    assert body(server, "/", host="two.test") == "ok\n"
    told = {body(server, "/pid", host="split.test") for _ in range(40)}
    assert told - pids and len(told & pids) == 1


@pytest.mark.parametrize("load", [True, False])
def test_upgrade_keeps_the_programs(process, load):
    server = process({"command": "node app.js"})
    [one] = wait_ready(server)
    runner = roles(server)["runner"]
    with contextlib.ExitStack() as ends:
        busy = ends.enter_context(Busy(server.address, 6, may_close=True)) if load else None
        edge = server.status()["pid"]
        assert server.command("upgrade").returncode == 0
        server.wait_log("the runner is the new program")
        wait_for(lambda: server.status()["pid"] != edge, "another edge")
        assert body(server, "/pid") == str(one["pid"])
        assert roles(server)["runner"] == runner
        if busy:
            busy.wait_rounds(5)
            assert not busy.failures
    [two] = wait_ready(server)
    assert two["id"] == one["id"]
    assert server.command("restart", "default").returncode == 0
    os.kill(wait_ready(server)[0]["pid"], signal.SIGKILL)
    assert body(server, "/") == "ok\n"


def test_upgrade_with_another_program(process):
    """The configuration on disk is another one: the process is replaced while edges are."""
    server = process({"command": "node app.js", "instances": 2})
    wait_ready(server, 2)
    with Busy(server.address, 6, may_close=True) as busy, Wire(server.address, 20) as slow:
        slow.send(b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n")
        busy.wait_rounds(2)
        change(server, env={"VERSION": "2"})
        assert server.command("upgrade").returncode == 0
        assert slow.answer().body == b"slow\n"
        wait_for(lambda: body(server, "/version") == "2", "other program")
        busy.wait_rounds(5)
    assert not busy.failures
    wait_ready(server, 2)


# ---- limits ----

def test_memory_limit(process):
    server = process({"command": script(), "memory": "60MB", "backoff": {"min": "10ms"}})
    [one] = wait_ready(server)
    wait_for(lambda: instances(server)[0]["memory_bytes"] > 1000000, "measured memory")
    with contextlib.suppress(Exception):
        server.get("/grow")
    server.wait_log('a program ended process=default .*how="was killed by SIGKILL" '
                    'because="it used more than its memory"')
    wait_for(lambda: instances(server, "ready") and instances(server)[0]["pid"] != one["pid"],
             "another instance")


def test_files_and_cpu(process):
    server = process({"command": script(), "files": 128, "cpu": "50%"})
    assert body(server, "/files") == "(128, 128)"
    if 'limits="rlimits and watching"' in server.log():
        assert body(server, "/cpus") == "1"


# ---- output ----

def lines(server, pattern):
    return [line for line in server.log().splitlines() if re.search(pattern, line)]


def test_output_is_logged(process):
    server = process({"command": "node app.js", "log": "warn"})
    server.get("/write?text=hello%20there")
    line = server.wait_log(r".* output process=default .*hello.*").group(0)
    assert re.search(r'Z warn output process=default instance=1 stream=stdout line="hello there"$',
                     line)


def test_long_lines(process):
    server = process({"command": script("long")})
    wait_ready(server)
    server.wait_log("line=after")
    parts = lines(server, "line=a{100}")
    assert len(parts) == 16 and "part=16 cut=true" in parts[-1]
    assert "aend" not in server.log()


def test_garbage(process):
    server = process({"command": script("garbage")})
    wait_ready(server)
    server.wait_log("31mred")
    found = lines(server, "stream=stderr")
    assert len(found) >= 2
    for line in found:
        assert all(" " <= c for c in line)


def test_flood(process):
    server = process({"command": script("flood")})
    wait_ready(server)
    server.wait_log(r"warn a program writes too much: lines were dropped process=default")
    kept = len(lines(server, 'line="flood '))
    assert 1000 < kept < 15000
    dropped = wait_for(lambda: server.metric('sws_process_dropped_lines_total{process="default"}'),
                       "count of dropped lines")
    assert dropped > 5000
    assert body(server, "/") == "ok\n"


# ---- what is wrong ----

@pytest.mark.parametrize("settings, key, reason", [
    ({"command": "no-such-program --port 1"}, "command",
     "there is no program no-such-program in PATH"),
    ({"command": "./app.py"}, "command", "the program {home}/app.py may not be executed"),
    ({"command": "node app.js", "cwd": "nowhere"}, "cwd", "the directory {home}/nowhere: not found"),
    ({"command": "node app.js", "user": "no-such-user"}, "user", "there is no user no-such-user"),
])
def test_wrong_command(process, settings, key, reason):
    server = process(settings, backend={"timeout": {"connect": "50ms"}})
    reason = reason.format(home=server.home)
    result = server.command("check")
    assert result.returncode == 2
    assert f"{key}: {reason}" in result.stderr, result.stderr
    server.wait_log("error a program cannot be started process=default instance=1 reason=.*" +
                    re.escape(reason))
    assert server.get("/").status == 503
    assert body(server, "/", host="other.test") == "other\n"
    change(server, command="node app.js", cwd=str(server.home), user=None)
    reload(server)
    wait_ready(server)


@pytest.mark.parametrize("backend, reason", [
    ({"process": "node a.js && node b.js"}, "no shell looks at this"),
    ({"process": "A=1 node a.js"}, "variables are set with env"),
    ({"process": "node 'a.js"}, "this quote is never closed"),
    ({"process": ""}, "a program is due here"),
    ({"process": {"command": "node a.js", "socket": "/a", "instances": 2}},
     "several have socket: activate"),
    ({"process": {"command": "node a.js", "env": {"PORT": "1"}}}, "PORT is set by sws"),
    ({"process": {"command": "node a.js", "cpu": "2"}}, "such as 50%"),
    ({"process": "node a.js", "proxy": "http://127.0.0.1:1"}, "both answer here"),
    ({"balance": "rr"}, 'needs the key "proxy" or "process"'),
])
def test_wrong_settings(tmp_path, backend, reason):
    path = tmp_path / "sws.yaml"
    path.write_text(json.dumps({"hosts": [{"domains": "default", "backend": backend}]}))
    result = run_sws("check", "-c", path)
    assert result.returncode == 2
    assert reason in result.stderr, result.stderr
