# SPDX-License-Identifier: Apache-2.0
"""What stands between a QUIC client and the server: a relay that records, holds and moves, and the
packets that no client sends, made with the keys that a client has logged."""
import hashlib
import hmac
import select
import socket
import threading

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from conftest import ANSWER_SECONDS, wait_for

INITIAL_SALT = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")
CID_BYTES = 16 # of the ids that the server chooses


class Relay:
    """Passes the datagrams of one client on, from a port of its own. `to_server` and `to_client`
    hold what came; what is held back goes on with release()."""

    def __init__(self, server_address, local_ip="127.0.0.1"):
        self.server_address = server_address
        self.front = self.socket("127.0.0.1")
        self.back = self.socket(local_ip)
        self.local_ip = local_ip
        self.address = self.front.getsockname()
        self.client = None
        self.to_server, self.to_client = [], []
        self.held = None
        self.largest = 65536 # longer ones of the client are lost
        self.lost_every = 0 # of the datagrams both ways, so many as one in this number
        self.count = self.lost_count = 0
        self.old = None # the port before moved()
        self.moved_count = 0 # datagrams that came to the new one
        self.lock = threading.Lock()
        self.wake, self.waker = socket.socketpair()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    @staticmethod
    def socket(ip):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        s.bind((ip, 0))
        return s

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.waker.send(b"x")
        self.thread.join(ANSWER_SECONDS)
        for s in (self.front, self.back, self.wake, self.waker, self.old):
            if s:
                s.close()

    def run(self):
        while True:
            sockets = [s for s in (self.front, self.back, self.wake, self.old) if s]
            ready, _, _ = select.select(sockets, [], [], 0.05)
            if self.wake in ready:
                return
            with self.lock:
                if self.front in ready:
                    self.pass_on(*self.front.recvfrom(2048))
                for s in (self.back, self.old):
                    if s and s in ready:
                        self.moved_count += s is self.back and self.old is not None
                        self.pass_back(s.recv(2048))

    def is_lost(self):
        self.count += 1
        is_lost = self.lost_every != 0 and self.count % self.lost_every == 0
        self.lost_count += is_lost
        return is_lost

    def pass_on(self, data, client):
        self.client = client
        self.to_server.append(data)
        if len(data) > self.largest or self.is_lost():
            return
        if self.held is not None:
            self.held.append(data)
        else:
            self.back.sendto(data, self.server_address)

    def pass_back(self, data):
        self.to_client.append(data)
        if self.client and not self.is_lost():
            self.front.sendto(data, self.client)

    def move(self):
        """From now on the server sees another port; what it sent to the old one still arrives."""
        with self.lock:
            self.old, self.back = self.back, self.socket(self.local_ip)

    def hold(self):
        with self.lock:
            self.held = []

    def release(self):
        with self.lock:
            for data in self.held:
                self.back.sendto(data, self.server_address)
            self.held = None

    def inject(self, data):
        with self.lock:
            self.back.sendto(data, self.server_address)


def varint(n):
    for size, mark in ((1, 0), (2, 0x40), (4, 0x80), (8, 0xc0)):
        if n < 1 << (8 * size - 2):
            data = bytearray(n.to_bytes(size, "big"))
            data[0] |= mark
            return bytes(data)
    raise ValueError(n)


def expand_label(secret, label, size):
    """HKDF-Expand-Label (RFC 8446 7.1) of SHA-256, one block."""
    full = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes([len(full)]) + full + b"\0"
    return hmac.new(secret, info + b"\x01", hashlib.sha256).digest()[:size]


class Keys:
    """Packet protection with AES-128-GCM (RFC 9001 5)."""

    def __init__(self, secret):
        self.aead = AESGCM(expand_label(secret, b"quic key", 16))
        self.iv = expand_label(secret, b"quic iv", 12)
        self.hp = expand_label(secret, b"quic hp", 16)

    def seal(self, head, number, payload):
        """`head` ends with the four bytes of the packet number."""
        nonce = bytes(a ^ b for a, b in zip(self.iv, number.to_bytes(12, "big")))
        sealed = self.aead.encrypt(nonce, payload, head)
        cipher = Cipher(algorithms.AES(self.hp), modes.ECB()).encryptor()
        mask = cipher.update(sealed[:16])
        head = bytearray(head)
        head[0] ^= mask[0] & (0x0f if head[0] & 0x80 else 0x1f)
        for i in range(4):
            head[len(head) - 4 + i] ^= mask[1 + i]
        return bytes(head) + sealed


    def open(self, packet, at):
        """The payload of one packet, whose packet number begins at `at`."""
        cipher = Cipher(algorithms.AES(self.hp), modes.ECB()).encryptor()
        mask = cipher.update(packet[at + 4:at + 20])
        head = bytearray(packet[:at + 4])
        head[0] ^= mask[0] & (0x0f if head[0] & 0x80 else 0x1f)
        size = (head[0] & 3) + 1
        for i in range(size):
            head[at + i] ^= mask[1 + i]
        head = bytes(head[:at + size])
        nonce = bytes(a ^ b for a, b in zip(self.iv, head[at:].rjust(12, b"\0")))
        return self.aead.decrypt(nonce, packet[at + size:], head)


def initial_keys(destination, label=b"client in"):
    first = hmac.new(INITIAL_SALT, destination, hashlib.sha256).digest()
    return Keys(expand_label(first, label, 32))


def open_initial(datagram, destination):
    """What the server says in the Initial in front of a datagram; `destination` is of the client's
    Initial that it answers."""
    _, own = destination_of(datagram)
    at = 7 + datagram[5] + len(own)
    token_bytes = datagram[at]
    assert token_bytes == 0, "a server sends none"
    width = 1 << (datagram[at + 1] >> 6)
    size = int.from_bytes(datagram[at + 1:at + 1 + width], "big") & ((1 << (8 * width - 2)) - 1)
    at += 1 + width
    return initial_keys(destination, b"server in").open(datagram[:at + size], at)


def initial(destination, source, token=b"", payload=b"", size=1200):
    """An Initial of version 1 whose keys are right; without a payload it holds a PING."""
    payload = payload or b"\x01"
    head = (b"\xc3\0\0\0\1" + bytes([len(destination)]) + destination + bytes([len(source)]) +
            source + varint(len(token)) + token)
    payload += bytes(size - len(head) - 2 - 4 - 16 - len(payload))
    rest = 4 + len(payload) + 16
    head += (rest | 0x4000).to_bytes(2, "big") + bytes(4)
    return initial_keys(destination).seal(head, 0, payload)


def destination_of(datagram):
    """The destination and the source id of a long header."""
    at = 6 + datagram[5]
    return datagram[6:at], datagram[at + 1:at + 1 + datagram[at]]


class Impostor:
    """Sends packets as the client behind a relay, whose keys stand in `log` (SSLKEYLOGFILE)."""

    def __init__(self, relay, log):
        self.relay = relay
        secret = wait_for(lambda: self.secret_of(log), "secret in the log of the client")
        self.keys = Keys(bytes.fromhex(secret))
        self.number = 0x60000000 # beyond the client's own

    @staticmethod
    def secret_of(log):
        for line in log.read_text().splitlines() if log.exists() else []:
            words = line.split()
            if words and words[0] == "CLIENT_TRAFFIC_SECRET_0":
                return words[2]
        return None

    def server_cid(self):
        """The id that the client uses: of the last packet with a short header."""
        shorts = [d for d in list(self.relay.to_server) if not d[0] & 0x80]
        return shorts[-1][1:1 + CID_BYTES] if shorts else None

    def send(self, frames):
        cid = wait_for(self.server_cid, "packet of the client with a short header")
        self.number += 1
        head = b"\x43" + cid + self.number.to_bytes(4, "big")
        self.relay.inject(self.keys.seal(head, self.number, frames + bytes(max(0, 4 - len(frames)))))
