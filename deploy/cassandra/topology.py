"""Deployment patterns as files: `python -m deploy.cassandra.topology lint|node|service --help`.

A file says which nodes stand in which racks (zones) of which datacentres (regions). From it come, with no second place
to keep in step, each node's `cassandra.yaml` and `cassandra-rackdc.properties`, and the environment of each
datacentre's persistence processes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

_PREFIX = "PENSTOCK_PERSISTENCE_"
_ACTIVE_DATACENTRES = {"single-region": (1, 1), "active-active": (2, 2), "active-standby": (1, 2)}


class TopologyError(Exception):
    """A file that no cluster should be built from; the message names every fault."""


class Datacentre(BaseModel):
    """A region: nodes by rack, replicas of every row, seeds that its nodes ask when they start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
    replicas: Annotated[int, Field(ge=1)]
    role: Literal["active", "standby"]
    racks: Mapping[str, Sequence[IPv4Address]]
    seeds: Sequence[IPv4Address]

    @property
    def nodes(self) -> Sequence[IPv4Address]:
        return [node for nodes in self.racks.values() for node in nodes]


class Topology(BaseModel):
    """A cluster. `node` is what every node's cassandra.yaml holds besides its place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pattern: Literal["single-region", "active-active", "active-standby"]
    cluster: Annotated[str, Field(min_length=1)]
    keyspace: Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,47}$")]
    datacentres: Sequence[Datacentre]
    node: Mapping[str, Any]
    service: Mapping[str, str]

    def datacentre(self, name: str) -> Datacentre:
        """Raises TopologyError when there is none of this name."""
        for datacentre in self.datacentres:
            if datacentre.name == name:
                return datacentre
        raise TopologyError(f"no datacentre {name!r}; there is {', '.join(one.name for one in self.datacentres)}")


def read_topology(path: Path) -> Topology:
    """The topology in a file.

    Raises:
        TopologyError: it cannot be read, or `faults` finds some.
    """
    try:
        topology = Topology.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise TopologyError(f"{path}: {error}") from error
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise TopologyError(f"{path}: {'; '.join(lines)}") from error
    if found := list(faults(topology)):
        raise TopologyError(f"{path}: {'; '.join(found)}")
    return topology


def faults(topology: Topology) -> Iterator[str]:
    """Everything for which such a cluster would lose writes, or not survive what its pattern promises to."""
    active = sum(one.role == "active" for one in topology.datacentres)
    if (active, len(topology.datacentres)) != _ACTIVE_DATACENTRES[topology.pattern]:
        wanted = _ACTIVE_DATACENTRES[topology.pattern]
        yield f"{topology.pattern} has {wanted[1]} datacentres, {wanted[0]} of them active"
    everywhere = [node for one in topology.datacentres for node in one.nodes]
    if twice := {str(node) for node in everywhere if everywhere.count(node) > 1}:
        yield f"{', '.join(sorted(twice))} stands in several racks"
    for datacentre in topology.datacentres:
        yield from (f"{datacentre.name}: {fault}" for fault in _datacentre_faults(datacentre, everywhere))
    if len({tuple(one.seeds) for one in topology.datacentres}) > 1:
        yield "seeds differ between datacentres: nodes that ask different ones may form two clusters"
    yield from _node_faults(topology.node)


def _datacentre_faults(datacentre: Datacentre, everywhere: Sequence[IPv4Address]) -> Iterator[str]:
    if datacentre.replicas < 3:  # noqa: PLR2004 - a quorum of two needs both
        yield f"replicas: {datacentre.replicas}; a quorum that survives one node needs 3"
    if len(datacentre.racks) != datacentre.replicas:
        yield f"{len(datacentre.racks)} racks for {datacentre.replicas} replicas: one replica per rack survives a zone"
    if len({len(nodes) for nodes in datacentre.racks.values()}) > 1:
        yield "racks of different size: the smallest carries the most per node"
    if strangers := {str(seed) for seed in datacentre.seeds if seed not in everywhere}:
        yield f"seeds {', '.join(sorted(strangers))} are no nodes"
    if sum(seed in datacentre.nodes for seed in datacentre.seeds) < 2:  # noqa: PLR2004
        yield "fewer than two seeds of its own: it would not come up while the other region is away"


def _node_faults(node: Mapping[str, Any]) -> Iterator[str]:
    if node.get("endpoint_snitch") != "GossipingPropertyFileSnitch":
        yield "node.endpoint_snitch: only GossipingPropertyFileSnitch knows the racks of this file"
    if node.get("commitlog_sync") not in ("batch", "group"):
        yield "node.commitlog_sync: periodic acknowledges writes that are not on disk"
    if node.get("authenticator") in (None, "AllowAllAuthenticator"):
        yield "node.authenticator: anybody could log in"
    if node.get("authorizer") in (None, "AllowAllAuthorizer"):
        yield "node.authorizer: everybody could do everything"
    if node.get("server_encryption_options", {}).get("internode_encryption") != "all":
        yield "node.server_encryption_options.internode_encryption: rows would cross the network in plain text"
    client = node.get("client_encryption_options", {})
    if not client.get("enabled") or client.get("optional"):
        yield "node.client_encryption_options: clients could speak plain text"


def cassandra_yaml(topology: Topology, datacentre: Datacentre, address: IPv4Address) -> str:
    """A node's cassandra.yaml: what all nodes share, and its place."""
    seeds = ",".join(map(str, datacentre.seeds))
    place = {
        "cluster_name": topology.cluster,
        "listen_address": str(address),
        "rpc_address": str(address),
        "seed_provider": [
            {"class_name": "org.apache.cassandra.locator.SimpleSeedProvider", "parameters": [{"seeds": seeds}]}
        ],
    }
    return yaml.safe_dump({**place, **topology.node}, sort_keys=False)


def rackdc_properties(datacentre: Datacentre, address: IPv4Address) -> str:
    """A node's cassandra-rackdc.properties. Raises TopologyError for an address of no rack."""
    for rack, nodes in datacentre.racks.items():
        if address in nodes:
            return f"dc={datacentre.name}\nrack={rack}\n"
    raise TopologyError(f"{address} stands in no rack of {datacentre.name}")


def service_environment(topology: Topology, datacentre: Datacentre) -> Mapping[str, str]:
    """The environment of a datacentre's persistence processes; the password is not in it."""
    replication = {one.name: one.replicas for one in topology.datacentres}
    first_of_each_rack = [str(nodes[0]) for nodes in datacentre.racks.values()]
    return {
        f"{_PREFIX}STORE": "cassandra",
        f"{_PREFIX}CASSANDRA_CONTACT_POINTS": ",".join(first_of_each_rack),
        f"{_PREFIX}CASSANDRA_DATACENTRE": datacentre.name,
        f"{_PREFIX}CASSANDRA_KEYSPACE": topology.keyspace,
        f"{_PREFIX}CASSANDRA_REPLICATION": json.dumps(replication),
        **topology.service,
    }


app = typer.Typer(no_args_is_help=True, add_completion=False, help="Clusters of Cassandra from one file each.")
File = Annotated[Path, typer.Argument(help="Topology, such as deploy/cassandra/single-region.yaml.")]
Name = Annotated[str, typer.Argument(help="Datacentre.", metavar="DATACENTRE")]


@app.command()
def lint(files: Annotated[list[Path], typer.Argument(help="Topologies.")]) -> None:
    """Check topologies; exit code 1 when one has a fault."""
    problems = []
    for file in files:
        try:
            read_topology(file)
        except TopologyError as error:
            problems.append(str(error))
    for problem in problems:
        typer.echo(f"error: {problem}", err=True)
    raise typer.Exit(1 if problems else 0)


@app.command()
def node(file: File, name: Name, address: Annotated[str, typer.Argument(help="Address of the node.")]) -> None:
    """Print a node's cassandra.yaml, and its cassandra-rackdc.properties as a comment below."""
    topology, datacentre = _read(file, name)
    properties = rackdc_properties(datacentre, IPv4Address(address)).splitlines()
    typer.echo(cassandra_yaml(topology, datacentre, IPv4Address(address)))
    typer.echo("# cassandra-rackdc.properties\n" + "\n".join(f"#   {line}" for line in properties))


@app.command()
def service(file: File, name: Name) -> None:
    """Print the environment of a datacentre's persistence processes, one variable per line."""
    topology, datacentre = _read(file, name)
    for variable, value in service_environment(topology, datacentre).items():
        typer.echo(f"{variable}={value}")


def _read(file: Path, name: str) -> tuple[Topology, Datacentre]:
    topology = read_topology(file)
    return topology, topology.datacentre(name)


if __name__ == "__main__":
    app()
