"""Logs, metrics and trace context of a process.

Logs are JSON lines on stderr. Trace context is W3C's `traceparent` (https://www.w3.org/TR/trace-context/), taken from
and passed on in gRPC metadata, JMS properties and the `custom` map of a Lambda client context: mappings of text.
"""

import logging
import random
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TypeVar

import orjson
import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

TRACE_KEY = "traceparent"
TRACE_STATE_KEY = "tracestate"
REQUEST_ID_KEY = "x-request-id"

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_TRACE_STATE = re.compile(r"[\x20-\x7e]*")  # section 3.3.1.3.2, and all that HTTP and gRPC carry
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_SECRET_KEY = re.compile(r"password|passwd|secret|token|authorization|credential", re.IGNORECASE)
_MAX_TRACE_STATE = 512  # what the specification asks everybody to pass on at least


def random_hex(size: int) -> str:
    """An id of `size` bytes in hexadecimal: unique, not secret; the system's randomness would cost every call more."""
    return f"{random.getrandbits(8 * size):0{2 * size}x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """Where in a trace we are: lower-case hexadecimal ids (16 and 8 bytes), the flag byte, the vendors' state."""

    trace_id: str
    span_id: str
    flags: int = 1
    state: str = ""

    @classmethod
    def new(cls, hex_id: Callable[[int], str] = random_hex) -> "TraceContext":
        """The first span of a new trace."""
        return cls(trace_id=hex_id(16), span_id=hex_id(8))

    @classmethod
    def parse(cls, traceparent: str, state: str = "") -> "TraceContext | None":
        """The context in a `traceparent` header, None when it is not valid (section 2.2.2: then start a new trace).

        A `state` that is not printable ASCII is discarded, as section 3.3 allows: it would not pass as a header.
        """
        match = _TRACEPARENT.fullmatch(traceparent)
        if match is None:
            return None
        version, trace_id, span_id, flags, rest = match.groups()
        if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(span_id, 16):
            return None
        kept = state[:_MAX_TRACE_STATE] if _TRACE_STATE.fullmatch(state) else ""
        return cls(trace_id=trace_id, span_id=span_id, flags=int(flags, 16), state=kept)

    def child(self, hex_id: Callable[[int], str] = random_hex) -> "TraceContext":
        """A new span of the same trace."""
        return replace(self, span_id=hex_id(8))

    def format(self) -> str:
        """The `traceparent` header, version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


current_trace: ContextVar[TraceContext | None] = ContextVar("current_trace", default=None)
current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")


def trace_from_mapping(mapping: Mapping[str, object]) -> TraceContext:
    """A span below the one that `mapping` names, or of a new trace when it names none or a malformed one."""
    parent = TraceContext.parse(str(mapping.get(TRACE_KEY, "")), str(mapping.get(TRACE_STATE_KEY, "")))
    return parent.child() if parent else TraceContext.new()


def inject_trace(mapping: MutableMapping[str, str], trace: TraceContext | None = None) -> None:
    """Writes `trace`, by default the current one, into `mapping`; without a trace nothing changes."""
    trace = trace or current_trace.get()
    if trace is None:
        return
    mapping[TRACE_KEY] = trace.format()
    if trace.state:
        mapping[TRACE_STATE_KEY] = trace.state


def request_id_from_mapping(mapping: Mapping[str, object]) -> str:
    """The caller's request id when it is usable (1 to 128 visible ASCII characters), otherwise a new one."""
    given = str(mapping.get(REQUEST_ID_KEY, ""))
    return given if _REQUEST_ID.fullmatch(given) else random_hex(16)


def configure_logging(service: str, level: str = "info") -> None:
    """Sends structlog's and the standard library's records to stderr, one JSON object per line.

    Each line has `timestamp` (UTC), `level`, `service`, `event`, and inside a call `trace_id`, `span_id`, `request_id`.
    Values under keys that name a secret are masked.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]

    def add_context(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        trace, request_id = current_trace.get(), current_request_id.get()
        if trace is not None:
            event["trace_id"], event["span_id"] = trace.trace_id, trace.span_id
        if request_id:
            event["request_id"] = request_id
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_context,
        structlog.processors.format_exc_info,
        mask_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_json)],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_json),
            ],
        )
    )
    # Libraries speak up from warnings on: their info lines tell of single requests.
    logging.basicConfig(level=max(threshold, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger("penstock").setLevel(threshold)  # the client that ships with the stubs


def mask_secrets(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Masks the values of keys that name a secret, one level of mappings deep."""
    for key, value in event.items():
        if _SECRET_KEY.search(key):
            event[key] = "***"
        elif isinstance(value, Mapping):
            event[key] = {k: "***" if _SECRET_KEY.search(str(k)) else v for k, v in value.items()}
    return event


def _json(event: object, **_options: object) -> str:
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()


M = TypeVar("M", Counter, Gauge, Histogram)
LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds; from half a millisecond, what an answer from memory takes, to where callers give up."""


def counter(name: str, text: str, labels: Sequence[str] = (), registry: CollectorRegistry = REGISTRY) -> Counter:
    """The counter of this name; the same one for every caller. Prometheus shows it with the suffix `_total`."""
    return _existing(Counter, name, registry) or Counter(name, text, labels, registry=registry)


def gauge(name: str, text: str, labels: Sequence[str] = (), registry: CollectorRegistry = REGISTRY) -> Gauge:
    """The gauge of this name; the same one for every caller."""
    return _existing(Gauge, name, registry) or Gauge(name, text, labels, registry=registry)


def histogram(
    name: str,
    text: str,
    labels: Sequence[str] = (),
    buckets: Sequence[float] = LATENCY_BUCKETS,
    registry: CollectorRegistry = REGISTRY,
) -> Histogram:
    """The histogram of this name; the same one for every caller. Unit: seconds, where `buckets` is not given."""
    return _existing(Histogram, name, registry) or Histogram(name, text, labels, buckets=buckets, registry=registry)


def _existing(kind: type[M], name: str, registry: CollectorRegistry) -> M | None:
    # A registry refuses a second metric of a name; processes built twice in one interpreter, as in tests, share them.
    found = registry._names_to_collectors.get(name)  # noqa: SLF001 - the registry has no public look-up
    return found if isinstance(found, kind) else None
