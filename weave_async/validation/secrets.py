"""Keys, tokens and passwords, by the forms that their issuers gave them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import log2
from typing import ClassVar

from weave_async.records import Sample, Verdict
from weave_async.validation.sensitive import Action, Finding, judged
from weave_async.validation.turns import Field

MIN_BITS_PER_CHAR = 3.0
"""Shannon entropy of an assigned value: words are below it, 16 random characters seldom are."""

_TOKENS = {
    "aws_key": r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",
    "github_token": r"(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{22,255})",
    "gitlab_token": r"glpat-[\w-]{20,255}",
    "slack_token": r"xox[abeoprs]-[A-Za-z0-9-]{10,255}",
    "google_key": r"AIza[\w-]{35}",
    "stripe_key": r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,255}",
    "huggingface_token": r"hf_[A-Za-z0-9]{34,64}",
    "npm_token": r"npm_[A-Za-z0-9]{36}",
    "pypi_token": r"pypi-AgE[\w-]{50,512}",
    "sendgrid_key": r"SG\.[\w-]{22}\.[\w-]{43}",
    "jwt": r"eyJ[\w-]{10,4096}\.eyJ[\w-]{10,8192}\.[\w-]{0,4096}",
    "api_key": r"sk-[\w-]{20,255}",  # OpenAI, Anthropic and those who follow them
}
_TOKEN = re.compile(
    "(?<![A-Za-z0-9_-])(?:"
    + "|".join(f"(?P<{kind}>{form})" for kind, form in _TOKENS.items())
    + ")(?![A-Za-z0-9_-])",
    re.ASCII,
)
_MARKS: tuple[str, ...] = ("AKIA", "ASIA", "ABIA", "ACCA", "AIza", "eyJ", "xox", "gh", "SG.")
_MARKS += ("glpat-", "k_", "hf_", "npm_", "pypi-", "sk-")
"""What each of the forms has: a search for these is faster than one for all forms."""
_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_LINES = re.compile(r"(?:(?:\s|\\[nr])+[A-Za-z0-9+/=]{16,128})*")
_KEY_MATERIAL = re.compile(r"[A-Za-z0-9+/=]{32}")
MAX_KEY_CHARS = 16_384
_IN_URL = re.compile(r"://[^\s/:@\[\]]{1,256}:(?P<value>[^\s/:@\[\]]{3,256})@")
_ASSIGNED = re.compile(
    r"(?:api[_-]?key|secret|token|passw(?:or)?d|pwd|credential)s?[\"'`]?"
    r"[ \t]{0,4}(?::=|=>|=|:)[ \t]{0,4}[\"'`]?"
    r"(?P<value>[A-Za-z0-9+/=_.~!@#%^&*-]{16,512}+)(?![(\[])",  # no call, no subscript
    re.IGNORECASE,
)
_ATTRIBUTE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")  # settings.key_2, in code
_STAND_IN = re.compile(
    r"example|dummy|sample|placeholder|change|your|redacted|insert|secret|token|password|xxxx|1234567"
    r"|(.)\1{5}",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class SecretsValidator:
    """Refuses, or blacks out, keys and passwords that could be somebody's.

    Looked for are tokens in the form that their issuer gave them (AWS, GitHub, GitLab, Slack,
    Google, Stripe, Hugging Face, npm, PyPI, SendGrid, ``sk-…``), JSON Web Tokens, private keys,
    passwords in URLs, and values that look random behind a name such as ``api_key =``. Stand-ins
    such as ``sk-your-key-here`` are none. ``action`` ``redact`` puts ``[AWS_KEY]`` and the like in
    their place and passes the sample; ``reject`` refuses it: the row then stands, whole, among the
    run's rejected ones.
    """

    action: Action = "reject"
    field: Field = "both"
    is_light: ClassVar[bool] = True

    def __call__(self, sample: Sample) -> Verdict:
        return judged(sample, self.field, self.action, secrets)


def secrets(text: str) -> Iterator[Finding]:
    """Every stretch that is a secret, in any order; stretches may overlap."""
    if any(mark in text for mark in _MARKS):
        yield from _tokens(text)
    if "-----BEGIN" in text:
        yield from _private_keys(text)
    if "://" in text:
        yield from _passwords(text)
    if "=" in text or ":" in text:
        for match in _ASSIGNED.finditer(text):
            if _looks_random(match["value"]):
                yield Finding("secret", *match.span("value"))


def _tokens(text: str) -> Iterator[Finding]:
    for match in _TOKEN.finditer(text):
        value, kind = match.group(), match.lastgroup
        if kind and not _STAND_IN.search(value) and (kind != "api_key" or _is_mixed(value)):
            yield Finding(kind, *match.span())


def _passwords(text: str) -> Iterator[Finding]:
    for match in _IN_URL.finditer(text):
        if not _STAND_IN.search(match["value"]) and match["value"].lower() not in _NO_PASSWORDS:
            yield Finding("password", *match.span("value"))


_NO_PASSWORDS = {"pass", "pwd", "passwd"}


def _private_keys(text: str) -> Iterator[Finding]:
    """From the line that begins one to the line that ends it, or to where it breaks off."""
    end = 0
    for match in _BEGIN.finditer(text):
        start, body = match.span()
        if start < end:
            continue
        last = _END.search(text, body, body + MAX_KEY_CHARS) or _KEY_LINES.match(text, body)
        end = last.end() if last else body
        if _KEY_MATERIAL.search(text, body, end):
            yield Finding("private_key", start, end)


def _is_mixed(value: str) -> bool:
    """Digits and capitals besides small letters: no name of a package or a CSS class has all."""
    return any(map(str.isdigit, value)) and any(map(str.isupper, value))


def _looks_random(value: str) -> bool:
    if _STAND_IN.search(value) or _ATTRIBUTE.fullmatch(value):
        return False
    if sum(map(str.isdigit, value)) < 2 or not any(map(str.isalpha, value)):
        return False
    counts = Counter(value).values()
    bits = -sum(count / len(value) * log2(count / len(value)) for count in counts)
    return bits >= MIN_BITS_PER_CHAR
