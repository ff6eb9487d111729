"""What a run will ask: rows × draws, in order, as samples that have no answer yet.

The source is read once before the first request, to know that every row is good and how many
samples there will be, and once again for each round of draws. Rows are never held in memory.
"""

from __future__ import annotations

import logging
import os
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from weave_async.errors import InputError
from weave_async.interfaces import Source
from weave_async.recipe import Choice, FileChoice, Recipe, Uniform
from weave_async.records import (
    BadRow,
    Endpoint,
    Message,
    Prompt,
    Request,
    Row,
    Sample,
    SamplingParams,
)
from weave_async.render import Renderer
from weave_async.seeding import rng_for, seed_for

logger = logging.getLogger(__name__)

MAX_BAD_ROWS_NAMED = 20
NUM_ROWS_RENDERED = 1000
SEED_BITS = 31
"""Seeds that are sent stay below 2**31: some servers refuse larger ones."""


@dataclass(slots=True)
class Inspection:
    """What the first reading of a source found."""

    num_rows: int = 0
    num_skipped: int = 0
    skipped: list[BadRow] = field(default_factory=list)
    repeated: frozenset[int] = frozenset()
    """Digests of rows that stand in the source more than once."""


class Plan:
    """Iterates over the samples to ask for, always the same ones in the same order."""

    def __init__(
        self,
        recipe: Recipe,
        source: Source,
        endpoints: list[Endpoint],
        *,
        num_samples: int | None = None,
    ) -> None:
        """``endpoints`` stand in the order of ``recipe.generate.mix``."""
        self._recipe = recipe
        self._source = source
        self._endpoints = endpoints
        self._renderer = Renderer(system=recipe.prompts.system, template=recipe.prompts.template)
        self._attributes = {
            name: attribute.lines(recipe.folder) if isinstance(attribute, FileChoice) else attribute
            for name, attribute in recipe.prompts.attributes.items()
        }
        self._mix = Choice(
            choice=list(range(len(endpoints))), weights=[m.weight for m in recipe.generate.mix]
        )
        if not self._renderer.uses_columns:
            logger.warning(
                "the template names no column or attribute, so all prompts are equal; "
                'a column is written "{{ question }}"'
            )
        self.inspection = self._inspect()
        self.num_samples = self._count(num_samples)

    def __repr__(self) -> str:
        return f"<Plan {self.num_samples} samples of {self.inspection.num_rows} rows>"

    def asks(self) -> dict[str, Any]:
        """All that shapes requests, and with it what answers cost. Addresses and keys do not."""
        resolved = self._recipe.resolved()
        prompts = {key: resolved["prompts"][key] for key in ("system", "template")}
        choices = {name: shape.model_dump(mode="json") for name, shape in self._attributes.items()}
        prompts["attributes"] = blake2b(orjson.dumps(choices), digest_size=8).hexdigest()
        generate = {key: resolved["generate"][key] for key in ("params", "api", "send_seed")}
        return {
            "seed": self._recipe.seed,
            "prompts": prompts,
            "generate": generate,
            "mix": self.described_mix(),
        }

    def described_mix(self) -> list[dict[str, Any]]:
        """The endpoints and models that samples are divided among, without their addresses."""
        mix = zip(self._recipe.generate.mix, self._endpoints, strict=True)
        return [
            {
                "provider": endpoint.provider,
                "model": endpoint.model,
                "options": dict(endpoint.options),
                "weight": entry.weight,
            }
            for entry, endpoint in mix
        ]

    def samples(self) -> Iterator[Sample]:
        """Round after round over the source, a new draw in each, until there are enough."""
        ordinal = 0
        for sample_index in range(-(-self.num_samples // max(1, self.inspection.num_rows))):
            for prompt_id, row in self._identified_rows():
                if ordinal == self.num_samples:
                    return
                yield self._sample(ordinal, prompt_id, sample_index, row)
                ordinal += 1

    def _count(self, num_samples: int | None) -> int:
        recipe, num_rows = self._recipe, self.inspection.num_rows
        if num_rows == 0:
            raise InputError(f"no usable rows in {recipe.prompts.source}")
        if num_samples is not None:
            return num_samples
        if recipe.candidates is not None:
            return recipe.candidates
        return num_rows * recipe.prompts.draws

    def _inspect(self) -> Inspection:
        """Read every row; render the first ones, then one of each kind of columns that turns up."""
        found, digests, kinds = Inspection(), array("Q"), set()
        for row in self._source.rows():
            if isinstance(row, BadRow):
                self._skip(row, found)
                continue
            found.num_rows += 1
            digests.append(_digest(row.values))
            kind = tuple(row.values)
            if found.num_rows <= NUM_ROWS_RENDERED or kind not in kinds:
                kinds.add(kind)
                self._renderer.messages(row, self._draw_attributes("inspection", 0))
        found.repeated = _repeated(digests)
        return found

    def _skip(self, bad: BadRow, found: Inspection) -> None:
        if self._recipe.prompts.on_bad_row == "stop":
            raise InputError(
                f"{bad.origin}: {bad.reason}. Mend the row, or leave such rows out with "
                "--on-bad-row skip"
            )
        found.num_skipped += 1
        if len(found.skipped) < MAX_BAD_ROWS_NAMED:
            found.skipped.append(bad)
            logger.warning("%s: %s; skipped", bad.origin, bad.reason)

    def _identified_rows(self) -> Iterator[tuple[str, Row]]:
        occurrences: Counter[int] = Counter()
        for row in self._source.rows():
            if isinstance(row, BadRow):
                continue
            digest = _digest(row.values)
            prompt_id = f"{digest:016x}"
            if digest in self.inspection.repeated:
                if occurrences[digest]:
                    prompt_id += f".{occurrences[digest]}"
                occurrences[digest] += 1
            yield prompt_id, row

    def _sample(self, ordinal: int, prompt_id: str, sample_index: int, row: Row) -> Sample:
        recipe = self._recipe
        attributes = self._draw_attributes(prompt_id, sample_index)
        messages = self._renderer.messages(row, attributes)
        rng = rng_for(recipe.seed, prompt_id, sample_index, "mix")
        endpoint = self._endpoints[self._mix.draw(rng)]
        seed = seed_for(recipe.seed, prompt_id, sample_index, "request") >> (64 - SEED_BITS)
        params = self._draw_params(prompt_id, sample_index, seed)
        request = Request(
            request_id=_request_id(
                endpoint, messages, params, recipe.generate.api, prompt_id, sample_index
            ),
            model=endpoint.model,
            messages=messages,
            params=params,
            api=recipe.generate.api,
        )
        prompt = Prompt(prompt_id, sample_index, messages, attributes, _name_of(row.origin))
        return Sample(ordinal, prompt, request, endpoint.name, seed)

    def _draw_attributes(self, prompt_id: str, sample_index: int) -> dict[str, Any]:
        seed = self._recipe.seed
        return {
            name: attribute.draw(rng_for(seed, prompt_id, sample_index, f"attribute:{name}"))
            for name, attribute in self._attributes.items()
        }

    def _draw_params(self, prompt_id: str, sample_index: int, seed: int) -> SamplingParams:
        generate = self._recipe.generate
        drawn: dict[str, Any] = {}
        for name in type(generate.params).model_fields:
            value = getattr(generate.params, name)
            if isinstance(value, Choice | Uniform):
                stage = f"params:{name}"
                value = value.draw(rng_for(self._recipe.seed, prompt_id, sample_index, stage))
            drawn[name] = tuple(value) if isinstance(value, list) else value
        return SamplingParams(**drawn, seed=seed if generate.send_seed else None)


def _name_of(origin: str) -> str:
    """``folder/file:line`` → ``file:line``, as text that any file can hold."""
    return os.fsencode(Path(origin).name).decode(errors="replace")


def _digest(values: Mapping[str, Any]) -> int:
    canonical = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(blake2b(canonical, digest_size=8).digest(), "big")


def _request_id(
    endpoint: Endpoint,
    messages: tuple[Message, ...],
    params: SamplingParams,
    api: str,
    prompt_id: str,
    sample_index: int,
) -> str:
    """Names all that can change the answer, and whose it is: equal questions get an answer each.

    The provider is part of it: a simulated answer must never pass for a bought one.
    """
    turns = [(message.role, message.content) for message in messages]
    asked = [
        *(endpoint.provider, dict(endpoint.options), endpoint.model),
        *(api, turns, params.as_dict(), prompt_id, sample_index),
    ]
    canonical = orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
    return blake2b(canonical, digest_size=16).hexdigest()


def _repeated(digests: array[int]) -> frozenset[int]:
    ordered = sorted(digests)
    return frozenset(a for a, b in pairwise(ordered) if a == b)
