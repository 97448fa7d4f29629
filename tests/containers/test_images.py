"""What the images are: small, without root, without a compiler, on a read-only file system, with a health check."""

import json
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from tests.containers.compose import eventually
from tests.containers.engine import CommandError, docker

SERVICES = "penstock/services:dev"
TOOLS = "penstock/tools:dev"
LAMBDA = "penstock/lambda:dev"
NO_QUEUE = "http://127.0.0.1:1/123456789012/failures"
COMPILERS = ("gcc", "cc", "g++", "c++", "clang", "make", "ld")


@pytest.mark.parametrize("image", [SERVICES, TOOLS, LAMBDA])
def test_an_image_runs_without_root_and_holds_no_compiler(image: str) -> None:
    """The user is a number, which Kubernetes can check; no pip and no uv are left beside the packages either."""
    configuration = json.loads(docker("image", "inspect", image))[0]["Config"]
    assert configuration["User"] == "10001:10001"
    assert configuration["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    script = f"for tool in {' '.join(COMPILERS)} uv; do command -v $tool; done; ls /venv/bin/pip /uv 2>/dev/null; true"
    assert docker("run", "--rm", "--entrypoint", "sh", image, "-c", script) == ""


@pytest.mark.parametrize(
    "module", ["services.config", "services.filtering", "services.tracking", "services.persistence", "broker_bridge"]
)
def test_every_process_is_in_the_image_and_checks_its_settings(module: str) -> None:
    """`--check` on a read-only file system, with no capability and no network."""
    locked = ("--read-only", "--cap-drop", "ALL", "--network", "none", "--security-opt", "no-new-privileges")
    docker("run", "--rm", *locked, SERVICES, module, "--check")


def test_the_health_check_tells_a_process_that_serves_from_one_that_does_not() -> None:
    """By grpc.health.v1: config serves; the bridge, without a broker, is alive and does not."""
    name = f"penstock-test-health-{uuid4().hex[:8]}"
    locked = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")
    quick = ("--health-interval", "1s", "--health-retries", "1", "--health-start-period", "0s")
    data = ("--mount", "type=volume,dst=/data", "--env", "PENSTOCK_CONFIG_DATABASE=/data/p.sqlite3")
    key = ("--env", "PENSTOCK_CONFIG_KEY_FILE=/data/secret.key")
    try:
        docker("run", "--detach", "--name", name, *locked, *quick, *data, *key, SERVICES, "services.config")
        eventually(lambda: health(name) == "healthy", f"{name} to be healthy")
        docker("run", "--detach", "--name", f"{name}-bridge", *locked, *quick, SERVICES, "broker_bridge")
        eventually(lambda: health(f"{name}-bridge") == "unhealthy", "the bridge to be unhealthy")
        log = json.loads(docker("inspect", f"{name}-bridge"))[0]["State"]["Health"]["Log"]
        assert any("NOT_SERVING" in entry["Output"] for entry in log), log
    finally:
        for container in (name, f"{name}-bridge"):
            subprocess.run(["docker", "rm", "--force", "--volumes", container], capture_output=True, check=False)


def health(container: str) -> str:
    return str(json.loads(docker("inspect", container))[0]["State"]["Health"]["Status"])


def test_a_missing_image_is_one_clear_line_where_nothing_may_be_pulled() -> None:
    """PULL_POLICY=never of the offline variables."""
    environment = {"VALKEY_IMAGE": "penstock-standin/no-such:dev", "COMPOSE_PROJECT_NAME": "penstock-test-missing"}
    offline = ("compose", "--env-file", "deploy/airgap/offline.env")
    with pytest.raises(CommandError, match="penstock-standin/no-such:dev"):
        docker(*offline, "up", "--detach", "--no-deps", "valkey", environment=environment)
    docker(*offline, "down", environment=environment)


@pytest.mark.parametrize(
    ("handler", "settings"),
    [
        (
            "services.persistence.lambda_handler.handler",
            {"PENSTOCK_PERSISTENCE_STORE": "memory", "PENSTOCK_PERSISTENCE_FAILURE_QUEUE_URL": NO_QUEUE},
        ),
        (
            "services.tracking.lambda_handler.handler",
            {
                "PENSTOCK_CORE_DATA_REDIS_URL": "redis://127.0.0.1:6379/0",
                "PENSTOCK_CORE_DATA_FAILURE_QUEUE_URL": NO_QUEUE,
            },
        ),
    ],
    ids=["events to the store", "core data to Redis"],
)
def test_a_lambda_handler_of_the_image_answers_under_the_runtime_client(
    tmp_path: Path, handler: str, settings: dict[str, str]
) -> None:
    """The image's own awslambdaric takes an empty batch from the Runtime API and reports no failures."""
    name = f"penstock-test-lambda-{uuid4().hex[:8]}"
    functions = tmp_path / "functions.toml"
    variables = "".join(f'{key} = "{value}"\n' for key, value in settings.items())
    functions.write_text(
        f'[functions.f]\nhandler = "{handler}"\ncode = "/var/task"\n[functions.f.environment]\n{variables}'
    )
    tmp_path.chmod(0o755)
    endpoint = ("-m", "deploy.local.lambda_endpoint", "--functions", "/f/functions.toml", "--data", "/tmp/data")
    run = ("run", "--detach", "--name", name, "--read-only", "--tmpfs", "/tmp", "--volume", f"{tmp_path}:/f:ro")
    ask = (
        "import urllib.request as u; url = 'http://127.0.0.1:9001/2015-03-31/functions/f/invocations'; "
        """print(u.urlopen(u.Request(url, data=b'{"Records": []}'), timeout=30).read().decode())"""
    )
    try:
        docker(*run, "--entrypoint", "python3", LAMBDA, *endpoint)
        eventually(lambda: answer(name, ask), "the endpoint to answer")
        assert json.loads(answer(name, ask)) == {"batchItemFailures": []}
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)


def answer(container: str, program: str) -> str:
    """What a Python program prints in the container; empty while it fails."""
    try:
        return docker("exec", container, "python3", "-c", program)
    except CommandError:
        return ""
