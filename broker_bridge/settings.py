"""What the bridge can be told: `PENSTOCK_BRIDGE_<FIELD>`."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, FilePath, SecretStr

from broker_bridge.broker import BrokerAddress, Login
from services.runtime.settings import ConfigClientSettings, Port, settings_config

_DEFAULT_STOMP_PORT = 61613
_DEFAULT_PORTS = {"stomp": _DEFAULT_STOMP_PORT, "stomp+ssl": 61614}
Url = Annotated[str, Field(pattern=r"^https?://")]


class BridgeSettings(ConfigClientSettings):
    """Settings of the bridge."""

    model_config = settings_config("PENSTOCK_BRIDGE_")

    port: Port = Field(default=50055, description="Port of the gRPC API; 0 takes a free one.")
    metrics_port: Port = Field(default=51055, description="Port of Prometheus's GET /metrics; 0 switches it off.")
    broker_urls: tuple[str, ...] = Field(
        default=(f"stomp://127.0.0.1:{_DEFAULT_STOMP_PORT}",),
        min_length=1,
        description="STOMP connectors of the brokers, tried in order: stomp+ssl://host:port,stomp://host:port.",
    )
    broker_prefer_first: bool = Field(
        default=False, description="Whether to return to the first broker of the list when it is back."
    )
    broker_tls_ca: FilePath | None = Field(
        default=None, description="PEM authorities of the broker's certificate; without it those of the system."
    )
    broker_tls_cert: FilePath | None = Field(
        default=None, description="PEM certificate shown to the broker, its chain included."
    )
    broker_tls_key: FilePath | None = Field(default=None, description="PEM key of that certificate.")
    broker_user: str = Field(default="penstock", description="User of the broker.")
    broker_password: SecretStr | None = Field(default=None, description="Password of the broker.")
    broker_password_file: FilePath | None = Field(default=None, description="File that holds the password instead.")
    broker_answer_seconds: float = Field(
        default=15.0, gt=0, description="Longest wait for CONNECTED or a receipt; then the connection is given up."
    )
    filtering_target: str = Field(
        default="127.0.0.1:50052", min_length=1, description="Address of the filtering service."
    )
    filtering_tls_ca: FilePath | None = Field(
        default=None, description="PEM authorities of its certificate; without it plain text."
    )
    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"), description="Redis or Valkey that holds the dedup records."
    )
    redis_timeout_seconds: float = Field(default=1.0, gt=0, description="After it the dedup store counts as away.")
    dedup_keep_seconds: float = Field(
        default=14_400.0, ge=60, description="How long it is remembered that a message was delivered."
    )
    instance: str = Field(
        default="",
        pattern=r"^\S*$",
        description="Name of this bridge, the same after a restart, different from all others; empty: host and port.",
    )
    snapshot: Path | None = Field(
        default=None,
        description="File of the last known good routes, for a start without the config service; unset: none.",
    )
    delivery_timeout_seconds: float = Field(
        default=30.0, gt=0, description="Longest delivery to a gRPC service, an HTTP endpoint, SQS, SNS or Kinesis."
    )
    lambda_timeout_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Longest wait for a function's answer; set it above the functions' own time-out.",
    )
    aws_region: str = Field(default="us-east-1", min_length=1, description="AWS region of Lambda, SQS, SNS, Kinesis.")
    aws_endpoint_url: Url | None = Field(
        default=None, description="Where to call AWS APIs instead of AWS: an emulator."
    )
    lambda_endpoint_url: Url | None = Field(default=None, description="The same for Lambda alone.")
    aws_threads: int = Field(default=32, ge=1, le=256, description="AWS calls in progress at the same time.")
    http_requests: int = Field(default=32, ge=1, le=256, description="HTTP requests in progress at the same time.")
    http_tls_ca: FilePath | None = Field(
        default=None, description="PEM authorities of HTTPS endpoints; without it those of the machine."
    )
    event_source_arn: str = Field(
        default="arn:aws:mq:us-east-1:123456789012:broker:penstock:b-penstock",
        pattern="^arn:",
        description="ARN of the broker that Lambda events name as their source.",
    )

    def conflicts(self) -> Iterator[str]:
        yield from super().conflicts()
        if self.broker_password and self.broker_password_file:
            yield (f"{self.variable('broker_password')} and {self.variable('broker_password_file')} exclude each other")
        if bool(self.broker_tls_cert) != bool(self.broker_tls_key):
            yield f"{self.variable('broker_tls_cert')} and {self.variable('broker_tls_key')} need each other"
        try:
            self.broker_tls()
        except (ssl.SSLError, OSError) as error:
            yield f"the TLS files of the broker cannot be used: {error.strerror or error}"
        for url in self.broker_urls:
            problem = _url_problem(url)
            if problem:
                yield f"{self.variable('broker_urls')}: {problem}"

    def addresses(self) -> tuple[BrokerAddress, ...]:
        """The brokers in order."""
        parts = [urlsplit(url) for url in self.broker_urls]
        return tuple(
            BrokerAddress(part.hostname or "", part.port or _DEFAULT_PORTS[part.scheme], part.scheme == "stomp+ssl")
            for part in parts
        )

    def broker_tls(self) -> ssl.SSLContext:
        """What `stomp+ssl` addresses use: the broker's certificate and name are always verified."""
        context = ssl.create_default_context(cafile=self.broker_tls_ca)
        if self.broker_tls_cert and self.broker_tls_key:
            context.load_cert_chain(self.broker_tls_cert, self.broker_tls_key)
        return context

    def login(self) -> Login:
        """User and password; a password file is read now, so that a changed one counts after a restart."""
        password = self.broker_password.get_secret_value() if self.broker_password else ""
        if self.broker_password_file:
            password = self.broker_password_file.read_text().strip()
        return Login(self.broker_user, password)

    def owner(self) -> str:
        """The name under which this bridge claims messages."""
        return self.instance or f"{socket.gethostname()}:{self.port}"


def _url_problem(url: str) -> str:
    """What is wrong with a broker URL, without its user and password; empty when nothing is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"a URL is malformed: {error}"
    if parts.username or parts.password:
        return "no login belongs into the URL: use BROKER_USER and BROKER_PASSWORD_FILE"
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path.strip("/") or port == 0:
        return f"{url!r} is neither stomp://host:port nor stomp+ssl://host:port"
    return ""
