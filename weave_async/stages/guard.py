"""A part that raises costs the sample it raised on, with the reason ``raised``; no other."""

from __future__ import annotations

import logging
from dataclasses import replace

import orjson

from weave_async.records import Message, Rejection, Sample, Verdict

logger = logging.getLogger(__name__)

PART_RAISED = "raised"
"""The reason of a rejection by a part that raised: not the sample's fault."""
NUM_RAISED_TOLD = 3


class Guard:
    """Ends samples on which a part has raised. Says so a few times, not always."""

    def __init__(self, kind: str, name: str) -> None:
        self._kind = kind
        self._name = name
        self._num_raised = 0

    def rejected(self, sample: Sample, error: Exception) -> Sample:
        """The sample, ended by what a part has raised on it."""
        said = f"{type(error).__name__}: {error}".encode(errors="replace").decode()
        self._num_raised += 1
        if self._num_raised <= NUM_RAISED_TOLD:
            logger.warning(
                "%s '%s' raised on %s: %s", self._kind, self._name, sample.sample_id, said
            )
        return rejected(
            sample, self._kind, self._name, Verdict(False, PART_RAISED, {"error": said})
        )


def has_ended(sample: Sample) -> bool:
    """Whether an earlier stage, or its endpoint, has ended it."""
    return sample.rejection is not None or sample.failure is not None


def rejected(sample: Sample, kind: str, name: str, verdict: Verdict) -> Sample:
    return replace(sample, rejection=Rejection(kind, name, verdict.reason, dict(verdict.evidence)))


def storable(verdict: Verdict) -> Verdict:
    """A verdict that any file can hold: evidence that is no JSON is told as text.

    Raises what orjson raises for what cannot be told at all: then it is the rule that failed.
    """
    if not isinstance(verdict, Verdict):
        raise TypeError(f"it must return a Verdict, and returned {verdict!r}")
    if verdict.messages is not None and not (
        verdict.messages and all(isinstance(each, Message) for each in verdict.messages)
    ):
        raise TypeError(f"its messages must be Messages, and are {verdict.messages!r}")
    if not verdict.evidence and verdict.passed:
        return verdict
    verdict.reason.encode()
    dumped = orjson.dumps(dict(verdict.evidence), default=str, option=orjson.OPT_NON_STR_KEYS)
    return replace(verdict, evidence=orjson.loads(dumped))
