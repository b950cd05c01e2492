# SPDX-License-Identifier: Apache-2.0
"""Receipts and proofs: an independent reader and the browser's verifier agree with ours, the
command tells what it proved, and the client library works where it is installed."""
import base64
import json
import pathlib
import shlex
import shutil
import subprocess

import pytest

import proof_reader as reader
from conftest import REPOSITORY, SWS, run_sws

BUILD = pathlib.Path(SWS).parent
GOLDEN = REPOSITORY / "tests/golden/proof"
OWN = GOLDEN / "own"
KEY = (OWN / "log.key").read_text()
RECEIPT = OWN / "300.tlog-proof"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    subprocess.run([BUILD / "tests/tools/proof_write", folder], check=True)
    return folder


def policy_keys():
    words = [line.split() for line in (OWN / "policy").read_text().splitlines()]
    log = [reader.read_key(w[1]) for w in words if w[0] == "log"]
    return log[0], [reader.read_key(w[2]) for w in words if w[0] == "witness"]


# ---- the independent reader ----

def test_formats_are_what_they_were(written):
    for path in OWN.iterdir():
        assert (written / path.name).read_bytes() == path.read_bytes(), path.name


def test_roots_are_recomputed_from_tiles(written):
    log, witnesses = policy_keys()
    note = (written / "checkpoint").read_bytes()
    origin, size, root, state = reader.verify_checkpoint(note, log, witnesses, threshold=3)
    assert (origin, size) == ("log.example", 600)
    assert reader.root_of(reader.read_log(written, size)) == root
    pairs = {reader.state_path(b"key %d" % i): reader.sha(b"\5", b"v" * i) for i in range(50)}
    assert reader.state_root(pairs) == state


def test_receipts_are_read(written):
    log, witnesses = policy_keys()
    for path in written.glob("*.tlog-proof"):
        index, entry = reader.verify_receipt(path.read_bytes(), log, witnesses, threshold=3)
        assert index == int(path.stem) and entry == b"entry %d" % index
    data = bytearray(RECEIPT.read_bytes())
    data[100] ^= 1
    with pytest.raises(reader.Refused):
        reader.verify_receipt(bytes(data), log)


def test_proofs_are_read(written):
    kinds = {"consistency": 0, "state": 0}
    for line in (written / "proofs.jsonl").read_text().splitlines():
        proof = json.loads(line)
        kinds[proof["kind"]] += 1
        if proof["kind"] == "consistency":
            old = reader.unbase64(proof["old_root"])
            path = [reader.unbase64(p) for p in proof["path"]]
            found = reader.roots_by_consistency(proof["old_size"], proof["new_size"], path, old)
            assert found == (old, reader.unbase64(proof["new_root"]))
            continue
        root, data = reader.unbase64(proof["root"]), reader.unbase64(proof["proof"])
        claims = {k.encode(): v if v is None else v.encode() for k, v in proof["claims"]}
        reader.verify_state(root, claims, data)
        for key, value in claims.items():
            with pytest.raises(reader.Refused):
                reader.verify_state(root, claims | {key: b"other" if value is None else None}, data)
    assert kinds["consistency"] == 4 and kinds["state"] == 11


# ---- the verifier of the browser ----

def test_the_browser_agrees():
    node = shutil.which("node")
    assert node, "node is not installed"
    done = subprocess.run([node, "--test", REPOSITORY / "web/proof/verify.test.mjs"],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


PAGE = """<!doctype html><p id=said></p><script type="module">
import * as proof from "./verify.js";
const bytes = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
const key = await proof.parseKey(await (await fetch("log.key")).text());
const policy = proof.policyOfLog(key);
const receipt = await bytes("300.tlog-proof");
const found = await proof.verifyReceipt(receipt, policy);
receipt[500] ^= 1;
const other = await proof.verifyReceipt(receipt, policy).catch((error) => error.code);
said.textContent = `${new TextDecoder().decode(found.entry)} ${other}`;
</script>"""


def test_in_a_browser(serve, tmp_path):
    server = serve({"hosts": [{"domains": "default", "root": "@home/www"}]})
    (server.www / "page.html").write_text(PAGE)
    for file in (REPOSITORY / "web/proof/verify.js", OWN / "log.key", RECEIPT):
        shutil.copy(file, server.www)
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom",
         server.url + "/page.html"], capture_output=True, text=True, timeout=90, check=False)
    assert '<p id="said">entry 300 damaged</p>' in done.stdout, done.stdout + done.stderr


# ---- the command ----

def test_a_receipt_is_verified():
    for key in (KEY, OWN / "log.key"):
        done = run_sws("ledger", "verify", RECEIPT, "--key", key)
        assert done.returncode == 0 and done.stderr == ""
        assert "The log log.example has the entry.\n  index      300, in a tree of 600\n" in done.stdout
    done = run_sws("ledger", "verify", RECEIPT, "--policy", OWN / "policy")
    assert done.returncode == 0
    assert "witnesses  3, the latest at 2023-11-14T22:13:23Z\n" in done.stdout
    assert run_sws("ledger", "verify", RECEIPT, "--key", KEY, "--quiet").stdout == ""


def test_a_receipt_from_standard_input():
    done = subprocess.run([SWS, "ledger", "verify", "-", "--key", KEY], check=False,
                          input=RECEIPT.read_bytes(), capture_output=True, timeout=30)
    assert done.returncode == 0 and b"index      300" in done.stdout


def test_what_is_proved_as_json():
    done = run_sws("ledger", "verify", RECEIPT, "--policy", OWN / "policy", "--json")
    facts = json.loads(done.stdout)
    assert base64.b64decode(facts["entry"]) == b"entry 300"
    assert base64.b64decode(facts["leaf"]) == reader.leaf_hash(b"entry 300")
    assert facts["origin"] == "log.example" and facts["index"] == 300 and facts["size"] == 600
    assert facts["witnesses"] == 3 and facts["witness_time"] == 1700000003
    assert {"root", "state"} <= facts.keys()


def test_what_is_not_proved(tmp_path):
    data = bytearray(RECEIPT.read_bytes())
    damaged = tmp_path / "damaged"
    for at in range(0, len(data), 97):
        data[at] ^= 2
        damaged.write_bytes(data)
        done = run_sws("ledger", "verify", damaged, "--key", KEY)
        assert done.returncode == 1 and "NOT proved" in done.stderr and done.stdout == ""
        data[at] ^= 2
    other = tmp_path / "entry"
    other.write_text("entry 301")
    done = run_sws("ledger", "verify", RECEIPT, "--key", KEY, "--entry", other)
    assert done.returncode == 1 and "another entry" in done.stderr
    other.write_text("entry 300")
    assert run_sws("ledger", "verify", RECEIPT, "--key", KEY, "--entry", other).returncode == 0
    policy = tmp_path / "policy"
    policy.write_text((OWN / "policy").read_text().replace("w1.example+", "w9.example+"))
    done = run_sws("ledger", "verify", RECEIPT, "--policy", policy)
    assert done.returncode == 64 and f"{policy}:2:" in done.stderr


def test_a_quorum_that_is_not_there(tmp_path):
    line = next(l for l in (OWN / "checkpoint").read_text().split("\n") if "w2.example" in l)
    plain = b"".join(RECEIPT.read_bytes().splitlines(keepends=True)[:1])
    rest = b"".join(RECEIPT.read_bytes().splitlines(keepends=True)[2:])
    lonely = tmp_path / "receipt"  # without seal and without a witness
    lonely.write_bytes(plain + rest.replace(line.encode() + b"\n", b""))
    entry = tmp_path / "entry"
    entry.write_text("entry 300")
    policy = tmp_path / "policy"
    policy.write_text((OWN / "policy").read_text().replace("group most 2", "group most all"))
    done = run_sws("ledger", "verify", lonely, "--policy", policy, "--entry", entry)
    assert done.returncode == 1 and "too few of the witnesses" in done.stderr
    done = run_sws("ledger", "verify", lonely, "--policy", OWN / "policy")
    assert done.returncode == 1 and "--entry FILE" in done.stderr
    done = run_sws("ledger", "verify", lonely, "--policy", OWN / "policy", "--entry", entry)
    assert done.returncode == 0


@pytest.mark.parametrize("arguments, word", [
    (["ledger"], "sws ledger verify"),
    (["ledger", "veriffy"], "sws ledger verify"),
    (["ledger", "verify"], "needs a receipt"),
    (["ledger", "verify", RECEIPT], "key or a policy"),
    (["ledger", "verify", RECEIPT, "--key", "a+b"], "A key looks like"),
    (["ledger", "verify", RECEIPT, "--key", "/nowhere"], "/nowhere: not found"),
    (["ledger", "verify", "/nowhere", "--key", KEY], "/nowhere: not found"),
    (["ledger", "verify", RECEIPT, "--policy", OWN / "log.key"], "log.key:1:"),
    (["ledger", "verify", RECEIPT, "--policy", "/dev/null"], "quorum none"),
    (["ledger", "verify", RECEIPT, "--key", KEY, "--policy"], "--policy needs a value"),
])
def test_wrong_command_lines(arguments, word):
    done = run_sws(*arguments)
    assert done.returncode == 64 and word in done.stderr and done.stdout == ""


# ---- the client library ----

def cache_value(name):
    for line in (BUILD / "CMakeCache.txt").read_text().splitlines():
        if line.startswith(name + ":"):
            return line.split("=", 1)[1]
    return ""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix, "--component", "swsproof"],
                   check=True, capture_output=True)
    return prefix


@pytest.mark.parametrize("language", ["c", "c++"])
@pytest.mark.parametrize("is_static", [False, True])
def test_the_example_against_the_installed_library(installed, tmp_path, language, is_static):
    compiler = cache_value("CMAKE_C_COMPILER")
    sanitizers = cache_value("SWS_SANITIZE")
    (pc,) = installed.rglob("swsproof.pc")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", *["--static"] * is_static, str(pc)],
                           check=True, capture_output=True, text=True).stdout
    if is_static:
        (archive,) = installed.rglob("libswsproof.a")
        flags = flags.replace("-lswsproof", str(archive))
    program = tmp_path / "verify"
    command = [compiler, "-x", language, "-Wall", "-Wextra", "-Wpedantic", "-Werror",
               REPOSITORY / "examples/proof/verify.c", "-x", "none", "-o", program,
               f"-Wl,-rpath,{pc.parent.parent}"]
    if sanitizers:  # which look into the types of C++
        command += [f"-fsanitize={sanitizers}", "-lstdc++"]
    subprocess.run([*command, *shlex.split(flags)], check=True)
    done = subprocess.run([program, KEY, RECEIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "entry 300 of log.example: entry 300\n"
    done = subprocess.run([program, KEY, OWN / "checkpoint"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1 and "kind or version" in done.stderr


def test_the_library_shows_its_own_names_alone(installed):
    for library in (*installed.rglob("libswsproof.a"), *installed.rglob("libswsproof.so")):
        which = ["-D"] if library.suffix == ".so" else []
        names = subprocess.run(["nm", *which, "--defined-only", "--extern-only", library],
                               check=True, capture_output=True, text=True).stdout
        found = {line.split()[-1] for line in names.splitlines() if len(line.split()) == 3}
        found = {n for n in found if "asan" not in n}
        assert "sws_verify_receipt" in found
        assert all(n.startswith("sws_") for n in found), found
