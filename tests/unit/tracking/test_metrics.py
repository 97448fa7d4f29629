"""What Prometheus reads of an intake."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent
from prometheus_client import CollectorRegistry

from services.tracking.bad_events import BadEventFile
from services.tracking.group_commit import DurableLog, LogLimits
from services.tracking.intake import Source
from services.tracking.log import SegmentLog
from services.tracking.metrics import TrackingMetrics
from services.tracking.shipping import CursorFile, MemorySink, Shipper
from tests.unit.tracking.intake_fixture import HeldLog, make_intake


@pytest.fixture
def segments(tmp_path: Path) -> Iterator[SegmentLog]:
    log = SegmentLog.open(tmp_path / "log")
    yield log
    log.close()


async def test_outcomes_log_and_shipping_are_shown(segments: SegmentLog, tmp_path: Path) -> None:
    """Each outcome is a series from the start, so that alerts can be written on it."""
    intake = make_intake(HeldLog())
    log = DurableLog(segments, limits=LogLimits(max_bytes=1000))
    shipper = Shipper(
        log=segments,
        growth=log,
        sink=MemorySink(),
        cursor=CursorFile(tmp_path / "cursor.json"),
        bad_events=BadEventFile(tmp_path / "bad.jsonl", now=lambda: 0.0),
    )
    registry = CollectorRegistry()
    registry.register(TrackingMetrics(intake=intake, log=log, shipper=shipper))
    await intake.track([TrackingEvent(program_id="p"), TrackingEvent(program_id="nosuch")], Source.EVENT_SOURCE_GRPC)
    log.append(b"12345", 1)
    shipper.progress.shipped = 7

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"penstock_tracking_{name}", labels)

    assert value("events_total", outcome="ACCEPTED") == 1
    assert value("events_total", outcome="UNKNOWN_PROGRAM") == 1
    assert value("events_total", outcome="UNVERIFIED") == 0
    assert value("log_bytes") == 5
    assert value("shipped_total") == 7
    assert value("bad_total") == 0
    assert value("shipping_failures_total") == 0
