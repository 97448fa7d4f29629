"""Rewrite the checksums in the lock files after their versions were edited: `python -m deploy.local.relock`.

The jars come from Maven Central by jgo; run the whole suite on them before committing a lock.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.local.jar_sources import fetch_with_jgo
from deploy.local.jars import LOCK_FILES, PinnedJar, read_lock, sha256_of
from deploy.local.part import PartError, Progress


class _StderrProgress:
    def step(self, text: str) -> None:
        print(text, file=sys.stderr)  # noqa: T201 - a command for the terminal


def relock(lock: Path, progress: Progress) -> None:
    """Fetch every jar the lock names and put its actual checksum on its line; comments and order stay."""
    pinned = read_lock(lock)
    with TemporaryDirectory() as scratch:
        directory = Path(scratch, "jars")
        directory.mkdir()
        fetch_with_jgo(pinned, directory, progress)
        sums = {_coordinates(jar): sha256_of(directory / jar.file_name) for jar in pinned}
    lines = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        coordinates = line.split(" ")[0]
        lines.append(f"{coordinates} {sums[coordinates]}" if coordinates in sums else line)
    lock.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _coordinates(jar: PinnedJar) -> str:
    return f"{jar.group}:{jar.artifact}:{jar.version}"


if __name__ == "__main__":
    try:
        for lock in LOCK_FILES.values():
            relock(lock, _StderrProgress())
    except PartError as error:
        sys.exit(f"error: {error}")
