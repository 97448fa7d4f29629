"""`penstock log bad-events` and `repair`, without an intake."""

import json
from pathlib import Path

import pytest
from penstock.persistence.v1.persistence_service_pb2 import PutEventsRequest
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent
from typer.testing import CliRunner, Result

from cli.__main__ import app
from services.tracking.bad_events import BadEventFile
from services.tracking.log import SegmentLog


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["log", *arguments])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A log of two segments, the first of which is damaged, and an event that was set aside."""
    log = SegmentLog.open(tmp_path / "log", segment_bytes=50)
    for message_id in ("a", "b", "c"):
        payload = PutEventsRequest(events=[TrackingEvent(message_id=message_id)]).SerializeToString()
        log.append(payload, 1)
    log.close()
    path = tmp_path / "log" / f"{1:020d}.log"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    bad = TrackingEvent(message_id="bad", program_id="p").SerializeToString()
    BadEventFile(tmp_path / "bad-events.jsonl", now=lambda: 0.0).add([(bad, "no room")])
    return tmp_path


def test_a_damaged_log_is_repaired(directory: Path) -> None:
    """Inspect says how, repair does it, and inspect is content."""
    inspected = run("inspect", str(directory))
    assert inspected.exit_code == 1
    assert f"penstock log repair {directory}" in inspected.stderr
    repaired = run("repair", str(directory), "--json")
    [segment] = json.loads(repaired.stdout)
    assert (repaired.exit_code, segment["segment"], segment["events"]) == (0, 1, 1)
    assert Path(segment["kept_as"]).exists()
    assert run("inspect", str(directory)).exit_code == 0
    assert json.loads(run("repair", str(directory), "--json").stdout) == []


def test_the_log_of_a_running_intake_is_not_repaired(directory: Path) -> None:
    """Exit code 1."""
    run("repair", str(directory))
    log = SegmentLog.open(directory / "log")
    refused = run("repair", str(directory))
    log.close()
    assert refused.exit_code == 1
    assert "another process writes to the log" in refused.stderr


def test_a_folder_without_a_log_is_refused(tmp_path: Path) -> None:
    """Exit code 1, and what to name."""
    refused = run("repair", str(tmp_path))
    assert (refused.exit_code, "name the DATA_DIRECTORY" in refused.stderr) == (1, True)


def test_events_that_were_set_aside_are_listed_and_can_be_sent_again(directory: Path) -> None:
    """A line each with the reason; alone they are what `penstock track --file` reads."""
    listed = run("bad-events", str(directory))
    assert listed.stdout == "1970-01-01T00:00:00+00:00\tp\tbad\tno room\n"
    alone = run("bad-events", str(directory), "--events")
    assert json.loads(alone.stdout) == {"program_id": "p", "message_id": "bad"}
    [row] = json.loads(run("bad-events", str(directory), "--json").stdout)
    assert (row["reason"], row["event"]["message_id"]) == ("no room", "bad")


def test_an_event_that_cannot_be_decoded_hides_no_other(directory: Path) -> None:
    """It is listed with its reason, and cannot be sent again."""
    BadEventFile(directory / "bad-events.jsonl", now=lambda: 0.0).add([(b"\xff", "cannot be decoded")])
    rows = json.loads(run("bad-events", str(directory), "--json").stdout)
    assert [(row["message_id"], row["reason"]) for row in rows] == [("bad", "no room"), ("", "cannot be decoded")]
    assert len(run("bad-events", str(directory), "--events").stdout.splitlines()) == 1


def test_half_a_line_is_left_out(directory: Path) -> None:
    """It is being written."""
    path = directory / "bad-events.jsonl"
    path.write_bytes(path.read_bytes() + b'{"time": 1, "rea')
    assert len(json.loads(run("bad-events", str(directory), "--json").stdout)) == 1
