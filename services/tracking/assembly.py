"""The parts of one intake process, built from its settings and tied together; the only place that knows all of them."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import cache
from time import time
from typing import Self

from services.runtime.aws import BlockingCalls, aws_client
from services.runtime.channel import open_channel
from services.runtime.health import HealthBoard
from services.runtime.http_server import HttpServer
from services.tracking.bad_events import BadEventFile
from services.tracking.browsers import BrowserRules
from services.tracking.group_commit import DurableLog, LogLimits
from services.tracking.http import HttpIntake
from services.tracking.intake import Intake
from services.tracking.kinesis_sink import KinesisSink
from services.tracking.log import SegmentLog
from services.tracking.lookup import ProgramLookup
from services.tracking.persistence_sink import PersistenceSink
from services.tracking.program_store import ProgramStore
from services.tracking.redis_store import RedisProgramStore
from services.tracking.settings import TrackingSettings
from services.tracking.shipping import CursorFile, Shipper, ShippingLimits
from services.tracking.stream_records import RequestLimits
from services.tracking.window import DedupWindow

_KINESIS_CALLS = 4
_KINESIS_SECONDS = 10.0

Hook = Callable[[], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class TrackingParts:
    """What serves, what runs beside it (`tasks`), and what ends when the drain begins (`before_stop`)."""

    store: ProgramStore
    intake: Intake
    log: DurableLog
    shipper: Shipper
    tasks: list[Hook] = field(default_factory=list)
    before_stop: list[Hook] = field(default_factory=list)

    @classmethod
    def open(cls, settings: TrackingSettings, health: HealthBoard, stack: AsyncExitStack) -> Self:
        """Builds everything; `stack` closes it. A dependency that is away degrades the health and stops nothing."""
        store = RedisProgramStore(
            settings.redis_url.get_secret_value(),
            prefix=settings.redis_prefix,
            timeout=settings.redis_timeout_seconds,
        )
        stack.push_async_callback(store.close)
        lookup = ProgramLookup(
            store,
            size=settings.cache_size,
            seconds=settings.cache_seconds,
            absent_seconds=settings.absent_cache_seconds,
            on_state=lambda detail: health.set("programs", True, detail),
        )
        log = _log(settings, stack)
        shipper = _shipper(settings, log, health, stack)
        intake = Intake(
            programs=lookup,
            log=log,
            window=DedupWindow(settings.dedup_window),
            ip_addresses=settings.ip_addresses,
            late_seconds=settings.late_seconds,
        )
        parts = cls(store=store, intake=intake, log=log, shipper=shipper)
        parts.tasks += [log.run, lookup.follow, shipper.run]
        if settings.http_port:
            parts._add_http(settings, health)
        return parts

    def _add_http(self, settings: TrackingSettings, health: HealthBoard) -> None:
        def healthy() -> bool:
            state = health.get()
            return state is not None and state.serving

        server = HttpServer(
            HttpIntake(
                self.intake,
                healthy=healthy,
                rules=_browser_rules(settings),
                max_body_bytes=settings.max_http_body_bytes,
            ),
            host=settings.host,
            port=settings.http_port,
            setting=settings.variable("http_port"),
            tls_cert=settings.tls_cert,
            tls_key=settings.tls_key,
        )
        self.tasks.append(server.run)
        self.before_stop.append(server.stop)


def _browser_rules(settings: TrackingSettings) -> BrowserRules:
    return BrowserRules(
        cors_origins=settings.cors_origins,
        redirect_hosts=settings.redirect_hosts,
        cookie_name=settings.cookie_name,
        cookie_seconds=settings.cookie_seconds,
        cookie_same_site=settings.cookie_same_site,
        secure=settings.https or settings.tls_cert is not None,
        respect_do_not_track=settings.respect_do_not_track,
        proxies=settings.trusted_proxies,
    )


def _log(settings: TrackingSettings, stack: AsyncExitStack) -> DurableLog:
    segments = SegmentLog.open(settings.data_directory / "log", segment_bytes=settings.segment_bytes)
    limits = LogLimits(max_bytes=settings.log_max_bytes, min_free_bytes=settings.log_min_free_bytes)
    log = DurableLog(segments, limits=limits, level=settings.ack_level)
    stack.callback(log.close)
    return log


def _shipper(settings: TrackingSettings, log: DurableLog, health: HealthBoard, stack: AsyncExitStack) -> Shipper:
    return Shipper(
        log=log.segments,
        growth=log,
        sink=_kinesis_sink(settings) if settings.ship_to == "kinesis" else _persistence_sink(settings, stack),
        cursor=CursorFile(settings.data_directory / "cursor.json"),
        bad_events=BadEventFile(settings.data_directory / "bad-events.jsonl", now=time),
        limits=ShippingLimits(max_events=settings.ship_batch_events),
        on_state=lambda detail: health.set("shipping", True, detail and f"events are kept in the log: {detail}"),
    )


def _persistence_sink(settings: TrackingSettings, stack: AsyncExitStack) -> PersistenceSink:
    channel = open_channel(
        settings.persistence_target, tls_ca=settings.persistence_tls_ca, max_message_bytes=settings.max_message_bytes
    )
    stack.push_async_callback(channel.close)
    return PersistenceSink(channel)


def _kinesis_sink(settings: TrackingSettings) -> KinesisSink:
    @cache
    def client() -> object:
        return aws_client(
            "kinesis",
            region=settings.aws_region,
            endpoint_url=settings.aws_endpoint_url,
            read_timeout=_KINESIS_SECONDS,
            max_attempts=1,  # the shipper tries again, and knows what is left
            connections=_KINESIS_CALLS,
        )

    return KinesisSink(
        stream=settings.kinesis_stream,
        client=client,
        calls=BlockingCalls(_KINESIS_CALLS, "kinesis"),
        key=settings.kinesis_partition_key,
        aggregated_keys=settings.kinesis_aggregated_keys,
        limits=RequestLimits(
            request_bytes=settings.kinesis_max_request_bytes, record_bytes=settings.kinesis_max_record_bytes
        ),
    )
