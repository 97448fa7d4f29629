"""What the intake finds out about an event by itself: a robot? late? when by our clock?"""

import re
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp

from services.tracking.event import TrackingEvent
from services.tracking.program import timestamp

# Words in the User-Agents of crawlers, monitors, previews and HTTP libraries; people's browsers have none of them.
_ROBOT = re.compile(
    r"(?<!cu)bot(\b|_)|crawl|spider|slurp|archiver|facebookexternalhit|preview|monitor|uptime|pingdom|lighthouse|headless"
    r"|phantomjs|selenium|puppeteer|playwright|curl/|wget/|python-|aiohttp|httpx|okhttp|java/|go-http-client|libwww"
    r"|apache-httpclient|axios|node-fetch|scrapy",
    re.IGNORECASE,
)


@lru_cache(maxsize=20_000)
def is_robot(user_agent: bytes) -> bool:
    """Whether a User-Agent (UTF-8) names a robot. A missing one proves nothing; liars are for the analysis to find."""
    return _ROBOT.search(user_agent.decode()) is not None


def corrected_seconds(occurred: float, sent: float, received: float) -> float:
    """When something occurred, by the clock of who received it; all in seconds since 1970.

    The client's clock may be wrong, but it measured the time between the two: received - (sent - occurred). Nothing
    occurs after it was received, nor before 1970.
    """
    return max(min(received - (sent - occurred), received), 0.0)


def correct_clock(event: TrackingEvent, received: float) -> None:
    """Sets `corrected_at` of a well-formed event from the client's two times; without both there is none."""
    event.ClearField("corrected_at")
    if event.HasField("sent_at") and event.HasField("occurred_at"):
        occurred, sent = (moment.seconds + moment.nanos / 1e9 for moment in (event.occurred_at, event.sent_at))
        event.corrected_at.CopyFrom(timestamp(corrected_seconds(occurred, sent, received)))


def best_time(event: TrackingEvent) -> Timestamp:
    """When it occurred, as well as the intake knows; 0 when it does not."""
    return event.corrected_at if event.HasField("corrected_at") else event.occurred_at
