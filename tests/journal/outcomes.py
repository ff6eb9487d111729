"""What a recalled sample came to."""

from __future__ import annotations

from weave_async.journal.journal import Journal
from weave_async.records import Failure, Response, Sample


def outcome(journal: Journal, sample: Sample) -> Response | Failure | None:
    """The answer or the failure that the journal holds of ``sample``, if it does."""
    found = journal.recall(sample)
    return None if found is None else found.response or found.failure
