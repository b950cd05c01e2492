# SPDX-License-Identifier: Apache-2.0
"""Slow clients in great numbers: slowhttptest's four attacks at once, and the server serves on."""
import re
import subprocess
import time

from conftest import Wire, wait_for

CONNECTIONS = 100
SECONDS = 10
MODES = {
    "slow heads": ["-H", "-i", "2", "-x", "24"],
    "slow bodies": ["-B", "-i", "2", "-s", "8192", "-x", "10"],
    "many ranges": ["-R", "-a", "5", "-b", "2000"],
    "slow reading": ["-X", "-n", "1", "-w", "512", "-y", "1024", "-z", "32", "-k", "3"],
}


def start(server, mode):
    return subprocess.Popen(
        ["slowhttptest", "-c", str(CONNECTIONS), "-r", "100", "-l", str(SECONDS), "-p", "3",
         "-u", f"{server.url}/page", *MODES[mode]],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_slow_attacks(serve):
    server = serve({"server": {"timeouts": {"header": "3s", "read_idle": "3s", "write_idle": "5s"},
                               "max": {"min_rate": "240B/s"}},
                    "hosts": [{"domains": "default", "root": "@home/www"}]})
    page = b"page\n" * 40_000
    (server.www / "page").write_bytes(page)
    slowest, answers = 0.0, 0
    with Wire(server.address) as wire:
        assert wire.get("/page").body == page
        attacks = {mode: start(server, mode) for mode in MODES}
        while any(a.poll() is None for a in attacks.values()):
            asked = time.monotonic()
            try:
                answer = wire.get("/page")
            except OSError as e:
                raise AssertionError(f"{e!r} after {answers} answers\n{server.metrics()}\n"
                                     f"{server.log()}") from e
            assert (answer.status, answer.body) == (200, page)
            slowest, answers = max(slowest, time.monotonic() - asked), answers + 1
            time.sleep(0.1)
    for mode, attack in attacks.items():
        text = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", attack.communicate()[0])
        states = re.findall(r"service available:\s*(YES|NO)", text)
        assert states and set(states) == {"YES"}, f"{mode}:\n{text}"
    assert slowest < 2, f"an answer took {slowest:.1f} s"
    assert answers > SECONDS
    assert server.metric('sws_limit_hits_total{limit="header_timeout"}') >= CONNECTIONS
    # Nothing here takes a body: it is refused at once and not waited for.
    assert server.metric('sws_http_requests_total{method="POST",status="405"}') >= CONNECTIONS
    wait_for(lambda: server.metric("sws_conn_active") == 0, "end of the attackers")
