"""Training and validation rows that share nothing: neither a row of the source, nor a prompt.

Rows go together that come from one row of the source (its draws, completions and noisy copies, and
those of rows equal to it), that ask the same in the same words, or that were made of one sample's
prompt in an earlier run. Such a group is held out as a whole, or not at all.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from weave_async.errors import InputError
from weave_async.run_rows import ExportRow

KEYS_PER_ROW = 3


@dataclass(frozen=True, slots=True)
class Split:
    """Which prompts are held out, by a digest of their ids; among digests of other things."""

    held_out: frozenset[int]
    num_groups: int

    def name_of(self, prompt_id: str) -> str:
        return "validation" if prompt_key(prompt_id) in self.held_out else "train"


def split(
    rows: Iterable[ExportRow],
    *,
    fraction: float,
    seed: int,
    written_of: Callable[[], Iterable[str]],
) -> Split:
    """Hold out groups of rows, drawn by seed, as many as are together no more than ``fraction`` of
    what will be written; one at least. ``written_of`` tells the prompts' ids of that.

    Raises ``InputError`` where all is one group. Takes some hundred bytes a row.
    """
    keys = array("Q")
    for row in rows:
        keys.extend(keys_of(row))
    names, groups = _groups_of(keys)
    written = array("Q", map(prompt_key, written_of()))
    places = np.searchsorted(names, np.frombuffer(written, np.uint64))
    sizes = np.bincount(groups[places], minlength=len(names))
    members = np.flatnonzero(sizes).tolist()
    if not members:
        return Split(frozenset(), 0)
    if len(members) == 1:
        raise InputError(
            "no validation rows can be held out: all rows come from one prompt, directly or by way "
            "of others; leave --validation"
        )
    chosen = _drawn({group: int(sizes[group]) for group in members}, names, fraction, seed)
    return Split(frozenset(names[np.isin(groups, chosen)].tolist()), len(members))


def keys_of(row: ExportRow) -> tuple[int, int, int]:
    """Rows that share one of these go together. The first one is of the row's own prompt."""
    own = prompt_key(row.prompt_id)
    asked = "\n".join(turn["content"] for turn in row.clean_turns() if turn["role"] == "user")
    parent = own
    if row.parent is not None:  # 3f….2-0~1 → 3f…
        parent = _digest("parent", row.parent.rpartition("-")[0].partition(".")[0])
    return own, _digest("asked", " ".join(asked.casefold().split())), parent


def prompt_key(prompt_id: str) -> int:
    """``3f….2`` is the third row that is equal to ``3f…``."""
    return _digest("prompt", prompt_id.partition(".")[0])


def _digest(kind: str, text: str) -> int:
    digest = blake2b(text.encode(), digest_size=8, person=kind.encode())
    return int.from_bytes(digest.digest(), "big")


def _groups_of(keys: array[int]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct keys in order, and for each the place of the one that its group is called by."""
    names, nodes = np.unique(np.frombuffer(keys, np.uint64), return_inverse=True)
    leaders = array("I", range(len(names)))

    def leader_of(node: int) -> int:
        while leaders[node] != node:
            leaders[node] = leaders[leaders[node]]  # halves the path for whoever comes next
            node = leaders[node]
        return node

    flat = array("I", nodes.astype(np.uint32).tobytes())
    for start in range(0, len(flat), KEYS_PER_ROW):
        first = leader_of(flat[start])
        for other in flat[start + 1 : start + KEYS_PER_ROW]:
            second = leader_of(other)
            low, high = min(first, second), max(first, second)
            leaders[high], first = low, low
    settled = np.fromiter(map(leader_of, range(len(names))), np.int64, len(names))
    return names, settled


def _drawn(sizes: Mapping[int, int], names: np.ndarray, fraction: float, seed: int) -> list[int]:
    """Groups in an order of their own, as many as fit; the smallest one where none does."""
    order = sorted(sizes, key=lambda group: _digest("order", f"{seed}:{names[group]}"))
    room = fraction * sum(sizes.values())
    chosen, taken = list[int](), 0
    for group in order[:-1]:
        if taken + sizes[group] <= room:
            chosen.append(group)
            taken += sizes[group]
    return chosen or sorted(order, key=sizes.__getitem__)[:1]
