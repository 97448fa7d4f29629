"""The HTTP intake as an ASGI application: statuses, bodies, headers."""

import asyncio
import gzip
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from penstock.tracking.v1.tracking_event_pb2 import EVENT_TYPE_IMPRESSION, TrackingEvent

from services.runtime.errors import InternalError, ResourceExhaustedError
from services.tracking.browsers import BrowserRules
from services.tracking.http import HttpIntake
from services.tracking.http_request import RequestError, inflated
from services.tracking.intake import Source
from tests.unit.tracking.intake_fixture import HeldLog, make_intake, program


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    json: Any
    body: bytes


class Client:
    """Speaks ASGI to the application; bodies are sent in two parts."""

    def __init__(self, log: HeldLog, rules: BrowserRules | None = None) -> None:
        self.healthy = True
        intake = make_intake(log, program("p"), program("off", enabled=False))
        self._application = HttpIntake(
            intake, healthy=lambda: self.healthy, rules=rules, max_body_bytes=1000, new_id=lambda: "new-visitor"
        )

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
            "client": ("192.0.2.77", 50000),
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
        is_json = received.get("content-type") == "application/json"
        body = content["body"]
        return Answer(start["status"], received, orjson.loads(body) if is_json else None, body)


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


async def test_a_compressed_batch_is_taken(client: Client, log: HeldLog) -> None:
    """Also one of several gzip members, as some clients append them."""
    body = orjson.dumps({"events": [{"program_id": "p", "message_id": "m" * 90}] * 5})
    compressed = gzip.compress(body[:40]) + gzip.compress(body[40:])
    answer = await client.request("POST", "/v1/events", compressed, {"Content-Encoding": "gzip"})
    assert [result["outcome"] for result in answer.json["results"]] == ["ACCEPTED"] + ["DUPLICATE"] * 4
    assert len(log.events) == 1


@pytest.mark.parametrize(
    ("body", "encoding", "status", "reason"),
    [
        (gzip.compress(b"x" * 1_000_000), "gzip", 413, "larger than 1000 bytes"),
        (b"x", "gzip", 400, "cut off"),
        (b"no gzip at all", "gzip", 400, "not gzip"),
        (gzip.compress(b'{"events": [1]}')[:-4], "gzip", 400, "cut off"),
        (b"", "gzip", 400, "cut off"),
        (gzip.compress(b"") * 60, "gzip", 413, "larger than 1000 bytes"),
        (b"x", "br", 415, "br is not taken"),
    ],
)
async def test_a_body_that_cannot_be_inflated_is_refused(
    client: Client, body: bytes, encoding: str, status: int, reason: str
) -> None:
    """Bounded both as it comes and inflated: a small body that promises a large one costs nothing."""
    answer = await client.request("POST", "/v1/events", body, {"Content-Encoding": encoding})
    assert answer.status == status
    assert reason in answer.json["reason"]


def test_a_gzip_body_of_many_parts_is_refused() -> None:
    """Each of them costs a copy of those behind it."""
    with pytest.raises(RequestError, match="too many parts"):
        inflated(gzip.compress(b"") * 101, 1000)
    assert inflated(gzip.compress(b"x") * 100, 1000) == b"x" * 100


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


@pytest.mark.parametrize(
    ("target", "status", "outcome"),
    [
        ("program_id=p&message_id=m&campaign=x", 200, "ACCEPTED"),
        ("program_id=nosuch", 404, "UNKNOWN_PROGRAM"),
        ("program_id=off", 410, "EXPIRED_PROGRAM"),
        ("", 400, "INVALID"),
    ],
)
async def test_the_pixel_is_an_image_whatever_the_outcome(
    client: Client, log: HeldLog, target: str, status: int, outcome: str
) -> None:
    """Nobody sees a broken image; status and a header tell what became of the impression."""
    answer = await client.request("GET", f"/pixel.gif?{target}")
    assert (answer.status, answer.headers["x-penstock-outcome"]) == (status, outcome)
    assert answer.headers["content-type"] == "image/gif"
    assert (answer.body[:6], answer.body[-1:]) == (b"GIF89a", b";")
    if outcome == "ACCEPTED":
        [stored] = log.events
        assert stored.event_type == EVENT_TYPE_IMPRESSION
        assert (stored.message_id, dict(stored.attributes)) == ("m", {"campaign": "x"})


REDIRECTS = BrowserRules(redirect_hosts=frozenset({"shop.example", "*.partner.example"}))


@pytest.mark.parametrize("program_id", ["p", "off", "nosuch"])
async def test_a_click_is_stored_and_the_visitor_sent_on(log: HeldLog, program_id: str) -> None:
    """Also when the program has ended: the visitor is sent on, and the header tells."""
    url = "https://shop.example/sale?id=1&x=%C3%A9#top"
    target = f"/r/{program_id}?message_id=m&url={quote(url, safe='')}"
    answer = await Client(log, REDIRECTS).request("GET", target)
    assert (answer.status, answer.headers["location"], answer.body) == (302, url, b"")
    outcomes = {"p": "ACCEPTED", "off": "EXPIRED_PROGRAM", "nosuch": "UNKNOWN_PROGRAM"}
    assert answer.headers["x-penstock-outcome"] == outcomes[program_id]
    assert [dict(event.attributes) for event in log.events] == ([{"url": url}] if program_id == "p" else [])


async def test_an_address_that_is_not_allowed_is_neither_followed_nor_counted(log: HeldLog) -> None:
    """The intake must not be a way to anywhere."""
    answer = await Client(log, REDIRECTS).request("GET", "/r/p?url=https%3A%2F%2Fevil.example%2F")
    assert answer.status == 400
    assert "location" not in answer.headers
    assert answer.json["reason"] == "url leads to evil.example, which is not an allowed host"
    assert log.events == []


async def test_a_full_log_holds_a_redirect_up(log: HeldLog) -> None:
    """Sent on, the click would be lost: a redirect is an acknowledgement too."""
    log.full = ResourceExhaustedError("full", retry_after=1, reason="ERROR_REASON_LOG_FULL")
    answer = await Client(log, REDIRECTS).request("GET", "/r/p?url=https%3A%2F%2Fshop.example%2F")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


COOKIES = BrowserRules(cookie_name="visitor", cookie_seconds=100, secure=True, cookie_same_site="None")


async def test_a_visitor_is_recognised_by_its_cookie(log: HeldLog) -> None:
    """A new one gets it; one that has it does not get another."""
    client = Client(log, COOKIES)
    first = await client.request("GET", "/event/p")
    expected = "visitor=new-visitor; Max-Age=100; Path=/; HttpOnly; SameSite=None; Secure"
    assert first.headers["set-cookie"] == expected
    second = await client.request("GET", "/event/p", headers={"Cookie": "other=1; visitor=known"})
    assert "set-cookie" not in second.headers
    forged = await client.request("GET", "/event/p", headers={"Cookie": 'visitor="a;b"'})
    assert "set-cookie" in forged.headers
    named = await client.request("GET", "/event/p?cookie_id=own")
    assert named.status == 200
    assert [event.cookie_id for event in log.events] == ["new-visitor", "known", "new-visitor", "own"]


@pytest.mark.parametrize("objection", ["DNT", "Sec-GPC"])
async def test_a_visitor_who_objects_is_not_recognised(log: HeldLog, objection: str) -> None:
    """No cookie is set, none kept, no address; the click itself counts."""
    headers = {objection: "1", "Cookie": "visitor=known", "User-Agent": "Firefox"}
    answer = await Client(log, COOKIES).request("GET", "/event/p?cookie_id=own", headers=headers)
    assert "set-cookie" not in answer.headers
    [stored] = log.events
    assert (stored.cookie_id, stored.ip_address, stored.user_agent) == ("", "", "Firefox")


async def test_objections_count_where_the_operator_says_so(log: HeldLog) -> None:
    """The setting switches them off."""
    client = Client(log, BrowserRules(cookie_name="visitor", respect_do_not_track=False))
    await client.request("GET", "/event/p", headers={"DNT": "1", "Cookie": "visitor=known"})
    assert log.events[0].cookie_id == "known"


async def test_without_a_cookie_name_no_cookie_is_set_or_read(client: Client, log: HeldLog) -> None:
    """As long as nobody asked for it; of the address the network is kept."""
    answer = await client.request("GET", "/event/p", headers={"Cookie": "visitor=known"})
    assert "set-cookie" not in answer.headers
    assert (log.events[0].cookie_id, log.events[0].ip_address) == ("", "192.0.2.0")


async def test_behind_a_proxy_the_address_is_the_one_the_proxy_saw(log: HeldLog) -> None:
    """What the visitor wrote before it is not believed."""
    client = Client(log, BrowserRules(proxies=1))
    await client.request("GET", "/event/p", headers={"X-Forwarded-For": "10.9.9.9, 203.0.113.5"})
    assert log.events[0].ip_address == "203.0.113.0"


async def test_a_page_is_described_by_its_browser_and_a_server_by_itself(log: HeldLog) -> None:
    """A POST with an origin comes from a page; without one, User-Agent and address are those of a server."""
    client = Client(log, BrowserRules(cors_origins=frozenset({"https://shop.example"}), cookie_name="visitor"))
    sent = {"program_id": "p", "ip_address": "203.0.113.5", "user_agent": "Safari"}
    body = orjson.dumps({"events": [sent, {"program_id": "p"}]})
    page = {"Origin": "https://shop.example", "User-Agent": "Firefox", "Cookie": "visitor=known"}
    await client.request("POST", "/v1/events", body, page)
    answer = await client.request("POST", "/v1/events", body, {"User-Agent": "python-requests", "Cookie": "visitor=x"})
    assert "set-cookie" not in answer.headers
    assert [(event.user_agent, event.ip_address, event.cookie_id) for event in log.events] == [
        ("Safari", "192.0.2.0", "known"),
        ("Firefox", "192.0.2.0", "known"),
        ("Safari", "203.0.113.0", ""),
        ("", "", ""),
    ]


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        (("https://shop.example",), "https://shop.example", "https://shop.example"),
        (("https://shop.example",), "https://evil.example", None),
        (("*",), "https://any.example", "*"),
        ((), "https://any.example", None),
    ],
)
async def test_pages_of_allowed_origins_may_call(
    log: HeldLog, origins: tuple[str, ...], origin: str, allowed: str | None
) -> None:
    """Answers say it, those of errors too, and the preflight says what may be sent."""
    client = Client(log, BrowserRules(cors_origins=frozenset(origins)))
    preflight = await client.request("OPTIONS", "/v1/events", headers={"Origin": origin})
    assert (preflight.status, preflight.body) == (204, b"")
    assert ("access-control-allow-methods" in preflight.headers) is (allowed is not None)
    for answer in (preflight, await client.request("POST", "/v1/events", b"{", {"Origin": origin})):
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert "access-control-allow-credentials" not in answer.headers


async def test_only_a_named_origin_may_send_cookies(log: HeldLog) -> None:
    """Browsers refuse a star together with credentials, and so do we."""
    for origins, credentials in (("https://shop.example", "true"), ("*", None)):
        client = Client(log, BrowserRules(cors_origins=frozenset({origins}), cookie_name="visitor"))
        answer = await client.request("GET", "/event/p", headers={"Origin": "https://shop.example"})
        assert answer.headers.get("access-control-allow-credentials") == credentials
