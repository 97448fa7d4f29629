"""Data keys from AWS KMS: a call per secret written, one per secret read that is not in the cache.

The encryption context is Parameter Store's own, `PARAMETER_ARN=<arn>`: key policies may demand it.
"""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from cachetools import TTLCache

from services.config.crypto import DataKey, KeyUnavailableError, KeyWrapper
from services.runtime.aws import BlockingCalls
from services.runtime.errors import FieldViolation, InvalidArgumentError, UnavailableError

_CACHED_KEYS = 10_000
_CACHED_SECONDS = 300.0
_THREADS = 8
_NO_SUCH_KEY = ("NotFoundException", "DisabledException", "KMSInvalidStateException", "InvalidKeyUsageException")


class KmsKeys:
    """A KeyWrapper over a boto3 KMS client. `key` is the id, ARN or alias used where a parameter names none.

    `arn_prefix` with a name behind it is the parameter's ARN.
    """

    def __init__(self, client: Any, *, key: str, arn_prefix: str) -> None:
        self._client = client
        self._key = key
        self._arn_prefix = arn_prefix
        self._calls = BlockingCalls(_THREADS, "kms")
        self._plain: TTLCache[bytes, bytes] = TTLCache(_CACHED_KEYS, _CACHED_SECONDS)

    def __repr__(self) -> str:
        return f"KmsKeys(key={self._key!r})"

    def id_for(self, key_id: str = "") -> bytes:
        return f"kms:{key_id or self._key}".encode()

    async def new_data_key(self, context: str, key_id: str = "") -> DataKey:
        answer = await self._asked(key_id, self._client.generate_data_key, KeySpec="AES_256", context=context)
        return DataKey(answer["Plaintext"], answer["CiphertextBlob"], self.id_for(key_id))

    async def wrap(self, plain: bytes, context: str, key_id: str = "") -> DataKey:
        answer = await self._asked(key_id, self._client.encrypt, Plaintext=plain, context=context)
        return DataKey(plain, answer["CiphertextBlob"], self.id_for(key_id))

    async def unwrap(self, key_id: bytes, wrapped: bytes, context: str) -> bytes:
        if (plain := self._plain.get(wrapped + context.encode())) is not None:
            return plain
        if not key_id.startswith(b"kms:"):
            raise KeyUnavailableError(f"it was encrypted with the local key {key_id.hex()}: give its key file too")
        try:
            answer = await self._calls.run(
                self._client.decrypt, CiphertextBlob=wrapped, EncryptionContext=self._context(context)
            )
        except ClientError as error:
            if _code(error) in ("InvalidCiphertextException", "AccessDeniedException", *_NO_SUCH_KEY):
                raise KeyUnavailableError(f"KMS refuses its data key: {_code(error)}") from None
            raise _away(error) from None
        except BotoCoreError as error:
            raise _away(error) from None
        plain = self._plain[wrapped + context.encode()] = bytes(answer["Plaintext"])
        return plain

    async def _asked(self, key_id: str, call: Any, *, context: str, **arguments: Any) -> Any:
        key = key_id or self._key
        try:
            return await self._calls.run(call, KeyId=key, EncryptionContext=self._context(context), **arguments)
        except ClientError as error:
            if _code(error) in _NO_SUCH_KEY:
                fault = f"KMS has no usable key {key!r}: {_code(error)}"
                violations = [FieldViolation(field="key_id", description=fault)]
                raise InvalidArgumentError(
                    fault, violations=violations, metadata={"ssm_error": "InvalidKeyId"}
                ) from None
            raise _away(error) from None
        except BotoCoreError as error:
            raise _away(error) from None

    def _context(self, name: str) -> dict[str, str]:
        return {"PARAMETER_ARN": f"{self._arn_prefix}{name}"}


class KeyChain:
    """A KeyWrapper: `kms` for what is new, `local` opens what a key file still wraps: the way from there to KMS."""

    def __init__(self, kms: KmsKeys, local: KeyWrapper) -> None:
        self._kms, self._local = kms, local

    def __repr__(self) -> str:
        return f"KeyChain({self._kms!r}, {self._local!r})"

    def id_for(self, key_id: str = "") -> bytes:
        return self._kms.id_for(key_id)

    async def new_data_key(self, context: str, key_id: str = "") -> DataKey:
        return await self._kms.new_data_key(context, key_id)

    async def wrap(self, plain: bytes, context: str, key_id: str = "") -> DataKey:
        return await self._kms.wrap(plain, context, key_id)

    async def unwrap(self, key_id: bytes, wrapped: bytes, context: str) -> bytes:
        wrapper: KeyWrapper = self._kms if key_id.startswith(b"kms:") else self._local
        return await wrapper.unwrap(key_id, wrapped, context)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "an unknown error"))


def _away(error: Exception) -> UnavailableError:
    detail = _code(error) if isinstance(error, ClientError) else type(error).__name__
    return UnavailableError(f"KMS cannot be used: {detail}; retry", metadata={"dependency": "kms"})
