"""An intake on a disk that forgets at power loss whatever was never synchronised.

`python -m tests.integration.power_loss`, with PENSTOCK_TEST_SYNC_JOURNAL naming a file, runs the intake and notes there
what each successful fsync or fdatasync made durable: the bytes of a file, the names in a directory. After a SIGKILL
`lose_power` takes away all the rest, as the page cache would: pages behind the synchronised length of a file, each by
chance there or not, and files whose name was never synchronised in their directory.

This is the strictest disk that keeps its word. It says nothing of one that does not.
"""

import json
import os
import random
import runpy
from pathlib import Path
from typing import Any

JOURNAL = "PENSTOCK_TEST_SYNC_JOURNAL"
_PAGE = 4096


def lose_power(directory: Path, journal: Path, chance: random.Random) -> None:
    """Leaves of the files in `directory` what was synchronised, and of the rest what chance writes."""
    lengths: dict[int, int] = {}
    names: set[str] = set()
    for line in journal.read_text().splitlines():
        note = json.loads(line)
        if "inode" in note:
            lengths[note["inode"]] = note["size"]
        elif note["directory"] == str(directory):
            names = set(note["names"])
    for path in sorted(directory.glob("*.log")):
        if path.name not in names:
            path.unlink()
        else:
            _forget_pages(path, lengths.get(path.stat().st_ino, 0), chance)
    # What is there now has survived; an inode that is given to another file must not bring its length along.
    left = sorted(directory.glob("*.log"))
    notes = [{"inode": path.stat().st_ino, "size": path.stat().st_size} for path in left]
    names_left = {"directory": str(directory), "names": [path.name for path in left]}
    journal.write_text("".join(json.dumps(note) + "\n" for note in (*notes, names_left)))


def _forget_pages(path: Path, synchronised: int, chance: random.Random) -> None:
    size = path.stat().st_size
    assert size >= synchronised
    if chance.random() < 0.5:  # the new length did not reach the disk either
        os.truncate(path, synchronised)
        return
    with path.open("r+b") as file:
        for begin in range(synchronised, size, _PAGE):
            if chance.random() < 0.5:
                file.seek(begin)
                file.write(bytes(min(_PAGE, size - begin)))


def _note(value: dict[str, Any]) -> None:
    with Path(os.environ[JOURNAL]).open("a") as journal:
        journal.write(json.dumps(value) + "\n")


def _noting(sync: Any) -> Any:
    def synchronised(descriptor: int) -> None:
        before = os.fstat(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        names = [entry.name for entry in path.iterdir()] if path.is_dir() else None
        sync(descriptor)
        if names is None:
            _note({"inode": before.st_ino, "size": before.st_size})
        else:
            _note({"directory": str(path), "names": names})

    return synchronised


if __name__ == "__main__":
    vars(os).update(fsync=_noting(os.fsync), fdatasync=_noting(os.fdatasync))
    runpy.run_module("services.tracking", run_name="__main__")
