"""Settings of the intake: secrets stay secret, a small log still turns over."""

import pytest

from services.runtime.settings import SettingsError, load_settings
from services.tracking.group_commit import AckLevel
from services.tracking.settings import TrackingSettings


def test_without_settings_events_are_on_the_disk_before_they_are_confirmed() -> None:
    """Memory and os are explicit choices."""
    assert load_settings(TrackingSettings, {}).ack_level is AckLevel.DISK


def test_the_password_of_redis_is_not_shown() -> None:
    """Neither in the settings nor in an error about them."""
    settings = load_settings(TrackingSettings, {"PENSTOCK_TRACKING_REDIS_URL": "redis://:hunter2@127.0.0.1:1/0"})
    assert "hunter2" not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        load_settings(TrackingSettings, {"PENSTOCK_TRACKING_REDIS_URL": "http://:hunter2@127.0.0.1"})
    assert "must begin with redis://" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_several_segments_fit_into_a_small_log() -> None:
    """Only whole shipped segments are deleted: one alone would never make room."""
    settings = load_settings(TrackingSettings, {"PENSTOCK_TRACKING_LOG_MAX_BYTES": "1000000"})
    assert settings.segment_bytes == 250_000


def test_an_unknown_level_is_refused_with_the_ones_there_are() -> None:
    """By the name of its variable."""
    with pytest.raises(SettingsError, match="PENSTOCK_TRACKING_ACK_LEVEL='fsync'"):
        load_settings(TrackingSettings, {"PENSTOCK_TRACKING_ACK_LEVEL": "fsync"})


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"REDIRECT_HOSTS": "shop.example,https://x"}, "REDIRECT_HOSTS: 'https://x' is no host"),
        ({"COOKIE_SAME_SITE": "None"}, "COOKIE_SAME_SITE=None needs PENSTOCK_TRACKING_HTTPS=true"),
        ({"SHIP_TO": "kinesis"}, "SHIP_TO=kinesis needs PENSTOCK_TRACKING_KINESIS_STREAM"),
        ({"KINESIS_MAX_RECORD_BYTES": "5000", "KINESIS_MAX_REQUEST_BYTES": "4000"}, "is above"),
    ],
)
def test_settings_that_do_not_fit_together_stop_the_start(variables: dict[str, str], problem: str) -> None:
    """With what is missing."""
    with pytest.raises(SettingsError, match=problem):
        load_settings(TrackingSettings, {f"PENSTOCK_TRACKING_{name}": text for name, text in variables.items()})


def test_lists_are_given_with_commas() -> None:
    """Origins and hosts."""
    settings = load_settings(TrackingSettings, {"PENSTOCK_TRACKING_REDIRECT_HOSTS": "shop.example, *.shop.example"})
    assert settings.redirect_hosts == {"shop.example", "*.shop.example"}
