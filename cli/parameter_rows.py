"""Parameters and their changes as rows: what commands print of them."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cli.documents import Kind

if TYPE_CHECKING:
    from penstock.config.v1 import config_service_pb2, parameter_pb2

Row = dict[str, Any]


def parameter_row(parameter: "parameter_pb2.Parameter") -> Row:
    """A parameter as the command shows it; secrets that were not decrypted have the value None."""
    from penstock.config.v1 import parameter_pb2  # noqa: PLC0415

    kind = Kind[parameter_pb2.ParameterType.Name(parameter.type).removeprefix("PARAMETER_TYPE_")]
    hidden = kind is Kind.SECURE_STRING and not parameter.value
    row: Row = {
        "name": parameter.name,
        "type": kind.value,
        "version": parameter.version,
        "revision": parameter.revision,
        "modified_at": _time(parameter.modified_at.ToDatetime(UTC)),
        "value": None if hidden else parameter.value,
        "labels": list(parameter.labels),
        "description": parameter.description,
        "allowed_pattern": parameter.allowed_pattern,
        "data_type": parameter.data_type,
        "tags": dict(parameter.tags),
    }
    if parameter.HasField("expires_at"):
        row["expires_at"] = _time(parameter.expires_at.ToDatetime(UTC))
    return row


def change_row(response: "config_service_pb2.WatchParametersResponse") -> Row:
    """What is shown of a message of a watch."""
    kind = response.WhichOneof("event") or ""
    match kind:
        case "put":
            return {"event": kind, **parameter_row(response.put.parameter)}
        case "delete":
            return {"event": kind, "name": response.delete.name, "revision": response.delete.revision}
        case "notice":
            notice = response.notice
            return {"event": kind, "name": notice.name, "revision": notice.revision, "value": notice.policy_type}
        case "metadata":
            return {"event": kind, **_metadata_row(response.metadata)}
        case _:
            return {"event": kind, "revision": response.bookmark.revision}


def _metadata_row(change: "config_service_pb2.ParameterMetadata") -> Row:
    labels, tags = dict(sorted(change.labels.items())), dict(sorted(change.tags.items()))
    texts = [
        f"{kind} {', '.join(f'{key}={value}' for key, value in pairs.items()) or 'none'}"
        for kind, pairs in (("labels", labels), ("tags", tags))
    ]
    return {
        "name": change.name,
        "revision": change.revision,
        "labels": labels,
        "tags": tags,
        "value": "; ".join(texts),
    }


def _time(when: datetime) -> str:
    return when.isoformat(timespec="seconds")
