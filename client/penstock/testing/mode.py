"""Where the suite runs: in Docker containers, or as child processes of the embedded stack."""

from collections.abc import Callable, Mapping
from enum import StrEnum

from penstock.testing.errors import EngineUnavailableError, ModeError

VARIABLE = "PENSTOCK_TESTING"
"""The environment variable that chooses; it wins over a mode chosen in code or in pytest's configuration."""


class Mode(StrEnum):
    """A way to run the suite."""

    EMBEDDED = "embedded"
    """Child processes: ActiveMQ from its jars, Valkey from its wheel, the services on this Python. No Docker."""
    DOCKER = "docker"
    """Containers on a network of their own. Without an engine that answers the suite does not start."""
    AUTO = "auto"
    """Docker where an engine answers, else embedded."""


def chosen_mode(environ: Mapping[str, str], configured: str = "") -> Mode:
    """The mode of PENSTOCK_TESTING, else the configured one, else `auto`. An empty text counts as not set.

    Raises:
        ModeError: the text is none of `embedded`, `docker`, `auto`.
    """
    text, origin = environ.get(VARIABLE, ""), VARIABLE
    if not text:
        text, origin = configured or Mode.AUTO, "the configured mode"
    try:
        return Mode(text.lower())
    except ValueError as error:
        raise ModeError(f"{origin} is {text!r}: choose one of {', '.join(Mode)}") from error


def resolved_mode(mode: Mode, engine_trouble: Callable[[], str]) -> Mode:
    """EMBEDDED or DOCKER. `engine_trouble` tells why no engine can be used, nothing when one can.

    Raises:
        EngineUnavailableError: DOCKER was chosen and there is trouble.
    """
    if mode is Mode.EMBEDDED:
        return mode
    trouble = engine_trouble()
    if not trouble:
        return Mode.DOCKER
    if mode is Mode.AUTO:
        return Mode.EMBEDDED
    raise EngineUnavailableError(
        f"no Docker engine answers ({trouble}): start one, or set {VARIABLE}={Mode.EMBEDDED} to test without Docker"
    )
