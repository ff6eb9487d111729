"""Samples that share texts with evaluation files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weave_async.records import Sample
from weave_async.validation.decontamination import DecontaminationValidator
from weave_async.validation.word_hashes import HashTable, words_of

MakeSample = Callable[..., Sample]
QUESTION = (
    "If a train leaves the station at noon and travels at sixty miles per hour, "
    "how far has it gone by three o'clock?"
)
SHORT = "What is the capital of the country France?"  # 8 words
SHORTER = "Who wrote Hamlet?"


@pytest.fixture(autouse=True)
def _evaluation() -> None:
    rows = [
        {"question": QUESTION, "answer": "yes", "id": 1},
        {"question": SHORT, "answer": "It is the city of Paris, on the river Seine"},
        {"question": SHORTER, "choices": ["Shakespeare", {"text": "It was Ben Jonson, I think."}]},
    ]
    Path("eval.jsonl").write_text("\n\n".join(map(json.dumps, rows)) + "\n")


def rule(**options: Any) -> DecontaminationValidator:
    return DecontaminationValidator(**{"files": [str(Path("eval.jsonl").absolute())], **options})


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        (QUESTION, "exact_match", 1),
        (QUESTION.upper().replace(",", " -"), "exact_match", 1),
        (f"Solve this: {QUESTION} Explain.", "ngram_overlap", 1),
        (" ".join(QUESTION.split()[:13]) + " with me", "ngram_overlap", 1),
        (" ".join(QUESTION.split()[:12]) + " with me", "", None),
        (f"Tell me. {SHORT}", "ngram_overlap", 3),
        (SHORTER.lower(), "exact_match", 5),
        (f"Tell me. {SHORTER}", "", None),
        ("It was Ben Jonson, I think", "exact_match", 5),
        ("yes", "", None),
        ("Yes, Shakespeare.", "", None),
        ("A question of our own about trains that leave at noon.", "", None),
    ],
)
def test_shared_texts_are_found_on_both_sides(
    make_sample: MakeSample, text: str, reason: str, line: int | None
) -> None:
    for sample in (make_sample(text), make_sample("fine", user=text)):
        verdict = rule()(sample)
        assert (verdict.passed, verdict.reason) == (not reason, reason)
        if line is not None:
            assert verdict.evidence["found_in"].endswith(f"/eval.jsonl:{line}")


def test_the_evidence_shows_the_shared_words(make_sample: MakeSample) -> None:
    evidence = rule()(make_sample(f"See: {SHORT} Paris.", system="Be brief.")).evidence
    assert evidence["ngram"] == "what is the capital of the country france"
    assert (evidence["words"], evidence["role"], evidence["turn"]) == (8, "assistant", 2)


def test_field_and_columns_say_what_is_compared(make_sample: MakeSample) -> None:
    sample = make_sample(QUESTION)
    assert rule(field="prompt")(sample).passed
    assert not rule(field="completion")(sample).passed
    Path("qa.csv").write_text(f'q,a\n"{QUESTION}","two\nlines of it"\n{SHORTER},x\n')
    only_answers = DecontaminationValidator(files=["qa.csv"], columns="a")
    assert only_answers(sample).passed
    assert only_answers(make_sample("Two lines of it.")).evidence["found_in"] == "qa.csv:2"
    all_of_it = DecontaminationValidator(files=["eval.jsonl", "qa.csv"])
    assert all_of_it(make_sample("Two lines of it.")).evidence["found_in"] == "qa.csv:2"


def test_one_file_needs_no_list(make_sample: MakeSample) -> None:
    assert not DecontaminationValidator("eval.jsonl")(make_sample(QUESTION)).passed


def test_the_length_of_ngrams_can_be_set(make_sample: MakeSample) -> None:
    sample = make_sample(" ".join(QUESTION.split()[2:11]))
    assert rule()(sample).passed
    assert rule(ngram_words=9)(sample).evidence["words"] == 9


def test_scripts_without_spaces_are_compared_by_character(make_sample: MakeSample) -> None:
    Path("ja.txt").write_text("日本で一番高い山は富士山です。\n", encoding="utf-8")
    ja = DecontaminationValidator(files=["ja.txt"])
    assert ja(make_sample("質問:日本で一番高い山は富士山です!")).reason == "ngram_overlap"
    assert ja(make_sample("日本で一番長い川は信濃川です。")).passed


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"files": []}, "at least one"),
        ({"files": ["nowhere.jsonl"]}, "cannot read nowhere.jsonl"),
        ({"files": ["eval.parquet"]}, r"one of \.csv, \.jsonl, \.ndjson, \.txt"),
        ({"files": ["bad.jsonl"]}, "bad.jsonl:3: not JSON"),
        ({"files": ["bad.csv"]}, "bad.csv:3: more cells"),
        ({"files": ["latin.txt"]}, "latin.txt is not UTF-8"),
        ({"files": ["empty.jsonl"]}, "empty.jsonl has no text"),
        ({"columns": ["answer"]}, r"eval.jsonl:5: no column 'answer'; it has: question, choices"),
        ({"files": ["empty.txt", "list.jsonl"], "columns": ["q"]}, "has no"),
        ({"ngram_words": 3}, "by chance"),
    ],
)
def test_what_cannot_be_compared_with_is_refused_when_the_rule_is_built(
    options: dict[str, Any], told: str
) -> None:
    Path("bad.jsonl").write_text('{"a": "x"}\n\n{"a": \n')
    Path("bad.csv").write_text("a,b\n1,2\n1,2,3\n")
    Path("latin.txt").write_bytes("grün".encode("latin-1"))
    Path("empty.jsonl").write_text('{"a": 1}\n')
    Path("empty.txt").write_text("")
    Path("list.jsonl").write_text("[1]\n")
    with pytest.raises(ValueError, match=told):
        DecontaminationValidator(**{"files": ["eval.jsonl"], **options})


def test_a_table_keeps_the_first_number_of_each_hash() -> None:
    table = HashTable()
    expected: dict[int, int] = {}
    for number in range(20_000):
        key = (number % 15_000) * 0x9E3779B97F4A7C15 % 2**64 or 1
        table.add(key, number)
        expected.setdefault(key, number)
    assert len(table) == len(expected) == 15_000
    assert all(table.get(key) == number for key, number in expected.items())
    assert table.get(12345) is None


@given(st.text(), st.text())
def test_case_punctuation_and_spacing_change_no_words(left: str, right: str) -> None:
    assert words_of(f"{left} {right}") == words_of(f" {left}!\n{right}.")


@given(st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_raises(make_sample: MakeSample, text: str) -> None:
    rule()(make_sample(text, user=text))
