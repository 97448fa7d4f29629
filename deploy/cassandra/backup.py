"""Snapshots of one Cassandra node to S3 and back: `python -m deploy.cassandra.backup --help`.

Run it on every node, with the same tag. What is uploaded, below `s3://<bucket>/<prefix>/<tag>/<node>/`:

    <table>/<file>   the immutable files of the snapshot
    manifest.json    written last: keyspace, files with sizes and SHA-256; a snapshot without it is not whole

A restore reads the files into the tables of a running node (`nodetool import`), beside what they hold; newer rows win.
Make keyspace and tables first (PENSTOCK_PERSISTENCE_CREATE_TABLES=true). A node takes what belongs to its tokens: a
cluster with other tokens than those of the snapshot needs `sstableloader` instead.
"""

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from services.runtime.aws import aws_client

_MANIFEST = "manifest.json"
_NODETOOL_SECONDS = 3600


class BackupError(Exception):
    """A snapshot cannot be made or restored; the message says what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotFile:
    """A file of a snapshot: its table, its name, its size in bytes and SHA-256 in hexadecimal."""

    table: str
    name: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where the snapshots of a node lie."""

    bucket: str
    prefix: str
    node: str

    def key(self, tag: str, *parts: str) -> str:
        return str(PurePosixPath(self.prefix, tag, self.node, *parts))


class Backup:
    """Makes and restores snapshots. `nodetool` is the command line to which arguments are added."""

    def __init__(self, s3: Any, place: Place, *, nodetool: Sequence[str], keyspace: str) -> None:
        self._s3 = s3
        self._place = place
        self._nodetool = nodetool
        self._keyspace = keyspace

    def snapshot(self, data_directory: Path, tag: str) -> Sequence[SnapshotFile]:
        """Flush, snapshot and upload the keyspace's tables; the node's disk is as before afterwards.

        Args:
            data_directory: of the node's `data_file_directories`.
            tag: name of the snapshot.
        """
        self._run("snapshot", "-t", tag, self._keyspace)
        try:
            paths = list(_snapshot_paths(data_directory / self._keyspace, tag))
            if not paths:
                raise BackupError(
                    f"{data_directory} holds no snapshot {tag} of {self._keyspace}: is it the node's own?"
                )
            files = []
            for table, path in paths:
                file = SnapshotFile(table=table, name=path.name, size=path.stat().st_size, sha256=_sha256(path))
                self._s3.upload_file(str(path), self._place.bucket, self._place.key(tag, table, path.name))
                files.append(file)
            manifest = {"keyspace": self._keyspace, "files": [asdict(file) for file in files]}
            self._s3.put_object(
                Bucket=self._place.bucket, Key=self._place.key(tag, _MANIFEST), Body=json.dumps(manifest).encode()
            )
        finally:
            self._run("clearsnapshot", "-t", tag, "--", self._keyspace)
        return files

    def restore(self, tag: str, scratch: Path) -> Sequence[SnapshotFile]:
        """Download a snapshot below `scratch`, which the node must be able to read, and read it into its tables.

        Raises:
            BackupError: the snapshot is not whole, or a file is not what was uploaded; the tables are as before.
        """
        files = self.manifest(tag)
        for file in files:
            path = scratch / file.table / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._s3.download_file(self._place.bucket, self._place.key(tag, file.table, file.name), str(path))
            if _sha256(path) != file.sha256:
                raise BackupError(f"{file.table}/{file.name} of {tag} is not what was uploaded: take another snapshot")
        for table in sorted({file.table for file in files if file.name.endswith("-Data.db")}):
            self._run("import", "--copy-data", self._keyspace, table, str(scratch / table))
        return files

    def manifest(self, tag: str) -> Sequence[SnapshotFile]:
        """The files of a snapshot."""
        key = self._place.key(tag, _MANIFEST)
        try:
            body = self._s3.get_object(Bucket=self._place.bucket, Key=key)["Body"].read()
        except self._s3.exceptions.NoSuchKey:
            raise BackupError(
                f"s3://{self._place.bucket}/{key} does not exist: {tag} is not whole, or no tag"
            ) from None
        return [SnapshotFile(**file) for file in json.loads(body)["files"]]

    def _run(self, *arguments: str) -> None:
        command = (*self._nodetool, *arguments)
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_NODETOOL_SECONDS)  # noqa: S603 - the operator's own command
        except subprocess.CalledProcessError as error:
            raise BackupError(f"nodetool {' '.join(arguments)}: {(error.stderr or error.stdout).strip()}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BackupError(f"nodetool {' '.join(arguments)}: {error}") from error


def _snapshot_paths(keyspace: Path, tag: str) -> Iterator[tuple[str, Path]]:
    """Every file of a snapshot with its table; folders are `<table>-<id>/snapshots/<tag>`."""
    for folder in sorted(keyspace.glob(f"*/snapshots/{tag}")):
        table = folder.parent.parent.name.rpartition("-")[0]
        yield from ((table, path) for path in sorted(folder.iterdir()) if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


app = typer.Typer(no_args_is_help=True, add_completion=False, help="Snapshots of a Cassandra node to S3 and back.")
Bucket = Annotated[str, typer.Option(help="S3 bucket.")]
Node = Annotated[str, typer.Option(help="Name of this node below the prefix; one of its own for each.")]
Tag = Annotated[str, typer.Option(help="Name of the snapshot, such as 2026-01-31.")]
Keyspace = Annotated[str, typer.Option(help="Keyspace.")]
Prefix = Annotated[str, typer.Option(help="Prefix of the keys.")]
Nodetool = Annotated[str, typer.Option(help="Command line of nodetool, with its login.")]
Region = Annotated[str, typer.Option(help="AWS region.")]
Endpoint = Annotated[str | None, typer.Option(help="Where S3 is called instead of AWS.")]


@app.command()
def snapshot(
    bucket: Bucket,
    node: Node,
    tag: Tag,
    data_directory: Annotated[Path, typer.Option(help="The node's data_file_directories.", exists=True)],
    keyspace: Keyspace = "penstock",
    prefix: Prefix = "cassandra",
    nodetool: Nodetool = "nodetool",
    region: Region = "us-east-1",
    endpoint_url: Endpoint = None,
) -> None:
    """Make a snapshot of this node and upload it."""
    place = Place(bucket=bucket, prefix=prefix, node=node)
    s3 = aws_client("s3", region=region, endpoint_url=endpoint_url)
    backup = Backup(s3, place, nodetool=shlex.split(nodetool), keyspace=keyspace)
    files = _told(lambda: backup.snapshot(data_directory, tag))
    typer.echo(f"{len(files)} files, {sum(file.size for file in files)} bytes in s3://{bucket}/{place.key(tag)}")


@app.command()
def restore(
    bucket: Bucket,
    node: Node,
    tag: Tag,
    scratch_directory: Annotated[Path, typer.Option(help="Room for the files, readable by the node.", exists=True)],
    keyspace: Keyspace = "penstock",
    prefix: Prefix = "cassandra",
    nodetool: Nodetool = "nodetool",
    region: Region = "us-east-1",
    endpoint_url: Endpoint = None,
) -> None:
    """Download a snapshot and read it into the tables of this node."""
    place = Place(bucket=bucket, prefix=prefix, node=node)
    s3 = aws_client("s3", region=region, endpoint_url=endpoint_url)
    backup = Backup(s3, place, nodetool=shlex.split(nodetool), keyspace=keyspace)
    with TemporaryDirectory(dir=scratch_directory) as scratch:
        Path(scratch).chmod(0o755)  # the node runs as another user
        files = _told(lambda: backup.restore(tag, Path(scratch)))
    typer.echo(f"{len(files)} files of {tag} read into {keyspace}")


def _told(work: Any) -> Sequence[SnapshotFile]:
    try:
        files: Sequence[SnapshotFile] = work()
    except BackupError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a command for the terminal
        raise typer.Exit(1) from None
    return files


if __name__ == "__main__":
    app()
