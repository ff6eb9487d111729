"""Samples that contain what a model is to be examined with."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cache
from pathlib import Path
from typing import ClassVar

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.evaluation_files import EvaluationText, texts_in
from weave_async.validation.texts import quoted
from weave_async.validation.turns import Field, turns
from weave_async.validation.word_hashes import HashTable, hashes_of, words_of

LEAST_WORDS_OF_NGRAM = 8
"""Of a shorter text, people write the like by chance: it counts only as a whole turn. The least
length of n-grams in GPT-3's own analysis."""
LEAST_WORDS = 3
"""An answer such as ``yes`` or ``B`` says nothing of where it comes from."""


@dataclass(frozen=True, slots=True)
class DecontaminationValidator:
    """No turn shares ``ngram_words`` words in a row with the evaluation ``files``, or is one of
    their texts.

    Words are compared as in the GPT-3 paper (Brown et al. 2020, appendix C): in lower case, without
    punctuation, 13 in a row. Of an evaluation text with fewer words, but at least 8, the whole text
    counts; one with fewer still, but at least 3, must be a whole turn. ``files`` are JSON Lines,
    CSV (both with ``columns``, or all text in them) or text, a line each. ``field`` is where they
    are looked for: the prompt (all turns before the answer), the completion, or both.
    Each worker process keeps 24 to 48 bytes for each word of them.
    """

    paths: ClassVar[tuple[str, ...]] = ("files",)

    files: str | list[str]
    columns: str | list[str] = dataclass_field(default_factory=list)
    ngram_words: int = 13
    field: Field = "both"

    def __post_init__(self) -> None:
        if isinstance(self.files, str):
            object.__setattr__(self, "files", [self.files])
        if isinstance(self.columns, str):
            object.__setattr__(self, "columns", [self.columns])
        if not self.files:
            raise ValueError("files: name at least one evaluation file")
        if self.ngram_words < LEAST_WORDS_OF_NGRAM:
            raise ValueError(
                f"ngram_words {self.ngram_words}: people share fewer than {LEAST_WORDS_OF_NGRAM} "
                "words by chance"
            )
        for file in self.files:
            if not sum(
                1 for _ in texts_in(Path(file), self.columns)
            ):  # all of it: a line may be bad
                raise ValueError(f"{file} has no text to compare with")

    def __call__(self, sample: Sample) -> Verdict:
        index = _index_of(tuple(self.files), tuple(self.columns), self.ngram_words)
        for place, message in turns(sample, self.field):
            words = words_of(message.content)
            found = index.find(words)
            if found is None:
                continue
            origin, first, num_words = found
            is_whole = num_words == len(words)
            evidence = {
                "found_in": origin,
                "ngram": quoted(" ".join(words[first : first + num_words]), 300),
                "words": num_words,
                "role": message.role,
                "turn": place,
            }
            return Verdict(False, "exact_match" if is_whole else "ngram_overlap", evidence)
        return ACCEPTED


class Index:
    """The n-grams of evaluation texts, and where each stands first."""

    def __init__(self, texts: Iterator[EvaluationText], ngram_words: int) -> None:
        self._ngrams: dict[int, HashTable] = {}
        self._whole = HashTable()
        self._files: list[str] = []
        self._places = array("Q")  # file in the upper half, line in the lower
        self._ngram_words = ngram_words
        for text in texts:
            self._add(text)

    def __repr__(self) -> str:
        num = sum(map(len, self._ngrams.values()))
        return f"<Index {num} n-grams of {len(self._places)} texts>"

    def find(self, words: list[str]) -> tuple[str, int, int] | None:
        """Where the evaluation text stands, the first of the shared words, and their number."""
        if len(words) >= LEAST_WORDS:
            whole = next(hashes_of(words, len(words)))
            if (place := self._whole.get(whole)) is not None:
                return self._origin(place), 0, len(words)
        for num_words, table in self._ngrams.items():
            for first, each in enumerate(hashes_of(words, num_words)):
                if (place := table.get(each)) is not None:
                    return self._origin(place), first, num_words
        return None

    def _add(self, text: EvaluationText) -> None:
        words = words_of(text.text)
        if len(words) < LEAST_WORDS:
            return
        if not self._files or self._files[-1] != text.file:
            self._files.append(text.file)
        place = len(self._places)
        self._places.append((len(self._files) - 1) << 32 | text.line)
        self._whole.add(next(hashes_of(words, len(words))), place)
        num_words = min(len(words), self._ngram_words)
        if num_words < LEAST_WORDS_OF_NGRAM:
            return
        table = self._ngrams.setdefault(num_words, HashTable())
        for each in hashes_of(words, num_words):
            table.add(each, place)

    def _origin(self, place: int) -> str:
        packed = self._places[place]
        return f"{self._files[packed >> 32]}:{packed & 0xFFFFFFFF}"


@cache
def _index_of(files: tuple[str, ...], columns: tuple[str, ...], ngram_words: int) -> Index:
    texts = (text for file in files for text in texts_in(Path(file), columns))
    return Index(texts, ngram_words)
