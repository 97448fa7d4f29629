"""What the bridge can be told."""

from pathlib import Path

import pytest

from broker_bridge.broker import BrokerAddress, Login
from broker_bridge.settings import BridgeSettings
from services.runtime.settings import SettingsError, load_settings

PREFIX = "PENSTOCK_BRIDGE_"


def loaded(**variables: str) -> BridgeSettings:
    return load_settings(BridgeSettings, {f"{PREFIX}{name}": value for name, value in variables.items()})


def problems(**variables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(**variables)
    return "\n".join(caught.value.problems)


def test_the_defaults_fit_the_embedded_stack() -> None:
    """Loopback and the documented ports."""
    settings = loaded()
    assert settings.addresses() == (BrokerAddress("127.0.0.1", 61613),)
    assert (settings.port, settings.metrics_port) == (50055, 51055)


def test_several_brokers_are_tried_in_order() -> None:
    """The port may be left out."""
    settings = loaded(BROKER_URLS="stomp://a:1,stomp://b")
    assert settings.addresses() == (BrokerAddress("a", 1), BrokerAddress("b", 61613))


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ssl://a:1", "neither stomp://host:port nor stomp+ssl://host:port"),
        ("tcp://a:1", "neither stomp://host:port"),
        ("stomp://a:0", "neither stomp://host:port"),
        ("stomp://a:x", "malformed"),
        ("stomp://", "neither stomp://host:port"),
        ("stomp://a:1/queue", "neither stomp://host:port"),
    ],
)
def test_a_broker_url_that_cannot_be_used_is_named(url: str, complaint: str) -> None:
    """With what is expected."""
    assert complaint in problems(BROKER_URLS=url)


def test_a_login_in_the_url_is_refused_and_not_repeated() -> None:
    """URLs are logged."""
    told = problems(BROKER_URLS="stomp://user:secret@a:1")
    assert "no login belongs into the URL" in told
    assert "secret" not in told.replace(f"{PREFIX}BROKER_PASSWORD", "")


def test_the_password_comes_from_a_variable_or_a_file(tmp_path: Path) -> None:
    """Not from both; it is never shown."""
    file = tmp_path / "password"
    file.write_text("from-file\n")
    assert loaded(BROKER_PASSWORD_FILE=str(file)).login().password == "from-file"
    settings = loaded(BROKER_PASSWORD="in-variable")
    assert settings.login().password == "in-variable"
    assert "in-variable" not in repr(settings) + repr(settings.login())
    assert "exclude each other" in problems(BROKER_PASSWORD="x", BROKER_PASSWORD_FILE=str(file))


def test_a_bridge_without_a_name_is_known_by_host_and_port() -> None:
    """The same after a restart, so that it takes its own claims over at once."""
    assert loaded(INSTANCE="bridge-a").owner() == "bridge-a"
    assert loaded(PORT="7").owner().endswith(":7")
    assert loaded(PORT="7").owner() == loaded(PORT="7").owner()


def test_all_problems_are_told_at_once() -> None:
    """One start, one list."""
    told = problems(BROKER_URLS="x", DEDUP_KEEP_SECONDS="1", AWS_ENDPOINT_URL="nowhere", COLOUR="blue")
    for name in ("BROKER_URLS", "DEDUP_KEEP_SECONDS", "AWS_ENDPOINT_URL", "COLOUR"):
        assert f"{PREFIX}{name}" in told


def test_the_password_is_read_from_its_file(tmp_path: Path) -> None:
    """As it is then, without the line end that editors leave; it is shown nowhere."""
    file = tmp_path / "password"
    file.write_text("first-secret\n")
    settings = BridgeSettings.model_validate({"broker_user": "bridge", "broker_password_file": file})
    assert settings.login() == Login("bridge", "first-secret")
    file.write_text("second-secret\n")
    assert settings.login() == Login("bridge", "second-secret")
    assert "secret" not in repr(settings.login()) + repr(settings)
