// SPDX-License-Identifier: Apache-2.0
// Verifies what a ledger answered, in a browser or in Node, with WebCrypto alone (SHA-256 and
// Ed25519). docs/proofs.md has the formats; <sws/proof.h> is the same in C, and both pass the same
// vectors. Bytes are Uint8Array, sizes and indexes are BigInt. What does not hold throws a
// ProofError, whose code says why; nothing here fetches anything.

const subtle = globalThis.crypto.subtle;
const NOTE_BYTES_MAX = 256 * 1024;
const SIGNATURES_MAX = 64;
const CHECKPOINT_BYTES_MAX = 4096;
const RECEIPT_BYTES_MAX = 512 * 1024;
const ENTRY_BYTES_MAX = 65535;
const PATH_MAX = 65;
const LOGS_MAX = 32;
const MEMBERS_MAX = 128;
const U64_MAX = 2n ** 64n - 1n;

export const KEY_LOG = 1;
export const KEY_WITNESS = 4;

export class ProofError extends Error {
  constructor(code, message, line) {
    super(line ? `line ${line}: ${message}` : message);
    this.name = "ProofError";
    this.code = code;
    this.line = line;
  }
}

function demand(condition, code, message) {
  if (!condition) throw new ProofError(code, message);
}

// ---- bytes ----

const encoder = new TextEncoder();

function join(...parts) {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function equal(a, b) {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

async function sha256(...parts) {
  return new Uint8Array(await subtle.digest("SHA-256", join(...parts)));
}

export function toBase64(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

// The bytes of base64 in its one form, else null.
export function fromBase64(text) {
  try {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return toBase64(bytes) === text ? bytes : null;
  } catch {
    return null;
  }
}

function hashOf(text) {
  const bytes = fromBase64(text);
  demand(bytes?.length === 32, "syntax", "this is no hash in base64");
  return bytes;
}

function numberOf(text) {
  demand(/^(0|[1-9][0-9]{0,19})$/.test(text), "syntax", "this is no number");
  const value = BigInt(text);
  demand(value <= U64_MAX, "syntax", "the number is too large");
  return value;
}

// ---- the log: RFC 9162 section 2.1 ----

export async function leafHash(entry) {
  return sha256([0], entry);
}

function nodeHash(left, right) {
  return sha256([1], left, right);
}

function demandRoot(found, wanted) {
  demand(equal(found, wanted), "root", "the proof does not lead to the root hash");
}

const lengthError = "the proof has too many or too few hashes";

// Walks a path upwards: `left` is called where the hash of the path stands to the left.
async function climb(at, last, path, left, right) {
  for (const hash of path) {
    demand(last !== 0n, "length", lengthError);
    if (at & 1n || at === last) {
      await left(hash);
      while (!(at & 1n) && at) {
        at >>= 1n;
        last >>= 1n;
      }
    } else {
      await right(hash);
    }
    at >>= 1n;
    last >>= 1n;
  }
  demand(last === 0n, "length", lengthError);
}

export async function verifyInclusion({ index, size, leaf, root, path }) {
  demand(index >= 0n && index < size, "range", "there is no such leaf");
  let hash = leaf;
  await climb(index, size - 1n, path,
    async (other) => { hash = await nodeHash(other, hash); },
    async (other) => { hash = await nodeHash(hash, other); });
  demandRoot(hash, root);
}

export async function verifyConsistency({ oldSize, newSize, oldRoot, newRoot, path }) {
  demand(oldSize > 0n && oldSize <= newSize, "range", "these sizes need no proof, or have none");
  if (oldSize === newSize) {
    demand(path.length === 0, "length", lengthError);
    demandRoot(oldRoot, newRoot);
    return;
  }
  let at = oldSize - 1n;
  let last = newSize - 1n;
  while (at & 1n) {
    at >>= 1n;
    last >>= 1n;
  }
  // A complete old tree is a node of the new one, so the path begins behind it.
  const rest = at ? path.slice(1) : path;
  demand(!at || path.length, "length", lengthError);
  let oldHash = at ? path[0] : oldRoot;
  let newHash = oldHash;
  await climb(at, last, rest,
    async (other) => {
      oldHash = await nodeHash(other, oldHash);
      newHash = await nodeHash(other, newHash);
    },
    async (other) => { newHash = await nodeHash(newHash, other); });
  demandRoot(oldHash, oldRoot);
  demandRoot(newHash, newRoot);
}

// ---- keys: C2SP signed-note ----

function nameIsValid(name) {
  // U+0085 is White_Space of Unicode but not in \s; U+FEFF is in \s but not White_Space.
  return name.length > 0 && !/[\u0000-\u0020+\u0085]/.test(name) &&
    !/\s/.test(name.replaceAll("\ufeff", ""));
}

async function keyId(name, data) {
  return (await sha256(encoder.encode(name), [10], data)).slice(0, 4);
}

export async function parseKey(text) {
  const [, name, id, key] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(text) ?? [];
  const data = key && fromBase64(key);
  demand(data?.length === 33 && nameIsValid(name) && [KEY_LOG, KEY_WITNESS].includes(data[0]),
    "key", "this is not a verifier key that can be used here");
  const wanted = Uint8Array.from(id.match(/../g), (digits) => parseInt(digits, 16));
  demand(equal(wanted, await keyId(name, data)), "key", "the id is not that of the name and key");
  return { name, id: wanted, type: data[0], publicKey: data.slice(1) };
}

async function signatureHolds(publicKey, signature, message) {
  const key = await subtle.importKey("raw", publicKey, { name: "Ed25519" }, false, ["verify"]);
  return subtle.verify({ name: "Ed25519" }, key, signature, message);
}

// ---- policies: C2SP tlog-policy ----

// Trusts one log and needs no witness.
export function policyOfLog(key) {
  demand(key.type === KEY_LOG, "key", "this is not the key of a log");
  return { logs: [key], members: [], quorum: null };
}

class PolicyReader {
  logs = [];
  members = []; // { name, key } or { name, threshold, of: [member] }, each before its group
  quorum = undefined;

  // Under `name`, which must be defined before.
  find(name) {
    const found = this.members.find((m) => m.name === name);
    demand(found, "policy", `"${name}" is not defined before`);
    return found;
  }

  async key(words, type) {
    demand(words.length === 1 || words.length === 2, "policy", "a key, and perhaps an address");
    const key = await parseKey(words[0]);
    demand(key.type === type, "key", "this key is of another type");
    return key;
  }

  add(member) {
    const { name } = member;
    demand(name && name !== "none" && !this.members.some((m) => m.name === name),
      "policy", "a new name is needed");
    demand(this.members.length < MEMBERS_MAX, "limit", "too many witnesses and groups");
    this.members.push(member);
  }

  async line(words) {
    const [kind, ...rest] = words;
    const isNew = (key, others) => others.every((o) => !equal(o.publicKey, key.publicKey));
    if (kind === "log") {
      const key = await this.key(rest, KEY_LOG);
      demand(isNew(key, this.logs), "policy", "this log is there twice");
      demand(this.logs.length < LOGS_MAX, "limit", "too many logs");
      this.logs.push(key);
    } else if (kind === "witness") {
      const key = await this.key(rest.slice(1), KEY_WITNESS);
      demand(isNew(key, this.members.filter((m) => m.key).map((m) => m.key)),
        "policy", "this witness is there twice");
      this.add({ name: rest[0], key });
    } else if (kind === "group") {
      this.group(...rest);
    } else {
      demand(kind === "quorum" && rest.length === 1 && this.quorum === undefined,
        "policy", "log, witness, group or one quorum");
      this.quorum = rest[0] === "none" ? null : this.find(rest[0]);
    }
  }

  group(name, threshold, ...names) {
    const of = names.map((n) => this.find(n));
    for (const member of of) {
      demand(!member.isTaken, "policy", "a member of two groups");
      member.isTaken = true;
    }
    const words = { all: of.length, any: 1 };
    const k = words[threshold] ?? Number(numberOf(threshold ?? ""));
    demand(k >= 1 && k <= of.length, "policy", "the threshold is not between 1 and all");
    this.add({ name, threshold: k, of });
  }
}

export async function parsePolicy(text) {
  const reader = new PolicyReader();
  for (const [i, line] of text.split("\n").entries()) {
    try {
      demand(!/[\u0000-\u0008\u000b-\u001f\u007f]/.test(line), "policy", "control character");
      const words = line.split(/[ \t]+/).filter((word) => word);
      if (words.length && !words[0].startsWith("#")) await reader.line(words);
    } catch (error) {
      throw new ProofError(error.code === "syntax" ? "policy" : error.code, error.message, i + 1);
    }
  }
  demand(reader.quorum !== undefined, "policy", "there is no quorum line");
  return { logs: reader.logs, members: reader.members, quorum: reader.quorum };
}

// ---- checkpoints: C2SP tlog-checkpoint, tlog-cosignature ----

function parseNote(bytes) {
  demand(bytes.length <= NOTE_BYTES_MAX, "limit", "the note is too long");
  let whole;
  try {
    whole = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new ProofError("syntax", "the note is not UTF-8");
  }
  const end = whole.lastIndexOf("\n\n");
  demand(end >= 0 && whole.endsWith("\n") && !/[\u0000-\u0009\u000b-\u001f]/.test(whole),
    "syntax", "this is no note");
  demand(end > 0 && end + 2 < whole.length, "syntax", "the note has no text or no signature");
  const lines = whole.slice(end + 2, -1).split("\n");
  demand(lines.length <= SIGNATURES_MAX, "limit", "too many signatures");
  const signatures = lines.map((line) => {
    const [, name, text] = /^\u2014 ([^ ]+) ([^ ]+)$/.exec(line) ?? [];
    const data = name && nameIsValid(name) && fromBase64(text);
    demand(data && data.length > 4, "syntax", "a signature line in another form");
    return { name, id: data.slice(0, 4), signature: data.slice(4) };
  });
  return { text: whole.slice(0, end + 1), signatures };
}

// The latest time of the key's signatures (0 for a log), or null where there is none.
async function timeSigned(note, key) {
  let latest = null;
  for (const { name, id, signature } of note.signatures) {
    if (name !== key.name || !equal(id, key.id)) continue;
    let time = 0n;
    let head = "";
    if (key.type === KEY_WITNESS && signature.length === 72) {
      time = new DataView(signature.buffer, signature.byteOffset).getBigUint64(0);
      head = `cosignature/v1\ntime ${time}\n`;
    }
    const bytes = key.type === KEY_WITNESS ? signature.slice(8) : signature;
    demand(bytes.length === 64 && time < 2n ** 63n &&
      await signatureHolds(key.publicKey, bytes, encoder.encode(head + note.text)),
    "signature", `the signature of ${name} is wrong`);
    latest = latest === null || time > latest ? time : latest;
  }
  return latest;
}

async function demandPolicy(note, origin, policy) {
  let isTrusted = false;
  for (const log of policy.logs) {
    if (log.name === origin && await timeSigned(note, log) !== null) isTrusted = true;
  }
  demand(isTrusted, "log", "no log that is trusted has signed it");
  const signed = new Set();
  let witnessCount = 0;
  let witnessTime = 0n;
  for (const member of policy.members) {
    if (member.key) {
      const time = await timeSigned(note, member.key);
      if (time === null) continue;
      signed.add(member);
      witnessCount += 1;
      witnessTime = time > witnessTime ? time : witnessTime;
    } else if (member.of.filter((m) => signed.has(m)).length >= member.threshold) {
      signed.add(member);
    }
  }
  demand(policy.quorum === null || signed.has(policy.quorum),
    "quorum", "too few of the witnesses have signed it");
  return { witnessCount, witnessTime };
}

export async function verifyCheckpoint(bytes, policy) {
  const note = parseNote(bytes);
  demand(encoder.encode(note.text).length <= CHECKPOINT_BYTES_MAX, "limit", "it is too long");
  const lines = note.text.slice(0, -1).split("\n");
  demand(lines.length >= 3 && lines.every((line) => line), "syntax", "this is no checkpoint");
  const [origin, size, root, ...more] = lines;
  const states = more.filter((line) => line.startsWith("state/v1 ")).map((l) => hashOf(l.slice(9)));
  demand(states.length <= 1, "syntax", "two roots of a state");
  const found = { origin, size: numberOf(size), root: hashOf(root), stateRoot: states[0] ?? null };
  return { ...found, ...await demandPolicy(note, origin, policy) };
}

// ---- receipts: C2SP tlog-proof ----

const decoder = new TextDecoder("latin1"); // for lines that must be ASCII; what is not is refused

function takeLine(state) {
  const end = state.bytes.indexOf(10, state.at);
  demand(end >= 0, "syntax", "the receipt is cut off");
  const line = decoder.decode(state.bytes.subarray(state.at, end));
  state.at = end + 1;
  return line;
}

async function openExtra(text, sealed) {
  const data = fromBase64(text);
  demand(data, "syntax", "the extra line is not base64");
  demand(data.length >= 37 && equal(data.subarray(0, 5), encoder.encode("SWSR\u0001")),
    "version", "the extra line is of another kind or version");
  const entry = data.slice(37);
  demand(entry.length <= ENTRY_BYTES_MAX, "limit", "the entry is too long");
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(entry.length));
  const seal = await sha256(encoder.encode("selenia receipt v1\n"), length, entry, sealed);
  demand(equal(seal, data.subarray(5, 37)), "damaged", "it was changed after it was made");
  return entry;
}

// `given` is the entry, where the receipt does not hold it or it must be that one.
export async function verifyReceipt(bytes, policy, given = null) {
  demand(bytes.length <= RECEIPT_BYTES_MAX, "limit", "the receipt is too long");
  demand(!given || given.length <= ENTRY_BYTES_MAX, "limit", "the entry is too long");
  const state = { bytes, at: 0 };
  demand(bytes.includes(10) && takeLine(state) === "c2sp.org/tlog-proof@v1",
    "version", "this is no receipt");
  let line = takeLine(state);
  let entry = given;
  if (line.startsWith("extra ")) {
    entry = await openExtra(line.slice(6), bytes.subarray(state.at));
    demand(!given || equal(entry, given), "other-entry", "it is for another entry");
    line = takeLine(state);
  }
  demand(entry, "no-entry", "it does not hold its entry, which must be given too");
  demand(line.startsWith("index "), "syntax", "there is no index");
  const index = numberOf(line.slice(6));
  const path = [];
  while ((line = takeLine(state))) {
    demand(path.length < PATH_MAX, "length", lengthError);
    path.push(hashOf(line));
  }
  const checkpoint = await verifyCheckpoint(bytes.subarray(state.at), policy);
  const leaf = await leafHash(entry);
  await verifyInclusion({ index, size: checkpoint.size, leaf, root: checkpoint.root, path });
  return { index, entry, leaf, checkpoint, path };
}

// ---- the state ----

const bitAt = (path, depth) => path[depth >> 3] >> (7 - (depth & 7)) & 1;

class StateReader {
  constructor(proof) {
    this.proof = proof;
    this.at = 0;
  }

  take(n) {
    demand(this.at + n <= this.proof.length, "length", lengthError);
    this.at += n;
    return this.proof.subarray(this.at - n, this.at);
  }

  async leaf(token, claims, depth) {
    const present = claims.filter((c) => c.valueHash);
    demand(present.length === (token === 1 ? 1 : 0), "claim", "the state does not hold it");
    if (token === 0) return { hash: new Uint8Array(32), kind: "empty" };
    if (token === 1) {
      return { hash: await sha256([2], present[0].path, present[0].valueHash), kind: "leaf" };
    }
    const path = this.take(32);
    const valueHash = this.take(32);
    for (let d = 0; d < depth; d += 1) {
      demand(bitAt(path, d) === bitAt(claims[0].path, d), "syntax", "a leaf that is misplaced");
    }
    demand(!claims.some((c) => equal(c.path, path)), "claim", "the state does not hold it");
    return { hash: await sha256([2], path, valueHash), kind: "leaf" };
  }

  async visit(claims, depth) {
    const token = this.take(1)[0];
    if (token <= 2) return this.leaf(token, claims, depth);
    const sides = [0, 1].map((side) => claims.filter((c) => bitAt(c.path, depth) === side));
    const hasBoth = sides[0].length > 0 && sides[1].length > 0;
    demand(token <= 5 && depth < 256 && hasBoth === (token === 3), "syntax", "a wrong token");
    const found = [null, null];
    for (const side of [0, 1].filter((s) => !sides[s].length)) {
      const hash = token === 4 ? new Uint8Array(32) : this.take(32);
      demand(token === 4 || hash.some((byte) => byte), "syntax", "an empty sibling in full");
      found[side] = { hash, kind: token === 4 ? "empty" : "inner" };
    }
    for (const side of [0, 1].filter((s) => sides[s].length)) {
      found[side] = await this.visit(sides[side], depth + 1);
    }
    const kinds = found.map((f) => f.kind);
    demand(!kinds.includes("empty") || kinds.includes("inner"), "syntax", "a leaf too deep");
    return { hash: await sha256([3], found[0].hash, found[1].hash), kind: "inner" };
  }
}

// `claims` is an array of { key, value }; a value of null claims that there is no such key.
export async function verifyState(root, claims, proof) {
  demand(claims.length, "claim", "nothing is claimed");
  const asked = [];
  for (const { key, value } of claims) {
    asked.push({
      path: await sha256([4], key),
      valueHash: value === null ? null : await sha256([5], value),
    });
  }
  const names = new Set(asked.map((c) => toBase64(c.path)));
  demand(names.size === asked.length, "duplicate", "a key is claimed twice");
  const reader = new StateReader(proof);
  demand(proof[0] === 1, "version", "a proof of another version");
  reader.at = 1;
  const { hash } = await reader.visit(asked, 0);
  demand(reader.at === proof.length, "length", lengthError);
  demandRoot(hash, root);
}
