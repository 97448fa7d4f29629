"""Which images the containers are made from: the variables and the defaults of docker-compose.yml."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageName:
    """An image that a variable can replace."""

    variable: str
    default: str

    def chosen(self, environ: Mapping[str, str]) -> str:
        """The value of the variable, else the default."""
        return environ.get(self.variable) or self.default


SERVICES = ImageName(variable="PENSTOCK_IMAGE", default="penstock/services:dev")
TOOLS = ImageName(variable="PENSTOCK_TOOLS_IMAGE", default="penstock/tools:dev")
ACTIVEMQ = ImageName(variable="ACTIVEMQ_IMAGE", default="apache/activemq-classic:5.18.6")
VALKEY = ImageName(variable="VALKEY_IMAGE", default="valkey/valkey:8.1-bookworm")
AWS = ImageName(variable="AWS_IMAGE", default="motoserver/moto:5.1.15")

PULL_POLICY = "PULL_POLICY"
"""`never`: a missing image is refused at once instead of being pulled; testcontainers' reaper is left out, too."""
