"""Text that was damaged on its way, or that hides something.

Mojibake is UTF-8 that somebody read as Windows-1252: each sign below is such a run of bytes that
hardly any text has by itself. ``CAFÉ…`` and ``MANHÃ”`` are words with
punctuation, and no damage.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.turns import Field, turns

Check = Literal[
    "replacement", "control", "private_use", "surrogate", "zero_width", "bidi", "mojibake"
]
MAX_PLACES_NAMED, AROUND_CHARS = 5, 10

# What Windows-1252 and Latin-1 show for the bytes 80 to BF.
_BYTE = "\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_PUNCTUATION = "«»·…–—‘’“”„‚‹›"
_SIGNS: dict[Check, str] = {
    "replacement": "\ufffd",
    "control": "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]",
    "private_use": "[\ue000-\uf8ff\U000f0000-\U0010ffff]",
    "surrogate": "[\ud800-\udfff]",
    # A joiner belongs to emoji and to scripts such as Devanagari and Arabic, but not to this one;
    # tag characters belong to flags.
    "zero_width": "[\u200b\u2060-\u2064]|(?<!\\A)\ufeff"
    "|(?<=[A-Za-z])[\u200c\u200d](?=[A-Za-z])"
    "|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0000-\U000e007f]",
    "bidi": "[\u202d\u202e]",
    "mojibake": f"[ÃÂ](?![{_PUNCTUATION}])[{_BYTE}]"
    f"|[ÃÂ][{_BYTE}](?=[a-z])"
    f"|(?<=[a-z])[ÄÅ][{_BYTE}](?=[a-z])"
    f"|(?:[ÐÑ][{_BYTE}]){{2}}|(?:[ØÙ][{_BYTE}]){{3}}|(?:[ÎÏ][{_BYTE}]){{3}}"
    f"|â€[{_BYTE}]|â‚¬|â„¢|â†’|ï»¿|ï¿½"
    f"|(?:[ã-é](?![{_PUNCTUATION}]{{2}})[{_BYTE}]{{2}}){{2}}"
    f"|ðŸ[{_BYTE}]{{2}}",
}
_LEADS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u200b-\u200d\u202d\u202e\u2060-\u2064"
    "\ud800-\uf8ff\ufeff\ufffd\U000e0000-\U000e007f\U000f0000-\U0010ffffÂ-ÅÎ-ÑØÙã-éâïð]"
)
"""What each sign begins with: hardly any character of a text is one, and one class is soon passed
over, where the signs themselves would be tried at every character."""
_ASCII_CONTROL = re.compile("[^\t\n\r -~]")
_EMBEDDING, _ISOLATE = re.compile("[\u202a\u202b\u202d\u202e]"), re.compile("[\u2066-\u2068]")


@dataclass(frozen=True, slots=True)
class EncodingValidator:
    """Refuses text that was damaged, or that holds what nobody sees.

    ``checks`` are what is looked for: ``replacement`` (U+FFFD, for bytes that were no text),
    ``control`` (characters such as NUL; not tabs and line breaks), ``private_use``, ``surrogate``
    (half of a pair), ``zero_width`` (blanks without width, hidden tags), ``bidi`` (overrides, and
    marks that nobody closes: they make text read in another order), ``mojibake`` ("Ã©" for "é").
    """

    checks: list[Check] = dataclasses.field(default_factory=lambda: list(get_args(Check)))
    field: Field = "both"
    is_light: ClassVar[bool] = True
    _signs: re.Pattern[str] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        signs = [f"(?P<{check}>{_SIGNS[check]})" for check in dict.fromkeys(self.checks)]
        object.__setattr__(self, "_signs", re.compile("|".join(signs) or r"(?!)"))

    def __call__(self, sample: Sample) -> Verdict:
        for index, message in turns(sample, self.field):
            text = message.content
            if text.isascii() and not _ASCII_CONTROL.search(text):
                continue
            if match := self._first_sign(text):
                return Verdict(False, str(match.lastgroup), self._told(text, match, index))
            if "bidi" in self.checks and _is_unclosed(text):
                return Verdict(False, "bidi", {"message": index, "unclosed": True})
        return ACCEPTED

    def _first_sign(self, text: str) -> re.Match[str] | None:
        places = (lead.start() for lead in _LEADS.finditer(text))
        return next(filter(None, (self._signs.match(text, place) for place in places)), None)

    def _told(self, text: str, first: re.Match[str], index: int) -> dict[str, Any]:
        places = [each.start() for each in self._signs.finditer(text)]
        around = text[max(0, first.start() - AROUND_CHARS) : first.end() + AROUND_CHARS]
        return {
            "message": index,
            "at": places[:MAX_PLACES_NAMED],
            "count": len(places),
            "around": ascii(around)[1:-1],  # what is not to be seen, and may be no UTF-8
        }


def _is_unclosed(text: str) -> bool:
    """Whether a line ends with an embedding or an isolate still open (UAX #9)."""
    if not ("\u202a" in text or "\u202b" in text or _ISOLATE.search(text)):
        return False
    return any(
        len(_EMBEDDING.findall(line)) != line.count("\u202c")
        or len(_ISOLATE.findall(line)) != line.count("\u2069")
        for line in text.splitlines()
    )
