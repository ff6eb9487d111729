"""Texts that are too short or too long."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.tokens import LONGEST_COUNTED_CHARS, encoding_for
from weave_async.validation.texts import text_of
from weave_async.validation.turns import Field

if TYPE_CHECKING:
    from tiktoken import Encoding

USUAL_BYTES_PER_TOKEN = 4
"""Of English, in a vocabulary of today: what is assumed where there is none to count with."""


@dataclass(frozen=True, slots=True)
class LengthValidator:
    """Bounds, inclusive, on words, characters and tokens. ``complete`` also refuses a completion
    that ran into max_tokens.

    ``field`` is what is measured: the completion, the prompt (all turns before it), or both.
    Tokens are counted by the vocabulary of ``tokens_of``, a model that tiktoken knows, which must
    be in the folder ``vocabularies``. Without it they are a quarter of the bytes, and the evidence
    says that they are estimated.
    """

    paths: ClassVar[tuple[str, ...]] = ("vocabularies",)

    min_words: int = 1
    max_words: int | None = None
    max_chars: int | None = None
    complete: bool = True
    min_chars: int = 0
    min_tokens: int = 0
    max_tokens: int | None = None
    field: Field = "completion"
    tokens_of: str | None = None
    vocabularies: str | None = None
    _encoding: Encoding | None = dataclass_field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for unit in ("words", "chars", "tokens"):
            least, most = getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")
            if least < 0:
                raise ValueError(f"min_{unit} {least} is below 0")
            if most is not None and least > most:
                raise ValueError(f"min_{unit} {least} is above max_{unit} {most}")
        object.__setattr__(self, "_encoding", self._loaded())

    @property
    def is_light(self) -> bool:
        """Counting the tokens of a long text takes milliseconds."""
        return self._encoding is None

    def __call__(self, sample: Sample) -> Verdict:
        text = text_of(sample, self.field)
        if refused := self._outside("words", len(text.split())):
            return refused
        if refused := self._outside("chars", len(text)):
            return refused
        if (self.min_tokens or self.max_tokens is not None) and (refused := self._tokens(text)):
            return refused
        is_asked = self.complete and self.field != "prompt"
        if is_asked and sample.response and sample.response.finish_reason == "length":
            return Verdict(False, "cut_off", {"max_tokens": sample.request.params.max_tokens})
        return ACCEPTED

    def _tokens(self, text: str) -> Verdict | None:
        if self._encoding is None or len(text) > LONGEST_COUNTED_CHARS:
            num_bytes = len(text.encode(errors="replace"))
            estimate = -(-num_bytes // USUAL_BYTES_PER_TOKEN)
            return self._outside("tokens", estimate, {"estimated": True})
        return self._outside("tokens", len(self._encoding.encode_ordinary(text)))

    def _outside(self, unit: str, count: int, more: dict[str, Any] | None = None) -> Verdict | None:
        least, most = getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")
        if count < least:
            return Verdict(False, "too_short", {unit: count, f"min_{unit}": least, **(more or {})})
        if most is not None and count > most:
            return Verdict(False, "too_long", {unit: count, f"max_{unit}": most, **(more or {})})
        return None

    def _loaded(self) -> Encoding | None:
        if self.tokens_of is None:
            return None
        if self.vocabularies is None:
            raise ValueError(
                "tokens_of needs the folder in which tiktoken keeps its vocabularies: vocabularies"
            )
        encoding = encoding_for(self.tokens_of, Path(self.vocabularies))
        if encoding is None:
            raise ValueError(
                f"the vocabulary of {self.tokens_of!r} is not known, or not in "
                f"{self.vocabularies}: have tiktoken fetch it there once, with TIKTOKEN_CACHE_DIR "
                "set, or leave tokens_of out and the tokens are estimated"
            )
        return encoding
