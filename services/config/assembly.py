"""The parts of the config service, built from its settings and tied together."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Self

from services.config.access_file import AccessControl
from services.config.audit import AuditLog, AuditRecord
from services.config.crypto import KeyWrapper, SecretBox
from services.config.expiry import Expiry
from services.config.guard import Guard
from services.config.http_endpoint import HttpEndpoint
from services.config.identity import CallerIdentity
from services.config.key_file import LocalKeys
from services.config.memory_store import MemoryStore
from services.config.parameter import Deletion, MetadataChange, Notice, Parameter, ParameterEvent
from services.config.pattern import PatternProcess
from services.config.registry import ParameterRegistry
from services.config.rewrapping import Rewrapping
from services.config.schemas import SchemaBook
from services.config.servicer import ConfigServicer
from services.config.settings import ConfigSettings
from services.config.sqlite_store import SqliteStore
from services.config.ssm import Place
from services.config.ssm_http import SsmHttp
from services.config.store import ParameterStore
from services.config.watch import WatchHub
from services.runtime.aws import aws_client
from services.runtime.errors import OutOfRangeError
from services.runtime.health import HealthBoard

if TYPE_CHECKING:
    from services.config.dynamodb_store import DynamoDbStore

Hook = Callable[[], Awaitable[None]]
_PAGE = 500


class ConfigParts:
    """What `__main__` serves: the servicer, background tasks, and what to end first."""

    def __init__(self, servicer: ConfigServicer, *, tasks: list[Hook], before_stop: list[Hook]) -> None:
        self.servicer = servicer
        self.tasks = tasks
        self.before_stop = before_stop

    @classmethod
    async def open(cls, settings: ConfigSettings, health: HealthBoard, stack: AsyncExitStack) -> Self:
        """Opens files and builds the parts; `stack` closes them. Raises PenstockError where something is unusable."""
        store = await _store(settings, health, stack)
        secrets = SecretBox(await _keys(settings, store))
        patterns = PatternProcess(cpu_seconds=settings.pattern_seconds)
        stack.push_async_callback(patterns.close)
        schemas = SchemaBook(store, patterns.violations)
        hub, expiry = WatchHub(store, bookmark_seconds=settings.bookmark_seconds), Expiry(store)
        await schemas.load()
        access, audit = _access(settings, health), await _audit(settings, store, stack)
        registry = ParameterRegistry(store, secrets, patterns.matches, schemas)
        guard = Guard(registry, hub, access=access, audit=audit)
        tasks: list[Hook] = [store.failed, expiry.run, Rewrapping(store, secrets).run]
        before_stop: list[Hook] = [hub.close]
        if access:
            tasks.append(access.run)
        if settings.ssm_port:
            server = _ssm_server(settings, guard, access)
            tasks.append(server.run)
            before_stop.append(server.stop)
        return cls(ConfigServicer(guard, CallerIdentity(access)), tasks=tasks, before_stop=before_stop)


async def _store(settings: ConfigSettings, health: HealthBoard, stack: AsyncExitStack) -> ParameterStore:
    if settings.store == "memory":
        return MemoryStore(kept_revisions=settings.kept_revisions)
    # Without room to write parameters can still be read: degraded, not down.
    trouble = partial(health.set, "store", True)
    if settings.store == "dynamodb":
        return await stack.enter_async_context(_dynamodb(settings, trouble))
    sqlite = SqliteStore(settings.database, kept_revisions=settings.kept_revisions, on_trouble=trouble)
    return await stack.enter_async_context(sqlite)


def _dynamodb(settings: ConfigSettings, trouble: Callable[[str], None]) -> "DynamoDbStore":
    from services.config.dynamodb_store import DynamoDbStore  # noqa: PLC0415 - botocore takes half a second

    client = aws_client("dynamodb", region=settings.region, endpoint_url=settings.aws_endpoint_url, read_timeout=5.0)
    return DynamoDbStore(
        client,
        table=settings.dynamodb_table,
        create=settings.create_table,
        kept_revisions=settings.kept_revisions,
        on_trouble=trouble,
    )


async def _keys(settings: ConfigSettings, store: ParameterStore) -> KeyWrapper:
    if not settings.kms_key:
        return LocalKeys.opened(settings.key_file, may_create=not await store.holds_secrets())
    from services.config.kms import KeyChain, KmsKeys  # noqa: PLC0415 - botocore takes half a second

    client = aws_client("kms", region=settings.region, endpoint_url=settings.aws_endpoint_url, read_timeout=5.0)
    kms = KmsKeys(client, key=settings.kms_key, arn_prefix=settings.arn_prefix)
    if not settings.key_file.exists():
        return kms
    return KeyChain(kms, LocalKeys.opened(settings.key_file, may_create=False))


def _access(settings: ConfigSettings, health: HealthBoard) -> AccessControl | None:
    if settings.access_file is None:
        return None
    return AccessControl(settings.access_file, on_trouble=partial(health.set, "access", True))


async def _audit(settings: ConfigSettings, store: ParameterStore, stack: AsyncExitStack) -> AuditLog | None:
    if settings.audit_file is None:
        return None
    audit = await stack.enter_async_context(
        AuditLog(settings.audit_file, max_bytes=settings.audit_megabytes * 1024 * 1024)
    )
    await note_unaudited(store, audit)
    return audit


async def note_unaudited(store: ParameterStore, audit: AuditLog) -> None:
    """Audits the changes a killed process wrote without their record: who made them is kept with each version."""
    if audit.last_revision == 0 or audit.last_revision > store.revision:
        begin = AuditRecord(principal="", action="begin", name="/", revision=store.revision)
        await audit.add(begin)
        return
    while audit.last_revision < store.revision:
        try:
            page = await store.events("/", after=audit.last_revision, limit=_PAGE)
        except OutOfRangeError:
            await audit.add(
                AuditRecord(principal="", action="gap", name="/", result="unknown", revision=store.revision)
            )
            return
        for event in page.events:
            await audit.add(_found_after_restart(event))


_ACTIONS = {Parameter: "write", Deletion: "delete", MetadataChange: "metadata", Notice: "notice"}


def _found_after_restart(event: ParameterEvent) -> AuditRecord:
    put = event if isinstance(event, Parameter) else None
    return AuditRecord(
        principal=put.modified_by if put else "",
        action=_ACTIONS[type(event)],
        name=event.name,
        result="found after a restart",
        version=put.version if put else 0,
        revision=event.revision,
    )


def _ssm_server(settings: ConfigSettings, guard: Guard, access: AccessControl | None) -> HttpEndpoint:
    place = Place(region=settings.region, account_id=settings.account_id)
    return HttpEndpoint(
        SsmHttp(guard, place, keys=access.access_key if access else None).answer,
        host=settings.host,
        port=settings.ssm_port,
        setting=settings.variable("ssm_port"),
        tls_cert=settings.tls_cert,
        tls_key=settings.tls_key,
    )
