"""The same text about somebody of the other gender, and how much a score makes of that.

The mean of such differences is the counterfactual gap (after Kusner et al., 2017, and Garg et al.,
2019): 0 for a score that does not care. Words are swapped by rules, which have limits: ``her`` is
told apart as ``him`` or ``his`` by the words beside it (rightly in 139 of 150 real chat messages),
everyone in a text changes at once, and what is true of one gender alone becomes odd.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from weave_async.features.name_words import COMMON_WORDS
from weave_async.metrics.bias import intervals
from weave_async.metrics.bias.gender_terms import FEMININE, MASCULINE, PAIRS

_WORD = re.compile(
    r"(?<![^\W_])(?<![^\W_]['’])[^\W\d_]+(?:['’][^\W\d_]+)*(?!['’]?[^\W_])"  # not of `he2`
)
_OTHER_WAY = {
    **dict(PAIRS),
    **{hers: his for his, hers in PAIRS},
    "him": "her",
    "hers": "his",
    "ms": "mr",
    "mom": "dad",
    "moms": "dads",
    "mommy": "daddy",
    "mom's": "dad's",
}
# What may follow `her` as an object, and no noun phrase begins with: there it is `him`.
_AFTER_AN_OBJECT = frozenset(
    """
    a about after again against all alone along already also an and any anymore anything anyway are
    around as at away back because before behind by cause daily directly down during each earlier
    either even every everything except first for forever forward from goodbye here how i if
    immediately in inside instead into is it just last later like more much near never next nor not
    nothing now of off on once only onto or out outside over personally please properly quickly
    quite regarding right since so some something soon still than that the their them then there
    these they things this those though through till to today together tomorrow tonight too toward
    towards twice under unless until up very via was we were what when whenever where whether which
    while who whom why will with within without would yesterday yet you your
    """.split()  # noqa: SIM905 - read as words
)
_CAUSATIVES = frozenset(
    """
    let lets letting make makes made making help helps helped helping see saw hear heard
    """.split()  # noqa: SIM905 - read as words
)
_AFTER_A_CAUSATIVE = frozenset(
    """
    accept access angry answer anxious ask be become believe buy call change check choose come
    complete cry decide do eat enjoy enter fall feel figure fill find finish fix follow forget get
    give go grow handle happy have identify keep know laugh learn leave listen look lose mad make
    manage meet move nervous open pay play prepare quite read realize really recover relax remember
    resolve return run sad save say see sell set settle sign sing sit sleep smile so speak stand
    start stay succeed take talk think try uncomfortable understand uneasy update upset use verify
    very wait walk want win wonder work write
    """.split()  # noqa: SIM905 - read as words
)
Swap = Callable[[str], str]
Score = Callable[[str], float]


def swapped(text: str, *, names: bool = True) -> str:
    """``text`` with each gendered word in its other form, in the same case.

    With ``names``, English first names that only men or only women have change too, always into
    the same one, where Faker (extra ``noise``) is installed.
    """
    words = list(_WORD.finditer(text))
    by_name = _other_names() if names else {}
    pieces, end = [], 0
    for place, found in enumerate(words):
        word = found[0]
        small = word.lower().replace("’", "'")
        if small in ("her", "his"):
            before = words[place - 1][0].lower() if place else ""
            after = _following(text, words, place)
            other = _her_as(before, after) if small == "her" else _his_as(after)
        else:
            other = _OTHER_WAY.get(small) or by_name.get(word, "")
        if other:
            pieces += [text[end : found.start()], _in_case_of(word, other)]
            end = found.end()
    return "".join(pieces) + text[end:]


def _following(text: str, words: Sequence[re.Match[str]], place: int) -> str:
    """The next word, where only a space or a quotation mark stands before it; else nothing."""
    if place + 1 == len(words):
        return ""
    between = text[words[place].end() : words[place + 1].start()]
    return words[place + 1][0].lower() if re.fullmatch(r" +[\"'“‘(]?", between) else ""


def _her_as(before: str, after: str) -> str:
    if not after or after in _AFTER_AN_OBJECT:
        return "him"
    makes_do = before in _CAUSATIVES and (after in _AFTER_A_CAUSATIVE or before.startswith("let"))
    return "him" if makes_do else "his"


def _his_as(after: str) -> str:
    """``his`` stands alone where no noun phrase follows: ``a friend of his and mine``."""
    stands_alone = {"and", "or", "is", "was", "are", "were", "in", "at", "for", "to", "when", "but"}
    return "hers" if not after or after in stands_alone else "her"


def _in_case_of(word: str, other: str) -> str:
    if "’" in word:
        other = other.replace("'", "’")
    if word.isupper() and len(word) > 1:
        return other.upper()
    return other[:1].upper() + other[1:] if word[:1].isupper() else other


@cache
def _other_names() -> Mapping[str, str]:
    """First names of one gender alone → the other's that stands at the same place of its list."""
    if importlib.util.find_spec("faker") is None:
        return {}
    provider = importlib.import_module("faker.providers.person.en_US").Provider
    his, hers = list(provider.first_names_male), list(provider.first_names_female)
    both = set(his) & set(hers)
    plain = [
        [name for name in names if name not in both and name.lower() not in COMMON_WORDS]
        for names in (his, hers)
    ]
    pairs = list(zip(*plain, strict=False))
    return {**dict(pairs), **{hers: his for his, hers in pairs}}


@dataclass(frozen=True, slots=True)
class CounterfactualGap:
    """Of ``num_texts``, ``num_swapped`` say a gender and were scored in both forms.

    ``absolute`` is the mean of how far the two scores are apart; ``feminine_less_masculine`` keeps
    the sign. Both are ``None`` where nothing was swapped.
    """

    num_texts: int
    num_swapped: int
    absolute: intervals.Estimate | None = None
    feminine_less_masculine: intervals.Estimate | None = None

    def as_dict(self) -> dict[str, Any]:
        if self.absolute is None or self.feminine_less_masculine is None:
            return {"texts": self.num_texts, "swapped": 0, "note": "no text says a gender"}
        return {
            "texts": self.num_texts,
            "swapped": self.num_swapped,
            "absolute": self.absolute.as_dict(),
            "feminine_less_masculine": self.feminine_less_masculine.as_dict(),
        }


def counterfactual_gap(
    texts: Sequence[str], score: Score, *, seed: int = 0, swap: Swap = swapped
) -> CounterfactualGap:
    """How ``score``, be it a sentiment, a length or a rule's verdict as 0 or 1, changes with the
    gender of whom ``texts`` speak of. It is called twice for each text that says one.

    A lexicon that gives gendered words no weight has a gap of 0 by its making.
    """
    gaps = []
    for text in texts:
        other = swap(text)
        if other == text:
            continue
        gap = float(score(other)) - float(score(text))
        if not math.isfinite(gap):
            raise ValueError(f"the score of {text[:60]!r}, or of its other form, is not a number")
        gaps.append(-gap if _is_feminine(text) else gap)
    if not gaps:
        return CounterfactualGap(len(texts), 0)
    signed = np.array(gaps)  # (swapped,)
    rng = intervals.rng_of(seed, "counterfactual")
    return CounterfactualGap(
        len(texts),
        len(gaps),
        absolute=intervals.mean(np.abs(signed), rng),
        feminine_less_masculine=intervals.mean(signed, rng),
    )


def _is_feminine(text: str) -> bool:
    words = [word.lower().replace("’", "'") for word in _WORD.findall(text)]
    hers = sum(word in FEMININE for word in words)
    return hers > sum(word in MASCULINE for word in words)
