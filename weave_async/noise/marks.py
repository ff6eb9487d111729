"""What protected spans look like, as patterns whose time grows with the text and no faster.

Each alternative can begin only where a stretch of its characters begins (the look-behinds), and
gives nothing back that it has taken (``++``, ``*+``): no place of a text is read again and again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from weave_async.noise.edits import Span
from weave_async.noise.telling_words import MONTHS

UNITS = (
    r"%|‰|°\s?[CFK]?|[€$£¥₹]|percent|per cent|degrees?|[kcmµn]?m[²³]?|[mk]?g|[mcd]?l|miles?|mi|ft"
    r"|feet|foot|inch(?:es)?|yards?|yd|pounds?|lbs?|ounces?|oz|kilos?|kilogram(?:me)?s?|gram(?:me)?s?"
    r"|kilomet(?:er|re)s?|met(?:er|re)s?|centimet(?:er|re)s?|millimet(?:er|re)s?|lit(?:er|re)s?"
    r"|gallons?|gal|tons?|tonnes?|acres?|hectares?|km/h|kmh|mph|m/s|[kMGTP]?i?[Bb](?:ps)?|[kMG]?Hz"
    r"|[kMG]?Wh?|[mk]?V|mAh?|px|dpi|ms|s|secs?|seconds?|mins?|minutes?|hrs?|h|hours?|days?|nights?"
    r"|weeks?|months?|years?|yrs?|Tage?n?|Stunden?|Minuten?|Wochen?|Monate?n?|Jahre?n?|jours?"
    r"|heures?|semaines?|d[íi]as?|horas?|semanas?|USD|EUR|GBP|JPY|CHF|INR|CAD|AUD|dollars?|euros?"
    r"|cents?|pence|bucks|yen|rupees?|francs?|k|hundred|thousand|million|billion|trillion|dozen"
    r"|calories|kcal|people|persons?|times"
)
_FIGURE = r"\d++(?:[.,'’]\d++)*+(?:[-–—]\d++(?:[.,]\d++)*+(?![-–—]\d))?"
_CLOCK = r"[ap]\.?m\b\.?|o['’]clock\b|Uhr\b"
_EXTENSIONS = (
    r"py|ipynb|js|ts|tsx|jsx|java|c|h|cpp|hpp|cs|go|rs|rb|php|sh|bat|ps1|sql|html?|css|xml|json|jsonl"
    r"|ya?ml|toml|ini|cfg|conf|env|lock|log|md|rst|txt|csv|tsv|parquet|xlsx?|docx?|pptx?|pdf|png|jpe?g"
    r"|gif|svg|webp|mp[34]|wav|mov|zip|t?gz|tar|exe|dll|so|dmg|apk|iso|bak|tmp"
)
_TAGS = (
    r"a|abbr|article|b|blockquote|body|br|button|code|div|em|figure|font|footer|form|h[1-6r]|head"
    r"|header|html|i|iframe|img|input|label|li|link|main|meta|nav|ol|option|p|pre|q|s|script|section"
    r"|select|small|span|strike|strong|style|su[bp]|table|tbody|td|textarea|tfoot|th|thead|title|tr"
    r"|u|ul|video"
)
_DOMAINS = r"com|org|net|edu|gov|io|ai|dev|app|info|biz|co|uk|de|fr|es|nl|eu|ch|ca|au|jp"
_LINK = r"[^\s<>\"“”]*[^\s<>\"“”.,;:!?)\]'’]"

# A token that holds a digit and is nothing better known: an order code, a version, a range.
_CODE_START = r"(?<![^\s(\[\"'“„«‘])"
_CODE = r"[^\s\d(\[\"'“„«‘]*+\d[^\s)\]\"”»]*(?<![.,;:!?'’…])"

_KINDS = {  # of two that begin at the same place, the first one counts
    "url": rf"\b(?:https?|ftp|file)://{_LINK}|\bwww\.{_LINK}"
    rf"|(?<![\w.@-])(?:[a-zA-Z][\w-]{{0,62}}\.){{1,4}}(?:{_DOMAINS})\b(?![@\w])(?:/{_LINK})?",
    "email": r"(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)++",
    "name": r"(?<!\w)@\w++",
    "markup": rf"</?(?:{_TAGS})\b[^<>\n]*+>|<!--[^>]*+-->|&(?:\w{{2,8}}|\#\w{{2,6}});"
    r"|\]\([^()\s]*+\)",
    "placeholder": r"</?[^\W\d][^<>\n]*+>|<\|[^<>\n]*+>|\[[^\[\]\n]{1,60}\](?!\()"
    r"|%(?:\(\w+\))?[sdifr]\b|\$\w*[A-Za-z]\w*",
    "quoted": r"\"[^\"\n]{1,200}\"|“[^”\n]{1,200}”|„[^“”\n]{1,200}[“”]|«[^»\n]{1,200}»"
    r"|(?<!\w)'[^'\n]{1,200}'(?!\w)|‘[^’\n]{1,200}’(?!\w)",
    "date": r"(?<![\w.,/-])(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:T[\d:.]++(?:Z|[+-][\d:]++)?)?"
    r"|\d{1,2}(?P<_mark>[-/.])\d{1,2}(?P=_mark)(?:\d{4}|\d{2})"
    rf"|\d{{1,2}}(?:st|nd|rd|th|\.)?\s(?:of\s)?(?:{MONTHS})\b\.?(?:,?\s\d{{4}})?)(?![\w-])",
    "time": rf"(?<![\w.,/:-])(?:\d{{1,2}}[:h]\d{{2}}(?::\d{{2}})?(?:\s?(?:{_CLOCK}))?(?![\w:])"
    rf"|\d{{1,2}}(?:\.\d{{2}})?\s?(?:{_CLOCK})(?!\w))",
    "number": rf"(?<![\w.,/:-])(?:(?:US|C|A)?[€$£¥₹]\s?|(?:USD|EUR|GBP|CHF|JPY)\s)?[-+−]?{_FIGURE}"
    rf"(?:(?:st|nd|rd|th)\b|\s?(?:{UNITS})(?![\w²³])"
    r"(?:\s(?:dollars?|euros?|pounds?|USD|EUR|GBP)\b)?)?"
    r"(?![\w/:%€$£-]|[.,'’]\w)",
    "path": r"(?<![\w.~/\\-])(?:(?:~|\.{1,2})?/[\w.-]++(?:/[\w.-]*+)*+|[A-Za-z]:\\\S++|\\\\\S++"
    r"|[\w.-]++(?:/[\w.-]++){2,}+/?"
    rf"|[\w-]++(?:/[\w-]++)*+\.(?:{_EXTENSIONS})(?![\w.]\w))",
    "code": r"```(?s:.*?)```|`[^`\n]++`|\b\w++\(\)|(?<!\S)--[a-z][\w-]*+|\b[^\W_]++_\w++"
    rf"|{_CODE_START}{_CODE}|(?<![\w&])\#\w++",
}
_MARKS = re.compile("|".join(rf"(?P<{kind}>{pattern})" for kind, pattern in _KINDS.items()))
# Beginning with a set of characters, a pattern is searched ten times as fast: most short texts have
# no mark at all, and pay nothing for all the kinds of them.
_MARKED = re.compile(
    r"[\d@`<>\[\]\"“„«‘/\\_#%$&(.'-]"
    r"(?:(?<![(.'-])|(?<=\()(?=\))|(?<=\.)(?=\w)|(?<=-)(?=-\w)|(?<=')(?<!\w')(?=\w))"
)
_UPPER = "A-ZÀ-ÖØ-ÞĀĂĄĆČĎĐĒĖĘĚĞĢĪĮİĶĻĽŁŃŅŇŌŐŒŔŘŚŞŠŢŤŪŮŰŲŹŻŽΑ-ΩА-ЯЁ"
_CAPITAL = re.compile(
    rf"[{_UPPER}](?:(?<!\w.)(?P<acronym>[A-Z]+s?\b|\.(?:[A-Z]\.)+)"
    r"|(?<=[\w,;:)] .)(?P<name>(?!['’])\w++(?:['’-]\w++)*+)"
    r"|(?<=[a-z].)(?P<camel>\w*+))"
)
_BRACE = re.compile(r"[{}]")
_JSON_START = re.compile(r"\{\s*(?:\"|\})")
_FORMULA = re.compile(
    r"\$(?![\s$])(?=[^$\n]*[\\^_={}+])[^$\n]{1,500}(?<!\s)\$(?![\d$])"
    r"|\$\$[^$]{1,2000}\$\$|\\\([^\n]{1,500}?\\\)|\\\[.{1,2000}?\\\]",
    re.DOTALL,
)


def marked(text: str) -> Iterator[Span]:
    """What is known by its figures and signs: amounts, addresses, code, quotations."""
    at = _MARKED.search(text)
    while at is not None:
        token = text.rfind(" ", at.pos, at.start()) + 1
        match = _MARKS.search(text, max(token, at.pos))
        if match is None:
            return
        yield Span(match.start(), match.end(), match.lastgroup or "")
        at = _MARKED.search(text, match.end())


def capitalised(text: str) -> Iterator[Span]:
    """Words that begin with a capital within a sentence, ``camelCase``, acronyms."""
    end = 0
    for match in _CAPITAL.finditer(text):
        start, kind = match.start(), match.lastgroup
        if kind == "camel":
            while start > end and text[start - 1].isalpha():
                start -= 1
        end = match.end()
        yield Span(start, end, "acronym" if kind == "acronym" else "name")


def formulas(text: str) -> Iterator[Span]:
    """Those of TeX: a ``$`` in them is no currency. ``$5 or x_1 = $7`` holds none."""
    for match in _FORMULA.finditer(text):
        yield Span(match.start(), match.end(), "code")


def braced(text: str) -> Iterator[Span]:
    """What stands in braces that belong together, the outermost of them: JSON, ``{{x}}``, code."""
    opened: list[int] = []
    found: list[tuple[int, int]] = []
    for match in _BRACE.finditer(text):
        if match.group() == "{":
            opened.append(match.start())
        elif opened:
            start, end = opened.pop(), match.end()
            while found and found[-1][0] > start:  # within this one
                found.pop()
            found.append((start, end))
    for start, end in found:
        if _JSON_START.match(text, start):
            yield Span(start, end, "json")
        elif "\n" in text[start:end]:
            yield Span(start, end, "code")
        else:
            yield Span(start - (text[start - 1 : start] == "$"), end, "placeholder")
