"""Short texts on which the published filters decide for one reason each, and what they decide.

They have the shape of datatrove's own public test cases (huggingface/datatrove,
``tests/pipeline/filters/test_filters.py``), in words of ours, with bounds that stand in options
there and here. The last column is what datatrove 0.10.1 answers with the words of
``weave_async.validation.text_units``: ``True`` or the reason of its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

PROSE = (
    "The kettle was still warm when they came back from the garden, and the two of them sat down "
    "with their tea to talk about the wall that had to be mended before the winter."
)
LINES = (
    "The ferry leaves the island at seven and comes back in the evening.\n"
    "Most of the people who live there work in the small harbour.\n"
    "In winter the sea is rough, and nobody can say when it will sail.\n"
    "That is why every house has food for two weeks in its cellar.\n"
    "Visitors are asked to bring what they need, and to be patient.\n"
    "Whoever has stayed for a storm will remember it for a long time."
)


class Case(NamedTuple):
    rule: str
    options: dict[str, Any]
    text: str
    reason: str
    datatrove_options: dict[str, Any]
    datatrove: bool | str


SMALL = ({"min_words": 10, "max_words": 1000}, {"min_doc_words": 10, "max_doc_words": 1000})


def _repetition(text: str, reason: str, datatrove: bool | str) -> Case:
    return Case("repetition", {}, text, reason, {}, datatrove)


def _quality(text: str, reason: str, datatrove: bool | str) -> Case:
    return Case("gopher_quality", SMALL[0], text, reason, SMALL[1], datatrove)


def _c4(text: str, reason: str, datatrove: bool | str) -> Case:
    return Case("c4", {}, text, reason, {}, datatrove)


CASES = [
    _repetition("You owe me a boat.\n" * 4, "duplicate_lines", "dup_line_frac"),
    _repetition("You owe me a boat.\n\n" * 4, "duplicate_paragraphs", "dup_para_frac"),
    _repetition(
        "We are here.\n\nThey are over there.\n\nYou owe me a boat.\n\n" + f"{'z' * 30}!\n\n" * 2,
        "duplicate_paragraph_chars",
        "dup_para_char_frac",
    ),
    _repetition(
        "We are here.\nThey are over there.\nYou owe me a boat.\n" + f"{'z' * 40}!\n" * 2,
        "duplicate_line_chars",
        "dup_line_char_frac",
    ),
    _repetition("We see Paula, we see Paula, we see Paula", "top_2gram", "top_2_gram"),
    _repetition(
        "I am Oscar, you are Renate. I am Oscar. I am Oscar you are Renate",
        "top_3gram",
        "top_3_gram",
    ),
    _repetition(
        "one red boat sails " * 3 + PROSE + " " + LINES.replace("\n", " ")[:90],
        "top_4gram",
        "top_4_gram",
    ),
    _repetition(
        "He is a patient fisherman " * 4 + PROSE + LINES[:110],
        "duplicate_5grams",
        "duplicated_5_n_grams",
    ),
    _repetition("", "empty", "empty"),
    _repetition(LINES, "", True),
    _quality("We are few...", "too_few_words", "gopher_short_doc"),
    _quality("we go " * 1001, "too_many_words", "gopher_long_doc"),
    _quality("It is " * 20, "short_words", "gopher_below_avg_threshold"),
    _quality("straightforwardly " * 20, "long_words", "gopher_above_avg_threshold"),
    _quality("# remark " * 20, "too_many_hashes", "gopher_too_many_hashes"),
    _quality("... remark " * 20, "too_many_ellipses", "gopher_too_many_ellipsis"),
    _quality(
        "- bring that with the boat to the harbour\n" * 12,
        "too_many_bullet_lines",
        "gopher_too_many_bullets",
    ),
    _quality(
        "they have that boat with the torn sail and no one to mend it...\n" * 3
        + "they have that boat with the torn sail and no one to mend it, for now and for good.\n"
        * 3,
        "too_many_ellipsis_lines",
        "gopher_too_many_end_ellipsis",
    ),
    _quality(
        "the ?!?<>< kettle <:://> garden  -- straightforwardly !<>!?! have" * 20,
        "too_few_alphabetic_words",
        "gopher_below_alpha_threshold",
    ),
    _quality(
        "boats sail past green islands " * 4, "too_few_stop_words", "gopher_enough_stop_words"
    ),
    _quality(PROSE, "", True),
    _c4(LINES, "", True),
    _c4(LINES.replace("rough", "lorem ipsum"), "lorem_ipsum", "lorem_ipsum"),
    _c4(LINES.replace("rough", "{ rough"), "curly_bracket", "curly_bracket"),
    _c4("It has one sentence.", "too_few_sentences", "too_few_sentences"),
    _c4(LINES.replace(".", ""), "too_few_sentences", "too_few_sentences"),
    _c4(LINES.replace("the", "JavaScript"), "too_few_sentences", "too_few_sentences"),
    _c4("Too short.\n" * 9, "too_few_sentences", "too_few_sentences"),
    _c4(
        LINES.replace("\n", " See our privacy policy.\n"), "too_few_sentences", "too_few_sentences"
    ),
    _c4(LINES.replace(".", " [12]."), "", True),
    Case("fineweb", {}, "", "empty", {}, "empty"),
    Case("fineweb", {}, " \n\n ", "empty", {}, "empty"),
    Case(
        "fineweb",
        {"min_punctuated_lines": 0.5},
        "There is no point\nNor is one here\nNothing ends",
        "unpunctuated_lines",
        {"line_punct_thr": 0.5},
        "line_punct_ratio",
    ),
    Case(
        "fineweb",
        {"max_short_lines": 0.5, "min_punctuated_lines": 0},
        "so.\nwell.\nyes.\nnot.\nnow.",
        "short_lines",
        {"short_line_thr": 0.5, "line_punct_thr": 0.0},
        "short_line_ratio",
    ),
    Case("fineweb", {}, f"{LINES}\n{LINES}", "duplicate_chars", {}, "char_dup_ratio"),
    Case(
        "fineweb",
        {"max_line_breaks_per_word": 0.05},
        LINES,
        "too_many_line_breaks",
        {"new_line_ratio": 0.05},
        "list_ratio",
    ),
    Case("fineweb", {}, LINES, "", {}, True),
]
