#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures sws beside the floor programs, nginx and h2o (HTTP/3: caddy; as a proxy: haproxy), in one
run, in turn.

The server is pinned to one core and the client (wrk; h2load; ngtcp2's gtlsclient for HTTP/3, which
Debian's h2load does not speak) to the other. What counts is the CPU time of
the server per request, from /proc; requests per second and p99 are shown beside it. Each figure is
the median of alternating rounds, so that a machine whose speed drifts treats all alike."""
import argparse
import json
import os
import platform
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PIPELINE = """
init = function(args)
  local r = {}
  for i = 1, 16 do r[i] = wrk.format("GET", "/1k.html") end
  req = table.concat(r)
end
request = function() return req end
"""
CLOSE = 'wrk.headers["Connection"] = "close"\n'


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def children(pid):
    """The process and all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                found += children(int(child))
        except OSError:
            pass
    return found


def cpu_seconds(pid):
    total = 0.0
    for p in children(pid):
        try:
            # Nanoseconds on the CPU of every thread: finer than the ticks of stat.
            for task in Path(f"/proc/{p}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0]) / 1e9
        except OSError:
            pass
    return total


def memory_bytes(pid):
    """Private memory of the process and its children."""
    total = 0
    for p in children(pid):
        try:
            text = Path(f"/proc/{p}/smaps_rollup").read_text()
            total += sum(int(n) for n in re.findall(r"Private_(?:Clean|Dirty):\s+(\d+)", text)) * 1024
        except OSError:
            pass
    return total


class Server:
    def __init__(self, name, port, argv, https_port, cwd, core=0):
        self.name, self.port, self.https_port = name, port, https_port
        self.started = time.monotonic()
        self.process = subprocess.Popen(["taskset", "-c", str(core)] + argv, cwd=cwd,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)
        self.first_byte_ms = None
        while self.first_byte_ms is None:
            if self.process.poll() is not None or time.monotonic() - self.started > 10:
                raise SystemExit(f"{name} did not start: {' '.join(argv)}")
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1) as s:
                    s.sendall(b"GET /1k.html HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % port)
                    if s.recv(1):
                        self.first_byte_ms = (time.monotonic() - self.started) * 1000
            except OSError:
                time.sleep(0.001)

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def configurations(args, work):
    """name -> function that gives (port, argv)."""
    site, cert, key = work / "site", work / "cert.pem", work / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                   check=True, capture_output=True)
    key.chmod(0o644)

    def sws():
        port, https = free_port(), free_port()
        config = work / f"sws-{port}.yaml"
        config.write_text(f"server:\n  listen: [\"127.0.0.1:{port}\", "
                          f"\"https://127.0.0.1:{https}\"]\n  admin: off\n"
                          f"  poller: {args.poller}\n  state: {work}/state\n"
                          f"  tls: {{cert: {cert}, key: {key}}}\n"
                          "  worker: {processes: 1}\nlog: {access: off, level: warn}\n"
                          f"hosts:\n  - domains: default\n    root: {site}\n    security: off\n"
                          "    compress: off\n    precompressed: []\n    https_redirect: false\n")
        return port, [str(Path(args.sws).resolve()), "start", "-c", str(config)], https

    def nginx():
        port, https = free_port(), free_port()
        config = work / f"nginx-{port}.conf"
        config.write_text(f"""daemon off; worker_processes 1; pid {work}/nginx-{port}.pid; error_log stderr crit;
events {{ worker_connections 20000; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
  open_file_cache max=1000 inactive=60s; include /etc/nginx/mime.types;
  client_body_temp_path {work}/nb; proxy_temp_path {work}/np; fastcgi_temp_path {work}/nf;
  uwsgi_temp_path {work}/nu; scgi_temp_path {work}/ns;
  server {{ listen 127.0.0.1:{port} backlog=4096; listen 127.0.0.1:{https} ssl http2 backlog=4096;
    ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
    root {site}; }} }}
""")
        return port, ["nginx", "-c", str(config), "-p", str(work)], https

    def h2o():
        port, https = free_port(), free_port()
        config = work / f"h2o-{port}.yaml"
        config.write_text(f"""num-threads: 1
max-connections: 20000
listen: {{host: 127.0.0.1, port: {port}}}
hosts:
  default:
    listen:
      host: 127.0.0.1
      port: {https}
      ssl: {{certificate-file: "{cert}", key-file: "{key}", neverbleed: OFF}}
    paths:
      /: {{file.dir: {site}}}
""")
        return port, ["h2o", "-c", str(config)], https

    def caddy():
        port, https = free_port(), free_port()
        config = work / f"caddy-{port}"
        served = f"bind 127.0.0.1\n  root * {site}\n  file_server\n"
        config.write_text(f"{{\n  admin off\n  auto_https off\n  storage file_system {work}/caddy\n}}\n"
                          f"http://localhost:{port} {{\n  {served}}}\n"
                          f"https://localhost:{https} {{\n  tls {cert} {key}\n  {served}}}\n")
        return port, ["env", "GOMAXPROCS=1", "caddy", "run", "--adapter", "caddyfile", "--config",
                      str(config)], https

    def floor(body):
        def make():
            port = free_port()
            return port, [str(Path(args.floor).resolve()), str(port), str(body)], None
        return make

    def installed(peers):
        return {"sws": sws, **{n: make for n, make in peers.items() if shutil.which(n)}}

    return installed({"nginx": nginx, "h2o": h2o}), installed({"caddy": caddy}), floor


def echo_upstream(args, work):
    def make():
        port = free_port()
        config = work / f"echo-{port}.yaml"
        config.write_text(f"server:\n  listen: [\"127.0.0.1:{port}\"]\n  admin: off\n"
                          "  worker: {processes: 1}\nlog: {access: off, level: warn}\n"
                          "hosts:\n  - domains: default\n    backend: echo\n")
        return port, [str(Path(args.sws).resolve()), "start", "-c", str(config)], None
    return make


def ws_memory(args, server, count):
    """Bytes of server memory for each of `count` proxied WebSockets that had a message."""
    program = Path(args.floor).resolve().with_name("ws_load")
    before = memory_bytes(server.process.pid)
    with subprocess.Popen([str(program), str(server.port), str(count), "100", "0"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        if client.stdout.readline() != "open\n":
            raise SystemExit(f"{server.name} gave no {count} WebSockets")
        after = memory_bytes(server.process.pid)
        client.stdin.close()
    return (after - before) / count


def proxies(args, work, upstream):
    """name -> function, as in configurations; each passes everything on to the port `upstream`."""
    def sws():
        port = free_port()
        config = work / f"sws-proxy-{port}.yaml"
        config.write_text(f"server:\n  listen: [\"127.0.0.1:{port}\"]\n  admin: off\n"
                          f"  poller: {args.poller}\n  worker: {{processes: 1}}\n"
                          "log: {access: off, level: warn}\nhosts:\n  - domains: default\n"
                          "    security: off\n    compress: off\n"
                          f"    backend: http://127.0.0.1:{upstream}\n")
        return port, [str(Path(args.sws).resolve()), "start", "-c", str(config)], None

    def nginx():
        port = free_port()
        config = work / f"nginx-proxy-{port}.conf"
        config.write_text(f"""daemon off; worker_processes 1; pid {work}/nginx-{port}.pid; error_log stderr crit;
events {{ worker_connections 20000; }}
http {{ access_log off; keepalive_requests 100000000;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  client_body_temp_path {work}/nb; proxy_temp_path {work}/np; fastcgi_temp_path {work}/nf;
  uwsgi_temp_path {work}/nu; scgi_temp_path {work}/ns;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection $connection_upgrade; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header Host $host; }} }} }}
""")
        return port, ["nginx", "-c", str(config), "-p", str(work)], None

    def haproxy():
        port = free_port()
        config = work / f"haproxy-{port}.cfg"
        config.write_text(f"""global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
  option forwardfor
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  server one 127.0.0.1:{upstream}
""")
        return port, ["haproxy", "-db", "-f", str(config)], None

    def floor():
        port = free_port()
        program = Path(args.floor).resolve().with_name("floor_proxy")
        return port, [str(program), str(port), str(upstream)], None

    found = {"floor": floor, "sws": sws, "nginx": nginx, "haproxy": haproxy}
    return {n: make for n, make in found.items() if n in ("floor", "sws") or shutil.which(n)}


def h2load(port, path, seconds, connections):
    """32 streams a connection."""
    out = subprocess.run(["taskset", "-c", "1", "h2load", f"-c{connections}", "-m32",
                          f"-D{seconds}", f"https://127.0.0.1:{port}{path}"],
                         capture_output=True, text=True, check=True).stdout
    total, good = map(int, re.search(r"requests: .* (\d+) done, (\d+) succeeded", out).groups())
    if good != total or not total:
        raise SystemExit(f"{total - good} of {total} answers were errors on {path}\n{out}")
    rate = float(re.search(r"finished in .*?, ([\d.]+) req/s", out).group(1))
    return total, rate, float("nan")


def s_time(port, path, seconds):
    """One connection after the other, each resuming the session of the first."""
    out = subprocess.run(["taskset", "-c", "1", "openssl", "s_time", "-connect",
                          f"127.0.0.1:{port}", "-reuse", "-tls1_2", "-time", str(seconds), "-www",
                          path], capture_output=True, text=True, check=True).stdout
    total, real = map(int, re.findall(r"(\d+) connections in (\d+) real seconds", out)[-1])
    if total < 10 or not re.search(r"[1-9]\d{3,} bytes read per connection", out):
        raise SystemExit(f"openssl s_time got no answers on {path}\n{out}")
    return total, total / real, float("nan")


def gtlsclient(port, path, seconds, streams):
    """One connection after the other, each with `streams` requests."""
    argv = ["taskset", "-c", "1", "gtlsclient", "127.0.0.1", str(port),
            f"https://localhost:{port}{path}", "-n", str(streams), "--no-quic-dump",
            "--exit-on-all-streams-close", "--timeout=30s"]
    # A file is dumped only to be thrown away.
    argv += ["--no-http-dump"] if path.endswith(".html") else ["--quiet"]
    total, start = 0, time.monotonic()
    while total == 0 or time.monotonic() - start < seconds:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=True)
        good = (done.stdout + done.stderr).count("[:status: 200]")
        if path.endswith(".html") and good != streams:
            raise SystemExit(f"{streams - good} of {streams} answers were errors on {path}")
        total += streams
    return total, total / (time.monotonic() - start), float("nan")


def ws_load(args, port, connections, message_bytes, seconds):
    program = Path(args.floor).resolve().with_name("ws_load")
    out = subprocess.run(["taskset", "-c", "1", str(program), str(port), str(connections),
                          str(message_bytes), str(seconds)],
                         capture_output=True, text=True, check=True).stdout.split()
    return int(out[0]), int(out[0]) / float(out[1]), float("nan")


def load(server, case, seconds, work, args):
    _, path, connections, script, _, kind = case
    if kind == "websocket":
        return ws_load(args, server.port, connections, script, seconds)
    if kind == "resumed":
        return s_time(server.https_port, path, seconds)
    if kind == "h3":
        return gtlsclient(server.https_port, path, seconds, connections)
    if kind == "h2":
        return h2load(server.https_port, path, seconds, connections)
    port = server.https_port if kind == "https" else server.port
    kind = "https" if kind == "https" else "http"
    return wrk(f"{kind}://127.0.0.1:{port}{path}", seconds, connections, script, work)


def wrk(url, seconds, connections, script=None, work=None):
    argv = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    if script:
        file = work / "script.lua"
        file.write_text(script)
        argv += ["-s", str(file)]
    out = subprocess.run(argv + [url], capture_output=True, text=True, check=True).stdout
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()
    p99 = float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    if bad:
        raise SystemExit(f"{bad.group(1)} answers were errors on {url}")
    return requests, rate, p99


def idle_memory(server, count, is_tls=False):
    """Bytes of server memory for each of `count` connections that were used once and wait."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    before = memory_bytes(server.process.pid)
    sockets = []
    for _ in range(count):
        s = socket.create_connection(
            ("127.0.0.1", server.https_port if is_tls else server.port))
        s = context.wrap_socket(s) if is_tls else s
        s.sendall(b"GET /1k.html HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = b""
        while b"</html>" not in got and b"xxx" not in got[-8:]:
            got += s.recv(4096)
        sockets.append(s)
    after = memory_bytes(server.process.pid)
    for s in sockets:
        s.close()
    return (after - before) / count


def run_case(servers, case, args, work):
    table = {}
    running = {}
    for label, make in servers.items():
        running[label] = Server(label, *make(), work)
        table[label] = {"cpu_us": [], "rps": [], "p99_ms": []}
    try:
        for s in running.values():
            load(s, case, 1, work, args)
        for _ in range(args.rounds):
            for label, s in running.items():
                before = cpu_seconds(s.process.pid)
                requests, rate, p99 = load(s, case, args.seconds, work, args)
                used = cpu_seconds(s.process.pid) - before
                table[label]["cpu_us"].append(used / requests * 1e6)
                table[label]["rps"].append(rate)
                table[label]["p99_ms"].append(p99)
    finally:
        for s in running.values():
            s.stop()
    return {label: {k: statistics.median(v) for k, v in row.items()} for label, row in table.items()}


def show(name, rows):
    print(f"\n{name}")
    print(f"  {'':8}{'CPU us/req':>12}{'req/s':>12}{'p99 ms':>10}{'CPU / floor':>13}{'CPU / sws':>11}")
    floor = rows.get("floor", {}).get("cpu_us")
    ours = rows["sws"]["cpu_us"]
    for label, r in rows.items():
        ratio = f"{r['cpu_us'] / floor:.2f}" if floor else "-"
        print(f"  {label:8}{r['cpu_us']:12.2f}{r['rps']:12.0f}{r['p99_ms']:10.2f}{ratio:>13}"
              f"{r['cpu_us'] / ours:11.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sws", required=True)
    parser.add_argument("--floor", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--poller", default="auto")
    parser.add_argument("--only", help="a part of the name of the cases to run")
    parser.add_argument("--idle", type=int, default=10000)
    args = parser.parse_args()
    cases = [
        ("1 KiB keep-alive", "/1k.html", 32, None, 1024, "http"),
        ("100 KiB keep-alive", "/100k.html", 32, None, 102400, "http"),
        ("10 MiB keep-alive", "/10m.bin", 4, None, 10485760, "http"),
        ("1 KiB, a connection per request", "/1k.html", 32, CLOSE, None, "http"),
        ("1 KiB, 16 pipelined", "/1k.html", 32, PIPELINE, 1024, "http"),
        ("proxy, 1 KiB keep-alive", "/1k.html", 32, None, 1024, "proxy"),
        ("proxy, 100 KiB keep-alive", "/100k.html", 32, None, 102400, "proxy"),
        ("proxy, WebSocket messages of 100 bytes", "/", 32, 100, None, "websocket"),
        ("TLS, 1 KiB keep-alive", "/1k.html", 32, None, None, "https"),
        ("TLS, 10 MiB keep-alive", "/10m.bin", 4, None, None, "https"),
        ("TLS, a full handshake per request", "/1k.html", 32, CLOSE, None, "https"),
        ("TLS, a resumed handshake per request", "/1k.html", 1, None, None, "resumed"),
        ("TLS, 50 MiB", "/50m.bin", 1, None, None, "https"),
        ("HTTP/2 over TLS, 1 KiB, 32 streams", "/1k.html", 32, None, None, "h2"),
        ("HTTP/3, 1 KiB, 2000 requests a connection", "/1k.html", 2000, None, None, "h3"),
        ("HTTP/3, 50 MiB, a connection per request", "/50m.bin", 1, None, None, "h3"),
    ]
    results = {"machine": platform.processor() or platform.machine(),
               "kernel": platform.release(), "cpus": os.cpu_count(),
               "date": time.strftime("%Y-%m-%d"), "rounds": args.rounds, "seconds": args.seconds,
               "cases": {}}
    with tempfile.TemporaryDirectory(prefix="sws-bench-") as temp:
        work = Path(temp)
        os.chmod(work, 0o755)
        (work / "site").mkdir()
        for file, size in (("1k.html", 1024), ("100k.html", 102400), ("10m.bin", 10485760),
                           ("50m.bin", 52428800)):
            (work / "site" / file).write_bytes(b"x" * (size - 8) + b"</html>\n")
        servers, h3_servers, floor = configurations(args, work)
        print("CPU: user and system time of the server, one core; client on the other core.")
        for case in cases:
            if args.only and args.only not in case[0]:
                continue
            if case[5] in ("proxy", "websocket"):
                # The upstream shares the core of the client: only the proxy is measured.
                make = floor(case[4]) if case[5] == "proxy" else echo_upstream(args, work)
                upstream = Server("upstream", *make(), work, core=1)
                rows = run_case(proxies(args, work, upstream.port), case, args, work)
                upstream.stop()
            else:
                lineup = dict(h3_servers if case[5] == "h3" else servers)
                if case[4]:
                    lineup = {"floor": floor(case[4]), **servers}
                rows = run_case(lineup, case, args, work)
            results["cases"][case[0]] = rows
            show(case[0], rows)
        if not args.only or args.only in "idle websockets":
            count = min(args.idle, 2000)
            print(f"\n{count} proxied WebSockets at rest")
            upstream = Server("upstream", *echo_upstream(args, work)(), work, core=1)
            for label, make in proxies(args, work, upstream.port).items():
                s = Server(label, *make(), work)
                used = ws_memory(args, s, count)
                s.stop()
                results["cases"].setdefault("idle proxied WebSocket", {})[label] = {"bytes": used}
                print(f"  {label:8}{used:10.0f} bytes", flush=True)
            upstream.stop()
        if not args.only or args.only in "idle start":
            idle_tls = min(args.idle, 2000)
            print(f"\n{args.idle} idle connections, {idle_tls} with TLS; start to first byte "
                  "(median of 5)")
            for label, make in servers.items():
                starts = []
                for _ in range(5):
                    s = Server(label, *make(), work)
                    starts.append(s.first_byte_ms)
                    s.stop()
                s = Server(label, *make(), work)
                idle = idle_memory(s, args.idle)
                s.stop()
                s = Server(label, *make(), work)
                tls = idle_memory(s, idle_tls, True)
                s.stop()
                row = {"idle_bytes": idle, "idle_tls_bytes": tls,
                       "start_ms": statistics.median(starts)}
                results["cases"].setdefault("idle and start", {})[label] = row
                print(f"  {label:8}{idle:10.0f} bytes a connection{tls:10.0f} with TLS"
                      f"{row['start_ms']:10.1f} ms",
                      flush=True)
    if not args.only:
        out = Path(__file__).parent / "results" / f"{results['date']}.json"
        # A client that gives no p99 leaves none.
        out.write_text(json.dumps(results, indent=1).replace("NaN", "null") + "\n")
        print(f"\nStored in {out}")
    return 0


sys.exit(main())
