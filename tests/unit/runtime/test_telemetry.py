"""Trace context, log lines and metric look-up."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from services.runtime.telemetry import (
    TraceContext,
    configure_logging,
    counter,
    current_request_id,
    current_trace,
    gauge,
    histogram,
    inject_trace,
    mask_secrets,
    request_id_from_mapping,
    trace_from_mapping,
)

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = f"00-{TRACE_ID}-{SPAN_ID}-01"

hex_digits = st.sampled_from("0123456789abcdef")


def hex_id(digits: int) -> st.SearchStrategy[str]:
    """An id that is not all zeros."""
    return st.text(hex_digits, min_size=digits, max_size=digits).filter(lambda text: bool(int(text, 16)))


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    """Leaves the process's logging as it was."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@given(hex_id(32), hex_id(16), st.integers(min_value=0, max_value=255))
def test_written_context_is_read_back(trace_id: str, span_id: str, flags: int) -> None:
    """Format and parse are inverse."""
    context = TraceContext(trace_id=trace_id, span_id=span_id, flags=flags)
    assert TraceContext.parse(context.format()) == context


@given(st.text(max_size=70))
def test_any_text_is_a_context_or_none(text: str) -> None:
    """A header from outside never raises."""
    TraceContext.parse(text)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        HEADER.upper(),
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"{HEADER}-more",
        f"{HEADER}\n",
        f"00-{TRACE_ID}-{SPAN_ID}-1",
    ],
)
def test_malformed_header_is_no_context(header: str) -> None:
    """Section 2.2: then a new trace begins."""
    assert TraceContext.parse(header) is None
    fresh = trace_from_mapping({"traceparent": header})
    assert fresh.trace_id != TRACE_ID
    assert TraceContext.parse(fresh.format()) == fresh


def test_later_version_with_more_fields_is_read_as_far_as_known() -> None:
    """Section 4: a higher version must still be followed."""
    context = TraceContext.parse(f"01-{TRACE_ID}-{SPAN_ID}-01-future")
    assert context is not None
    assert context.trace_id == TRACE_ID


def test_received_context_is_continued_in_a_span_of_its_own() -> None:
    """The trace stays, the span is ours, the vendors' state travels on."""
    context = trace_from_mapping({"traceparent": HEADER, "tracestate": "vendor=1"})
    assert (context.trace_id, context.state) == (TRACE_ID, "vendor=1")
    assert context.span_id != SPAN_ID


@pytest.mark.parametrize(
    "state",
    [
        "a=b\r\nContent-Length: 0\r\n\r\nPOST /admin HTTP/1.1\r\nHost: evil",
        "a=b\n",
        "a=\0",
        "a=é",
        "a=b\x7f",
        "x" * 512 + "\n",
    ],
)
def test_vendor_state_that_no_header_holds_is_discarded(state: str) -> None:
    """Section 3.3: it may be. Line ends would begin a request of their own over HTTP, and gRPC takes only ASCII."""
    context = trace_from_mapping({"traceparent": HEADER, "tracestate": state})
    assert (context.trace_id, context.state) == (TRACE_ID, "")
    printable = "".join(map(chr, range(0x20, 0x7F)))
    assert trace_from_mapping({"traceparent": HEADER, "tracestate": printable}).state == printable


def test_context_is_written_into_the_outgoing_mapping() -> None:
    """The same for gRPC metadata, JMS properties and the Lambda client context."""
    properties = {"color": "red"}
    inject_trace(properties, TraceContext(trace_id=TRACE_ID, span_id=SPAN_ID, state="vendor=1"))
    assert properties == {"color": "red", "traceparent": HEADER, "tracestate": "vendor=1"}


def test_nothing_is_written_without_a_trace() -> None:
    """No invented ids on messages that belong to no trace."""
    properties: dict[str, str] = {}
    inject_trace(properties)
    assert properties == {}


@pytest.mark.parametrize("given_id", ["", "with space", "x" * 129, "line\nbreak", "ümlaut"])
def test_unusable_request_id_is_replaced(given_id: str) -> None:
    """It goes into logs and headers."""
    made = request_id_from_mapping({"x-request-id": given_id})
    assert made != given_id
    assert len(made) == 32


def test_usable_request_id_is_kept() -> None:
    """The caller's own id connects its logs with ours."""
    assert request_id_from_mapping({"x-request-id": "order-17"}) == "order-17"


@pytest.mark.usefixtures("_logging_restored")
def test_log_line_is_json_with_service_trace_and_request_id(capsys: pytest.CaptureFixture[str]) -> None:
    """Collectors read one object per line from stderr."""
    configure_logging("sample", "info")
    trace_token = current_trace.set(TraceContext(trace_id=TRACE_ID, span_id=SPAN_ID))
    request_token = current_request_id.set("order-17")
    try:
        structlog.get_logger().info("stored", events=3)
        structlog.get_logger().debug("not shown")
        logging.getLogger("library").warning("from %s", "a library")
        logging.getLogger("library").info("not shown")
    finally:
        current_trace.reset(trace_token)
        current_request_id.reset(request_token)
    captured = capsys.readouterr()
    ours, foreign = [json.loads(line) for line in captured.err.splitlines()]
    assert captured.out == ""
    assert (ours["event"], ours["events"], ours["service"], ours["level"]) == ("stored", 3, "sample", "info")
    assert (ours["trace_id"], ours["span_id"], ours["request_id"]) == (TRACE_ID, SPAN_ID, "order-17")
    assert ours["timestamp"].endswith("Z")
    assert (foreign["event"], foreign["logger"], foreign["level"]) == ("from a library", "library", "warning")


@pytest.mark.usefixtures("_logging_restored")
def test_exception_is_logged_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """One line still, and the place is in it."""
    configure_logging("sample")
    try:
        {"present": 1}.pop("missing")
    except KeyError:
        structlog.get_logger().exception("failed")
    line = json.loads(capsys.readouterr().err)
    assert "KeyError: 'missing'" in line["exception"]
    assert "test_telemetry.py" in line["exception"]


@pytest.mark.usefixtures("_logging_restored")
def test_secret_never_reaches_a_log_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither as a secret field nor under a telling key."""
    configure_logging("sample")
    structlog.get_logger().info(
        "login", value=SecretStr("hush-1"), password="hush-2", headers={"Authorization": "hush-3"}, user="penstock"
    )
    line = capsys.readouterr().err
    assert "hush" not in line
    assert "penstock" in line


def test_mask_leaves_other_values_alone() -> None:
    """Only the keys that name a secret."""
    event = {"event": "x", "api_token": "t", "broker": {"login": "a", "passwd": "b"}}
    assert mask_secrets(None, "info", event) == {
        "event": "x",
        "api_token": "***",
        "broker": {"login": "a", "passwd": "***"},
    }


def test_metric_of_a_name_is_one_for_every_caller() -> None:
    """A service built twice in one process, as in tests, counts in the same metric."""
    registry = CollectorRegistry()
    assert counter("c", "A counter.", registry=registry) is counter("c", "A counter.", registry=registry)
    assert gauge("g", "A gauge.", registry=registry) is gauge("g", "A gauge.", registry=registry)
    assert histogram("h", "Seconds.", registry=registry) is histogram("h", "Seconds.", registry=registry)


def test_metric_of_another_kind_is_refused() -> None:
    """The same name for two things is a mistake."""
    registry = CollectorRegistry()
    counter("thing", "A counter.", registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        gauge("thing", "A gauge.", registry=registry)
