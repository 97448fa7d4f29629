"""The last known good parameters on disk: one JSON file, replaced as a whole, readable by its owner only."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from services.runtime.parameter_client import RemoteParameter

_FORMAT = 1


class SnapshotError(Exception):
    """The file is not a snapshot of this path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All parameters below a path as of a revision of the store; 0 when that revision is not known as a whole."""

    revision: int
    parameters: tuple[RemoteParameter, ...]


class SnapshotFile:
    """Where the snapshot of a parameter path is kept."""

    def __init__(self, path: Path, parameter_path: str) -> None:
        self.path = path
        self._parameter_path = parameter_path

    def read(self) -> Snapshot | None:
        """The snapshot, None when none was written yet.

        Raises:
            SnapshotError: the file is damaged or belongs to another path.
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
            parameters = tuple(RemoteParameter(**item) for item in document["parameters"])
            return Snapshot(revision=int(document["revision"]), parameters=parameters)
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotError(f"{self.path} is damaged: {error!r}") from error

    def write(self, snapshot: Snapshot) -> None:
        """Replaces the file; a crash leaves the old or the new one. Raises OSError when the disk does not take it."""
        document = {
            "format": _FORMAT,
            "path": self._parameter_path,
            "revision": snapshot.revision,
            "parameters": [asdict(parameter) for parameter in snapshot.parameters],
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
