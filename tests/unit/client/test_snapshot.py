"""The snapshot file."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.client import RemoteParameter
from penstock.client.snapshot import Snapshot, SnapshotError, SnapshotFile

SNAPSHOT = Snapshot(
    revision=7, parameters=(RemoteParameter(name="/penstock/a", value='{"ü": 1}', version=2, revision=7),)
)

names_and_values = st.text(st.characters(codec="utf-8"), max_size=20)
snapshots = st.builds(
    Snapshot,
    revision=st.integers(min_value=0, max_value=2**62),
    parameters=st.lists(
        st.builds(
            RemoteParameter,
            name=names_and_values,
            value=names_and_values,
            version=st.integers(min_value=1, max_value=2**62),
            revision=st.integers(min_value=1, max_value=2**62),
        ),
        max_size=3,
    ).map(tuple),
)


@given(snapshots)
def test_written_snapshot_is_read_back(tmp_path_factory: pytest.TempPathFactory, snapshot: Snapshot) -> None:
    """Every text and number survives."""
    file = SnapshotFile(tmp_path_factory.getbasetemp() / "round-trip.json", "/penstock")
    file.write(snapshot)
    assert file.read() == snapshot


def test_absent_file_is_no_snapshot(tmp_path: Path) -> None:
    """The first start of all."""
    assert SnapshotFile(tmp_path / "absent.json", "/penstock").read() is None


def test_folder_is_made_and_file_is_private(tmp_path: Path) -> None:
    """Parameters are nobody else's business on the machine."""
    file = SnapshotFile(tmp_path / "deep" / "snapshot.json", "/penstock")
    file.write(SNAPSHOT)
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.path.parent.iterdir()] == ["snapshot.json"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 2, "path": "/penstock", "parameters": [{"name": 1}]}']
)
def test_damaged_file_is_told_apart(tmp_path: Path, content: str) -> None:
    """Half of the parameters would be worse than none."""
    path = tmp_path / "snapshot.json"
    path.write_text(content)
    with pytest.raises(SnapshotError, match=r"snapshot\.json"):
        SnapshotFile(path, "/penstock").read()


def test_snapshot_of_another_path_is_refused(tmp_path: Path) -> None:
    """A file name set twice must not give the bridge the filters of another service."""
    path = tmp_path / "snapshot.json"
    SnapshotFile(path, "/penstock/routes").write(SNAPSHOT)
    with pytest.raises(SnapshotError, match="'/penstock/routes', not '/penstock/subscriptions'"):
        SnapshotFile(path, "/penstock/subscriptions").read()


def test_failed_write_leaves_the_old_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs the newest values, not all of them."""
    file = SnapshotFile(tmp_path / "snapshot.json", "/penstock")
    file.write(SNAPSHOT)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("penstock.client.snapshot.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        file.write(Snapshot(revision=8, parameters=()))
    assert file.read() == SNAPSHOT
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot.json"]
