"""The SSM protocol over HTTP, AWS JSON 1.1: `POST /` with `X-Amz-Target: AmazonSSM.<Operation>`.

An unmodified `boto3.client("ssm", endpoint_url=...)` calls it. Errors are `{"__type": code, "message": text}`: status
400, 500 for faults of ours, 503 where a part is away, which boto3 repeats.
"""

import time
from collections.abc import Callable

import structlog

from services.config.access import AccessKey
from services.config.guard import Guard
from services.config.http_endpoint import HttpRequest, HttpResponse
from services.config.sigv4 import Scope, SignatureError, SignedRequest, claimed_scope, verified_scope
from services.config.ssm import Place, Reply, SsmOperations, reply_bytes
from services.config.ssm_request import Body, SsmError
from services.runtime.errors import InternalError, PenstockError, RetryableError
from services.runtime.telemetry import random_hex

KeyLookup = Callable[[str], AccessKey | None]

_TYPE = ("content-type", "application/x-amz-json-1.1")
_OPERATIONS = {
    f"AmazonSSM.{''.join(map(str.capitalize, name.split('_')))}": name
    for name in vars(SsmOperations)
    if not name.startswith("_")
}
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
    """Answers requests. With `keys` every request must be signed by one of them; without, whoever calls may do all."""

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

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """The answer to a request, whatever happens."""
        request_id = random_hex(16)
        try:
            status, reply = _OK, await self._reply(request)
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
        return HttpResponse(status=status, headers=(_TYPE, ("x-amzn-requestid", request_id)), body=reply_bytes(reply))

    async def _reply(self, request: HttpRequest) -> Reply:
        target = request.headers.get("x-amz-target", "")
        operation = _OPERATIONS.get(target)
        if request.method != "POST" or request.path != "/" or operation is None:
            raise SsmError("UnknownOperationException", f"There is no operation {target[:80]!r}.")
        if request.fault:
            raise SsmError("SerializationException", f"The request cannot be read: {request.fault}.")
        principal, signed = self._caller(SignedRequest(headers=request.headers, body=request.body))
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


def _error(code: str, message: str) -> Reply:
    return {"__type": code, "message": message}
