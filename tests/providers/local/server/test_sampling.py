"""The sampler against the distributions it claims to draw from."""

from __future__ import annotations

import pytest
import torch

from providers.local.server import sampling
from providers.local.server.generation import Sampling
from providers.local.server.sampling import draw

NUM_DRAWS = 4000


def frequencies(logits: torch.Tensor, how: Sampling) -> torch.Tensor:
    uniforms = [how.uniform(position) for position in range(NUM_DRAWS)]
    picks = draw(logits.repeat(NUM_DRAWS, 1), [how] * NUM_DRAWS, uniforms)
    return torch.bincount(picks, minlength=logits.size(-1)) / NUM_DRAWS


def expected(logits: torch.Tensor, how: Sampling) -> torch.Tensor:
    """Slowly, and by the book: temperature, then top_k, then top_p over what is left."""
    probs, order = (logits / how.temperature).softmax(-1).sort(descending=True)
    if how.top_k:
        probs[how.top_k :] = 0
    probs /= probs.sum()
    kept = probs * ((probs.cumsum(0) - probs) < how.top_p)
    return torch.zeros_like(probs).scatter(0, order, kept / kept.sum())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("top_p", "top_k"), [(1.0, 0), (0.8, 0), (1.0, 3), (0.7, 4), (0.01, 0)])
def test_draws_follow_the_distribution(temperature: float, top_p: float, top_k: int) -> None:
    logits = torch.randn(10, generator=torch.Generator().manual_seed(3)) * 2
    how = Sampling(temperature=temperature, top_p=top_p, top_k=top_k, seed=11)
    wanted = expected(logits, how)
    found = frequencies(logits, how)
    assert torch.equal(found > 0, (found > 0) & (wanted > 0)), "drew what was cut"
    assert (found - wanted).abs().max() < 0.03


def test_a_nucleus_wider_than_the_guess_is_still_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(4, 64)
    how = [Sampling(top_p=0.9, seed=seed) for seed in range(4)]
    uniforms = [one.uniform(0) for one in how]
    exact = draw(logits, how, uniforms)
    monkeypatch.setattr(sampling, "NUCLEUS_GUESS", 2)
    assert torch.equal(draw(logits, how, uniforms), exact)


def test_a_row_draws_the_same_in_any_company() -> None:
    logits = torch.randn(3, 50)
    hows = [Sampling(seed=1), Sampling(top_p=0.5, seed=2), Sampling(top_k=5, seed=3)]
    uniforms = [how.uniform(9) for how in hows]
    together = draw(logits, hows, uniforms)
    for row, how in enumerate(hows):
        assert draw(logits[row : row + 1], [how], [uniforms[row]])[0] == together[row]


def test_uniforms_are_spread_and_depend_on_seed_choice_and_position() -> None:
    values = {
        Sampling(seed=seed, choice=choice).uniform(position)
        for seed in range(10)
        for choice in range(10)
        for position in range(10)
    }
    assert len(values) == 1000
    assert all(0 <= value < 1 for value in values)
    assert abs(sum(values) / 1000 - 0.5) < 0.03
