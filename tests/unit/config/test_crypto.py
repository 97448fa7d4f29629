"""Envelopes open only where they belong, and keys come only from files that can be trusted."""

import asyncio
import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.config.crypto import SecretBox
from services.config.key_file import KeyFileError, LocalKeys, load_or_create_keys, write_keys
from services.config.parameter import Sealed
from services.config.rewrapping import Rewrapping
from services.config.sqlite_store import SqliteStore
from services.runtime.errors import FailedPreconditionError
from tests.contracts.parameter_store import put

OLD, NEW = b"k" * 32, b"n" * 32
BOX = SecretBox(LocalKeys([OLD]))
# What format 1, with the data key bound to the version too, made of "value" for version 1 of /a.
FORMAT_1 = base64.b64decode(
    "AV4xj4z5y+JJZ+RslO1aP10tH7FzAD9ObOr7aIErrw5QGlprZTL4xg5EHviDpj6+P16kvUWc4Cp88F60+rkBXYLO"
    "2NDVlYakOU6YBaEOnX274O6YJPnZpYjRW6WJ3G7ZI+A5fgQo"
)


async def sealed(value: str, name: str, version: int, box: SecretBox = BOX) -> Sealed:
    return box.seal(value, name, version, await box.data_key(name))


@given(value=st.text(min_size=1), version=st.integers(1, 10**9))
def test_what_is_sealed_opens_again(value: str, version: int) -> None:
    """Any text, any version."""

    async def check() -> None:
        assert await BOX.open(await sealed(value, "/a", version), "/a", version) == value

    asyncio.run(check())


async def test_an_envelope_does_not_show_its_value() -> None:
    """Neither in its bytes nor in its repr; two of the same value differ."""
    first, second = await sealed("s3cret-value", "/a", 1), await sealed("s3cret-value", "/a", 1)
    assert b"s3cret" not in first.envelope
    assert "s3cret" not in repr(first)
    assert "kkkk" not in repr(await BOX.data_key("/a"))
    assert first != second


@pytest.mark.parametrize(("name", "version"), [("/b", 1), ("/a", 2)], ids=["another name", "another version"])
async def test_an_envelope_cannot_be_moved(name: str, version: int) -> None:
    """Name and version are authenticated with it."""
    envelope = await sealed("value", "/a", 1)
    with pytest.raises(FailedPreconditionError, match="damaged") as caught:
        await BOX.open(envelope, name, version)
    assert caught.value.reason == "ERROR_REASON_KEY_UNAVAILABLE"


async def test_every_byte_of_an_envelope_counts() -> None:
    """No flipped bit and no cut goes unnoticed, nor shows the value."""
    envelope = (await sealed("s3cret", "/a", 1)).envelope
    for position in range(len(envelope)):
        changed = bytearray(envelope)
        changed[position] ^= 1
        for damaged in (bytes(changed), envelope[:position]):
            with pytest.raises(FailedPreconditionError) as caught:
                await BOX.open(Sealed(damaged), "/a", 1)
            assert "s3cret" not in str(caught.value)


async def test_another_key_is_named() -> None:
    """The ids of both keys tell which file is missing; the keys themselves never show."""
    other = SecretBox(LocalKeys([NEW]))
    with pytest.raises(FailedPreconditionError, match="restore the former key file") as caught:
        await other.open(await sealed("value", "/a", 1), "/a", 1)
    assert BOX.active_key.hex() in str(caught.value)
    assert "kkkk" not in repr(BOX)


async def test_an_envelope_of_the_first_format_is_read_and_renewed() -> None:
    """Databases of before keep their secrets."""
    assert await BOX.open(Sealed(FORMAT_1), "/a", 1) == "value"
    rotated = SecretBox(LocalKeys([NEW, OLD]))
    renewed = await rotated.rewrapped(Sealed(FORMAT_1), "/a", 1)
    assert renewed is not None
    assert await SecretBox(LocalKeys([NEW])).open(renewed, "/a", 1) == "value"


async def test_rewrapping_changes_the_key_and_not_the_value() -> None:
    """The encrypted value stays byte by byte; the new key alone opens it; a second time there is nothing to do."""
    before = await sealed("value", "/a", 1)
    rotated = SecretBox(LocalKeys([NEW, OLD]))
    after = await rotated.rewrapped(before, "/a", 1)
    assert after is not None
    assert after.envelope[-33:] == before.envelope[-33:]  # nonce, five bytes, tag
    assert await SecretBox(LocalKeys([NEW])).open(after, "/a", 1) == "value"
    assert await rotated.rewrapped(after, "/a", 1) is None
    with pytest.raises(FailedPreconditionError):
        await BOX.open(after, "/a", 1)


async def test_a_changed_key_file_is_followed(tmp_path: Path) -> None:
    """New secrets are under the new first line; a file that cannot be used changes nothing."""
    path = tmp_path / "secret.key"
    write_keys(path, [OLD])
    keys = LocalKeys.opened(path, may_create=False)
    box = SecretBox(keys)
    before = await sealed("value", "/a", 1, box)
    write_keys(path, [NEW, OLD])
    after = await sealed("value", "/a", 1, box)
    assert await SecretBox(LocalKeys([NEW])).open(after, "/a", 1) == "value"
    assert await box.open(before, "/a", 1) == "value"
    path.write_text("not a key")
    assert await box.open(after, "/a", 1) == "value"
    assert box.active_key == SecretBox(LocalKeys([NEW])).active_key


async def test_a_running_service_rewraps_after_a_rotation(tmp_path: Path) -> None:
    """Every stored version, whether current or not; what cannot be opened stays as it is."""
    path = tmp_path / "secret.key"
    write_keys(path, [OLD])
    box = SecretBox(LocalKeys.opened(path, may_create=False))
    async with SqliteStore(tmp_path / "parameters.sqlite3") as store:
        for version in (1, 2):
            await put(store, "/a", await sealed(f"value {version}", "/a", version, box))
        await put(store, "/damaged", Sealed(b"?"))
        write_keys(path, [NEW, OLD])
        assert await Rewrapping(store, box).all() == 2
        assert await Rewrapping(store, box).all() == 0
        only_new = SecretBox(LocalKeys([NEW]))
        for kept in await store.versions("/a", limit=9):
            assert isinstance(kept.value, Sealed)
            assert await only_new.open(kept.value, "/a", kept.version) == f"value {kept.version}"
        page = await store.events("/a", after=0, limit=9)
        assert [event.revision for event in page.events] == [1, 2]


def test_a_key_is_made_once(tmp_path: Path) -> None:
    """The second start reads what the first has written; nobody else may read it."""
    path = tmp_path / "folder" / "secret.key"
    key = load_or_create_keys(path, may_create=True)
    assert load_or_create_keys(path, may_create=False) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["secret.key"]


def test_a_lost_key_is_not_replaced(tmp_path: Path) -> None:
    """A new key would make every secret unreadable for good."""
    with pytest.raises(KeyFileError, match="missing, but the database holds secrets"):
        load_or_create_keys(tmp_path / "secret.key", may_create=False)
    assert not list(tmp_path.iterdir())


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The message has the command that repairs it."""
    path = tmp_path / "secret.key"
    load_or_create_keys(path, may_create=True)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match=f"chmod 600 {path}"):
        load_or_create_keys(path, may_create=False)


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
        load_or_create_keys(path, may_create=True)
    assert "not base64!" not in str(caught.value)


def test_a_key_file_that_is_a_folder_is_named(tmp_path: Path) -> None:
    """The error says what the system said."""
    with pytest.raises(KeyFileError, match="cannot be read"):
        load_or_create_keys(tmp_path, may_create=True)
