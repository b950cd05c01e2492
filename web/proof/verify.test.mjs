// SPDX-License-Identifier: Apache-2.0
// node --test web/proof/verify.test.mjs: the verifier of the browser against the vectors that the
// one in C passes.
import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";

globalThis.crypto ??= webcrypto; // before Node 19
const proof = await import("./verify.js");

const golden = new URL("../../tests/golden/proof/", import.meta.url);
const bytesOf = (name) => new Uint8Array(readFileSync(new URL(name, golden)));
const textOf = (name) => readFileSync(new URL(name, golden), "utf8");
// Sizes up to 2^64 - 1 must not pass through a double.
const linesOf = (name) => textOf(name).split("\n").filter(Boolean).map((line) =>
  JSON.parse(line.replace(/("(?:leafIdx|treeSize|size1|size2|size|start|end)":)(\d+)/g, '$1"$2"')));
const utf8 = (text) => new TextEncoder().encode(text);

async function isRefused(promise, code) {
  try {
    await promise;
    return false;
  } catch (error) {
    if (!(error instanceof proof.ProofError)) throw error;
    if (code) assert.equal(error.code, code);
    return true;
  }
}

// Some vectors have words for roots: they are filled up with zeros.
function padded(text) {
  const bytes = new Uint8Array(32);
  bytes.set(proof.fromBase64(text));
  return bytes;
}

const pathOf = (list) => (list ?? []).map((text) => proof.fromBase64(text));
const isPath = (path) => path.every((hash) => hash.length === 32);

test("inclusion vectors", async () => {
  const vectors = linesOf("merkle/inclusion.jsonl");
  assert.equal(vectors.length, 50);
  for (const v of vectors) {
    const path = pathOf(v.proof);
    const claim = { index: BigInt(v.leafIdx), size: BigInt(v.treeSize ?? v.end), path,
      leaf: padded(v.leafHash), root: padded(v.root) };
    const refused = !isPath(path) || await isRefused(proof.verifyInclusion(claim));
    assert.equal(refused, v.wantErr, v.name);
  }
});

test("consistency vectors", async () => {
  const vectors = linesOf("merkle/consistency.jsonl");
  assert.equal(vectors.length, 96);
  for (const v of vectors) {
    const path = pathOf(v.proof);
    const claim = { oldSize: BigInt(v.size1 ?? v.end), newSize: BigInt(v.size2 ?? v.size), path,
      oldRoot: padded(v.root1), newRoot: padded(v.root2) };
    const refused = !isPath(path) || await isRefused(proof.verifyConsistency(claim));
    assert.equal(refused, v.wantErr, v.name);
  }
});

test("checkpoints of another log", async () => {
  const key = await proof.parseKey(
    "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx");
  for (let size = 0; size <= 15; size += 1) {
    const found = await proof.verifyCheckpoint(bytesOf(`tlog/checkpoint.${size}`),
      proof.policyOfLog(key));
    assert.equal(found.size, BigInt(size));
  }
});

test("a cosigned checkpoint of others", async () => {
  const policy = await proof.parsePolicy(textOf("cosigned/policy"));
  const text = textOf("cosigned/checkpoint");
  const found = await proof.verifyCheckpoint(utf8(text), policy);
  assert.deepEqual([found.size, found.witnessCount, found.witnessTime], [1432088532n, 1, 1779573024n]);
  const other = utf8(text.replace("1432088532", "1432088533"));
  assert.ok(await isRefused(proof.verifyCheckpoint(other, policy), "signature"));
});

test("keys have one form", async () => {
  const good = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
  assert.equal((await proof.parseKey(good)).name, "example.com/foo");
  for (const bad of ["", "a+b", good.toUpperCase(), good.replace("foo", "fop"),
    good.replace("530d903a", "530d903b"), `${good}\n`, good.replace("Aeky", "Auky")]) {
    assert.ok(await isRefused(proof.parseKey(bad), "key"), bad);
  }
});

test("receipts, and every flipped bit of one", async () => {
  const policy = await proof.parsePolicy(textOf("own/policy"));
  const logOnly = proof.policyOfLog(await proof.parseKey(textOf("own/log.key")));
  for (const index of [0, 1, 255, 256, 300, 599]) {
    const found = await proof.verifyReceipt(bytesOf(`own/${index}.tlog-proof`), policy);
    assert.equal(found.index, BigInt(index));
    assert.deepEqual(found.entry, utf8(`entry ${index}`));
    assert.equal(found.checkpoint.witnessCount, 3);
    assert.equal(found.checkpoint.witnessTime, 1700000003n);
  }
  const receipt = bytesOf("own/300.tlog-proof");
  for (let bit = 0; bit < receipt.length * 8; bit += 1) {
    receipt[bit >> 3] ^= 1 << (bit & 7);
    assert.ok(await isRefused(proof.verifyReceipt(receipt, logOnly)), `bit ${bit}`);
    receipt[bit >> 3] ^= 1 << (bit & 7);
  }
  await proof.verifyReceipt(receipt, logOnly, utf8("entry 300"));
  assert.ok(await isRefused(proof.verifyReceipt(receipt, logOnly, utf8("x")), "other-entry"));
});

test("without the seal, the witnesses decide", async () => {
  const policy = await proof.parsePolicy(textOf("own/policy"));
  const text = textOf("own/300.tlog-proof").replace(/extra .*\n/, "");
  const entry = utf8("entry 300");
  const without = (...names) => utf8(text.split("\n")
    .filter((line) => !names.some((name) => line.startsWith(`\u2014 ${name}`))).join("\n"));
  assert.ok(await isRefused(proof.verifyReceipt(without(), policy), "no-entry"));
  const found = await proof.verifyReceipt(without("w1"), policy, entry);
  assert.equal(found.checkpoint.witnessCount, 2);
  assert.ok(await isRefused(proof.verifyReceipt(without("w1", "w3"), policy, entry), "quorum"));
  assert.ok(await isRefused(proof.verifyReceipt(without("log"), policy, entry), "log"));
  const forged = utf8(text.replace(/(w2.example \S{10})./, "$1!"));
  assert.ok(await isRefused(proof.verifyReceipt(forged, policy, entry), "syntax"));
  const other = text.replace(/(w2.example \S{60})(.)/, (_, a, b) => a + (b === "A" ? "B" : "A"));
  assert.ok(await isRefused(proof.verifyReceipt(utf8(other), policy, entry), "signature"));
});

test("policies name the wrong line", async () => {
  const good = textOf("own/policy");
  for (const [text, line] of [["", undefined], ["quorum all\n", 1], [`${good}quorum most\n`, 6 + 1],
    ["group g any\nquorum g\n", 1], ["nonsense\nquorum none\n", 1],
    [good.replace("w1.example", "w9.example"), 2], [good.replace("most 2", "most 4"), 5],
    [good.replace("w1 w2 w3", "w1 w1 w3"), 5], ["quorum nobody", 1]]) {
    await assert.rejects(proof.parsePolicy(text),
      (error) => error instanceof proof.ProofError && error.line === line, text);
  }
  assert.equal((await proof.parsePolicy("# none\n\n quorum\tnone \n")).quorum, null);
});

test("consistency and state proofs of ours", async () => {
  let count = 0;
  for (const p of linesOf("own/proofs.jsonl")) {
    count += 1;
    if (p.kind === "consistency") {
      await proof.verifyConsistency({ oldSize: BigInt(p.old_size), newSize: BigInt(p.new_size),
        oldRoot: padded(p.old_root), newRoot: padded(p.new_root), path: pathOf(p.path) });
      continue;
    }
    const claims = p.claims.map(([key, value]) =>
      ({ key: utf8(key), value: value === null ? null : utf8(value) }));
    const root = padded(p.root);
    const data = proof.fromBase64(p.proof);
    await proof.verifyState(root, claims, data);
    for (const claim of claims) {
      const { value } = claim;
      claim.value = value === null ? utf8("other") : null;
      assert.ok(await isRefused(proof.verifyState(root, claims, data)));
      claim.value = value;
    }
    for (let at = 0; at < data.length; at += 7) {
      data[at] ^= 1 << (at % 8);
      assert.ok(await isRefused(proof.verifyState(root, claims, data)), `byte ${at}`);
      data[at] ^= 1 << (at % 8);
    }
    assert.ok(await isRefused(proof.verifyState(root, claims, data.subarray(1))));
    assert.ok(await isRefused(proof.verifyState(root, [...claims, claims[0]], data), "duplicate"));
  }
  assert.equal(count, 15);
});
