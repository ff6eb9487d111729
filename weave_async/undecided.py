"""Rejections that say nothing about the sample: the rule could not decide."""

from __future__ import annotations

from weave_async.stages.guard import PART_RAISED
from weave_async.stages.judging import NO_VERDICT
from weave_async.workers.pool import UNSENDABLE
from weave_async.workers.process import CRASHED, OUT_OF_MEMORY, TIMED_OUT

UNDECIDED = frozenset({PART_RAISED, NO_VERDICT, TIMED_OUT, OUT_OF_MEMORY, CRASHED, UNSENDABLE})
"""Their reasons."""
