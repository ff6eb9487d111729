"""Against values by hand, published ones and those of reference libraries."""

from __future__ import annotations

from fractions import Fraction

import pytest

from weave_async.metrics import lexical
from weave_async.metrics.corpus import Corpus
from weave_async.metrics.estimate import CannotTellError
from weave_async.metrics.self_bleu import clipped_matches, self_bleu, self_bleu_by_row
from weave_async.metrics.word_ngrams import SeedNgrams

TEXTS = [
    "the cat sat on the mat near the door",
    "a cat sat on a mat by the window",
    "the dog lay on the mat near the fire",
    "my card was stolen on the way to work",
    "my card was stolen at the station last night",
    "how do I send money abroad",
    "how do I send money to my sister",
    "yes please",
    "no",
    "the the the cat sat on the mat near the door",
]
# nltk 3.10.4: sentence_bleu(the others, text, smoothing_function=SmoothingFunction().method1)
SELF_BLEU = [
    *(1.0, 0.134851118595, 0.467137977728, 0.368893973233, 0.315598453911),
    *(0.544446059661, 0.496264477676, 0.0, 0.0, 0.786075302152),
]
ISHMAEL = """call me ishmael some years ago never mind how long precisely having little or no money
in my purse and nothing particular to interest me on shore i thought i would sail about a little
and see the watery part of the world it is a way i have of driving off the spleen and regulating
the circulation whenever i find myself growing grim about the mouth whenever it is a damp drizzly
november in my soul whenever i find myself involuntarily pausing before coffin warehouses and
bringing up the rear of every funeral i meet"""
# Papineni et al., 2002, example 1: candidates 1 and 2, and the three references.
REFERENCES = [
    "It is a guide to action that ensures that the military will forever heed Party commands.",
    "It is the guiding principle which guarantees the military forces always being under the "
    "command of the Party.",
    "It is the practical guide for the army always to heed the directions of the party.",
]
CANDIDATE_1 = (
    "It is a guide to action which ensures that the military always obeys the commands of the party"
)
CANDIDATE_2 = "It is to insure the troops forever hearing the activity guidebook that party direct"


def test_distinct_n_is_types_over_all_runs_and_none_goes_over_a_row() -> None:
    corpus = Corpus(["a b a b", "a b c"])
    assert lexical.distinct(corpus, 1) == pytest.approx(3 / 7)
    assert lexical.distinct(corpus, 2) == pytest.approx(3 / 5)  # ab ba ab | ab bc
    assert lexical.distinct(corpus, 3) == pytest.approx(3 / 3)


def test_words_count_without_case_and_punctuation_in_any_script() -> None:
    assert lexical.distinct(Corpus(["Ja! ja", "JA", "да Да", "東東"]), 1) == pytest.approx(3 / 7)


@pytest.mark.parametrize(
    ("candidate", "published"),
    [
        (CANDIDATE_1, [Fraction(17, 18), Fraction(10, 17)]),
        (CANDIDATE_2, [Fraction(8, 14), Fraction(1, 13)]),
    ],
)
def test_modified_precision_is_that_of_the_paper(candidate: str, published: list[Fraction]) -> None:
    corpus = Corpus([candidate, *REFERENCES])
    found = [
        Fraction(int(clipped_matches(corpus, n)[0]), int(corpus.lengths[0]) - n + 1) for n in (1, 2)
    ]
    assert found == published


def test_self_bleu_is_nltks_of_each_text_against_the_others() -> None:
    assert self_bleu_by_row(Corpus(TEXTS)).tolist() == pytest.approx(SELF_BLEU, abs=1e-11)
    assert self_bleu(Corpus(TEXTS)) == pytest.approx(sum(SELF_BLEU) / len(SELF_BLEU))


def test_self_bleu_is_1_of_equal_texts_and_0_of_texts_without_a_common_word() -> None:
    assert self_bleu(Corpus(["one two three four five"] * 3)) == pytest.approx(1)
    assert self_bleu(Corpus(["one two", "three four", "five"])) == 0


def test_self_bleu_leaves_texts_without_words_out() -> None:
    assert self_bleu(Corpus([*TEXTS, "", "?!"])) == pytest.approx(self_bleu(Corpus(TEXTS)))


def test_mtld_is_that_of_the_reference_libraries() -> None:
    # lexicalrichness 0.5.1 (threshold .72) and lexical-diversity 0.1.1 (min=0) agree on both.
    assert lexical.mtld_of(ISHMAEL.split()) == pytest.approx(81.91549295774648)
    repeated = ["of", "the", "people", "by", "the", "people", "for", "the", "people"] * 5
    assert lexical.mtld_of(repeated) == pytest.approx(6.428571428571429)


def test_mtld_has_no_value_for_few_words_or_where_none_comes_twice() -> None:
    with pytest.raises(CannotTellError, match="needs 50 words; there are 2"):
        lexical.mtld(Corpus(["two words"]))
    with pytest.raises(CannotTellError, match="no word comes twice"):
        lexical.mtld(Corpus([" ".join(f"w{i}" for i in range(60))]))


def test_compression_sees_a_copy_that_is_far_away() -> None:
    far = [f"{i * 7919 % 100_003:05d} {i * 104_729 % 99_991:05d}" for i in range(8_000)]  # 96 KB
    once = lexical.compression_ratio(Corpus(far))
    assert lexical.compression_ratio(Corpus(far + far)) > 1.9 * once


def test_novelty_is_the_share_of_runs_that_no_seed_has() -> None:
    seeds = SeedNgrams(["send money abroad", "lost my card"])
    corpus = Corpus(["Send money home", "I lost my card"], seeds=seeds)
    assert lexical.novelty(corpus, 2) == pytest.approx(2 / 5)  # money home, I lost
    assert lexical.novelty(corpus, 3) == pytest.approx(2 / 3)


def test_novelty_of_many_seeds_is_told_from_a_sample_of_their_runs() -> None:
    seeds = SeedNgrams((f"a{i} b{i} c{i}" for i in range(4_000)), max_kept=1_000)
    old = [f"a{i} b{i} c{i}" for i in range(0, 4_000, 2)]
    new = [f"c{i} b{i} a{i}" for i in range(2_000)]
    assert lexical.novelty(Corpus(old + new, seeds=seeds), 2) == pytest.approx(0.5, abs=0.1)
    assert lexical.novelty(Corpus(old, seeds=seeds), 2) == 0


def test_top_opening_share_looks_at_the_first_three_words() -> None:
    texts = ["Can you tell me why", "can you tell, please", "Can you help", "Why?", ""]
    assert lexical.top_opening_share(Corpus(texts)) == pytest.approx(2 / 4)
