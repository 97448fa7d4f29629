"""The HTTP intake as an ASGI application: statuses, bodies, headers."""

import asyncio
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from penstock.tracking.v1.tracking_event_pb2 import TrackingEvent

from services.runtime.errors import InternalError, ResourceExhaustedError
from services.tracking.http import HttpIntake
from services.tracking.intake import Source
from tests.unit.tracking.intake_fixture import HeldLog, make_intake, program


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    json: Any


class Client:
    """Speaks ASGI to the application; bodies are sent in two parts."""

    def __init__(self, log: HeldLog) -> None:
        self.healthy = True
        intake = make_intake(log, program("p"), program("off", enabled=False))
        self._application = HttpIntake(intake, healthy=lambda: self.healthy, max_body_bytes=1000)

    async def request(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()],
        }
        parts: list[MutableMapping[str, Any]] = [
            {"type": "http.request", "body": body[:5], "more_body": True},
            {"type": "http.request", "body": body[5:]},
        ]
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return parts.pop(0)

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await self._application(scope, receive, send)
        start, content = sent
        received = {name.decode(): value.decode() for name, value in start["headers"]}
        assert received["cache-control"] == "no-store"
        assert received["content-length"] == str(len(content["body"]))
        return Answer(start["status"], received, orjson.loads(content["body"]))


@pytest.fixture
def log() -> HeldLog:
    return HeldLog()


@pytest.fixture
def client(log: HeldLog) -> Client:
    return Client(log)


@pytest.mark.parametrize(
    ("target", "status", "outcome"),
    [
        ("/event/p?message_id=m", 200, "ACCEPTED"),
        ("/event/away?message_id=m", 202, "UNVERIFIED"),
        ("/event/nosuch?message_id=m", 404, "UNKNOWN_PROGRAM"),
        ("/event/off?message_id=m", 410, "EXPIRED_PROGRAM"),
        ("/event/not ok?message_id=m", 400, "INVALID"),
        ("/event/?message_id=m", 400, "INVALID"),
    ],
)
async def test_each_outcome_has_its_status(client: Client, target: str, status: int, outcome: str) -> None:
    """The body says the outcome and the message id, and never core data."""
    answer = await client.request("GET", target)
    assert (answer.status, answer.json["outcome"], answer.json["message_id"]) == (status, outcome, "m")
    assert set(answer.json) <= {"outcome", "message_id", "reason"}


async def test_an_unknown_program_is_told_in_the_words_clients_know(client: Client) -> None:
    """The text of the architecture this service follows."""
    assert (await client.request("GET", "/event/nosuch")).json["reason"] == "ProgramId not found"


async def test_a_repetition_is_a_success(client: Client) -> None:
    """A browser that loads twice sees 200 twice."""
    first = await client.request("GET", "/event/p?message_id=m")
    second = await client.request("GET", "/event/p?message_id=m")
    assert [first.json["outcome"], second.json["outcome"]] == ["ACCEPTED", "DUPLICATE"]
    assert second.status == 200


async def test_parameters_and_user_agent_become_fields(client: Client, log: HeldLog) -> None:
    """Other parameters become attributes; a missing User-Agent is normal."""
    target = "/event/p?message_id=m&checksum=c&cookie_id=k%20k&click_id=x&transaction_id=t&utm=a%26b&empty="
    await client.request("GET", target, headers={"User-Agent": "Möz"})
    await client.request("GET", "/event/p?message_id=n")
    first, second = log.events
    assert (first.checksum, first.cookie_id, first.click_id, first.transaction_id) == ("c", "k k", "x", "t")
    assert dict(first.attributes) == {"utm": "a&b", "empty": ""}
    assert first.user_agent == "Möz"
    assert first.source == Source.EVENT_SOURCE_HTTP
    assert second.user_agent == ""


async def test_a_long_user_agent_is_cut_rather_than_the_click_lost(client: Client, log: HeldLog) -> None:
    """At the limit of the field."""
    answer = await client.request("GET", "/event/p", headers={"User-Agent": "x" * 5000})
    assert answer.status == 200
    assert len(log.events[0].user_agent) == 2048


@pytest.mark.parametrize("query", ["message_id=%ff", "message_id=" + "m" * 101])
async def test_a_malformed_parameter_is_a_bad_request(client: Client, query: str) -> None:
    """With the reason."""
    answer = await client.request("GET", f"/event/p?{query}")
    assert answer.status == 400
    assert answer.json["reason"]


async def test_a_batch_has_a_result_per_event(client: Client, log: HeldLog) -> None:
    """Events that are no events among them; snake case and camel case are both taken."""
    events = [
        {"program_id": "p", "message_id": "1"},
        {"programId": "p", "messageId": "2", "attributes": {"a": "b"}},
        {"program_id": 5},
        "nonsense",
        {"program_id": "nosuch", "message_id": "3"},
    ]
    answer = await client.request("POST", "/v1/events", orjson.dumps({"events": events}))
    assert answer.status == 200
    outcomes = [result["outcome"] for result in answer.json["results"]]
    assert outcomes == ["ACCEPTED", "ACCEPTED", "INVALID", "INVALID", "UNKNOWN_PROGRAM"]
    assert "program_id" in answer.json["results"][2]["reason"]
    assert [event.message_id for event in log.events] == ["1", "2"]


async def test_a_batch_without_one_decodable_event_is_answered(client: Client, log: HeldLog) -> None:
    """Nothing is stored."""
    answer = await client.request("POST", "/v1/events", b'{"events": [1]}')
    assert [result["outcome"] for result in answer.json["results"]] == ["INVALID"]
    assert log.events == []


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"{", 400, "not JSON"),
        (b"\xff", 400, "not JSON"),
        (b"[]", 400, "the body must be"),
        (b'{"events": {}}', 400, "the body must be"),
        (b'{"events": []}', 400, "with 1 to 5000 events"),
        (b"x" * 1001, 413, "larger than 1000 bytes"),
    ],
)
async def test_a_body_that_is_no_batch_is_refused(client: Client, body: bytes, status: int, reason: str) -> None:
    """As a whole, with what is wrong."""
    answer = await client.request("POST", "/v1/events", body)
    assert answer.status == status
    assert reason in answer.json["reason"]


async def test_compressed_bodies_are_refused_by_name(client: Client) -> None:
    """Rather than as broken JSON."""
    answer = await client.request("POST", "/v1/events", b"x", {"Content-Encoding": "gzip"})
    assert answer.status == 415
    assert "gzip" in answer.json["reason"]


async def test_a_full_log_is_503_with_the_time_to_come_back(client: Client, log: HeldLog) -> None:
    """Whole seconds, rounded up."""
    log.full = ResourceExhaustedError("the log is full", retry_after=1.2, reason="ERROR_REASON_LOG_FULL")
    for answer in (
        await client.request("GET", "/event/p"),
        await client.request("POST", "/v1/events", b'{"events": [{"program_id": "p"}]}'),
    ):
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        assert answer.json == {"reason": "the log is full"}


async def test_a_failed_disk_is_500(client: Client, log: HeldLog) -> None:
    """Never a success."""
    log.full = InternalError("the disk failed")
    assert (await client.request("GET", "/event/p")).status == 500


async def test_unknown_paths_and_methods_are_told_apart(client: Client) -> None:
    """404 names the paths there are, 405 the method."""
    assert (await client.request("GET", "/nosuch")).status == 404
    answer = await client.request("POST", "/event/p")
    assert (answer.status, answer.headers["allow"]) == (405, "GET")
    assert (await client.request("GET", "/v1/events")).headers["allow"] == "POST"


async def test_health_follows_the_process(client: Client) -> None:
    """200 while it serves, 503 while not."""
    assert (await client.request("GET", "/health/check")).status == 200
    client.healthy = False
    assert (await client.request("GET", "/health/check")).status == 503


async def test_events_over_http_are_stored_as_they_were_sent(client: Client, log: HeldLog) -> None:
    """All fields of the JSON mapping."""
    event = {
        "program_id": "p",
        "message_id": "m",
        "event_type": "EVENT_TYPE_IMPRESSION",
        "occurred_at": "2026-01-02T03:04:05.5Z",
        "attributes": {"k": "v"},
    }
    await client.request("POST", "/v1/events", orjson.dumps({"events": [event]}))
    [stored] = log.events
    expected = TrackingEvent(program_id="p", message_id="m", event_type="EVENT_TYPE_IMPRESSION", attributes={"k": "v"})
    expected.occurred_at.FromJsonString("2026-01-02T03:04:05.5Z")
    for field in ("received_at", "source", "verdict"):
        stored.ClearField(field)
    assert stored == expected


async def test_a_body_that_never_ends_is_given_up(log: HeldLog) -> None:
    """A client that stops in the middle must not hold its connection for ever."""
    application = HttpIntake(make_intake(log), healthy=lambda: True, body_seconds=0)
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await application({"type": "http", "method": "POST", "path": "/v1/events", "headers": []}, receive, send)
    assert sent[0]["status"] == 408


async def test_other_calls_get_their_turn_while_a_large_batch_is_decoded(log: HeldLog) -> None:
    """A loop that stands still makes Redis look away and every other client wait."""
    application = HttpIntake(make_intake(log), healthy=lambda: True)
    body = orjson.dumps({"events": [{"program_id": "p"}] * 1000})
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(_message: MutableMapping[str, Any]) -> None:
        return None

    counter = asyncio.create_task(count_turns())
    await application({"type": "http", "method": "POST", "path": "/v1/events", "headers": []}, receive, send)
    counter.cancel()
    assert turns >= 10
