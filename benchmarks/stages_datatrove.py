"""datatrove's filters in a process of another Python: what ``stages_validation.py`` asks.

    python benchmarks/stages_datatrove.py TEXTS.json TEXT_UNITS.py

Each line on its standard input is one round: every filter over all texts, with each way to split
words: that of datatrove for English (spaCy), where it is installed, and ours, which is loaded from
the file that holds it. Answers with a line of JSON each. Imports nothing else of ours.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.word_tokenizers import WordTokenizer

FILTERS = {
    "repetition": GopherRepetitionFilter,
    "gopher_quality": GopherQualityFilter,
    "c4": C4QualityFilter,
    "fineweb": FineWebQualityFilter,
}


class OurWords(WordTokenizer):
    def __init__(self, text_units: ModuleType) -> None:
        super().__init__(None)
        self._text_units = text_units

    def word_tokenize(self, text: str) -> list[str]:
        found: list[str] = self._text_units.words(text)
        return found

    def sent_tokenize(self, text: str) -> list[str]:
        found: list[str] = self._text_units.sentences(text)
        return found

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        spans, start = [], 0
        for sentence in self.sent_tokenize(text):
            spans.append((start, start + len(sentence)))
            start += len(sentence)
        return spans


def main() -> None:
    texts = json.loads(Path(sys.argv[1]).read_text())
    spec = importlib.util.spec_from_file_location("text_units", sys.argv[2])
    assert spec is not None
    assert spec.loader is not None
    text_units = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(text_units)
    languages: dict[str, Any] = {"our words": OurWords(text_units)}
    if importlib.util.find_spec("spacy"):
        languages["own words"] = "en"
    filters = {
        (name, split): make(language=language)
        for name, make in FILTERS.items()
        for split, language in languages.items()
    }
    for filter in filters.values():
        filter.filter(Document(text=texts[0], id="0"))  # loads the splitter
    for _ in sys.stdin:
        rounds = [
            {"filter": name, "words": split, **one_round(filter, texts)}
            for (name, split), filter in filters.items()
        ]
        print(json.dumps(rounds), flush=True)


def one_round(filter: Any, texts: list[str]) -> dict[str, Any]:
    documents = [Document(text=text, id="0") for text in texts]
    begun_s = time.process_time()
    decisions = [filter.filter(document) is True for document in documents]
    return {"cpu_s": time.process_time() - begun_s, "accepted": decisions}


if __name__ == "__main__":
    main()
