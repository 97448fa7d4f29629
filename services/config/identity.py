"""Who calls over gRPC: by a bearer token in the metadata, or by the verified certificate of the connection."""

from typing import Any

import grpc

from services.config.access_file import AccessControl
from services.runtime.errors import UnauthenticatedError

_NAMES = ("x509_subject_alternative_name", "x509_common_name")


class CallerIdentity:
    """Names the principal of a call; the empty one where access control is off (`access` None)."""

    def __init__(self, access: AccessControl | None) -> None:
        self._access = access

    @property
    def generation(self) -> int:
        """Another number when who calls may have to be asked again."""
        return self._access.generation if self._access else 0

    def confirm(self, context: "grpc.aio.ServicerContext[Any, Any]", principal: str) -> None:
        """Raises UnauthenticatedError where the caller of a long call is not this principal any more."""
        if self.of(context) != principal:
            raise UnauthenticatedError(f"what this call was opened with is no proof of {principal} any more")

    def of(self, context: "grpc.aio.ServicerContext[Any, Any]") -> str:
        """The principal.

        Raises:
            UnauthenticatedError: no proof, or one that nobody has.
        """
        if self._access is None:
            return ""
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        kind, _, token = metadata.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and token:
            return self._access.with_token(token.strip())
        proofs = context.auth_context()
        names = [name.decode(errors="replace") for kind in _NAMES for name in proofs.get(kind, ())]
        if (principal := self._access.with_certificate(names)) is None:
            raise UnauthenticatedError(
                "access control is on: send `authorization: Bearer <token>` (CONFIG_TOKEN_FILE, PENSTOCK_TOKEN_FILE), "
                "or a client certificate of a principal"
            )
        return principal
