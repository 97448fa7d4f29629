"""`penstock.bridge.v1.RetrySettings` as a route stores them: checked, and read into a policy."""

from collections.abc import Callable

from google.protobuf import duration_pb2
from penstock.bridge.v1 import route_pb2

from broker_bridge.retry_policy import ClassPolicy, RetryPolicy, RetryStrategy
from services.runtime.retry import Backoff

MAX_WAIT_SECONDS = 3600.0
"""The longest wait for an attempt: a message that waits takes the place of another one in the prefetch."""
_INITIAL_SECONDS = 0.5
_MAXIMUM_SECONDS = 30.0
_MULTIPLIER = 2.0
_MAX_ATTEMPTS = 5
_STRATEGIES = {
    route_pb2.RETRY_STRATEGY_UNSPECIFIED: RetryStrategy.LOCAL,
    route_pb2.RETRY_STRATEGY_LOCAL: RetryStrategy.LOCAL,
    route_pb2.RETRY_STRATEGY_BROKER: RetryStrategy.BROKER,
    route_pb2.RETRY_STRATEGY_SCHEDULED: RetryStrategy.SCHEDULED,
}
Require = Callable[[object, str, str], None]
"""Takes note of a fault unless the condition holds: condition, path of the field, what is wrong with it."""


def seconds(duration: duration_pb2.Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def check_retry(document: route_pb2.Route, require: Require) -> None:
    """Reports every fault of the retry settings."""
    retry = document.retry
    _check_attempts(retry.max_attempts, 1000, "retry.max_attempts", require)
    _check_waits(retry, "retry", retry, require)
    for name, settings in (("unavailable", retry.unavailable), ("throttled", retry.throttled)):
        _check_attempts(settings.max_attempts, 100_000, f"retry.{name}.max_attempts", require)
        _check_waits(settings, f"retry.{name}", retry, require)
    require(retry.strategy in _STRATEGIES, "retry.strategy", f"{retry.strategy} is not a RetryStrategy")
    local = _STRATEGIES.get(retry.strategy, RetryStrategy.LOCAL) is RetryStrategy.LOCAL
    require(
        local or not document.lanes, "retry.strategy", "with lanes messages wait in the bridge, to keep their order"
    )
    scheduled = retry.strategy == route_pb2.RETRY_STRATEGY_SCHEDULED
    require(
        not scheduled or document.source.startswith("queue://"),
        "retry.strategy",
        "a scheduled copy sent to a topic would reach every subscriber",
    )


def retry_policy(retry: route_pb2.RetrySettings) -> RetryPolicy:
    """The policy of settings without a fault."""
    return RetryPolicy(
        max_attempts=retry.max_attempts or _MAX_ATTEMPTS,
        backoff=_backoff(retry, retry),
        unavailable=ClassPolicy(
            backoff=_backoff(retry.unavailable, retry), max_attempts=retry.unavailable.max_attempts or None
        ),
        throttled=ClassPolicy(
            backoff=_backoff(retry.throttled, retry), max_attempts=retry.throttled.max_attempts or None
        ),
        strategy=_STRATEGIES[retry.strategy],
    )


_Waits = route_pb2.RetrySettings | route_pb2.ClassRetrySettings


def _initial(settings: _Waits, route: route_pb2.RetrySettings) -> float:
    if settings.HasField("initial_backoff"):
        return seconds(settings.initial_backoff)
    return seconds(route.initial_backoff) if route.HasField("initial_backoff") else _INITIAL_SECONDS


def _maximum(settings: _Waits, route: route_pb2.RetrySettings) -> float:
    if settings.HasField("max_backoff"):
        return seconds(settings.max_backoff)
    return seconds(route.max_backoff) if route.HasField("max_backoff") else _MAXIMUM_SECONDS


def _backoff(settings: _Waits, route: route_pb2.RetrySettings) -> Backoff:
    return Backoff(
        initial=_initial(settings, route),
        maximum=_maximum(settings, route),
        multiplier=settings.multiplier or route.multiplier or _MULTIPLIER,
    )


def _check_attempts(value: int, highest: int, path: str, require: Require) -> None:
    require(0 <= value <= highest, path, f"{value} is not between 1 and {highest} (0 means the default)")


def _check_waits(settings: _Waits, path: str, route: route_pb2.RetrySettings, require: Require) -> None:
    multiplier = settings.multiplier
    require(multiplier == 0 or multiplier >= 1, f"{path}.multiplier", f"{multiplier:g} is not at least 1")
    if settings is not route and not (settings.HasField("initial_backoff") or settings.HasField("max_backoff")):
        return
    initial, longest = _initial(settings, route), _maximum(settings, route)
    require(initial >= 0, f"{path}.initial_backoff", f"{initial:g} s is negative")
    require(longest >= initial, f"{path}.max_backoff", f"{longest:g} s is shorter than the first wait of {initial:g} s")
    require(longest <= MAX_WAIT_SECONDS, f"{path}.max_backoff", f"{longest:g} s is longer than {MAX_WAIT_SECONDS:g} s")
