"""Envelopes open only where they belong, and keys come only from files that can be trusted."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.config.crypto import KeyFileError, SecretBox, load_or_create_key
from services.config.parameter import Sealed
from services.runtime.errors import FailedPreconditionError

BOX = SecretBox(b"k" * 32)


@given(value=st.text(min_size=1), version=st.integers(1, 10**9))
def test_what_is_sealed_opens_again(value: str, version: int) -> None:
    """Any text, any version."""
    assert BOX.open(BOX.seal(value, "/a", version), "/a", version) == value


def test_an_envelope_does_not_show_its_value() -> None:
    """Neither in its bytes nor in its repr; two of the same value differ."""
    first, second = BOX.seal("s3cret-value", "/a", 1), BOX.seal("s3cret-value", "/a", 1)
    assert b"s3cret" not in first.envelope
    assert "s3cret" not in repr(first)
    assert first != second


@pytest.mark.parametrize(("name", "version"), [("/b", 1), ("/a", 2)], ids=["another name", "another version"])
def test_an_envelope_cannot_be_moved(name: str, version: int) -> None:
    """Name and version are authenticated with it."""
    sealed = BOX.seal("value", "/a", 1)
    with pytest.raises(FailedPreconditionError, match="damaged") as caught:
        BOX.open(sealed, name, version)
    assert caught.value.reason == "ERROR_REASON_KEY_UNAVAILABLE"


def test_every_byte_of_an_envelope_counts() -> None:
    """No flipped bit and no cut goes unnoticed, nor shows the value."""
    envelope = BOX.seal("s3cret", "/a", 1).envelope
    for position in range(len(envelope)):
        changed = bytearray(envelope)
        changed[position] ^= 1
        for damaged in (bytes(changed), envelope[:position]):
            with pytest.raises(FailedPreconditionError) as caught:
                BOX.open(Sealed(damaged), "/a", 1)
            assert "s3cret" not in str(caught.value)


def test_another_key_is_named() -> None:
    """The ids of both keys tell which file is missing; the keys themselves never show."""
    other = SecretBox(b"x" * 32)
    with pytest.raises(FailedPreconditionError, match="restore the former key file") as caught:
        other.open(BOX.seal("value", "/a", 1), "/a", 1)
    assert repr(BOX).removeprefix("SecretBox(key_id=").removesuffix(")") in str(caught.value)
    assert "kkkk" not in repr(BOX)


def test_a_key_is_made_once(tmp_path: Path) -> None:
    """The second start reads what the first has written; nobody else may read it."""
    path = tmp_path / "folder" / "secret.key"
    key = load_or_create_key(path, may_create=True)
    assert load_or_create_key(path, may_create=False) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["secret.key"]


def test_a_lost_key_is_not_replaced(tmp_path: Path) -> None:
    """A new key would make every secret unreadable for good."""
    with pytest.raises(KeyFileError, match="missing, but the database holds secrets"):
        load_or_create_key(tmp_path / "secret.key", may_create=False)
    assert not list(tmp_path.iterdir())


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The message has the command that repairs it."""
    path = tmp_path / "secret.key"
    load_or_create_key(path, may_create=True)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match=f"chmod 600 {path}"):
        load_or_create_key(path, may_create=False)


@pytest.mark.parametrize(
    "content",
    [b"", b"not base64!", base64.b64encode(b"k" * 31), b"\xff\xfe", base64.b64encode(b"k" * 32)[:-1]],
    ids=["empty", "no base64", "31 bytes", "no text", "cut"],
)
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """The content is not shown: it may be most of a key."""
    path = tmp_path / "secret.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="32 bytes as base64") as caught:
        load_or_create_key(path, may_create=True)
    assert "not base64!" not in str(caught.value)


def test_a_key_file_that_is_a_folder_is_named(tmp_path: Path) -> None:
    """The error says what the system said."""
    with pytest.raises(KeyFileError, match="cannot be read"):
        load_or_create_key(tmp_path, may_create=True)
