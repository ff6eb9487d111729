"""The sampler against the distributions it claims to draw from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from providers.local.server import draws
from providers.local.server.draws import advance, uniform
from providers.local.server.generation import GenerationRequest, Matcher, Sampling
from providers.local.server.sampling import Sampled, Sampler

NUM_DRAWS = 4000
CPU = torch.device("cpu")
CUTS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.5},
    {"temperature": 2.0},
    {"top_k": 3},
    {"top_p": 0.8},
    {"top_p": 0.01},
    {"min_p": 0.2},
    {"top_k": 4, "top_p": 0.7},
    {"min_p": 0.1, "top_p": 0.6, "temperature": 1.5},
    {"min_p": 0.05, "top_k": 5, "top_p": 0.9, "temperature": 0.7},
]
# Rows are the same whether few or many tokens are looked at first: 1 sends nearly all of them
# through the whole vocabulary.
WIDTHS = pytest.mark.parametrize("width", [64, 1])


@dataclass(eq=False)
class FakeRow:
    request: GenerationRequest
    tokens: list[int] = field(default_factory=list)
    matcher: Matcher | None = None


class Only:
    """A matcher of a few tokens."""

    def __init__(self, vocab_size: int, *tokens: int) -> None:
        bits = sum(1 << token for token in tokens)
        self._mask = bits.to_bytes(-(-vocab_size // 32) * 4, "little")

    def allowed(self) -> bytes:
        return self._mask

    def accept(self, token: int) -> None: ...


def make_row(prompt: tuple[int, ...] = (0,), **how: Any) -> FakeRow:
    return FakeRow(GenerationRequest(prompt, 10**6, Sampling(**how), frozenset()))


def sample(logits: torch.Tensor, *rows: FakeRow) -> Sampled:
    return Sampler(logits.size(-1), CPU).sample(logits.clone(), rows)


def expected(logits: torch.Tensor, how: Sampling) -> torch.Tensor:
    """Slowly, and by the book: temperature, min_p, top_k, then top_p over what is left."""
    probs, order = (logits.double() / how.temperature).softmax(-1).sort(descending=True)
    probs = probs * (probs >= how.min_p * probs[0])
    if how.top_k:
        probs[how.top_k :] = 0
    probs /= probs.sum()
    kept = probs * ((probs.cumsum(0) - probs) < how.top_p)
    return torch.zeros_like(probs).scatter(0, order, kept / kept.sum())


def frequencies(logits: torch.Tensor, how: Sampling) -> torch.Tensor:
    rows = [make_row(**{**_fields(how), "choice": n}) for n in range(NUM_DRAWS)]
    picks = torch.tensor(sample(logits.expand(NUM_DRAWS, -1), *rows).tokens)
    return torch.bincount(picks, minlength=logits.size(-1)) / NUM_DRAWS


def _fields(how: Sampling) -> dict[str, Any]:
    return {name: getattr(how, name) for name in Sampling.__slots__}


def assert_follows(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Chi-square, over the tokens that may come at all, at about one in ten thousand."""
    assert not found[wanted == 0].any(), "drew what was cut"
    possible = wanted > 0
    degrees = int(possible.sum()) - 1
    if degrees == 0:
        return
    wanted, found = wanted[possible], found[possible]
    chi_square = NUM_DRAWS * float(((found - wanted) ** 2 / wanted).sum())
    # Wilson and Hilferty's approximation of the quantile
    limit = degrees * (1 - 2 / (9 * degrees) + 3.72 * math.sqrt(2 / (9 * degrees))) ** 3
    assert chi_square < limit


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(12, generator=torch.Generator().manual_seed(3)) * 2


@WIDTHS
@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_draws_follow_the_distribution(
    logits: torch.Tensor, cut: dict[str, Any], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draws, "NARROW", width)
    how = Sampling(seed=11, **cut)
    assert_follows(frequencies(logits, how), expected(logits, how))


@pytest.mark.parametrize("spread", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_no_token_beyond_the_cut_is_drawn_from_a_large_vocabulary(
    cut: dict[str, Any], spread: float
) -> None:
    logits = torch.randn(8, 5000, generator=torch.Generator().manual_seed(5)) * spread
    rows = [make_row(seed=seed, **cut) for seed in range(8)]
    for position in range(5):
        picks = sample(logits, *rows).tokens
        for row, pick in enumerate(picks):
            assert expected(logits[row], rows[row].request.sampling)[pick] > 0
            rows[row].tokens.append(position)


@pytest.mark.parametrize("cut", [{"top_k": 7}, {"top_p": 0.7}, {"min_p": 0.1}], ids=str)
def test_a_narrow_row_is_inverted_in_order_of_probability(cut: dict[str, Any]) -> None:
    logits = torch.randn(64, 3000, generator=torch.Generator().manual_seed(7)) * 6
    how = [Sampling(seed=seed, **cut) for seed in range(64)]
    picks = sample(logits, *(make_row(**_fields(one)) for one in how)).tokens
    for row, one in enumerate(how):
        probs, order = expected(logits[row], one).sort(descending=True)
        key = advance(advance(advance(torch.tensor([one.seed]), 0), 0), 0)
        place = int(torch.searchsorted(probs.cumsum(0), uniform(key), right=True))
        assert picks[row] == order[place]


def test_tokens_that_tie_with_the_last_one_kept_are_kept() -> None:
    logits = torch.tensor([3.0, 2.0, 2.0, 2.0, 1.0])
    for cut in ({"top_k": 2}, {"top_p": 0.6}):
        assert (frequencies(logits, Sampling(**cut)) > 0).tolist() == [True] * 4 + [False]


MIXED: list[dict[str, Any]] = [
    {},
    {"temperature": 0},
    {"top_p": 0.9},
    {"top_p": 0.999, "temperature": 2.0},
    {"top_k": 100},
    {"min_p": 0.01, "frequency_penalty": 0.5},
    {"repetition_penalty": 1.3, "logit_bias": {5: 3.0}},
    {"num_logprobs": 3, "presence_penalty": 1.0},
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("vocab_size", [50, 320, 4001])
def test_a_row_draws_the_same_in_any_company(dtype: torch.dtype, vocab_size: int) -> None:
    logits = (torch.randn(64, vocab_size, generator=torch.Generator().manual_seed(1)) * 3).to(dtype)
    prompt = (1, 2, 3)
    rows = [make_row(prompt, seed=n, **MIXED[n % len(MIXED)]) for n in range(64)]
    for row in rows:
        row.tokens += [4, 4, 9]
    alone = [sample(logits[n : n + 1], row) for n, row in enumerate(rows)]
    for size in (2, 3, 7, 64):
        together = sample(logits[:size], *rows[:size])
        assert together.tokens == [one.tokens[0] for one in alone[:size]]
        assert together.logprobs == [one.logprobs[0] for one in alone[:size]]


def test_rows_come_and_go_without_a_trace() -> None:
    """A sampler that served other rows before picks what a fresh one picks."""
    generator = torch.Generator().manual_seed(2)
    kept = Sampler(300, CPU)
    rows = [make_row((1, 2), seed=n, **MIXED[n % len(MIXED)]) for n in range(12)]
    for step in range(30):
        batch = rows[step % 5 : step % 5 + 3 + step % 4]
        logits = torch.randn(len(batch), 300, generator=generator) * 2
        found = kept.sample(logits.clone(), batch)
        assert found == sample(logits, *batch)
        for row, token in zip(batch, found.tokens, strict=True):
            row.tokens.append(token)


def test_a_seed_and_a_choice_tell_the_draws_apart() -> None:
    logits = torch.zeros(3, 1000)
    first, again, other = make_row(seed=1), make_row(seed=1), make_row(seed=1, choice=1)
    tokens = sample(logits, first, again, other).tokens
    assert tokens[0] == tokens[1] != tokens[2]
    first.tokens.append(0)
    assert sample(logits[:1], first).tokens[0] != tokens[0]


def test_uniforms_are_spread_evenly_and_do_not_follow_each_other() -> None:
    keys = advance(torch.tensor([-(2**63), -1, 0, 1, 2**63 - 1]).unsqueeze(1), torch.arange(4000))
    for attempt in (0, 1, 40):
        values = uniform(keys, attempt)
        assert values.min() >= 0
        assert values.max() < 1
        for row in values:
            assert_follows_evenly(row)
            assert abs(float(torch.corrcoef(torch.stack((row[:-1], row[1:])))[0, 1])) < 0.08
    assert len(torch.cat([uniform(keys, n).flatten() for n in range(3)]).unique()) == 60_000


def assert_follows_evenly(values: torch.Tensor) -> None:
    counts = torch.histc(values.float(), bins=20, min=0, max=1)
    assert float(((counts - 200) ** 2 / 200).sum()) < 55  # one in fifty thousand


def test_greedy_takes_the_first_of_the_likeliest() -> None:
    logits = torch.zeros(2, 300)
    logits[0, [70, 200]] = 1.0
    logits[1, 299] = 1.0
    assert sample(logits, make_row(temperature=0), make_row(temperature=0)).tokens == [70, 299]
    mixed = sample(logits, make_row(temperature=0), make_row(top_k=1))
    assert mixed.tokens == [70, 299]


def test_penalties_follow_their_definitions() -> None:
    row = make_row(
        (3, 5),
        temperature=0,
        repetition_penalty=2.0,
        frequency_penalty=0.5,
        presence_penalty=0.25,
        logit_bias={7: -1.0},
    )
    row.tokens += [4, 5, 5]
    logits = torch.tensor([[0.0, 1.0, -1.0, 4.0, -4.0, 6.0, 2.0, 9.0]])
    sampler = Sampler(8, CPU)
    edited = logits.clone()
    plan = sampler._plan_for([row])
    plan.edit(edited)
    # 3 was in the prompt only, 4 once in the output, 5 in both; 7 has a bias and was not said
    assert edited.tolist() == [[0.0, 1.0, -1.0, 2.0, -8.75, 1.75, 2.0, 8.0]]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_no_numbers_are_told_and_hurt_no_other_row(bad: float) -> None:
    rows = [make_row(seed=n, **MIXED[n % len(MIXED)]) for n in range(16)]
    logits = torch.randn(16, 300, generator=torch.Generator().manual_seed(1))
    sound = sample(logits, *rows).tokens
    logits[1::2, 7] = bad
    found = sample(logits, *rows)
    assert found.finite == [True, False] * 8
    assert found.tokens[::2] == sound[::2]
    assert max(found.tokens) < 300


@pytest.mark.parametrize("cut", [*MIXED, {"top_p": 1e-300}, {"temperature": 1e-4}], ids=str)
def test_a_mask_leaves_only_what_it_allows(cut: dict[str, Any]) -> None:
    rows = [make_row(seed=n, **cut) for n in range(20)]
    for row in rows[::2]:
        row.matcher = Only(300, 3, 299)
    rows[1].matcher = Only(300)
    found = sample(torch.randn(20, 300, generator=torch.Generator().manual_seed(1)), *rows)
    assert set(found.tokens[::2]) <= {3, 299}
    assert found.finite == [True, False] + [True] * 18


def test_logprobs_are_the_models_own() -> None:
    logits = torch.randn(2, 300, generator=torch.Generator().manual_seed(1)) * 3
    rows = [
        make_row(num_logprobs=4, temperature=0.3, top_k=2, logit_bias={9: 100.0}),
        make_row(num_logprobs=0),
    ]
    found = sample(logits, *rows)
    wanted = logits.log_softmax(-1)
    first, second = found.logprobs
    assert first is not None
    assert second is not None
    assert found.tokens[0] == first.token == 9
    assert first.logprob == pytest.approx(float(wanted[0, 9]), abs=1e-5)
    assert [token for token, _ in first.top] == wanted[0].topk(4).indices.tolist()
    assert [p for _, p in first.top] == pytest.approx(wanted[0].topk(4).values.tolist(), abs=1e-5)
    assert second.top == ()
    assert sample(logits, make_row(), make_row()).logprobs == [None, None]


def test_penalties_follow_tokens_over_many_steps() -> None:
    """With a large penalty nothing is said twice, for longer than the room first set aside."""
    row = make_row(temperature=0, presence_penalty=2.0, frequency_penalty=2.0)
    sampler = Sampler(700, CPU)
    for _ in range(600):
        row.tokens += sampler.sample(torch.zeros(1, 700), [row]).tokens
    assert len(set(row.tokens)) == 600
