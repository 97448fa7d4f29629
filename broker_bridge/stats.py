"""What happened on a route since the bridge started, for operators and Prometheus."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector


@dataclass(slots=True, kw_only=True)
class RouteStats:
    """Counts; the field comments of `penstock.bridge.v1.RouteStats` say what each one means."""

    received: int = 0
    delivered: int = 0
    filtered: int = 0
    settled: int = 0
    retried: int = 0
    dead_lettered: int = 0
    duplicates: int = 0
    dropped_acks: int = 0
    """ACKs not sent because their connection was gone: those messages come again."""
    replies: int = 0
    late_replies: int = 0
    unsent_replies: int = 0
    last_settled_at: int = 0
    """Milliseconds since 1970; 0 when no message was settled yet."""
    connections: int = 0
    connections_lost: int = 0
    circuits_opened: int = 0
    """Times that a target was not called any more."""
    rate_limited: int = 0
    """Waits for the rate limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The counts of a route with what is in flight now; `oldest_age` in seconds."""

    route: str
    stats: RouteStats
    in_flight: int
    in_flight_bytes: int
    oldest_age: float
    open_circuits: int = 0


_COUNTS = [field for field in fields(RouteStats) if field.name != "last_settled_at"]
_GAUGES: Sequence[tuple[str, str, Callable[[Snapshot], float]]] = (
    ("in_flight", "Messages taken and not settled.", lambda snapshot: snapshot.in_flight),
    ("in_flight_bytes", "Bytes of their bodies.", lambda snapshot: snapshot.in_flight_bytes),
    ("oldest_in_flight_seconds", "Age of the oldest message in flight.", lambda snapshot: snapshot.oldest_age),
    (
        "last_settled_timestamp_seconds",
        "When a message was last settled, in seconds since 1970; 0 when none was.",
        lambda snapshot: snapshot.stats.last_settled_at / 1000,
    ),
    ("open_circuits", "Targets that are not called now.", lambda snapshot: snapshot.open_circuits),
)


class BridgeMetrics(Collector):
    """The counts of all routes for Prometheus, read when it asks."""

    def __init__(self, snapshots: Callable[[], Sequence[Snapshot]]) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        snapshots = self._snapshots()
        for field in _COUNTS:
            family = CounterMetricFamily(
                f"penstock_bridge_{field.name}",
                f"Messages or events: {field.name.replace('_', ' ')}.",
                labels=("route",),
            )
            for snapshot in snapshots:
                family.add_metric((snapshot.route,), getattr(snapshot.stats, field.name))
            yield family
        for name, help_text, read in _GAUGES:
            gauge = GaugeMetricFamily(f"penstock_bridge_{name}", help_text, labels=("route",))
            for snapshot in snapshots:
                gauge.add_metric((snapshot.route,), read(snapshot))
            yield gauge
