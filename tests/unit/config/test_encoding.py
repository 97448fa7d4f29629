"""Messages become updates and parameters become messages, nothing lost."""

from dataclasses import replace

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from penstock.config.v1 import config_service_pb2, parameter_pb2

from services.config.encoding import SharedEvents, message_of, update_of, watch_message_of
from services.config.parameter import Deletion, MetadataChange, Notice, Parameter, ParameterType, Sealed, Tier
from services.config.update import ParameterUpdate
from services.config.watch import Bookmark
from services.runtime.errors import InvalidArgumentError

Request = config_service_pb2.PutParameterRequest


def test_an_absent_field_keeps_and_an_empty_one_replaces() -> None:
    """Presence is what tells them apart."""
    assert update_of(Request(name="/a", value="v")) == ParameterUpdate(name="/a", value="v")
    update = update_of(Request(name="/a", value="v", description="", allowed_pattern="", expected_version=0))
    assert (update.description, update.allowed_pattern, update.expected_version) == ("", "", 0)


def test_every_field_of_a_put_arrives() -> None:
    """With its own value."""
    request = Request(
        name="/a",
        value="1",
        type=parameter_pb2.PARAMETER_TYPE_SECURE_STRING,
        expected_version=3,
        description="what for",
        allowed_pattern="[0-9]",
        data_type="integer",
        expires_at=Timestamp(seconds=5, nanos=500_000_000),
        tags={"team": "lab"},
        json_schema="{}",
        tier=parameter_pb2.PARAMETER_TIER_ADVANCED,
        policies="[]",
    )
    assert update_of(request) == ParameterUpdate(
        name="/a",
        value="1",
        type=ParameterType.SECURE_STRING,
        expected_version=3,
        description="what for",
        allowed_pattern="[0-9]",
        data_type="integer",
        expires_at=5.5,
        tags={"team": "lab"},
        json_schema="{}",
        tier=Tier.ADVANCED,
        policies="[]",
    )


def test_an_unknown_type_is_refused() -> None:
    """A later client may send one."""
    request = Request.FromString(Request(name="/a", value="v").SerializeToString() + b"\x18\x63")
    with pytest.raises(InvalidArgumentError, match="99 is not a ParameterType"):
        update_of(request)


@pytest.mark.parametrize("nanos", [-1, 1_000_000_000])
def test_a_time_that_is_none_is_refused(nanos: int) -> None:
    """Nothing checks a Timestamp on the wire."""
    with pytest.raises(InvalidArgumentError, match=f"expires_at: nanos = {nanos}"):
        update_of(Request(name="/a", value="v", expires_at=Timestamp(seconds=5, nanos=nanos)))


def test_every_field_of_a_parameter_is_shown() -> None:
    """Times with their fractions."""
    parameter = Parameter(
        name="/a",
        type=ParameterType.STRING_LIST,
        value="x,y",
        version=2,
        revision=9,
        modified_at=1.25,
        labels=("beta", "stable"),
        description="what for",
        allowed_pattern=".*",
        data_type="text",
        expires_at=99.5,
        tags={"team": "lab"},
        json_schema="{}",
        tier=Tier.ADVANCED,
        policies="[...]",
        modified_by="alice",
    )
    message = message_of(parameter)
    assert message == parameter_pb2.Parameter(
        name="/a",
        type=parameter_pb2.PARAMETER_TYPE_STRING_LIST,
        value="x,y",
        version=2,
        revision=9,
        modified_at=Timestamp(seconds=1, nanos=250_000_000),
        labels=["beta", "stable"],
        description="what for",
        allowed_pattern=".*",
        data_type="text",
        expires_at=Timestamp(seconds=99, nanos=500_000_000),
        tags={"team": "lab"},
        json_schema="{}",
        tier=parameter_pb2.PARAMETER_TIER_ADVANCED,
        policies="[...]",
        modified_by="alice",
    )


def test_a_sealed_value_is_left_empty() -> None:
    """Never the envelope; a value that is not wanted neither."""
    fields = {"name": "/s", "version": 1, "revision": 1, "modified_at": 0.0, "type": ParameterType.SECURE_STRING}
    sealed, opened = Parameter(value=Sealed(b"?"), **fields), Parameter(value="s3cret", **fields)  # type: ignore[arg-type]
    assert message_of(sealed).value == ""
    assert message_of(opened).value == "s3cret"
    assert message_of(opened, with_value=False).value == ""
    assert watch_message_of(opened).put.parameter.value == "s3cret"


def test_deletions_notices_metadata_and_bookmarks_are_told() -> None:
    """Each with its revision."""
    deletion = watch_message_of(Deletion(name="/a", revision=7))
    assert (deletion.WhichOneof("event"), deletion.delete.name, deletion.delete.revision) == ("delete", "/a", 7)
    notice = watch_message_of(Notice(name="/a", revision=8, policy_type="NoChangeNotification", due_at=1.5)).notice
    assert (notice.name, notice.revision, notice.policy_type) == ("/a", 8, "NoChangeNotification")
    assert notice.due_at == Timestamp(seconds=1, nanos=500_000_000)
    change = MetadataChange(name="/a", revision=9, labels={"stable": 2}, tags={"team": "lab"})
    told = watch_message_of(change).metadata
    assert (told.name, told.revision, dict(told.labels), dict(told.tags)) == ("/a", 9, {"stable": 2}, {"team": "lab"})
    bookmark = watch_message_of(Bookmark(revision=9))
    assert (bookmark.WhichOneof("event"), bookmark.bookmark.revision) == ("bookmark", 9)


def parameter(value: str | Sealed = "v") -> Parameter:
    return Parameter(name="/a", type=ParameterType.STRING, value=value, version=1, revision=1, modified_at=0.0)


def test_an_event_is_serialised_once_for_all_watchers() -> None:
    """As the same message that a single watcher would get."""
    shared, event = SharedEvents(), parameter()
    assert shared.bytes_of(event) is shared.bytes_of(event)
    assert shared.bytes_of(event) == watch_message_of(event).SerializeToString()


def test_a_caller_that_sees_the_secret_shares_nothing_with_one_that_does_not() -> None:
    """Equal revisions, different values."""
    shared, sealed = SharedEvents(), parameter(Sealed(b"envelope"))
    opened = replace(sealed, value="s3cret")
    assert b"s3cret" in shared.bytes_of(opened)
    assert b"s3cret" not in shared.bytes_of(sealed)


def test_only_the_newest_events_are_remembered() -> None:
    """However many there are, and each is answered as itself."""
    shared = SharedEvents()
    for number in range(1000):
        one = replace(parameter(), value=str(number))
        assert watch_message_of(one).SerializeToString() == shared.bytes_of(one)
    assert len(shared._newest) <= 8
