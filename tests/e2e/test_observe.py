# SPDX-License-Identifier: Apache-2.0
"""What the server tells about itself: access log, metrics, health, levels."""
import json
import re
import shlex
import subprocess

import httpx
import pytest

from conftest import free_port, wait_for

OK = {"domains": "default", "respond": {"body": "hello\n"}}
AGENT = {"User-Agent": "agent/1.0 (test)", "Referer": "http://from.test/a?b=c"}


def test_json(serve):
    server = serve()
    server.get("/a?b=c", AGENT, host="log.test:80")
    line = json.loads(server.access_lines(1)[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["time"])
    assert (line["method"], line["target"], line["status"]) == ("GET", "/a?b=c", 200)
    assert (line["host"], line["protocol"], line["client"]) == ("log.test:80", "HTTP/1.1",
                                                               "127.0.0.1")
    assert line["user_agent"] == AGENT["User-Agent"] and line["referer"] == AGENT["Referer"]
    assert line["bytes"] == 3 and 0 <= line["duration_us"] < 1_000_000
    assert re.fullmatch("[0-9a-f]{32}", line["request_id"])


COMMON = (r'127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]0000\] '
          r'"GET /a\?b=c HTTP/1\.1" 200 6')


@pytest.mark.parametrize("form, pattern", [
    ("common", COMMON),
    ("combined", COMMON + r' "http://from\.test/a\?b=c" "agent/1\.0 \(test\)"')])
def test_common_and_combined(serve, form, pattern):
    server = serve({"hosts": [OK], "log": {"format": form}})
    server.get("/a?b=c", AGENT)
    assert re.fullmatch(pattern, server.access_lines(1)[0].decode())


def logfmt(line):
    return dict(word.split("=", 1) for word in shlex.split(line))


def test_logfmt(serve):
    server = serve({"hosts": [OK], "log": {"format": "logfmt"}})
    server.get("/a?b=c", AGENT)
    line = logfmt(server.access_lines(1)[0].decode())
    assert (line["method"], line["target"], line["status"], line["bytes"]) == (
        "GET", "/a?b=c", "200", "6")
    assert line["user_agent"] == AGENT["User-Agent"]


def test_each_host_has_its_form_or_none(serve):
    server = serve({"hosts": [OK, {**OK, "domains": "c.test", "log": {"format": "common"}},
                              {**OK, "domains": "off.test", "log": "off"}]})
    with server.wire() as wire:
        for host in ("a.test", "off.test", "c.test", "b.test"):
            wire.get("/", host=host)
    first, second, third = server.access_lines(3)
    assert json.loads(first)["host"] == "a.test" and second.startswith(b"127.0.0.1 - - [")
    assert json.loads(third)["host"] == "b.test"


@pytest.mark.parametrize("form", ["json", "combined", "logfmt"])
def test_secrets_are_not_written(serve, form):
    server = serve({"hosts": [{**OK, "log": {"redact": ["token", "Authorization"]}}],
                    "log": {"format": form}})
    server.get("/?token=SECRET&x=1", {"Authorization": "Bearer SECRET", "Cookie": "sid=SECRET",
                                      "Referer": "http://a.test/?x=1&token=SECRET"})
    server.get("/?%74oken=SECRET;TOKEN=SECRET")
    lines = b"\n".join(server.access_lines(2))
    assert b"SECRET" not in lines
    assert lines.count(b"redacted") == 4
    assert b"x=1" in lines


NASTY = [b"\"", b"\\", b"\\\"", b"' OR 1=1", b"\xff\xfe", b"\xc3\x28", b"\xc3", b"\xe2\x80\xa8",
         b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"a=b c=\"d\"", b"%0a%1b[31m", b"${jndi:x}",
         b"\t tab", b"</script>", b"\xc2\x9b31m", b"\x80" * 300, b"x" * 5000]


@pytest.mark.parametrize("form", ["json", "combined", "logfmt"])
def test_nothing_can_be_injected(serve, form):
    """Row 46: whatever a client sends, a line stays a line, without control bytes."""
    server = serve({"hosts": [OK], "log": {"format": form}})
    count = 0
    with server.wire() as wire:
        for nasty in NASTY:
            for name in (b"User-Agent", b"Referer", b"X-Request-Id", b"traceparent",
                         b"X-Forwarded-For"):
                wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + name + b": " + nasty + b"\r\n\r\n")
                assert wire.answer().status == 200
                count += 1
    for target in (b"/\"", b"/'", b"/\\", b"/a?\"", b"/?%0a%0d", b"/?a\\x0a", b"/?<b>",
                   b"/?\xff\xfe", b"/?\xc2\x9b"):
        with server.wire() as wire:
            wire.send(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            assert wire.answer().status in (200, 400)
            count += 1
    refused = 0
    for bad in (b"\x1b[31m", b"\r", b"\0", b"\x7f", b"a\nInjected: 1"):
        with server.wire() as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: " + bad + b"\r\n\r\n")
            assert wire.answer().status == 400
            refused += 1
    lines = server.access_lines(count + refused)
    assert len(lines) == count + refused, "one line a request"
    for line in lines:
        assert not re.search(rb"[\x00-\x1f\x7f]", line)
        text = line.decode("utf-8")
        assert not re.search("[\x80-\x9f]", text), "C1 controls move a terminal as well"
        if line.startswith(b"{"):
            assert json.loads(text)["status"] in (200, 400)
        elif form == "combined":
            assert re.fullmatch(r'127\.0\.0\.1 - - \[[^]]*\] "(?:[^"\\]|\\.)*" \d{3} \S+ '
                                r'"(?:[^"\\]|\\.)*" "(?:[^"\\]|\\.)*"', text), text


def test_refused_requests_are_logged(serve):
    server = serve()
    with server.wire() as wire:
        wire.send(b"GET / HTTP/1.1\r\n\r\n")
        assert wire.answer().status == 400
    line = json.loads(server.access_lines(1)[0])
    assert (line["status"], line["error"], line["client"]) == (400, "host_missing", "127.0.0.1")


def test_rotation_by_size_with_zstd(serve):
    server = serve({"hosts": [OK], "log": {"rotate": {"size": "8KB", "keep": 100, "zstd": True}}})
    with server.wire() as wire:
        for i in range(200):
            assert wire.get(f"/{i}").status == 200
            if i % 50 == 49:
                # A file is looked at when lines were written to it, not line by line.
                name = f"access.log.{i // 50 + 1}.zst"
                wait_for((server.home / name).exists, name)

    def everything():
        found = server.access_path.read_bytes().splitlines()
        old = sorted(server.home.glob("access.log.*.zst"))
        for path in old:
            done = subprocess.run(["zstd", "-dc", str(path)], capture_output=True, check=False)
            found += done.stdout.splitlines()
        return found if len(old) >= 3 and len(found) >= 200 else None
    lines = wait_for(everything, "rotated log with all lines")
    assert sorted(int(json.loads(x)["target"][1:]) for x in lines) == list(range(200))


def test_rotation_keeps_so_many(serve):
    server = serve({"hosts": [OK], "log": {"rotate": {"size": "8KB", "keep": 2, "zstd": False}}})
    with server.wire() as wire:
        for i in range(300):
            wire.get(f"/{i}")
            if i % 60 == 59:
                last = f"/{i}\"".encode()
                wait_for(lambda: any(last in p.read_bytes()
                                     for p in server.home.glob("access.log*")), "lines written")
    wait_for(lambda: b"/299\"" in server.access_path.read_bytes()
             or any(b"/299\"" in p.read_bytes() for p in server.home.glob("access.log.*")),
             "last line")
    assert sorted(p.name for p in server.home.glob("access.log*")) == [
        "access.log", "access.log.1", "access.log.2"]


# ---- metrics ----

def test_promtool_is_content(serve):
    server = serve({"metrics": {"listen": "127.0.0.1:0"}})
    server.get("/")
    server.get("/", method="POST")
    with server.wire() as wire:
        wire.send(b"nonsense\r\n\r\n")
        wire.rest()
    text = server.admin("GET", "/metrics")[1]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_metrics_count(serve):
    server = serve({"hosts": [OK, {"domains": "none.test", "root": "@home/www"}]})
    body = b"hello\n"
    with server.wire() as wire:
        for _ in range(3):
            assert wire.get("/").body == body
        wire.get("/", host="none.test")
        wire.get("/", host="none.test", method="POST")
        wait_for(lambda: server.metric("sws_conn_active") == 1, "one open connection")
    wait_for(lambda: server.metric("sws_conn_active") == 0, "no open connection")
    found = server.metrics()
    assert found['sws_http_requests_total{method="GET",status="200"}'] == 3
    assert found['sws_http_requests_total{method="GET",status="404"}'] == 1
    assert found['sws_http_requests_total{method="POST",status="405"}'] == 1
    assert found["sws_http_request_duration_seconds_count"] == 5
    assert found['sws_http_request_duration_seconds_bucket{le="+Inf"}'] == 5
    assert found["sws_conn_accepted_total"] == 1
    assert found["sws_received_bytes_total"] > 100 and found["sws_sent_bytes_total"] > 300
    assert found["sws_memory_bytes"] > 1_000_000
    assert found['sws_loop_lag_seconds{loop="0"}'] < 1


def test_durations_are_measured(serve):
    """Sending 3 MB in a coding takes time, and the histogram says so."""
    server = serve({"hosts": [{"domains": "default", "root": "@home/www"}]})
    (server.www / "big.txt").write_text("".join(f"line {i * 7919 % 10007}\n" for i in range(300_000)))
    server.get("/big.txt", {"Accept-Encoding": "gzip"})
    wait_for(lambda: server.metric("sws_http_request_duration_seconds_count") == 1, "the count")
    assert server.metric("sws_http_request_duration_seconds_sum") > 0.001


def test_unknown_methods_do_not_make_series(serve):
    server = serve()
    for i in range(30):
        server.get("/", method=f"M{i}")
    names = [n for n in server.metrics() if n.startswith("sws_http_requests_total")]
    assert len(names) <= 2


def test_metrics_as_json_and_at_an_address_of_their_own(serve):
    server = serve()
    server.get("/")
    assert json.loads(server.admin("GET", "/metrics.json")[1])
    port = free_port()
    own = serve({"metrics": {"listen": f"127.0.0.1:{port}", "path": "/m"}})
    answer = httpx.get(f"http://127.0.0.1:{port}/m")
    assert answer.status_code == 200 and "sws_conn_active" in answer.text
    assert httpx.get(f"http://127.0.0.1:{port}/status").status_code == 404
    assert httpx.post(f"http://127.0.0.1:{port}/stop").status_code in (404, 405)
    assert own.status()["state"] == "serving"


# ---- health, levels, ids ----

def test_health(serve):
    server = serve({"hosts": [{"domains": "default", "redirect": "https://other.test"}]})
    for path in ("/livez", "/readyz"):
        assert server.admin("GET", path) == (200, "ok\n")
        answer = server.get(path)
        assert (answer.status, answer.body) == (200, b"ok\n"), "before redirects, for loopback"
    assert server.get("/livezz").status == 308


def test_health_of_another_name(serve):
    server = serve({"health": {"live": "/_live", "ready": "/_ready"}})
    assert server.get("/_live").body == b"ok\n"
    assert server.get("/_ready").body == b"ok\n"


def test_log_level_changes_live(serve):
    server = serve()
    assert server.status()["log_level"] == "info"
    assert server.admin("POST", "/log/level?level=debug")[0] == 200
    assert server.status()["log_level"] == "debug"
    assert server.admin("POST", "/log/level?level=loud")[0] == 400
    assert server.status()["log_level"] == "debug"
    assert server.admin("POST", "/log/level?level=error")[0] == 200
    before = server.log()
    server.write({"log": {"level": "error"}})
    assert server.reload().returncode == 0
    assert " info " not in server.log()[len(before):]


def test_log_level_of_the_configuration(serve):
    assert " info " not in serve({"log": {"level": "error"}}).log()
    assert serve({"log": {"level": "debug"}}).status()["log_level"] == "debug"


def test_request_id_is_taken_over(serve):
    server = serve()
    trace = "0af7651916cd43dd8448eb211c80319c"
    with server.wire() as wire:
        wire.get("/", {"X-Request-Id": "abc-123", "traceparent": f"00-{trace}-b7ad6b7169203331-01"})
        wire.get("/", {"X-Request-Id": "two words", "traceparent": "00-nonsense"})
        wire.get("/", {"X-Request-Id": "x" * 500})
        wire.get("/")
    good, *others = [json.loads(line) for line in server.access_lines(4)]
    assert (good["request_id"], good["trace_id"]) == ("abc-123", trace)
    for line in others:
        assert re.fullmatch("[0-9a-f]{32}", line["request_id"])
        assert re.fullmatch("[0-9a-f]{32}", line["trace_id"])
    assert len({line["request_id"] for line in others}) == 3


def test_an_error_names_the_request_as_the_log_does(serve):
    server = serve({"hosts": [{"domains": "default", "root": "@home/www"}]})
    kinds = ("text/html", "application/json", "text/plain")
    with server.wire() as wire:
        answers = [wire.get("/none", {"Accept": kind}) for kind in kinds]
        answers.append(wire.get("/none", {"X-Request-ID": "mine-1", "Accept": "text/html"}))
    lines = [json.loads(line) for line in server.access_lines(4)]
    for answer, line in zip(answers, lines):
        assert answer.status == 404
        assert answer["X-Request-ID"] == line["request_id"]
    assert lines[0]["request_id"] in answers[0].body.decode()
    assert json.loads(answers[1].body)["request_id"] == lines[1]["request_id"]
    assert answers[3]["X-Request-ID"] == "mine-1"
