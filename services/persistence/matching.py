"""Which click or impression led to a transaction: last touch, within a window.

What becomes of a transaction depends on the events of its program within the longer window before it and on nothing
else: neither on when the job runs nor on how time is cut into runs. Events of one time are taken in one order, touches
before transactions, then by message id.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from penstock.persistence.v1 import conversion_pb2 as pb
from penstock.tracking.v1 import tracking_event_pb2 as event_pb
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """How long before a transaction a touch counts, in microseconds."""

    click: int
    impression: int

    @property
    def longer(self) -> int:
        return max(self.click, self.impression)


@dataclass(frozen=True, kw_only=True, slots=True)
class Occurrence:
    """An event and its place in time, microseconds since 1970 UTC."""

    at: int
    event: TrackingEvent

    @property
    def order(self) -> tuple[int, bool, str]:
        return self.at, self.is_transaction, self.event.message_id

    @property
    def is_transaction(self) -> bool:
        return self.event.event_type == event_pb.EVENT_TYPE_TRANSACTION


class _Lasts(Generic[Key]):
    """The last event of each key within the window."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._lasts: dict[Key, tuple[int, str]] = {}  # oldest first

    def put(self, key: Key, at: int, message_id: str) -> None:
        self._lasts.pop(key, None)
        self._lasts[key] = at, message_id

    def get(self, key: Key) -> tuple[int, str] | None:
        """When it occurred, and its message id."""
        return self._lasts.get(key)

    def forget(self, at: int) -> None:
        """Drop what lies before the window that ends at `at`."""
        while self._lasts:
            key = next(iter(self._lasts))
            if self._lasts[key][0] >= at - self._window:
                return
            del self._lasts[key]


class Matcher:
    """Takes events in `Occurrence.order`; holds the last touches of every cookie within the windows."""

    def __init__(self, windows: Windows) -> None:
        self._clicks: _Lasts[tuple[str, str]] = _Lasts(windows.click)
        self._named_clicks: _Lasts[tuple[str, str]] = _Lasts(windows.click)
        self._impressions: _Lasts[tuple[str, str]] = _Lasts(windows.impression)
        self._transactions: _Lasts[tuple[str, str]] = _Lasts(windows.longer)

    def take(self, occurrence: Occurrence) -> pb.Conversion | None:
        """What became of a transaction; None for other events."""
        for lasts in (self._clicks, self._named_clicks, self._impressions, self._transactions):
            lasts.forget(occurrence.at)
        if occurrence.is_transaction:
            return self._conversion(occurrence)
        self._touch(occurrence)
        return None

    def _touch(self, occurrence: Occurrence) -> None:
        event, at = occurrence.event, occurrence.at
        is_impression = event.event_type == event_pb.EVENT_TYPE_IMPRESSION
        if event.cookie_id:
            cookies = self._impressions if is_impression else self._clicks
            cookies.put((event.program_id, event.cookie_id), at, event.message_id)
        if not is_impression:
            # A transaction names a click by the click's own click id, or by its message id.
            for name in {event.click_id, event.message_id} - {""}:
                self._named_clicks.put((event.program_id, name), at, event.message_id)

    def _conversion(self, occurrence: Occurrence) -> pb.Conversion:
        event = occurrence.event
        outcome, touch = self._found(event, occurrence.at)
        conversion = pb.Conversion(
            message_id=event.message_id,
            program_id=event.program_id,
            transaction_id=event.transaction_id,
            cookie_id=event.cookie_id,
            outcome=outcome,
        )
        conversion.occurred_at.FromMicroseconds(occurrence.at)
        if touch is not None:
            conversion.touch_occurred_at.FromMicroseconds(touch[0])
            conversion.touch_message_id = touch[1]
        return conversion

    def _found(self, event: TrackingEvent, at: int) -> tuple[pb.ConversionOutcome, tuple[int, str] | None]:
        if event.transaction_id:
            key = event.program_id, event.transaction_id
            earlier = self._transactions.get(key)
            self._transactions.put(key, at, event.message_id)
            if earlier is not None:
                return pb.CONVERSION_OUTCOME_DUPLICATE, earlier
        if event.click_id and (named := self._named_clicks.get((event.program_id, event.click_id))):
            return pb.CONVERSION_OUTCOME_CLICK, named
        if event.cookie_id:
            key = event.program_id, event.cookie_id
            if click := self._clicks.get(key):
                return pb.CONVERSION_OUTCOME_CLICK, click
            if impression := self._impressions.get(key):
                return pb.CONVERSION_OUTCOME_IMPRESSION, impression
        return pb.CONVERSION_OUTCOME_UNATTRIBUTED, None
