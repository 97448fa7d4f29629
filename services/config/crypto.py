"""Secrets at rest: every value under a data key of its own, the data key wrapped by a key that this process may use.

Envelope, format 2: `02`, one byte length and the id of the wrapping key, two bytes length and the wrapped data key, 12
bytes nonce and the value. The value is AES-256-GCM with the parameter's name and version as associated data, the data
key is bound to the name: an envelope cannot be moved to another place. Format 1 (`01`, 8 bytes key id, a wrapped data
key of 60 bytes, nonce and value) is still read.
"""

import os
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.config.parameter import Sealed
from services.runtime.errors import FailedPreconditionError

KEY_BYTES = 32
NONCE_BYTES = 12  # the size NIST SP 800-38D recommends; random nonces, and a data key seals one value only
_FORMAT_1, _FORMAT_2 = b"\x01", b"\x02"
_FORMAT_1_KEY_ID_BYTES = 8
_FORMAT_1_WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + 16


class KeyUnavailableError(Exception):
    """A data key cannot be unwrapped; the message says why and what to do, and names no secret."""


@dataclass(frozen=True, slots=True)
class DataKey:
    """A fresh data key and the same wrapped, with the id of the key that wrapped it."""

    plain: bytes = field(repr=False)
    wrapped: bytes = field(repr=False)
    key_id: bytes


class KeyWrapper(Protocol):
    """Makes and opens data keys. `context` is authenticated with a wrapped key and must be the same to open it."""

    def id_for(self, key_id: str = "") -> bytes:
        """Id of the key that wraps new data keys; `key_id` is the parameter's own, where the wrapper knows several."""

    async def new_data_key(self, context: str, key_id: str = "") -> DataKey:
        """A fresh data key of 32 bytes, wrapped.

        Raises:
            InvalidArgumentError: there is no such key.
            UnavailableError: the key service is away.
        """

    async def wrap(self, plain: bytes, context: str, key_id: str = "") -> DataKey:
        """The same for a data key that exists."""

    async def unwrap(self, key_id: bytes, wrapped: bytes, context: str) -> bytes:
        """The data key.

        Raises:
            KeyUnavailableError: the key is not held, or the wrapped key is damaged or from another context.
            UnavailableError: the key service is away.
        """


class SecretBox:
    """Seals and opens values under data keys of a wrapper."""

    def __init__(self, wrapper: KeyWrapper) -> None:
        self._wrapper = wrapper

    def __repr__(self) -> str:
        return f"SecretBox({self._wrapper!r})"

    @property
    def active_key(self) -> bytes:
        """Id of the key under which new secrets are."""
        return self._wrapper.id_for()

    async def data_key(self, name: str, key_id: str = "") -> DataKey:
        """A key for one value of a parameter; raises what `KeyWrapper.new_data_key` raises."""
        return await self._wrapper.new_data_key(name, key_id)

    def seal(self, value: str, name: str, version: int, key: DataKey) -> Sealed:
        """The value, encrypted for one version of one parameter."""
        return Sealed(_header(key) + encrypt(AESGCM(key.plain), value.encode(), _context(name, version)))

    async def open(self, sealed: Sealed, name: str, version: int) -> str:
        """The value of an envelope that was sealed for this name and version.

        Raises:
            FailedPreconditionError: the key is not held, or the envelope is damaged or from another place.
            UnavailableError: the key service is away.
        """
        try:
            parts = _parts(sealed.envelope, name, version)
            data_key = await self._wrapper.unwrap(parts.key_id, parts.wrapped, parts.context)
            return decrypt(AESGCM(data_key), parts.value, _context(name, version)).decode()
        except KeyUnavailableError as error:
            raise _unreadable(name, version, str(error)) from None
        except (InvalidTag, ValueError, IndexError):
            raise _unreadable(name, version, "its envelope is damaged: restore the database, or put it again") from None

    async def rewrapped(self, sealed: Sealed, name: str, version: int, key_id: str = "") -> Sealed | None:
        """The envelope with its data key under the newest key, the value untouched; None when it is there already.

        Raises:
            FailedPreconditionError, UnavailableError: see `open`.
        """
        try:
            parts = _parts(sealed.envelope, name, version)
            if parts.key_id == self._wrapper.id_for(key_id):
                return None
            plain = await self._wrapper.unwrap(parts.key_id, parts.wrapped, parts.context)
        except KeyUnavailableError as error:
            raise _unreadable(name, version, str(error)) from None
        except (InvalidTag, ValueError, IndexError):
            raise _unreadable(name, version, "its envelope is damaged") from None
        return Sealed(_header(await self._wrapper.wrap(plain, name, key_id)) + parts.value)


def key_id_in(envelope: bytes) -> bytes:
    """Id of the key that wraps the data key of an envelope; raises ValueError or IndexError for what is none."""
    return _parts(envelope, "", 0).key_id


def encrypt(key: AESGCM, plaintext: bytes, context: bytes) -> bytes:
    """A random nonce and the ciphertext."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + key.encrypt(nonce, plaintext, context)


def decrypt(key: AESGCM, body: bytes, context: bytes) -> bytes:
    """What `encrypt` was given; raises cryptography's InvalidTag when anything of it was changed."""
    return key.decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], context)


@dataclass(frozen=True, slots=True)
class _Parts:
    key_id: bytes
    wrapped: bytes
    context: str
    value: bytes


def _header(key: DataKey) -> bytes:
    length = len(key.wrapped).to_bytes(2, "big")
    return _FORMAT_2 + bytes([len(key.key_id)]) + key.key_id + length + key.wrapped


def _parts(envelope: bytes, name: str, version: int) -> _Parts:
    if envelope.startswith(_FORMAT_1):
        key_end = 1 + _FORMAT_1_KEY_ID_BYTES
        end = key_end + _FORMAT_1_WRAPPED_BYTES
        return _Parts(envelope[1:key_end], envelope[key_end:end], f"{name}|{version}", envelope[end:])
    if not envelope.startswith(_FORMAT_2):
        raise ValueError("an unknown format")
    start = 2 + envelope[1]
    end = start + 2 + int.from_bytes(envelope[start : start + 2], "big")
    return _Parts(envelope[2:start], envelope[start + 2 : end], name, envelope[end:])


def _context(name: str, version: int) -> bytes:
    return f"{name}|{version}".encode()


def _unreadable(name: str, version: int, fault: str) -> FailedPreconditionError:
    return FailedPreconditionError(
        f"{name} version {version} cannot be decrypted: {fault}",
        reason="ERROR_REASON_KEY_UNAVAILABLE",
        metadata={"name": name},
    )
