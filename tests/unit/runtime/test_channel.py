"""What an outgoing call carries, and how long it may take."""

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import services.runtime.channel
import services.runtime.server
from services.runtime.channel import _service_config, current_deadline, remaining_time


@pytest.fixture
def _no_deadline() -> Iterator[None]:
    """Leaves the context as it was."""
    token = current_deadline.set(None)
    yield
    current_deadline.reset(token)


@pytest.mark.usefixtures("_no_deadline")
def test_outgoing_call_ends_a_little_before_the_call_being_served() -> None:
    """So that the failure can still be told to our caller."""
    assert remaining_time(lambda: 100.0) is None
    current_deadline.set(101.0)
    assert remaining_time(lambda: 100.0) == pytest.approx(0.95)
    assert remaining_time(lambda: 102.0) == 0.0


def test_nothing_is_retried_unless_named() -> None:
    """A write that is repeated blindly is written twice."""
    assert "methodConfig" not in json.loads(_service_config(()))


def test_named_services_and_methods_are_retried_when_unavailable() -> None:
    """Service config in the words of gRPC's own schema."""
    config = json.loads(_service_config(("a.v1.A", "b.v1.B/Get")))
    (method,) = config["methodConfig"]
    assert method["name"] == [{"service": "a.v1.A"}, {"service": "b.v1.B", "method": "Get"}]
    assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]


def test_every_option_we_set_is_one_that_grpc_knows() -> None:
    """A misspelt option is ignored without a word: the library's own binary is asked for each name."""
    library = find_spec("grpc._cython.cygrpc")
    assert library
    binary = Path(library.origin or "").read_bytes()
    sources = [Path(services.runtime.channel.__file__), Path(services.runtime.server.__file__)]
    names = {name for source in sources for name in re.findall(r'"(grpc\.[a-z0-9_.]+)"', source.read_text())}
    assert len(names) > 8
    assert [name for name in sorted(names) if name.encode() not in binary] == []
