"""Two texts compared word by word: for a noise that says only what came out of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from weave_async.noise.edits import Edit

_PIECE = re.compile(r"\w+|\s+|[^\w\s]")
_MAX_DIFFERENT = 400
_MAX_STEPS = 2_000_000


def edits_between(clean: str, noisy: str) -> list[Edit]:
    """How one text becomes the other: as few edits as can be, of whole words.

    Its time is bounded: where hundreds of words differ, the stretch from the first of them to the
    last becomes one edit.
    """
    before, after = _PIECE.findall(clean), _PIECE.findall(noisy)
    head, tail = _ends_in_common(before, after)
    middle, other = before[head : len(before) - tail], after[head : len(after) - tail]
    starts = [sum(map(len, before[:head]))]
    for piece in middle:
        starts.append(starts[-1] + len(piece))
    return [
        Edit(starts[i], starts[i_end], "".join(other[j:j_end]))
        for i, i_end, j, j_end in _differences(middle, other)
    ]


def _ends_in_common(before: Sequence[str], after: Sequence[str]) -> tuple[int, int]:
    """How many pieces are the same at the beginning, and how many of the rest at the end."""
    shorter, head = min(len(before), len(after)), 0
    while head < shorter and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < shorter - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    return head, tail


def _differences(
    before: Sequence[str], after: Sequence[str]
) -> Iterator[tuple[int, int, int, int]]:
    """``before[i:i_end]`` has become ``after[j:j_end]``, in order; all between them is the same."""
    i = j = 0
    for same_i, same_j in [*_common(before, after), (len(before), len(after))]:
        if same_i > i or same_j > j:
            yield i, same_i, j, same_j
        i, j = same_i + 1, same_j + 1


def _common(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int]]:
    """The pairs of equal pieces on a shortest way from one to the other; none if that is too long.

    E. W. Myers, "An O(ND) Difference Algorithm and Its Variations", 1986: ``furthest[k]`` is how
    far one gets in ``before`` on the diagonal ``k`` (place in it less place in ``after``) with as
    many pieces left out or put in as there have been rounds.
    """
    size, other_size = len(before), len(after)
    furthest, rounds, num_steps = {1: 0}, [], 0
    for num_different in range(min(size + other_size, _MAX_DIFFERENT) + 1):
        rounds.append(dict(furthest))
        for k in range(-num_different, num_different + 1, 2):
            i = begin = _beginning(furthest, k, num_different)
            while i < size and i - k < other_size and before[i] == after[i - k]:
                i += 1
            furthest[k] = i
            num_steps += i - begin
            if i >= size and i - k >= other_size:
                return _way_back(rounds, size, other_size)
        if num_steps > _MAX_STEPS:
            break
    return []


def _came_from(furthest: dict[int, int], k: int, num_different: int) -> int:
    """The diagonal of the round before: the one above with a piece put in, or below, left out."""
    if k == -num_different or (k != num_different and furthest[k - 1] < furthest[k + 1]):
        return k + 1
    return k - 1


def _beginning(furthest: dict[int, int], k: int, num_different: int) -> int:
    """Where a round begins on a diagonal."""
    source = _came_from(furthest, k, num_different)
    return furthest[source] + (source < k)


def _way_back(rounds: Sequence[dict[int, int]], i: int, j: int) -> list[tuple[int, int]]:
    pairs = []
    for num_different in range(len(rounds) - 1, -1, -1):
        furthest, k = rounds[num_different], i - j
        for _ in range(i - _beginning(furthest, k, num_different)):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        source = _came_from(furthest, k, num_different)
        i = furthest[source]
        j = i - source
    return pairs[::-1]
