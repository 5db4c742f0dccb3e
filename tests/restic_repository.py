"""Repositories of restic with many snapshots of any date, written at once: `restic backup` takes seconds for ten.

    seal_repositories(root, lists)      one repository for each list of times; what restic calls the snapshots

The form is restic's own (doc/design.rst, "Repository Format", version 1), the ciphers are openssl's. restic checks
every seal and every name when it reads. The password is PASSWORD, its key is made cheap, so that a start takes no time.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Iterator, List, Sequence

PASSWORD = "secret"
USER_SALT = b"salt" * 16
MASTER_KEY = hashlib.sha512(b"the same key for every repository").digest()
PRIME = (1 << 130) - 5
CLAMP = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF


def encrypt(cipher: str, key: bytes, content: bytes, *words: str) -> bytes:
    """Encrypt by openssl."""
    command = ["openssl", "enc", f"-{cipher}", "-K", key.hex(), *words]
    return subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True).stdout


def poly1305(content: bytes, factor: int, pad: bytes) -> bytes:
    """Compute the seal of an encrypted text (RFC 8439, section 2.5)."""
    total = 0
    for at in range(0, len(content), 16):
        total = (total + int.from_bytes(content[at : at + 16] + b"\1", "little")) * factor % PRIME
    return ((total + int.from_bytes(pad, "little")) % (1 << 128)).to_bytes(16, "little")


def seal(key: bytes, texts: Sequence[bytes]) -> Iterator[bytes]:
    """Encrypt and seal texts: AES-256 in counter mode, Poly1305-AES.

    One stream serves them all, as each counter begins where the one before has ended.
    """
    counts = [-(-len(text) // 16) for text in texts]
    starts = [1 + sum(counts[:at]) for at in range(len(counts))]
    nonces = [start.to_bytes(16, "big") for start in starts]
    stream = encrypt("aes-256-ctr", key[:32], bytes(16 * sum(counts)), "-iv", nonces[0].hex())
    pads = encrypt("aes-128-ecb", key[32:48], b"".join(nonces), "-nopad")
    factor = int.from_bytes(key[48:64], "little") & CLAMP
    for number, (text, start, nonce) in enumerate(zip(texts, starts, nonces)):
        piece = stream[16 * (start - 1) :][: len(text)]
        secret = (int.from_bytes(text, "big") ^ int.from_bytes(piece, "big")).to_bytes(len(text), "big")
        yield nonce + secret + poly1305(secret, factor, pads[16 * number : 16 * number + 16])


def text64(content: bytes) -> str:
    """Write bytes for JSON."""
    return base64.b64encode(content).decode("ascii")


def key_file() -> bytes:
    """Make the file that holds the master key for who knows the password."""
    master = {"mac": {"k": text64(MASTER_KEY[32:48]), "r": text64(MASTER_KEY[48:])}, "encrypt": text64(MASTER_KEY[:32])}
    cheap = {"n": 2, "r": 8, "p": 1}
    user_key = hashlib.scrypt(PASSWORD.encode(), salt=USER_SALT, dklen=64, **cheap)
    (data,) = seal(user_key, [json.dumps(master).encode()])
    words = {"N": cheap["n"], "r": cheap["r"], "p": cheap["p"], "salt": text64(USER_SALT), "data": text64(data)}
    return json.dumps({"created": "2020-01-01T00:00:00Z", "username": "u", "hostname": "h", "kdf": "scrypt", **words}).encode()


def snapshot_text(taken: datetime) -> bytes:
    """Write a snapshot of nothing."""
    return json.dumps({"time": taken.isoformat(), "tree": "0" * 64, "paths": ["/x"], "hostname": "h", "username": "u"}).encode()


def seal_repositories(root: Path, lists: Sequence[Sequence[datetime]]) -> List[List[str]]:
    """Write `root`/0, `root`/1 ..., one for each list of aware times; give restic's names of the snapshots, in the lists' order."""
    config = {"version": 1, "id": "1" * 64, "chunker_polynomial": "3da3358b4dc173"}
    texts = [json.dumps(config).encode(), *(snapshot_text(taken) for times in lists for taken in times)]
    sealed_config, *sealed = seal(MASTER_KEY, texts)
    remaining = iter(sealed)
    key = key_file()
    names: List[List[str]] = []
    for number, times in enumerate(lists):
        repository = root / str(number)
        for folder in ("data", "index", "keys", "locks", "snapshots"):
            (repository / folder).mkdir(parents=True)
        (repository / "config").write_bytes(sealed_config)
        (repository / "keys" / hashlib.sha256(key).hexdigest()).write_bytes(key)
        names.append([])
        for content in (next(remaining) for _ in times):
            names[-1].append(hashlib.sha256(content).hexdigest())
            (repository / "snapshots" / names[-1][-1]).write_bytes(content)
    return names
