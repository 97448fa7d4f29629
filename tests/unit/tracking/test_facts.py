"""Robots and clocks."""

import pytest

from services.tracking.facts import corrected_seconds, is_robot


@pytest.mark.parametrize(
    "user_agent",
    [
        "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        "Mozilla/5.0 AppleWebKit/537.36 (compatible; GPTBot/1.2)",
        "facebookexternalhit/1.1",
        "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/126.0.0.0",
        "curl/8.5.0",
        "python-requests/2.32",
        "Go-http-client/2.0",
    ],
)
def test_robots_name_themselves(user_agent: str) -> None:
    """Crawlers, previews, libraries."""
    assert is_robot(user_agent.encode())


@pytest.mark.parametrize(
    "user_agent",
    [
        "",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Linux; Android 14; CUBOT NOTE 50) Chrome/126.0.0.0 Mobile Safari/537.36",
    ],
)
def test_browsers_of_people_are_no_robots(user_agent: str) -> None:
    """Nor is a missing User-Agent one."""
    assert not is_robot(user_agent.encode())


@pytest.mark.parametrize(
    ("occurred", "sent", "received", "corrected"),
    [(90, 100, 1000, 990), (100, 100, 1000, 1000), (110, 100, 1000, 1000), (0, 5000, 1000, 0)],
)
def test_the_time_between_the_clients_two_times_counts(
    occurred: float, sent: float, received: float, corrected: float
) -> None:
    """Never later than received, never before 1970."""
    assert corrected_seconds(occurred, sent, received) == corrected
