"""What a sequence has said already, and what that costs its next token.

`repetition_penalty` counts prompt and output (as in the CTRL paper, transformers and vLLM), the
other two the output alone (OpenAI's definition, and vLLM's):

    https://arxiv.org/abs/1909.05858 §4.1
    https://platform.openai.com/docs/api-reference/completions/create
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from .generation import GenerationRequest

SPARE_COLUMNS = 256  # tokens that may follow before the history moves to a larger tensor


class Row(Protocol):
    @property
    def request(self) -> GenerationRequest: ...
    @property
    def tokens(self) -> Sequence[int]: ...


def is_penalised(request: GenerationRequest) -> bool:
    how = request.sampling
    return bool(how.presence_penalty or how.frequency_penalty) or how.repetition_penalty != 1


class Penalties:
    """The penalised rows of one batch. `update` follows their tokens as they grow elsewhere.

    Costs a step the length of the sequences, not the vocabulary: only tokens that a sequence holds
    can be penalised, and the history lists them. It lists some twice, which is harmless: both
    are given the same new logit.
    """

    def __init__(
        self,
        places: Sequence[int],
        rows: Sequence[Row],
        vocab_size: int,
        device: torch.device,
        before: Penalties | None,
    ) -> None:
        """`places`: where in the batch the rows are. `before`: knows counts of rows that stay."""

        def column(values: Sequence[float]) -> torch.Tensor:
            return torch.tensor(values, device=device).unsqueeze(-1)  # (P, 1)

        self._rows = rows
        self._places = torch.tensor(places, device=device).unsqueeze(-1)  # (P, 1)
        samplings = [row.request.sampling for row in rows]
        self._repetition = column([s.repetition_penalty for s in samplings])
        self._frequency = column([s.frequency_penalty for s in samplings])
        self._presence = column([s.presence_penalty for s in samplings])
        self._num_prompt = [len(row.request.prompt_ids) for row in rows]
        self._num_seen = [len(row.tokens) for row in rows]
        self._counts = torch.zeros(len(rows), vocab_size, dtype=torch.int32, device=device)
        for place, row in enumerate(rows):
            self._counts[place] = _counted(row, before, self._counts[place])
        self._history = self._list_history(SPARE_COLUMNS)

    def _list_history(self, spare: int) -> torch.Tensor:
        """(P, longest + spare): prompt, output, then the row's first token again as padding."""
        told = [
            [*row.request.prompt_ids, *row.tokens[:seen]]
            for row, seen in zip(self._rows, self._num_seen, strict=True)
        ]
        width = max(map(len, told)) + spare
        padded = [ids + ids[:1] * (width - len(ids)) for ids in told]
        return torch.tensor(padded, dtype=torch.long, device=self._counts.device)

    def update(self) -> None:
        """Take in the tokens that the rows gained since the last call."""
        places: list[int] = []
        columns: list[int] = []
        tokens: list[int] = []
        for place, row in enumerate(self._rows):
            seen = self._num_seen[place]
            new = row.tokens[seen:]
            self._num_seen[place] += len(new)
            first = self._num_prompt[place] + seen
            places += [place] * len(new)
            columns += range(first, first + len(new))
            tokens += new
        if not tokens:
            return
        device = self._counts.device
        at, which = torch.tensor(places, device=device), torch.tensor(tokens, device=device)
        one = torch.ones((), dtype=self._counts.dtype, device=device)
        self._counts.index_put_((at, which), one, accumulate=True)
        if max(columns) >= self._history.size(-1):
            self._history = self._list_history(SPARE_COLUMNS)
        else:
            self._history[at, torch.tensor(columns, device=device)] = which

    def apply(self, logits: torch.Tensor) -> None:
        """Change the rows' logits in place; `logits` is (B, vocab or more)."""
        told = logits[self._places, self._history]  # (P, history)
        told = torch.where(told > 0, told / self._repetition, told * self._repetition)
        counts = self._counts.gather(-1, self._history)
        told -= self._frequency * counts
        told -= self._presence * (counts > 0)
        logits[self._places, self._history] = told


def _counted(row: Row, before: Penalties | None, empty: torch.Tensor) -> torch.Tensor:
    """How often the row has said each token so far: (vocab,)."""
    for place, known in enumerate(before._rows if before else ()):
        if known is row and before is not None:
            before_counts = before._counts[place]
            rest = row.tokens[before._num_seen[place] :]
            return before_counts + _count(rest, empty)
    return _count(row.tokens, empty)


def _count(tokens: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    if not tokens:
        return torch.zeros_like(like)
    ids = torch.tensor(tokens, device=like.device)
    return torch.bincount(ids, minlength=len(like)).to(like.dtype)
