"""Signatures of bundles: Ed25519 (RFC 8032) through the ``cryptography`` library.

A subprocess of openssl or ssh-keygen would need its own door in the sandbox, and the key on a path that it
can read; a key that comes as a systemd credential stays inside this process.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from sensor.errors import InputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from sensor.sinks.secret import Secret

MAKE = "openssl genpkey -algorithm ed25519 -out evidence.key; chmod 600 evidence.key"


class Signer:
    """Signs bytes with one key.

    Parameters
    ----------
    secret : Secret
        PEM (PKCS 8, as ``openssl genpkey`` writes it) or OpenSSH, without a passphrase.

    Raises
    ------
    InputError
        No Ed25519 key.
    Unavailable
        It cannot be read, or everybody can read it.
    """

    def __init__(self, secret: Secret) -> None:
        self._key = _private(secret.raw(), str(secret.path()))
        self.public = public_text(self._key.public_key())

    def sign(self, content: bytes) -> bytes:
        """Signature as one line of base64."""
        return base64.b64encode(self._key.sign(content)) + b"\n"


def public_text(key: Ed25519PublicKey) -> str:
    """A public key's 32 bytes in base64."""
    return base64.b64encode(key.public_bytes_raw()).decode("ascii")


def fingerprint(public: str) -> str:
    """Short name of a public key."""
    return hashlib.sha256(base64.b64decode(public)).hexdigest()[:16]


def load_public(path: Path) -> str:
    """A public key (PEM or OpenSSH; of a private key its public half) as :func:`public_text`.

    Raises
    ------
    InputError
        It is none, or not Ed25519.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    content = path.read_bytes()
    if b"PRIVATE KEY" in content:
        return public_text(_private(content, str(path)).public_key())
    load = serialization.load_ssh_public_key if content.startswith(b"ssh-") else None
    try:
        key = load(content) if load else serialization.load_pem_public_key(content)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path}: is no public key. Make one: openssl pkey -in evidence.key -pubout"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path}: is a key, but not an Ed25519 one. Make one: {MAKE}")
    return public_text(key)


def good(public: str, content: bytes, signature: bytes) -> bool:
    """Whether a signature (base64) is that of a public key over the content."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True))
        key.verify(base64.b64decode(signature.strip(), validate=True), content)
    except (ValueError, InvalidSignature):
        return False
    return True


def _private(content: bytes, shown: str) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    openssh = b"BEGIN OPENSSH PRIVATE KEY" in content
    load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    try:
        key = load(content, password=None)
    except (ValueError, TypeError) as error:  # TypeError: it has a passphrase
        raise InputError(f"{shown}: is no private key without a passphrase. Make one: {MAKE}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{shown}: is a key, but not an Ed25519 one. Make one: {MAKE}")
    return key
