"""Which parts run, and which images they are made from."""

import re
from pathlib import Path

import pytest
import yaml
from penstock.testing import images
from penstock.testing.containers import container_environment
from penstock.testing.parts import PARTS, with_dependencies

from deploy.local.modules import MODULES

COMPOSE = Path(__file__).resolve().parents[3] / "docker-compose.yml"


def test_no_name_means_all_parts() -> None:
    """The whole suite is the default."""
    assert list(with_dependencies([])) == list(PARTS)


def test_what_a_part_needs_comes_along_and_starts_first() -> None:
    """Also what its needs need."""
    assert list(with_dependencies(["bridge"])) == ["activemq", "valkey", "config", "filtering", "bridge"]


def test_an_unknown_part_is_refused_with_the_known_ones() -> None:
    """A misspelt name must not start an empty suite."""
    with pytest.raises(ValueError, match=r"no part brigde; there are activemq, .*bridge"):
        with_dependencies(["brigde"])


@pytest.mark.parametrize("image", [images.SERVICES, images.TOOLS, images.ACTIVEMQ, images.VALKEY, images.AWS])
def test_images_and_their_variables_are_those_of_compose(image: images.ImageName) -> None:
    """A wheel has no docker-compose.yml to read them from."""
    defaults = dict(re.findall(r"image: \$\{(\w+):-([^}]+)\}", COMPOSE.read_text()))
    assert defaults[image.variable] == image.default


@pytest.mark.parametrize("service", MODULES)
def test_services_are_told_the_same_as_in_compose(service: str) -> None:
    """Wired from the addresses here, written out there; `${NAME:-default}` stands for its default."""
    written = yaml.safe_load(COMPOSE.read_text())["services"][service]["environment"]
    told = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)) for name, value in written.items()}
    assert dict(container_environment(service)) == told


def test_a_variable_replaces_the_image() -> None:
    """An empty one does not."""
    assert images.VALKEY.chosen({"VALKEY_IMAGE": "mirror/valkey:8"}) == "mirror/valkey:8"
    assert images.VALKEY.chosen({"VALKEY_IMAGE": ""}) == images.VALKEY.default
