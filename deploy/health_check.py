"""Health of a container: `python -m deploy.health_check` asks the process it runs in for grpc.health.v1 once.

Exit code 0 for SERVING, 1 for everything else, with the reason on standard error for `docker inspect`. It is run every
few seconds, so it imports little beside grpc: a check costs about 0.1 s of CPU.

The address is PENSTOCK_HEALTH_TARGET, else the port of the service that the container's first process runs. With TLS,
PENSTOCK_TLS_CA names the authority of the certificate, and the target must be a name the certificate is for.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc

from deploy.local.modules import MODULES
from deploy.local.ports import default_ports

_SECONDS = 4.0
_SERVING = b"\x08\x01"  # HealthCheckResponse{status: SERVING}


class NotHealthyError(Exception):
    """The process does not serve, or nobody can tell; the message is the reason."""


def health_target(environ: Mapping[str, str], command: Sequence[str]) -> str:
    """Where to ask: `host:port`. `command` is the command line of the container's first process, an init included.

    Raises:
        NotHealthyError: no address is given and the command names no service.
    """
    if target := environ.get("PENSTOCK_HEALTH_TARGET"):
        return target
    kind = next((kind for kind, module in MODULES.items() if module in command), None)
    if kind is None:
        raise NotHealthyError(
            f"{' '.join(command)!r} runs no service of Penstock: set PENSTOCK_HEALTH_TARGET=host:port"
        )
    port = environ.get(f"PENSTOCK_{kind.upper()}_PORT") or default_ports().by_purpose()[kind]
    return f"127.0.0.1:{port}"


def check(target: str, tls_ca: Path | None) -> None:
    """One health check of the process as a whole. Raises `NotHealthyError` unless it answers SERVING."""
    options = (("grpc.enable_http_proxy", 0),)
    credentials = grpc.ssl_channel_credentials(tls_ca.read_bytes()) if tls_ca else None
    with (
        grpc.secure_channel(target, credentials, options) if credentials else grpc.insecure_channel(target, options)
    ) as channel:
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            answer = ask(b"", timeout=_SECONDS)
        except grpc.RpcError as error:
            raise NotHealthyError(f"{target}: {error.code().name}: {error.details()}") from error
    if answer != _SERVING:
        raise NotHealthyError(f"{target}: NOT_SERVING")


def main() -> int:
    """The exit code of the check."""
    command = Path("/proc/1/cmdline").read_text(encoding="utf-8").rstrip("\0").split("\0")
    tls_ca = os.environ.get("PENSTOCK_TLS_CA")
    try:
        check(health_target(os.environ, command), Path(tls_ca) if tls_ca else None)
    except NotHealthyError as error:
        print(error, file=sys.stderr)  # noqa: T201 - shown by `docker inspect`
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
