"""What separates a misspelt word from the right one, found from the two words alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

VOWELS = "aeiouy"
# As they lie on the desk, each row half a key to the right of the one above; blanks keep places.
QWERTY = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def touching(rows: tuple[str, ...]) -> set[tuple[str, str]]:
    """Pairs of letters whose keys lie side by side, or one above the other."""
    pairs = set()
    for y, row in enumerate(rows):
        below = rows[y + 1] if y + 1 < len(rows) else ""
        for x, key in enumerate(row):
            for other in (row[x + 1 : x + 2], below[x : x + 1], below[x - 1 : x] if x else ""):
                if key.isalpha() and other.isalpha():
                    pairs |= {(key, other), (other, key)}
    return pairs


def distance(right: str, wrong: str) -> int:
    """Edits between them, of which swapping two neighbours is one (optimal string alignment)."""
    pairs = zip(right, wrong, strict=False)
    same = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(right), len(wrong)))
    right, wrong = right[same:], wrong[same:]
    rows = [list(range(len(wrong) + 1))]
    for i, a in enumerate(right, 1):
        row = [i]
        for j, b in enumerate(wrong, 1):
            least = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and (a, right[i - 2]) == (wrong[j - 2], b):
                least = min(least, rows[-2][j - 2] + 1)
            row.append(least)
        rows.append(row)
    return rows[-1][-1]


def profile(pairs: Iterable[tuple[str, str]], rows: tuple[str, ...] = QWERTY) -> dict[str, float]:
    """Shares by the names of the measured table; kinds are of the pairs with one edit."""
    near, counts = touching(rows), Counter[str]()
    for right, wrong in ((right.lower(), wrong.lower()) for right, wrong in pairs):
        edits = distance(right, wrong)
        counts["pairs"] += 1
        counts[f"distance {min(edits, 4)}"] += 1
        counts["first letter of all"] += right[0] != wrong[:1]
        if edits == 1:
            counts["single"] += 1
            counts["first letter"] += right[0] != wrong[:1]
            _count_single(right, wrong, near, counts)
    whole = {"first letter": "single", "neighbour": "substitute", "vowel": "substitute"}
    whole |= dict.fromkeys(("delete", "insert", "substitute", "transpose"), "single")
    whole |= {"repeats": "insert"}
    return {name: n / counts[whole.get(name, "pairs")] for name, n in counts.items()}


def _count_single(right: str, wrong: str, near: set[tuple[str, str]], counts: Counter[str]) -> None:
    at = next((i for i, (a, b) in enumerate(zip(right, wrong, strict=False)) if a != b), None)
    at = min(len(right), len(wrong)) if at is None else at
    if len(wrong) < len(right):
        counts["delete"] += 1
    elif len(wrong) > len(right):
        counts["insert"] += 1
        counts["repeats"] += wrong[at] in (wrong[at - 1 : at], wrong[at + 1 : at + 2])
    elif right[at + 1 :] != wrong[at + 1 :]:
        counts["transpose"] += 1
    else:
        counts["substitute"] += 1
        counts["neighbour"] += (right[at], wrong[at]) in near
        counts["vowel"] += right[at] in VOWELS and wrong[at] in VOWELS
