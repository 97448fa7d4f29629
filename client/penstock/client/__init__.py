"""The client of the config service: parameters in the memory of a program, pushed when they change.

    from penstock.client import ConfigClient, json_value

    with ConfigClient("127.0.0.1:50051", ["/prod/app"]) as config:
        limit = config.get("/prod/app/limit", int, default=100)
        settings = config.get("/prod/app/appConfig", json_value)

A `get` is a look-up in memory. The client goes on with the last known values while the service is away; with
`snapshots` it also starts without it. `AsyncConfigClient` is the same for asyncio; `ParameterClient` makes single
calls; `ParameterWatcher` follows one path for a service that reacts to changes. Errors are the `PenstockError`s below.
"""

from penstock.client.aio import AsyncConfigClient
from penstock.client.blocking import ConfigClient
from penstock.client.convert import binary, boolean, json_value, string_list
from penstock.client.parameters import IDEMPOTENT_METHODS, ParameterClient, RemoteParameter
from penstock.client.rolling_out import Outcome, RollingOut, RolloutPlan
from penstock.client.rollout import Rollout
from penstock.client.snapshot import SnapshotError, SnapshotFile
from penstock.client.watcher import ParameterChange, ParameterWatcher

from services.runtime.channel import open_channel
from services.runtime.errors import (
    AbortedError,
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PenstockError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)

__all__ = [
    "IDEMPOTENT_METHODS",
    "AbortedError",
    "AlreadyExistsError",
    "AsyncConfigClient",
    "ConfigClient",
    "FailedPreconditionError",
    "InvalidArgumentError",
    "NotFoundError",
    "Outcome",
    "ParameterChange",
    "ParameterClient",
    "ParameterWatcher",
    "PenstockError",
    "PermissionDeniedError",
    "RemoteParameter",
    "RollingOut",
    "Rollout",
    "RolloutPlan",
    "SnapshotError",
    "SnapshotFile",
    "UnauthenticatedError",
    "UnavailableError",
    "binary",
    "boolean",
    "json_value",
    "open_channel",
    "string_list",
]
