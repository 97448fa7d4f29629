"""Which way to run the suite: the variable, the configuration, and what an engine says."""

import pytest
from penstock.testing.errors import EngineUnavailableError, ModeError
from penstock.testing.mode import Mode, chosen_mode, resolved_mode


def no_engine() -> str:
    return "nothing listens"


def never_asked() -> str:
    raise AssertionError("an engine was looked for")


@pytest.mark.parametrize(
    ("environ", "configured", "expected"),
    [
        ({}, "", Mode.AUTO),
        ({}, "embedded", Mode.EMBEDDED),
        ({"PENSTOCK_TESTING": "docker"}, "embedded", Mode.DOCKER),
        ({"PENSTOCK_TESTING": ""}, "docker", Mode.DOCKER),
        ({"PENSTOCK_TESTING": "Docker"}, "", Mode.DOCKER),
    ],
)
def test_the_variable_wins_over_the_configuration(environ: dict[str, str], configured: str, expected: Mode) -> None:
    """Neither given means auto."""
    assert chosen_mode(environ, configured) is expected


def test_an_unknown_mode_is_refused_with_its_origin_and_the_choices() -> None:
    """Never guessed."""
    with pytest.raises(ModeError, match=r"PENSTOCK_TESTING is 'podman'.*embedded, docker, auto"):
        chosen_mode({"PENSTOCK_TESTING": "podman"})


def test_embedded_asks_for_no_engine() -> None:
    """It must run where Docker has never been heard of."""
    assert resolved_mode(Mode.EMBEDDED, never_asked) is Mode.EMBEDDED


def test_auto_takes_docker_only_where_an_engine_answers() -> None:
    """Else the embedded stack."""
    assert resolved_mode(Mode.AUTO, lambda: "") is Mode.DOCKER
    assert resolved_mode(Mode.AUTO, no_engine) is Mode.EMBEDDED


def test_docker_without_an_engine_is_an_error_with_its_reason() -> None:
    """No silent fallback from what was asked for."""
    with pytest.raises(EngineUnavailableError, match=r"nothing listens.*PENSTOCK_TESTING=embedded"):
        resolved_mode(Mode.DOCKER, no_engine)
