"""One endpoint's batch API, with the patience that a wait of hours needs."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from weave_async.batch.ledger import BatchRecord, Ledger
from weave_async.dispatch import Dispatcher
from weave_async.errors import ProviderError
from weave_async.flow.retry import Backoff
from weave_async.interfaces import BatchApi, BatchState
from weave_async.records import Api
from weave_async.rundir import answers_of, requests_of, storage_errors, sync_folder

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = Backoff(attempts=12, base_s=1.0, cap_s=60.0)
"""For a call that costs nothing. A batch that is out waits a day for us: so may we for its API."""
MOST_RETRY_AFTER_S = 120.0


@dataclass(frozen=True, slots=True)
class Lane:
    """Takes batches of one endpoint from step to step, each noted in the ledger.

    ``dispatcher`` knows what its requests cost, and which answers can be believed.
    """

    api: BatchApi
    dispatcher: Dispatcher
    ledger: Ledger
    folder: Path
    request_api: Api

    @property
    def name(self) -> str:
        return self.dispatcher.endpoint.name

    async def submit(self, record: BatchRecord) -> None:
        """Upload its file and have it answered, as far as that has not been done."""
        path = requests_of(self.folder, record.number)
        if record.file_id is None:
            file_id = await self._patiently(lambda: self.api.upload(path))
            self.ledger.note(record, "uploaded", file_id=file_id)
        if record.batch_id is None:
            batch_id = await self._patiently(self._creation_of(record))
            self.ledger.note(record, "created", batch_id=batch_id)
            logger.info(
                "batch %s at %s: %d requests are out", batch_id, self.name, record.num_requests
            )

    async def state(self, record: BatchRecord) -> BatchState:
        assert record.batch_id is not None
        batch_id = record.batch_id
        return await self._patiently(lambda: self.api.state(batch_id))

    async def download(self, record: BatchRecord, state: BatchState) -> list[Path]:
        """Its files of answers, each whole, as far as they are not here yet."""
        paths = []
        for file_number, file_id in enumerate(state.files, 1):
            path = answers_of(self.folder, record.number, file_number)
            if not path.exists():
                await self._patiently(self._download_of(file_id, path))
            paths.append(path)
        self.ledger.note(record, "downloaded")
        return paths

    def _creation_of(self, record: BatchRecord) -> Callable[[], Awaitable[str]]:
        """Creates its batch; or finds it, where an earlier attempt may have created it.

        An attempt that was killed, or ended without an answer, may have been heard all the same.
        """
        metadata = {
            "weave_async_run": self.ledger.run_id,
            "weave_async_file": str(record.number),
            "weave_async_digest": record.digest,
        }
        file_id = record.file_id
        assert file_id is not None

        async def find_or_create() -> str:
            if record.may_exist:
                found = await self.api.find(metadata, since=record.written_at)
                if found is not None:
                    return found
            else:
                self.ledger.note(record, "creating")
            return await self.api.create(file_id, self.request_api, metadata)

        return find_or_create

    def _download_of(self, file_id: str, path: Path) -> Callable[[], Awaitable[None]]:
        part = path.with_name(path.name + ".part")

        async def download() -> None:
            with storage_errors(part):
                part.unlink(missing_ok=True)
                await self.api.download(file_id, part)
                os.replace(part, path)
                sync_folder(path.parent)

        return download

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await call()
        except ProviderError as error:
            if not error.retryable:
                raise
            return await PATIENCE.try_again(
                error,
                call,
                is_retryable=lambda e: isinstance(e, ProviderError) and e.retryable,
                retry_after_s=_retry_after_s,
                on_retry=lambda e: logger.warning("%s: %s; trying again", self.name, e),
            )


def _retry_after_s(error: BaseException) -> float | None:
    told_s = error.retry_after_s if isinstance(error, ProviderError) else None
    return None if told_s is None else min(told_s, MOST_RETRY_AFTER_S)
