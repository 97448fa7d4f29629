"""Parameters of the config service as other processes see them."""

from dataclasses import dataclass

from penstock.config.v1 import parameter_pb2

CONFIG_SERVICE = "penstock.config.v1.ConfigService"
IDEMPOTENT_METHODS = tuple(
    f"{CONFIG_SERVICE}/{method}" for method in ("GetParameter", "BatchGetParameters", "ListParameters")
)
"""The reads, for `open_channel(..., idempotent=IDEMPOTENT_METHODS)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteParameter:
    """The current value of a parameter; `version` counts per parameter, `revision` over the whole store."""

    name: str
    value: str
    version: int
    revision: int


def remote_parameter(parameter: parameter_pb2.Parameter) -> RemoteParameter:
    """The value of a parameter as it came over the wire."""
    return RemoteParameter(
        name=parameter.name, value=parameter.value, version=parameter.version, revision=parameter.revision
    )
