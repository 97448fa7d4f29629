"""Keys in a local file: one per line as base64, the first wraps new data keys, the others still open what they wrapped.

Rotation is a new first line: a running service sees the change, wraps with the new key from then on and re-wraps what
lies under older ones; `penstock config drop-keys` then removes lines that nothing lies under any more.
"""

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.config.crypto import KEY_BYTES, DataKey, KeyUnavailableError, decrypt, encrypt
from services.runtime.errors import PenstockError

_KEY_ID_BYTES = 8


class KeyFileError(PenstockError):
    """The key file cannot be used; the message names the file and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="ERROR_REASON_KEY_UNAVAILABLE")


class LocalKeys:
    """A KeyWrapper with keys of 32 bytes, the first of them active; with a `path` it follows the file's changes."""

    def __init__(self, keys: Sequence[bytes], *, path: Path | None = None) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._take(keys)

    @classmethod
    def opened(cls, path: Path, *, may_create: bool) -> Self:
        """The keys of a file; raises what `load_or_create_keys` raises."""
        return cls(load_or_create_keys(path, may_create=may_create), path=path)

    def __repr__(self) -> str:
        return f"LocalKeys(active={self._active.hex()})"

    def id_for(self, key_id: str = "") -> bytes:  # noqa: ARG002 - one key wraps all
        self._follow()
        return self._active

    async def new_data_key(self, context: str, key_id: str = "") -> DataKey:
        return await self.wrap(secrets.token_bytes(KEY_BYTES), context, key_id)

    async def wrap(self, plain: bytes, context: str, key_id: str = "") -> DataKey:
        active = self.id_for(key_id)
        return DataKey(plain, encrypt(self._keys[active], plain, context.encode()), active)

    async def unwrap(self, key_id: bytes, wrapped: bytes, context: str) -> bytes:
        if key_id not in self._keys:
            self._follow()
        key = self._keys.get(key_id)
        if key is None:
            held = ", ".join(known.hex() for known in self._keys)
            raise KeyUnavailableError(
                f"it was encrypted with the key {key_id.hex()}, the key file holds {held}: restore the former key file"
            )
        try:
            return decrypt(key, wrapped, context.encode())
        except InvalidTag:
            raise KeyUnavailableError(
                "its envelope is damaged or of another parameter: restore the database, or put it again"
            ) from None

    def _take(self, keys: Sequence[bytes]) -> None:
        self._keys = {key_id_of(key): AESGCM(key) for key in keys}
        self._active = key_id_of(keys[0])

    def _follow(self) -> None:
        """Reads the file again when it has changed; one that cannot be used changes nothing."""
        if self._path is None or (stamp := _stamp(self._path)) == self._stamp:
            return
        self._stamp = stamp
        log = structlog.get_logger(component="keys")
        try:
            self._take(load_or_create_keys(self._path, may_create=False))
        except KeyFileError as error:
            log.error("the changed key file is not used", error=error.message)  # noqa: TRY400 - the message says all
        else:
            log.info("the key file has changed", active=self._active.hex(), keys=len(self._keys))


def key_id_of(key: bytes) -> bytes:
    """The id by which envelopes name a key; it tells nothing about the key."""
    return hashlib.sha256(key).digest()[:_KEY_ID_BYTES]


def load_or_create_keys(path: Path, *, may_create: bool) -> list[bytes]:
    """The keys of 32 bytes in `path`, base64 lines that only its owner can read, the active one first.

    Args:
        path: the key file.
        may_create: whether a missing file is made; wrong where secrets exist that a new key could not open.

    Raises:
        KeyFileError: missing, readable by others, or not keys.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        if not may_create:
            raise KeyFileError(f"{path} is missing, but the database holds secrets: restore the file") from None
        keys = [secrets.token_bytes(KEY_BYTES)]
        write_keys(path, keys)
        return keys
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise KeyFileError(f"{path} can be read by others (mode {mode & 0o777:o}): chmod 600 {path}")
    keys = [_key(line) for line in text.split()]
    if not keys or not all(len(key) == KEY_BYTES for key in keys):
        raise KeyFileError(f"{path} does not hold a key: lines of {KEY_BYTES} bytes as base64 are expected")
    return keys


def write_keys(path: Path, keys: Sequence[bytes]) -> None:
    """Durable before the first secret is: a key that a power failure takes would take the secrets too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(b"".join(base64.b64encode(key) + b"\n" for key in keys))
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _key(line: str) -> bytes:
    try:
        return base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _stamp(path: Path | None) -> tuple[int, int] | None:
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_ino) if status else None
