"""The last known good parameters on disk: one JSON file, replaced as a whole, readable by its owner only.

Secrets are in it only as AES-256-GCM ciphertext, with path, name and version as associated data; without a key they are
left out.
"""

import base64
import binascii
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from penstock.client.parameters import RemoteParameter

_FORMAT = 2
_NONCE_BYTES = 12  # NIST SP 800-38D; random, and a process writes far fewer than 2**32 secrets under a key
_KEY_BYTES = 32


class SnapshotError(Exception):
    """The file is not a snapshot of this path, or its key is not the one that was used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All parameters below a path as of a revision of the store; 0 when that revision is not known as a whole."""

    revision: int
    parameters: tuple[RemoteParameter, ...]


def load_or_create_snapshot_key(path: Path) -> bytes:
    """The key of 32 bytes that `path` holds as base64; made, readable by its owner only, where there is none.

    Keep it apart from the snapshots (another volume, a tmpfs): who has both has the secrets.

    Raises:
        SnapshotError: the file is no key, or others can read it.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _loaded_key(path)
    key = secrets.token_bytes(_KEY_BYTES)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(key) + b"\n")
    return key


def _loaded_key(path: Path) -> bytes:
    mode = path.stat().st_mode
    if mode & 0o077:
        raise SnapshotError(f"{path} can be read by others (mode {mode & 0o777:o}): chmod 600 {path}")
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES:
        raise SnapshotError(f"{path} does not hold a key: {_KEY_BYTES} bytes as base64 are expected; remove it")
    return key


class SnapshotFile:
    """Where the snapshot of a parameter path is kept; `key` encrypts its secrets, None leaves them out."""

    def __init__(self, path: Path, parameter_path: str, *, key: bytes | None = None) -> None:
        self.path = path
        self._parameter_path = parameter_path
        self._key = AESGCM(key) if key else None

    def read(self) -> Snapshot | None:
        """The snapshot, None when none was written yet.

        Raises:
            SnapshotError: the file is damaged, belongs to another path, or was written with another key.
        """
        try:
            document = orjson.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise SnapshotError(f"{self.path} cannot be read: {error}") from error
        if not isinstance(document, Mapping) or document.get("format") != _FORMAT:
            raise SnapshotError(f"{self.path} is not a snapshot of format {_FORMAT}")
        if document.get("path") != self._parameter_path:
            raise SnapshotError(f"{self.path} holds {document.get('path')!r}, not {self._parameter_path!r}")
        try:
            parameters = tuple(self._decoded(item) for item in document["parameters"])
            # A parameter that was left out was never known here: all have to be read again.
            return Snapshot(revision=0 if document["incomplete"] else int(document["revision"]), parameters=parameters)
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"{self.path} is damaged: {error!r}") from error

    def write(self, snapshot: Snapshot) -> None:
        """Replaces the file; a crash leaves the old or the new one. Raises OSError when the disk does not take it."""
        kept = [parameter for parameter in snapshot.parameters if self._key or not parameter.secret]
        document = {
            "format": _FORMAT,
            "path": self._parameter_path,
            "revision": snapshot.revision,
            "incomplete": len(kept) < len(snapshot.parameters),
            "parameters": [self._encoded(parameter) for parameter in kept],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(orjson.dumps(document))
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise

    def _encoded(self, parameter: RemoteParameter) -> dict[str, Any]:
        item: dict[str, Any] = {
            "name": parameter.name,
            "version": parameter.version,
            "revision": parameter.revision,
        }
        if not parameter.secret:
            return item | {"value": parameter.value}
        assert self._key
        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + self._key.encrypt(nonce, parameter.value.encode(), self._context(item))
        return item | {"sealed": base64.b64encode(sealed).decode()}

    def _decoded(self, item: Mapping[str, Any]) -> RemoteParameter:
        secret = "sealed" in item
        value = self._opened(item) if secret else item["value"]
        return RemoteParameter(
            name=str(item["name"]),
            value=str(value),
            version=int(item["version"]),
            revision=int(item["revision"]),
            secret=secret,
        )

    def _opened(self, item: Mapping[str, Any]) -> str:
        if self._key is None:
            raise SnapshotError(f"{self.path} holds secrets and no key is given to read them")
        sealed = base64.b64decode(item["sealed"], validate=True)
        try:
            plain = self._key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self._context(item))
        except InvalidTag:
            raise SnapshotError(f"{self.path} holds secrets of another key, or is damaged") from None
        return plain.decode()

    def _context(self, item: Mapping[str, Any]) -> bytes:
        return f"{self._parameter_path}|{item['name']}|{item['version']}".encode()
