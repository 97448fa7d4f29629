"""The SSM protocol over HTTP, AWS JSON 1.1: `POST /` with `X-Amz-Target: AmazonSSM.<Operation>`; an ASGI application.

An unmodified `boto3.client("ssm", endpoint_url=...)` calls it. Errors are `{"__type": code, "message": text}`: status
400, 500 for faults of ours, 503 where a part is away, which boto3 repeats.
"""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog

from services.config.access import AccessKey
from services.config.guard import Guard
from services.config.sigv4 import Scope, SignatureError, SignedRequest, claimed_scope, verified_scope
from services.config.ssm import Place, Reply, SsmOperations, reply_bytes
from services.config.ssm_request import Body, SsmError
from services.runtime.errors import InternalError, PenstockError, RetryableError

AsgiScope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
KeyLookup = Callable[[str], AccessKey | None]

_MAX_BODY_BYTES = 1024 * 1024
_BODY_SECONDS = 30.0
_TARGET = re.compile(r"AmazonSSM\.([A-Z][A-Za-z]+)")
_WORD = re.compile(r"(?<!^)(?=[A-Z])")
_OPERATIONS = frozenset(name for name in vars(SsmOperations) if not name.startswith("_"))
_OK, _BAD_REQUEST, _OURS, _AWAY = 200, 400, 500, 503
_CODES = {
    "ERROR_REASON_PARAMETER_NOT_FOUND": "ParameterNotFound",
    "ERROR_REASON_PARAMETER_ALREADY_EXISTS": "ParameterAlreadyExists",
    "ERROR_REASON_PARAMETER_TYPE_MISMATCH": "HierarchyTypeMismatchException",
    "ERROR_REASON_VERSION_CONFLICT": "TooManyUpdates",
    "ERROR_REASON_INVALID_PAGE_TOKEN": "InvalidNextToken",
    "ERROR_REASON_KEY_UNAVAILABLE": "InvalidKeyId",
    "ERROR_REASON_FORBIDDEN": "AccessDeniedException",
}


class SsmHttp:
    """The application. With `keys` every request must be signed by one of them; without, whoever calls may do all."""

    def __init__(
        self,
        guard: Guard,
        place: Place,
        *,
        keys: KeyLookup | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._guard = guard
        self._place = place
        self._keys = keys
        self._now = now
        self._log = structlog.get_logger(component="ssm")

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        request_id = str(uuid.uuid4())
        try:
            status, reply = _OK, await self._reply(scope, receive)
        except SsmError as error:
            status, reply = _BAD_REQUEST, _error(error.code, error.message)
        except SignatureError as error:
            status, reply = _BAD_REQUEST, _error(error.code, error.message)
        except RetryableError as error:
            status, reply = _AWAY, _error("ServiceUnavailableException", error.message)
        except InternalError as error:
            status, reply = _OURS, _error("InternalServerError", error.message)
        except PenstockError as error:
            code = error.metadata.get("ssm_error") or _CODES.get(error.reason, "ValidationException")
            status, reply = _BAD_REQUEST, _error(code, error.message)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            self._log.error("unexpected error", request_id=request_id, exc_info=error)
            status, reply = _OURS, _error("InternalServerError", f"an unexpected error, request id {request_id}")
        await _send(send, status, reply, request_id)

    async def _reply(self, scope: AsgiScope, receive: Receive) -> Reply:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        found = _TARGET.fullmatch(headers.get("x-amz-target", ""))
        operation = _WORD.sub("_", found[1]).lower() if found else ""
        if scope["method"] != "POST" or scope["path"] != "/" or operation not in _OPERATIONS:
            asked = headers.get("x-amz-target", "")[:80]
            raise SsmError("UnknownOperationException", f"There is no operation {asked!r}.")
        request = SignedRequest(headers=headers, body=await _body(receive))
        principal, signed = self._caller(request)
        place = Place(region=signed.region, account_id=self._place.account_id) if signed else self._place
        operations = SsmOperations(self._guard.session(principal), place, self._now())
        reply: Reply = await getattr(operations, operation)(Body.parsed(request.body))
        return reply

    def _caller(self, request: SignedRequest) -> tuple[str, Scope | None]:
        if self._keys is None:
            return "", claimed_scope(request)
        keys = self._keys
        signed = verified_scope(request, lambda key_id: key.secret if (key := keys(key_id)) else None, self._now())
        key = keys(signed.key_id)
        if key is None:
            raise SignatureError("UnrecognizedClientException", "The access key is not known to this service.")
        return key.principal, signed


async def _body(receive: Receive) -> bytes:
    chunks, size = [], 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            while True:
                message = await receive()
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                if size > _MAX_BODY_BYTES or message["type"] == "http.disconnect":
                    raise SsmError("SerializationException", f"The body is cut or above {_MAX_BODY_BYTES} bytes.")
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError:
        raise SsmError("SerializationException", f"The body was not sent within {_BODY_SECONDS:g} s.") from None


def _error(code: str, message: str) -> Reply:
    return {"__type": code, "message": message}


async def _send(send: Send, status: int, reply: Reply, request_id: str) -> None:
    body = reply_bytes(reply)
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "content-length": str(len(body)),
        "x-amzn-requestid": request_id,
    }
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
