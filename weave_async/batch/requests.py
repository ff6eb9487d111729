"""Samples → a file of requests for a batch API, and back to the samples that it asks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b, sha256
from pathlib import Path

from weave_async.errors import RunFolderError
from weave_async.flow.budget import NO_COST, Cost
from weave_async.records import Sample
from weave_async.rundir import open_private, open_regular, storage_errors, sync_folder

CustomIdIn = Callable[[bytes], str | None]
"""Reads whose line it is; ``None`` where it is nobody's. See ``interfaces.BatchApi``."""


def custom_id_of(sample: Sample) -> str:
    """The name of a sample's request in a batch file: the sample's id, and a digest of the request.

    Another request of the same sample has another name: an answer is never taken for one to what
    was not asked. At most 64 characters.
    """
    request = sample.request
    # The bound on tokens is no part of a request's id, but an answer that it cut is another one.
    asked = f"{request.request_id} {request.params.max_tokens}"
    return f"{sample.sample_id}-{blake2b(asked.encode(), digest_size=6).hexdigest()}"


def sample_id_in(custom_id: str) -> str:
    """Whose request a name stands for."""
    return custom_id.rpartition("-")[0]


class RequestsFile:
    """A batch file that grows as ``*.part``, and stands there whole once it is closed."""

    def __init__(self, path: Path, *, max_requests: int, max_bytes: int) -> None:
        self.path = path
        self.num_requests = 0
        self.cost = NO_COST
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._digest = sha256()
        self._part = path.with_name(path.name + ".part")
        with storage_errors(self._part):
            self._file = open_private(self._part)

    def __repr__(self) -> str:
        return f"<RequestsFile {self.path} {self.num_requests} requests, {self._num_bytes} bytes>"

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def has_room_for(self, line: bytes) -> bool:
        """Whether one more line keeps the limits; the first always does."""
        fits = self._num_bytes + len(line) <= self._max_bytes
        return not self.num_requests or (self.num_requests < self._max_requests and fits)

    def write(self, line: bytes, cost: Cost) -> None:
        with storage_errors(self._part):
            self._file.write(line)
        self._digest.update(line)
        self._num_bytes += len(line)
        self.num_requests += 1
        self.cost = Cost(self.cost.tokens + cost.tokens, self.cost.usd + cost.usd)

    def close(self) -> None:
        """Sync and rename."""
        with storage_errors(self._part):
            with self._file:
                self._file.flush()
                os.fsync(self._file.fileno())
            os.replace(self._part, self.path)
            sync_folder(self.path.parent)


def custom_ids_in(path: Path, custom_id_in: CustomIdIn) -> list[str]:
    """The names in a batch file, line by line."""
    try:
        with open_regular(path) as lines:
            return [custom_id_in(line) or "" for line in lines]
    except OSError as error:
        raise RunFolderError(
            f"cannot read {path}: {error.strerror}. It says what a batch was asked: restore it"
        ) from error


def ordinals_of(custom_ids: list[str], sample_ids: Iterator[str]) -> Mapping[int, str]:
    """Where in the run the samples stand that these requests are of, with the name of each."""
    asked = {sample_id_in(custom_id): custom_id for custom_id in custom_ids}
    return {
        ordinal: asked[sample_id]
        for ordinal, sample_id in enumerate(sample_ids)
        if sample_id in asked
    }
