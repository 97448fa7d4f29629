"""The deployment patterns have no fault that loses writes, and what is made from them is taken by its readers."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from deploy.cassandra.topology import (
    TopologyError,
    app,
    cassandra_yaml,
    rackdc_properties,
    read_topology,
    service_environment,
)
from services.persistence.cassandra_schema import create_keyspace
from services.persistence.settings import PersistenceSettings
from services.runtime.settings import load_settings

FOLDER = Path(__file__).resolve().parents[3] / "deploy" / "cassandra"
PATTERNS = sorted(FOLDER.glob("*.yaml"))


def test_every_pattern_of_the_guide_is_there() -> None:
    """One file each."""
    assert [path.stem for path in PATTERNS] == ["active-active", "active-standby", "single-region"]
    assert [read_topology(path).pattern for path in PATTERNS] == [path.stem for path in PATTERNS]


@pytest.mark.parametrize("path", PATTERNS, ids=lambda path: path.stem)
def test_the_service_takes_the_environment_of_every_datacentre(path: Path, tmp_path: Path) -> None:
    """Its settings are valid; it calls nodes of its own datacentre alone, and the keyspace has replicas in all."""
    topology = read_topology(path)
    authority = tmp_path / "ca.pem"
    authority.write_text("")
    for datacentre in topology.datacentres:
        environment = dict(service_environment(topology, datacentre))
        environment["PENSTOCK_PERSISTENCE_CASSANDRA_TLS_CA"] = str(authority)
        settings = load_settings(PersistenceSettings, environment)
        assert settings.store == "cassandra"
        assert set(settings.cassandra_contact_points) <= {str(node) for node in datacentre.nodes}
        assert len(settings.cassandra_contact_points) == 3
        statement = create_keyspace(settings.cassandra_keyspace, settings.cassandra_replication)
        assert all(f"'{one.name}': 3" in statement for one in topology.datacentres)


@pytest.mark.parametrize("path", PATTERNS, ids=lambda path: path.stem)
def test_every_node_has_its_place(path: Path) -> None:
    """Its cassandra.yaml and its rack."""
    topology = read_topology(path)
    for datacentre in topology.datacentres:
        for address in datacentre.nodes:
            settings = yaml.safe_load(cassandra_yaml(topology, datacentre, address))
            assert settings["listen_address"] == str(address)
            assert settings["commitlog_sync"] == "group"
            assert f"dc={datacentre.name}\n" in rackdc_properties(datacentre, address)


def one_rack_less(document: dict[str, Any]) -> None:
    document["datacentres"][0]["racks"].pop("us-east-1c")


def two_replicas(document: dict[str, Any]) -> None:
    document["datacentres"][0]["replicas"] = 2


def uneven_racks(document: dict[str, Any]) -> None:
    document["datacentres"][0]["racks"]["us-east-1c"] = ["10.1.3.10"]


def a_node_twice(document: dict[str, Any]) -> None:
    document["datacentres"][0]["racks"]["us-east-1c"] = ["10.1.1.10", "10.1.3.11"]


def foreign_seed(document: dict[str, Any]) -> None:
    document["datacentres"][0]["seeds"].append("10.9.9.9")


def one_seed(document: dict[str, Any]) -> None:
    document["datacentres"][0]["seeds"] = ["10.1.1.10"]


def other_seeds(document: dict[str, Any]) -> None:
    document["datacentres"][1]["seeds"].reverse()


def no_standby(document: dict[str, Any]) -> None:
    document["pattern"] = "active-standby"


def periodic(document: dict[str, Any]) -> None:
    document["node"]["commitlog_sync"] = "periodic"


def open_door(document: dict[str, Any]) -> None:
    del document["node"]["authenticator"]


def plain_text(document: dict[str, Any]) -> None:
    document["node"]["client_encryption_options"]["optional"] = True


def plain_text_between_nodes(document: dict[str, Any]) -> None:
    document["node"]["server_encryption_options"]["internode_encryption"] = "dc"


def misspelt(document: dict[str, Any]) -> None:
    document["datacenters"] = document.pop("datacentres")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (one_rack_less, "us-east-1: 2 racks for 3 replicas"),
        (two_replicas, "us-east-1: replicas: 2"),
        (uneven_racks, "us-east-1: racks of different size"),
        (a_node_twice, "10.1.1.10 stands in several racks"),
        (foreign_seed, "seeds 10.9.9.9 are no nodes"),
        (one_seed, "fewer than two seeds of its own"),
        (other_seeds, "seeds differ between datacentres"),
        (no_standby, "active-standby has 2 datacentres, 1 of them active"),
        (periodic, "periodic acknowledges writes that are not on disk"),
        (open_door, "anybody could log in"),
        (plain_text, "clients could speak plain text"),
        (plain_text_between_nodes, "rows would cross the network in plain text"),
        (misspelt, "datacenters: Extra inputs are not permitted"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_fault_is_named(spoil: Callable[[dict[str, Any]], None], complaint: str, tmp_path: Path) -> None:
    """Each rule is broken once; the file and the fault are in the message, and `lint` fails."""
    document = copy.deepcopy(yaml.safe_load((FOLDER / "active-active.yaml").read_text()))
    spoil(document)
    path = tmp_path / "spoilt.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(TopologyError, match=str(path)) as refusal:
        read_topology(path)
    assert complaint in str(refusal.value)
    result = CliRunner().invoke(app, ["lint", str(path), *map(str, PATTERNS)])
    assert result.exit_code == 1
    assert complaint in result.stderr


def test_the_commands_print_what_is_needed() -> None:
    """Files for a node, variables for the service."""
    file = str(FOLDER / "active-standby.yaml")
    result = CliRunner().invoke(app, ["node", file, "eu-west-1", "10.2.3.10"])
    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout)["rpc_address"] == "10.2.3.10"
    assert "#   rack=eu-west-1c" in result.stdout
    result = CliRunner().invoke(app, ["service", file, "eu-west-1"])
    variables = dict(line.split("=", 1) for line in result.stdout.splitlines())
    assert json.loads(variables["PENSTOCK_PERSISTENCE_CASSANDRA_REPLICATION"]) == {"us-east-1": 3, "eu-west-1": 3}
    assert CliRunner().invoke(app, ["lint", *map(str, PATTERNS)]).exit_code == 0
