"""Texts that repeat themselves."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weave_async.records import Sample
from weave_async.validation.repetition import (
    DUPLICATE_SIZES,
    PRESETS,
    TOP_SIZES,
    RepetitionValidator,
)
from weave_async.validation.text_units import words

MakeSample = Callable[..., Sample]


def reason_by_definition(text: str) -> str:
    """As the paper has it, one run of words after the other, without a thought for time."""
    bounds = PRESETS["document"]
    found = words(text)
    for size in TOP_SIZES:
        runs = [" ".join(found[i : i + size]) for i in range(len(found) - size + 1)]
        if runs:
            run, times = Counter(runs).most_common(1)[0]
            if times * len(run) / len(text) > (bounds[f"max_top_{size}gram"] or 0):
                return f"top_{size}gram"
    for size in DUPLICATE_SIZES:
        seen: set[tuple[str, ...]] = set()
        num_chars = at = 0
        while at + size <= len(found):
            run_at = tuple(found[at : at + size])
            num_chars += len("".join(run_at)) if run_at in seen else 0
            at += size if run_at in seen else 1
            seen.add(run_at)
        if num_chars / len(text) > (bounds[f"max_duplicate_{size}grams"] or 0):
            return f"duplicate_{size}grams"
    return ""


some_words = st.sampled_from(["a", "the", "river", "runs", "never,", "it?", "3.5", "don't", "Ü"])
fragments = st.lists(some_words, min_size=1, max_size=12).map(" ".join)


@given(parts=st.lists(fragments, min_size=1, max_size=30), filler=st.integers(0, 200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_runs_of_words_are_measured_as_the_paper_defines_them(
    make_sample: MakeSample, parts: list[str], filler: int
) -> None:
    """The filler keeps the shares around their bounds."""
    text = " ".join([*(f"{number * 7919}x" for number in range(filler)), *parts])
    assert RepetitionValidator("document")(make_sample(text)).reason == reason_by_definition(text)


@given(parts=st.lists(fragments, min_size=2, max_size=6), again=st.integers(1, 3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_passages_that_come_again_are_measured_as_the_paper_defines_them(
    make_sample: MakeSample, parts: list[str], again: int
) -> None:
    distinct = [f"word{number}" for number in range(120)]
    text = " ".join(distinct[:60] + parts * again + distinct[60:] + parts + distinct[40:52])
    assert RepetitionValidator("document")(make_sample(text)).reason == reason_by_definition(text)


@pytest.mark.parametrize("num_words", [5, 8, 10, 13, 24])
def test_a_passage_that_comes_again_is_refused_from_the_papers_share_on(
    make_sample: MakeSample, num_words: int
) -> None:
    passage = [f"p{number:03}" for number in range(num_words)]
    reasons = []
    for num_others in range(20, 320, 3):
        others = [f"w{number:03}" for number in range(num_others)]
        text = " ".join([*passage, *others, *passage])
        reasons.append(RepetitionValidator("document")(make_sample(text)).reason)
        assert reasons[-1] == reason_by_definition(text)
    assert "" in reasons
    assert len(set(reasons)) > 1


def test_where_no_run_repeats_the_first_one_is_the_most_frequent(make_sample: MakeSample) -> None:
    rule = RepetitionValidator("document", max_top_3gram=None, max_top_4gram=None)
    words_after = "and so on it went for a year or two and a day"
    assert rule(make_sample(f"Extraordinary circumstances {words_after}")).reason == "top_2gram"
    assert rule(make_sample(f"So extra ordinary circumstances {words_after}")).passed


def test_the_evidence_holds_what_was_measured_and_the_bound(make_sample: MakeSample) -> None:
    verdict = RepetitionValidator("document")(make_sample("So it goes.\nSo it goes.\nOr not."))
    assert verdict.reason == "duplicate_lines"
    assert verdict.evidence == {"value": 0.3333, "max_duplicate_lines": 0.3}
    verdict = RepetitionValidator("chat")(make_sample("no way " * 9))
    assert verdict.reason == "top_2gram"
    assert verdict.evidence == {"value": 0.8571, "max_top_2gram": 0.35}


def test_one_bound_of_a_preset_can_be_moved_or_lifted(make_sample: MakeSample) -> None:
    sample = make_sample("So it goes.\nSo it goes.\nOr not, said the man behind the counter.")
    assert RepetitionValidator("chat")(sample).reason == "duplicate_lines"
    moved = RepetitionValidator("chat", max_duplicate_lines=0.4)
    assert moved(sample).passed
    lifted = RepetitionValidator("chat", max_duplicate_lines=None, max_duplicate_line_chars=0.1)
    assert lifted(sample).reason == "duplicate_line_chars"


def test_a_pair_that_stands_once_counts_in_documents_only(make_sample: MakeSample) -> None:
    """The papers mean long texts: in a short one, every pair of words is a fifth of it."""
    sample = make_sample("Where is it?")
    assert RepetitionValidator("document")(sample).reason == "top_2gram"
    assert RepetitionValidator("question")(sample).passed


@pytest.mark.parametrize("preset", ["question", "chat", "paragraph", "document"])
@pytest.mark.parametrize(
    "text",
    [
        "How can I change my card and then and then and then and then and then and then?",
        "Where is my parcel? " * 4,
        "Where is my parcel?\n" * 4,
        "sure " * 30,
        "I see. I am not sure that I can do that for you. " * 3,
        "The answer is 4.\n\nThe answer is 4.\n\nThe answer is 4.",
    ],
)
def test_loops_are_refused_whatever_the_preset(
    make_sample: MakeSample, preset: str, text: str
) -> None:
    assert not RepetitionValidator(preset=preset)(make_sample(text.strip())).passed  # type: ignore[arg-type]


def test_it_can_be_sent_to_another_process(make_sample: MakeSample) -> None:
    rule = pickle.loads(pickle.dumps(RepetitionValidator("paragraph", max_top_2gram=0.1)))
    assert rule == RepetitionValidator("paragraph", max_top_2gram=0.1)
    assert not rule(make_sample("no way " * 9)).passed
