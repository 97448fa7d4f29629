"""Which module each process of the suite is run as: `python -m services.config`."""

from collections.abc import Mapping

MODULES: Mapping[str, str] = {
    "config": "services.config",
    "filtering": "services.filtering",
    "tracking": "services.tracking",
    "persistence": "services.persistence",
    "bridge": "broker_bridge",
}
