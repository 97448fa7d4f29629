"""What the config service can be told, and what it refuses to be told."""

import pytest

from services.config.settings import ConfigSettings
from services.runtime.settings import SettingsError, load_settings


def test_the_defaults_need_no_environment() -> None:
    """Loopback, the documented ports, files below the working directory."""
    settings = load_settings(ConfigSettings, environ={})
    assert (settings.host, settings.port, settings.metrics_port, settings.store) == (
        "127.0.0.1",
        50051,
        51051,
        "sqlite",
    )
    assert not settings.database.is_absolute()


def test_all_problems_are_told() -> None:
    """A bad value and an unknown variable in one answer."""
    environ = {"PENSTOCK_CONFIG_KEPT_REVISIONS": "0", "PENSTOCK_CONFIG_STORE": "etcd", "PENSTOCK_CONFIG_DATABSE": "x"}
    with pytest.raises(SettingsError) as caught:
        load_settings(ConfigSettings, environ=environ)
    assert [problem.split("=")[0].split(" ")[0] for problem in sorted(caught.value.problems)] == sorted(environ)
