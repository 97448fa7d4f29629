"""What Prometheus reads: events by outcome, the log, and shipping. Read on demand: events pay nothing for it."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.tracking.group_commit import DurableLog
from services.tracking.intake import Intake
from services.tracking.results import Outcome
from services.tracking.shipping import Shipper


class TrackingMetrics(Collector):
    """Collects from the parts of one process."""

    def __init__(self, *, intake: Intake, log: DurableLog, shipper: Shipper) -> None:
        self._intake = intake
        self._log = log
        self._shipper = shipper

    def collect(self) -> Iterator[Metric]:
        outcomes = CounterMetricFamily("penstock_tracking_events", "Events decided, by outcome.", labels=("outcome",))
        for outcome, count in self._intake.counts.items():
            outcomes.add_metric((Outcome.Name(outcome).removeprefix("TRACK_OUTCOME_"),), count)
        yield outcomes
        yield GaugeMetricFamily("penstock_tracking_log_bytes", "Bytes of the log.", self._log.used_bytes)
        progress = self._shipper.progress
        yield CounterMetricFamily("penstock_tracking_shipped", "Events the store has taken.", progress.shipped)
        yield CounterMetricFamily("penstock_tracking_bad", "Events the store refused for good.", progress.bad)
        yield CounterMetricFamily(
            "penstock_tracking_shipping_failures", "Failed calls to the store.", progress.failures
        )
