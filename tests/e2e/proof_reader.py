# SPDX-License-Identifier: Apache-2.0
"""A reader of logs, receipts and state proofs that shares no line with the program: it follows
docs/proofs.md, recursively and slowly. What it cannot verify raises Refused."""
import base64
import hashlib
import pathlib
import re
import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Refused(Exception):
    pass


def demand(condition, what):
    if not condition:
        raise Refused(what)


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def unbase64(text):
    data = base64.b64decode(text, validate=True)
    demand(base64.b64encode(data).decode() == text, "base64 in another form")
    return data


# ---- the log ----

def leaf_hash(entry):
    return sha(b"\0", entry)


def cut(n):
    """The largest power of two below n."""
    return 1 << (n - 1).bit_length() - 1


def root_of(leaves):
    """MTH of RFC 9162 section 2.1.1, from leaf hashes."""
    if not leaves:
        return sha()
    if len(leaves) == 1:
        return leaves[0]
    k = cut(len(leaves))
    return sha(b"\1", root_of(leaves[:k]), root_of(leaves[k:]))


def root_by_inclusion(index, size, leaf, path):
    """The root that a path leads to; the path is used up from its end, at the root."""
    demand(0 <= index < size, "no such leaf")
    if size == 1:
        demand(not path, "hashes too many")
        return leaf
    demand(path, "hashes too few")
    k = cut(size)
    if index < k:
        return sha(b"\1", root_by_inclusion(index, k, leaf, path[:-1]), path[-1])
    return sha(b"\1", path[-1], root_by_inclusion(index - k, size - k, leaf, path[:-1]))


def roots_by_consistency(old, new, path, old_root, is_whole=True):
    """Old and new root, by SUBPROOF of RFC 9162 section 2.1.4.1."""
    if old == new:
        if is_whole:
            demand(not path, "hashes too many")
            return old_root, old_root
        demand(len(path) == 1, "another number of hashes")
        return path[0], path[0]
    demand(path, "hashes too few")
    k = cut(new)
    if old <= k:
        a, b = roots_by_consistency(old, k, path[:-1], old_root, is_whole)
        return a, sha(b"\1", b, path[-1])
    a, b = roots_by_consistency(old - k, new - k, path[:-1], old_root, False)
    return sha(b"\1", path[-1], a), sha(b"\1", path[-1], b)


def tile_name(index):
    parts = []
    while True:
        parts.insert(0, f"{index % 1000:03}")
        index //= 1000
        if not index:
            return "/".join(["x" + p for p in parts[:-1]] + parts[-1:])


def read_log(folder, size):
    """Every leaf hash of a log on disk, from its entries; each tile of each level is compared with
    what the entries say."""
    folder, leaves = pathlib.Path(folder), []

    def read(kind, index, width):
        partial = f".p/{width}" if width < 256 else ""
        return (folder / "tile" / kind / (tile_name(index) + partial)).read_bytes()

    for index in range(0, (size + 255) // 256):
        width = min(256, size - index * 256)
        data, count = read("entries", index, width), 0
        while data:
            (n,) = struct.unpack(">H", data[:2])
            demand(len(data) >= 2 + n, "an entry is cut off")
            leaves.append(leaf_hash(data[2:2 + n]))
            data, count = data[2 + n:], count + 1
        demand(count == width, "another number of entries")
    level, span = 0, 1
    while size // span:
        hashes = [root_of(leaves[i * span:(i + 1) * span]) for i in range(size // span)]
        for index in range(0, (len(hashes) + 255) // 256):
            some = hashes[index * 256:(index + 1) * 256]
            demand(read(str(level), index, len(some)) == b"".join(some), "a tile is wrong")
        level, span = level + 1, span * 256
    return leaves


# ---- notes ----

def read_key(text):
    name, key_id, key = text.split("+", 2)
    data = unbase64(key)
    demand(len(data) == 33 and data[0] in (1, 4), "no key of Ed25519")
    demand(sha(name.encode(), b"\n", data)[:4].hex() == key_id, "the id is that of another key")
    return name, bytes.fromhex(key_id), data[0], data[1:]


def has_signed(key, text, signatures):
    name, key_id, kind, public = key
    found = False
    for line in signatures:
        match = re.fullmatch(r"\u2014 ([^ +]+) ([A-Za-z0-9+/]+=*)", line)
        demand(match, "no signature line")
        data = unbase64(match[2])
        if match[1] != name or data[:4] != key_id:
            continue
        message, signature = text, data[4:]
        if kind == 4:
            time = int.from_bytes(data[4:12], "big")
            message, signature = b"cosignature/v1\ntime %d\n" % time + text, data[12:]
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except InvalidSignature as error:
            raise Refused("a signature is wrong") from error
        found = True
    return found


def verify_checkpoint(note, log_key, witness_keys=(), threshold=0):
    """Origin, size, root and root of the state (or None)."""
    text, _, rest = note.decode().rpartition("\n\n")
    text += "\n"
    demand(rest.endswith("\n"), "cut off")
    signatures = rest[:-1].split("\n")
    lines = text[:-1].split("\n")
    demand(len(lines) >= 3 and lines[0] == log_key[0], "another log")
    demand(has_signed(log_key, text.encode(), signatures), "the log has not signed")
    count = sum(has_signed(key, text.encode(), signatures) for key in witness_keys)
    demand(count >= threshold, "too few witnesses")
    state = [unbase64(l[len("state/v1 "):]) for l in lines[3:] if l.startswith("state/v1 ")]
    demand(re.fullmatch("0|[1-9][0-9]*", lines[1]), "no size")
    return lines[0], int(lines[1]), unbase64(lines[2]), state[0] if state else None


def verify_receipt(data, *keys, **more):
    """The entry and its index."""
    first, extra, rest = data.split(b"\n", 2)
    demand(first == b"c2sp.org/tlog-proof@v1" and extra.startswith(b"extra "), "no receipt")
    held = unbase64(extra[6:].decode())
    demand(held[:5] == b"SWSR\1", "another version")
    seal, entry = held[5:37], held[37:]
    wanted = sha(b"selenia receipt v1\n", struct.pack(">Q", len(entry)), entry, rest)
    demand(seal == wanted, "damaged")
    head, _, note = rest.partition(b"\n\n")
    lines = head.decode().split("\n")
    demand(re.fullmatch("index (0|[1-9][0-9]*)", lines[0]), "no index")
    index, path = int(lines[0][6:]), [unbase64(line) for line in lines[1:]]
    _, size, root, _ = verify_checkpoint(note, *keys, **more)
    demand(root_by_inclusion(index, size, leaf_hash(entry), path) == root, "another root")
    return index, entry


# ---- the state ----

def bit(path, depth):
    return path[depth // 8] >> 7 - depth % 8 & 1


def state_path(key):
    return sha(b"\4", key)


def state_leaf(path, value_hash):
    return sha(b"\2", path, value_hash)


def state_root(pairs, depth=0):
    """The root of {path: hash of the value}, by the definition."""
    if not pairs:
        return bytes(32)
    if len(pairs) == 1:
        return state_leaf(*next(iter(pairs.items())))
    sides = [{p: v for p, v in pairs.items() if bit(p, depth) == side} for side in (0, 1)]
    return sha(b"\3", state_root(sides[0], depth + 1), state_root(sides[1], depth + 1))


def verify_state(root, claims, proof):
    """`claims` is {key: value or None}; all of them must hold."""
    asked = {state_path(k): v if v is None else sha(b"\5", v) for k, v in claims.items()}
    at = 0

    def take(n):
        nonlocal at
        demand(at + n <= len(proof), "cut off")
        at += n
        return proof[at - n:at]

    def visit(some, depth):
        """The hash of a node, and its kind: "empty", "leaf" or "inner"."""
        token = take(1)[0]
        present = [p for p in some if asked[p] is not None]
        if token == 0:
            demand(not present, "claimed, but not there")
            return bytes(32), "empty"
        if token == 1:
            demand(len(present) == 1, "one key, and no other, must be claimed here")
            return state_leaf(present[0], asked[present[0]]), "leaf"
        if token == 2:
            path, value_hash = take(32), take(32)
            demand(not present and path not in some, "claimed otherwise")
            demand(all(bit(path, d) == bit(some[0], d) for d in range(depth)), "misplaced")
            return state_leaf(path, value_hash), "leaf"
        demand(token in (3, 4, 5) and depth < 256, "no such token")
        sides = [[p for p in some if bit(p, depth) == side] for side in (0, 1)]
        demand((token == 3) == bool(sides[0] and sides[1]), "another token is due")
        found = [None, None]
        for side in (0, 1):
            if not sides[side]:
                sibling = bytes(32) if token == 4 else take(32)
                demand(token == 4 or any(sibling), "an empty sibling in full")
                found[side] = sibling, "empty" if token == 4 else "inner"
        for side in (0, 1):
            if sides[side]:
                found[side] = visit(sides[side], depth + 1)
        kinds = {kind for _, kind in found}
        demand(not ("empty" in kinds and "inner" not in kinds), "a leaf too deep")
        return sha(b"\3", found[0][0], found[1][0]), "inner"

    demand(take(1) == b"\1", "another version")
    found, _ = visit(sorted(asked), 0)
    demand(at == len(proof), "bytes too many")
    demand(found == root, "another root")
