"""Secrets at rest: every value under a data key of its own, the data key wrapped by the key from the key file.

Envelope, format 1: `01`, 8 bytes key id, 12 bytes nonce and the wrapped data key, 12 bytes nonce and the value. Both
are AES-256-GCM with the parameter's name and version as associated data: an envelope cannot be moved to another place.
"""

import base64
import binascii
import hashlib
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.config.parameter import Sealed
from services.runtime.errors import FailedPreconditionError, PenstockError

_FORMAT = b"\x01"
_KEY_BYTES = 32
_KEY_ID_BYTES = 8
_NONCE_BYTES = 12  # the size NIST SP 800-38D recommends; random nonces, and a data key seals one value only
_TAG_BYTES = 16
_WRAPPED_BYTES = _NONCE_BYTES + _KEY_BYTES + _TAG_BYTES


class KeyFileError(PenstockError):
    """The key file cannot be used; the message names the file and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="ERROR_REASON_KEY_UNAVAILABLE")


class SecretBox:
    """Seals and opens values with one key-encryption key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = AESGCM(key)
        self._key_id = hashlib.sha256(key).digest()[:_KEY_ID_BYTES]

    def __repr__(self) -> str:
        return f"SecretBox(key_id={self._key_id.hex()})"

    def seal(self, value: str, name: str, version: int) -> Sealed:
        """The value, encrypted for one version of one parameter."""
        context = _context(name, version)
        data_key = secrets.token_bytes(_KEY_BYTES)
        wrapped = _encrypt(self._key, data_key, context)
        return Sealed(_FORMAT + self._key_id + wrapped + _encrypt(AESGCM(data_key), value.encode(), context))

    def open(self, sealed: Sealed, name: str, version: int) -> str:
        """The value of an envelope that was sealed for this name and version.

        Raises:
            FailedPreconditionError: another key sealed it, or the envelope is damaged or from another place.
        """
        body = sealed.envelope.removeprefix(_FORMAT)
        key_id, body = body[:_KEY_ID_BYTES], body[_KEY_ID_BYTES:]
        if key_id != self._key_id or not sealed.envelope.startswith(_FORMAT):
            fault = f"it was encrypted with the key {key_id.hex()}, the key file holds {self._key_id.hex()}"
            raise _unreadable(name, version, f"{fault}: restore the former key file")
        context = _context(name, version)
        try:
            data_key = _decrypt(self._key, body[:_WRAPPED_BYTES], context)
            return _decrypt(AESGCM(data_key), body[_WRAPPED_BYTES:], context).decode()
        except (InvalidTag, ValueError):
            raise _unreadable(name, version, "its envelope is damaged: restore the database, or put it again") from None


def load_or_create_key(path: Path, *, may_create: bool) -> bytes:
    """The key-encryption key of 32 bytes in `path`, as base64 text that only its owner can read.

    Args:
        path: the key file.
        may_create: whether a missing file is made; wrong where secrets exist that a new key could not open.

    Raises:
        KeyFileError: missing, readable by others, or not a key.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        if not may_create:
            raise KeyFileError(f"{path} is missing, but the database holds secrets: restore the file") from None
        return _create_key(path)
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise KeyFileError(f"{path} can be read by others (mode {mode & 0o777:o}): chmod 600 {path}")
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise KeyFileError(f"{path} does not hold a key: {_KEY_BYTES} bytes as base64 are expected")
    return key


def _create_key(path: Path) -> bytes:
    """Durable before the first secret is: a key that a power failure takes would take the secrets too."""
    key = secrets.token_bytes(_KEY_BYTES)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(key) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return key


def _context(name: str, version: int) -> bytes:
    return f"{name}|{version}".encode()


def _encrypt(key: AESGCM, plaintext: bytes, context: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + key.encrypt(nonce, plaintext, context)


def _decrypt(key: AESGCM, body: bytes, context: bytes) -> bytes:
    return key.decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], context)


def _unreadable(name: str, version: int, fault: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"{name} version {version} cannot be decrypted: {fault}",
        reason="ERROR_REASON_KEY_UNAVAILABLE",
        metadata={"name": name},
    )
