"""The snapshot file."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock.client import RemoteParameter
from penstock.client.snapshot import Snapshot, SnapshotError, SnapshotFile, load_or_create_snapshot_key

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


SECRET = RemoteParameter(name="/penstock/password", value="s3cret-value", version=3, revision=9, secret=True)
KEY, OTHER_KEY = b"k" * 32, b"o" * 32


def secret_snapshot(path: Path, key: bytes | None) -> SnapshotFile:
    file = SnapshotFile(path, "/penstock", key=key)
    file.write(Snapshot(revision=9, parameters=(*SNAPSHOT.parameters, SECRET)))
    return file


def test_secrets_are_in_the_file_as_ciphertext_only(tmp_path: Path) -> None:
    """And come back with the key."""
    file = secret_snapshot(tmp_path / "snapshot.json", KEY)
    assert b"s3cret" not in file.path.read_bytes()
    found = file.read()
    assert found is not None
    assert found.parameters[-1] == SECRET


def test_without_a_key_secrets_are_left_out_and_everything_is_read_again(tmp_path: Path) -> None:
    """Resuming from the revision would never tell of what is missing."""
    file = secret_snapshot(tmp_path / "snapshot.json", None)
    assert b"s3cret" not in file.path.read_bytes()
    assert b"password" not in file.path.read_bytes()
    assert file.read() == Snapshot(revision=0, parameters=SNAPSHOT.parameters)


@pytest.mark.parametrize("key", [None, OTHER_KEY], ids=["no key", "another key"])
def test_secrets_of_another_key_are_told(tmp_path: Path, key: bytes | None) -> None:
    path = secret_snapshot(tmp_path / "snapshot.json", KEY).path
    with pytest.raises(SnapshotError, match="key"):
        SnapshotFile(path, "/penstock", key=key).read()


def test_a_ciphertext_cannot_be_moved_to_another_name(tmp_path: Path) -> None:
    """Who can write the file must not make the password of one database that of another."""
    path = secret_snapshot(tmp_path / "snapshot.json", KEY).path
    path.write_bytes(path.read_bytes().replace(b"/penstock/password", b"/penstock/passw0rd"))
    with pytest.raises(SnapshotError, match="damaged"):
        SnapshotFile(path, "/penstock", key=KEY).read()


def test_a_key_file_is_made_once_and_is_private(tmp_path: Path) -> None:
    made = load_or_create_snapshot_key(tmp_path / "key")
    assert load_or_create_snapshot_key(tmp_path / "key") == made
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(SnapshotError, match="chmod 600"):
        load_or_create_snapshot_key(tmp_path / "key")


def test_a_file_that_is_no_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("password")
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(SnapshotError, match="does not hold a key"):
        load_or_create_snapshot_key(tmp_path / "key")
