"""Key rotation without downtime: when another key has become active, every stored data key is wrapped by it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from services.config.crypto import SecretBox
from services.config.store import ParameterStore, StoredEnvelope
from services.runtime.errors import PenstockError

_LOOK_SECONDS = 5.0
_BATCH = 200


class Rewrapping:
    """Keeps the secrets of a store under the active key; `run` is a background task."""

    def __init__(self, store: ParameterStore, secrets: SecretBox, *, look_seconds: float = _LOOK_SECONDS) -> None:
        self._store = store
        self._secrets = secrets
        self._look_seconds = look_seconds
        self._log = structlog.get_logger(component="keys")

    async def run(self) -> None:
        """Looks for another active key every few seconds, until cancelled."""
        done: bytes | None = None
        while True:
            active = self._secrets.active_key
            if active != done and await self._tried():
                done = active
            await asyncio.sleep(self._look_seconds)

    async def all(self) -> int:
        """Re-wraps everything that lies under another key; answers how many secrets it were.

        A secret that cannot be opened is left as it is and logged: its key may come back.
        """
        after, count = 0, 0
        while True:
            batch = await self._store.envelopes(after=after, limit=_BATCH)
            count += await self._store.replace_envelopes(await self._replacements(batch))
            if len(batch) < _BATCH:
                return count
            after = batch[-1].revision

    async def _tried(self) -> bool:
        try:
            count = await self.all()
        except PenstockError as error:  # the store or the key service is away: again at the next look
            self._log.warning("re-wrapping is interrupted", error=error.message)
            return False
        if count:
            self._log.info("secrets are under the new key", secrets=count, key=_shown(self._secrets.active_key))
        return True

    async def _replacements(self, batch: Sequence[StoredEnvelope]) -> list[StoredEnvelope]:
        changed = []
        for found in batch:
            try:
                sealed = await self._secrets.rewrapped(found.sealed, found.name, found.version, found.key_id)
            except PenstockError as error:
                self._log.error("a secret cannot be re-wrapped", error=error.message)
                continue
            if sealed is not None:
                changed.append(replace(found, replacement=sealed))
        return changed


def _shown(key_id: bytes) -> str:
    return key_id.decode() if key_id.startswith(b"kms:") else key_id.hex()
