"""What a run will ask: rows × draws, in order, as samples that have no answer yet.

With ``n`` completions of a prompt, so many samples stand one after the other as a group: all that
shapes their prompt is drawn for the first, and they differ in their sample index and seed.

The source is read once before the first request, to know that every row is good and how many
samples there will be, and once again for each round of draws. Of a row, only a digest of 8 bytes
stays in memory: with it, samples can be named and passed over without reading their rows.
"""

from __future__ import annotations

import logging
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain, count, islice, pairwise, repeat
from math import ceil
from typing import Any

import orjson

from weave_async import registry
from weave_async.attributes import Choice, Uniform, require_in_order
from weave_async.controller import dimensions
from weave_async.controller.dimensions import Dimension
from weave_async.controller.steering import Steering
from weave_async.conversations import conversation_of, is_conversation
from weave_async.descent import descended, generation_of
from weave_async.errors import InputError, RecipeError
from weave_async.examples import ExamplePool
from weave_async.interfaces import Source
from weave_async.naming import named_by_content, namer_of, request_id_of
from weave_async.recipe import Params, Recipe
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
from weave_async.rows import digest_of
from weave_async.seeding import fraction_for, sent_seed_for
from weave_async.sharding import Shard

logger = logging.getLogger(__name__)

MAX_BAD_ROWS_NAMED = 20
NUM_ROWS_RENDERED = 1000


@dataclass(slots=True)
class Inspection:
    """What the first reading of a source found."""

    num_rows: int = 0
    num_skipped: int = 0
    num_too_far: int = 0
    """Rows of an earlier run, of a later generation than is wanted."""
    skipped: list[BadRow] = field(default_factory=list)
    digests: array[int] = field(default_factory=lambda: array("Q"), repr=False)
    """One for each good row, in order."""
    columns: set[str] = field(default_factory=set)
    """All that any row has."""
    repeated: frozenset[int] = frozenset()
    """Digests of rows that stand in the source more than once."""


_Messages = tuple[Message, ...]
_Drawn = tuple[_Messages, _Messages, dict[str, Any], dict[str, Any], int, str, Mapping[str, Any]]
"""What the samples of a group share: messages, the same as they are sent, attributes, drawn
parameters, the number of the endpoint in the mix, the row's name, and its columns. A plain tuple:
one is made for every row."""


class Plan:
    """Iterates over the samples to ask for, always the same ones in the same order."""

    def __init__(
        self,
        recipe: Recipe,
        source: Source,
        endpoints: list[Endpoint],
        *,
        num_samples: int | None = None,
        examples: Source | None = None,
        shard: Shard | None = None,
    ) -> None:
        """``endpoints`` stand in the order of ``recipe.generate.mix``; ``examples`` is the source
        of examples, where that is another one. ``num_samples`` are of all shards; of a ``shard``
        only its own are iterated over, each as it would be in the whole.
        """
        self._recipe = recipe
        self._source = source
        self._endpoints = endpoints
        self._n = recipe.generate.n
        self._renderer = _renderer_of(recipe)
        self._attributes = {
            name: attribute.resolved(recipe.folder)
            for name, attribute in recipe.prompts.attributes.items()
        }
        try:
            require_in_order(self._attributes)
        except ValueError as error:
            raise RecipeError(f"prompts.attributes: {error}") from None
        self._mix = Choice(
            choice=list(range(len(endpoints))), weights=[m.weight for m in recipe.generate.mix]
        )
        self._schema = recipe.answer_schema
        self._named_by = [
            namer_of(endpoint, recipe.generate.api, self._schema) for endpoint in endpoints
        ]
        self._fixed_params, self._drawn_params = _fixed_and_drawn(recipe.generate.params)
        if not self._renderer.uses_columns:
            logger.warning(
                "the template names no column or attribute, so all prompts are equal; "
                'a column is written "{{ question }}"'
            )
        self._examples = self._example_pool(examples or source)
        self._example_groups = self._groups_of_examples()
        self.steering = self._new_steering()
        self.inspection = self._inspect()
        self._shard = shard
        self.num_of_all_shards = self._count(num_samples)
        self.num_samples = (
            self.num_of_all_shards if shard is None else sum(1 for _ in self._names())
        )

    def __repr__(self) -> str:
        return f"<Plan {self.num_samples} samples of {self.inspection.num_rows} rows>"

    def require_columns(self, needed: Mapping[str, Sequence[str]]) -> None:
        """Refuse what no row and no attribute has: ``needed`` is by whoever needs it."""
        known = [*self._attributes, *sorted(self.inspection.columns - self._attributes.keys())]
        for who, names in needed.items():
            for name in names:
                if name not in known:
                    raise RecipeError(
                        f"{who}: " + registry.unknown("column or attribute", name, known)
                    )

    def asks(self) -> dict[str, Any]:
        """All that shapes requests, and with it what answers cost. Addresses and keys do not."""
        resolved = self._recipe.resolved()
        prompts = {key: resolved["prompts"][key] for key in ("system", "template")}
        choices = {name: shape.model_dump(mode="json") for name, shape in self._attributes.items()}
        prompts["attributes"] = blake2b(orjson.dumps(choices), digest_size=8).hexdigest()
        generate = {key: resolved["generate"][key] for key in ("params", "api", "send_seed")}
        generate["params"].pop("schema")  # what is in it counts, not where it stands
        if self._schema is not None:
            generate["params"]["schema"] = named_by_content(self._schema)
        # What follows is named only where it is used: earlier journals say nothing of it.
        if self._recipe.prompts.messages is not None:
            prompts["messages"] = resolved["prompts"]["messages"]
        if self._examples is not None:
            shown = {**resolved["prompts"]["examples"], "source": self._examples.digest}
            if shown["draw"] == "random":
                del shown["draw"]
            else:  # which examples a sample gets depends on its place
                shown["rows"] = self._digest_of_rows()
            prompts["examples"] = shown
        if self._n > 1:
            generate["n"] = self._n
        asks = {
            "seed": self._recipe.seed,
            "prompts": prompts,
            "generate": generate,
            "mix": self.described_mix(),
        }
        if self.steering is not None:  # which weights a sample is drawn by depends on its place
            asks["controller"] = {**resolved["controller"], "rows": self._digest_of_rows()}
        return asks

    def _digest_of_rows(self) -> str:
        return blake2b(self.inspection.digests.tobytes(), digest_size=8).hexdigest()

    def described_mix(self) -> list[dict[str, Any]]:
        """The endpoints and models that samples are divided among, without their addresses."""
        mix = zip(self._recipe.generate.mix, self._endpoints, strict=True)
        return [
            {
                "provider": endpoint.provider,
                "model": endpoint.model,
                "options": endpoint.public_options,
                "weight": entry.weight,
            }
            for entry, endpoint in mix
        ]

    def samples(self, is_wanted: Callable[[int], object] | None = None) -> Iterator[Sample]:
        """Round after round over the source, a new draw in each, until there are enough.

        ``is_wanted`` is asked by ordinal, when its turn comes; other samples cost next to nothing.
        With a controller, only those can be wanted whose round is decided: see ``is_decided``.
        Raises ``InputError`` when the source is no longer what it was at the first reading.
        """
        rows = chain.from_iterable(self._good_rows() for _ in repeat(None))
        n, drawn, num_read = self._n, None, 0
        for ordinal, (rank, prompt_id, sample_index) in enumerate(self._names()):
            place = sample_index % n
            if not place:
                while num_read <= rank // n:  # those of other shards, too
                    row, drawn = next(rows, None), None
                    num_read += 1
            if is_wanted is not None and not is_wanted(ordinal):
                continue
            if drawn is None:
                if row is None or digest_of(row.values) != (digest := self._digest_of(rank)):
                    raise self._changed_meanwhile()
                drawn = self._draw(prompt_id, sample_index - place, digest, row, rank)
            yield self._sample(ordinal, prompt_id, sample_index, drawn)

    def is_decided(self, ordinal: int) -> bool:
        """Whether it is known what this sample asks: always, where no controller decides it."""
        return self.steering is None or self.steering.is_decided(ordinal)

    def sample_ids(self) -> Iterator[str]:
        """The ids of all samples in their order, without reading a row."""
        return (f"{prompt_id}-{sample_index}" for _, prompt_id, sample_index in self._names())

    def _count(self, num_samples: int | None) -> int:
        recipe, num_rows = self._recipe, self.inspection.num_rows
        if num_rows == 0:
            raise InputError(
                f"no usable rows in {recipe.prompts.source}" + self._too_far_in_words()
            )
        if num_samples is not None:
            return num_samples
        if recipe.candidates is not None:
            return recipe.candidates
        return num_rows * recipe.num_draws

    def _too_far_in_words(self) -> str:
        num = self.inspection.num_too_far
        return f": all {num} are above max_generation" if num else ""

    def _inspect(self) -> Inspection:
        """Read every row; render the first ones, then one of each kind of columns that turns up."""
        found, kinds = Inspection(), set()
        attributes = self._draw_attributes("inspection", 0)
        pool = self._examples
        for example in pool or ():
            self._renderer.shown([example], attributes)
        for row in self._rows(found):
            if isinstance(row, BadRow):
                self._skip(row, found)
                continue
            found.num_rows += 1
            digest = digest_of(row.values)
            found.digests.append(digest)
            if pool is not None:
                pool.require_enough_for(digest, row.origin)
            kind = tuple(row.values)
            if found.num_rows <= NUM_ROWS_RENDERED or kind not in kinds:
                kinds.add(kind)
                found.columns.update(kind)
                shown = () if pool is None else pool.drawn_for(digest, "inspection", 0)
                messages = self._renderer.messages(row, attributes, shown)
                self._renderer.with_examples(messages, shown, attributes)
        found.repeated = _repeated(found.digests)
        if found.num_too_far:
            logger.warning(
                "%d rows are left out, as what is made of them would be above max_generation %d",
                found.num_too_far,
                self._recipe.prompts.max_generation,
            )
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

    def _good_rows(self) -> Iterator[Row]:
        """One round; an empty one, of a source that has lost its rows, must not go on for ever."""
        found_any = False
        for row in self._rows():
            if not isinstance(row, BadRow):
                found_any = True
                yield row
        if not found_any:
            raise self._changed_meanwhile()

    def _rows(self, found: Inspection | None = None) -> Iterator[Row | BadRow]:
        """The source's rows; a conversation that cannot be asked is a bad one."""
        rows = self._source.rows()
        if self._recipe.prompts.max_generation is not None:
            rows = self._near_enough(rows, found)
        return map(_checked, rows) if self._renderer.takes_conversations else rows

    def _near_enough(
        self, rows: Iterator[Row | BadRow], found: Inspection | None = None
    ) -> Iterator[Row | BadRow]:
        """Without those that are too many runs away from what people wrote."""
        most = self._recipe.prompts.max_generation
        assert most is not None
        for row in rows:
            if isinstance(row, BadRow) or generation_of(row.values) <= most:
                yield row
            elif found is not None:
                found.num_too_far += 1

    def _names(self) -> Iterator[tuple[int, str, int]]:
        """(rank, prompt id, sample index) of each sample. ``rank`` is its place among those of all
        shards; a prompt id is its row's digest, and which occurrence of the row it is, where rows
        repeat.
        """
        names = islice(self._all_names(), self.num_of_all_shards)
        numbered = ((rank, *name) for rank, name in enumerate(names))
        shard, n, digests = self._shard, self._n, self.inspection.digests
        if shard is None:
            return numbered
        return (name for name in numbered if shard.holds(digests[name[0] // n % len(digests)]))

    def _all_names(self) -> Iterator[tuple[str, int]]:
        digests, repeated, n = self.inspection.digests, self.inspection.repeated, self._n
        for first in count(step=n):
            occurrences: Counter[int] = Counter()
            for digest in digests:
                prompt_id = f"{digest:016x}"
                if digest in repeated:
                    if occurrences[digest]:
                        prompt_id += f".{occurrences[digest]}"
                    occurrences[digest] += 1
                for sample_index in range(first, first + n):
                    yield prompt_id, sample_index

    def _digest_of(self, rank: int) -> int:
        return self.inspection.digests[rank // self._n % len(self.inspection.digests)]

    def _changed_meanwhile(self) -> InputError:
        return InputError(
            f"{self._recipe.prompts.source} was changed while the run went on: restore it, or run "
            "again to ask for what is new in it"
        )

    def _draw(
        self, prompt_id: str, sample_index: int, digest: int, row: Row, ordinal: int
    ) -> _Drawn:
        """For a group whose first sample has this index. ``ordinal`` is of any of them, and their
        place among those of all shards.
        """
        attributes = self._draw_attributes(prompt_id, sample_index, ordinal)
        examples: Sequence[Row] = ()
        if self._examples is not None:
            among = self._examples_among(prompt_id, sample_index, ordinal)
            rank = ordinal // self._n
            examples = self._examples.drawn_for(digest, prompt_id, sample_index, among, rank)
        number = 0
        if len(self._endpoints) > 1:
            number = self._mix.draw(self._fraction(prompt_id, sample_index, "mix", ordinal))
        params = {
            name: value.draw(self._fraction(prompt_id, sample_index, f"params:{name}", ordinal))
            for name, value in self._drawn_params.items()
        }
        params.update(row.params)
        messages = self._renderer.messages(row, attributes, examples)
        sent = self._renderer.with_examples(messages, examples, attributes)
        columns = descended(row.values, [example.values for example in examples])
        return messages, sent, attributes, params, number, _name_of(row.origin), columns

    def _sample(self, ordinal: int, prompt_id: str, sample_index: int, drawn: _Drawn) -> Sample:
        recipe = self._recipe
        messages, sent, attributes, drawn_params, number, origin, columns = drawn
        endpoint = self._endpoints[number]
        seed = sent_seed_for(recipe.seed, prompt_id, sample_index, "request")
        given = {
            **self._fixed_params,
            "seed": seed if recipe.generate.send_seed else None,
            **drawn_params,
        }
        params = SamplingParams(**given)
        request = Request(
            request_id=request_id_of(self._named_by[number], sent, params, prompt_id, sample_index),
            model=endpoint.model,
            messages=sent,
            params=params,
            api=recipe.generate.api,
            schema=self._schema,
        )
        prompt = Prompt(prompt_id, sample_index, messages, attributes, origin, columns)
        return Sample(ordinal, prompt, request, endpoint.name, seed)

    def _draw_attributes(
        self, prompt_id: str, sample_index: int, ordinal: int = 0
    ) -> dict[str, Any]:
        drawn: dict[str, Any] = {}
        for name, attribute in self._attributes.items():
            fraction = self._fraction(prompt_id, sample_index, f"attribute:{name}", ordinal)
            drawn[name] = attribute.shape_for(drawn).draw(fraction)
        return drawn

    def _fraction(self, prompt_id: str, sample_index: int, stage: str, ordinal: int) -> float:
        """What is drawn for one choice, as it was decided for the round of this sample."""
        fraction = fraction_for(self._recipe.seed, prompt_id, sample_index, stage)
        return (
            fraction if self.steering is None else self.steering.fraction(stage, fraction, ordinal)
        )

    def _examples_among(
        self, prompt_id: str, sample_index: int, ordinal: int
    ) -> Sequence[int] | None:
        """The group that examples are drawn from, where a controller chooses between groups."""
        if self.steering is None or "examples" not in self.steering.dimensions:
            return None
        fraction = fraction_for(self._recipe.seed, prompt_id, sample_index, "examples")
        return self._example_groups[self.steering.arm("examples", fraction, ordinal)]

    def _new_steering(self) -> Steering | None:
        """What a controller steers, if one is wanted: all that is drawn, but what is to be left."""
        wanted = self._recipe.controller
        if wanted is None:
            return None
        found = list(self._dimensions(wanted.bins))
        known = sorted({each.short_name for each in found})
        for name in wanted.leave:
            if name not in known:
                raise RecipeError("controller.leave: " + registry.unknown("choice", name, known))
        steered = {
            each.name: each
            for each in found
            if each.can_be_steered and each.short_name not in wanted.leave
        }
        if not steered:
            logger.warning(
                "the controller has nothing to steer: give the mix two models, or a parameter or "
                "an attribute several values"
            )
            return None
        round_size = ceil(wanted.round / self._n) * self._n  # whole groups
        return Steering(round_size, wanted.lag, steered)

    def _dimensions(self, num_bins: int) -> Iterator[Dimension]:
        """All that is drawn for each prompt, by the stage that it is drawn for."""
        models = [f"{each.provider}: {each.model}" for each in self._endpoints]
        yield dimensions.of_values("mix", models, self._mix.weights, most_arms=len(models))
        groups = [f"group {number}" for number, _ in enumerate(self._example_groups, 1)]
        if groups:
            yield dimensions.of_values("examples", groups, None)
        shapes: dict[str, Any] = {
            f"params:{name}": shape for name, shape in self._drawn_params.items()
        }
        shapes |= {f"attribute:{name}": shape for name, shape in self._attributes.items()}
        for name, shape in shapes.items():
            if isinstance(shape, Choice):
                yield dimensions.of_values(name, shape.choice, shape.weights)
            elif isinstance(shape, Uniform):
                yield dimensions.of_range(name, shape.uniform, num_bins)

    def _example_pool(self, source: Source) -> ExamplePool | None:
        prompts = self._recipe.prompts
        if (wanted := prompts.examples) is None:
            return None
        if not self._renderer.shows_examples:
            raise RecipeError(
                "prompts.examples are drawn and shown nowhere: give them the templates `user` and "
                "`assistant`, or write them out in a template: "
                "{% for example in examples %}{{ example.question }}{% endfor %}"
            )
        return ExamplePool(
            source if prompts.max_generation is None else _Filtered(source, self._near_enough),
            run_seed=self._recipe.seed,
            num=wanted.num,
            name=wanted.source or prompts.source,
            skips_bad_rows=prompts.on_bad_row == "skip",
            covers=wanted.draw == "cover",
        )

    def _groups_of_examples(self) -> list[list[int]]:
        """Examples that look alike, as far as a controller is to choose between them."""
        prompts, pool = self._recipe.prompts, self._examples
        if self._recipe.controller is None or prompts.examples is None or pool is None:
            return []
        from weave_async.controller.grouping import groups_alike, num_groups_of  # loads numpy

        texts = [" ".join(map(str, row.values.values())) for row in pool]
        num_groups = num_groups_of(len(texts), least=prompts.examples.num + 1)
        return groups_alike(texts, num_groups) if num_groups > 1 else []


def _renderer_of(recipe: Recipe) -> Renderer:
    prompts, example = recipe.prompts, None
    if prompts.examples is not None and prompts.examples.user is not None:
        assert prompts.examples.assistant is not None
        example = prompts.examples.user, prompts.examples.assistant
    turns = None
    if prompts.messages is not None:
        turns = [(turn.role, turn.content) for turn in prompts.messages]
    return Renderer(system=prompts.system, template=prompts.template, turns=turns, example=example)


def _checked(row: Row | BadRow) -> Row | BadRow:
    if isinstance(row, Row) and is_conversation(row.values):
        try:
            conversation_of(row.values)
        except ValueError as error:
            return BadRow(row.origin, str(error))
    return row


@dataclass(frozen=True, slots=True)
class _Filtered:
    """A source without some of its rows."""

    source: Source
    keep: Callable[[Iterator[Row | BadRow]], Iterator[Row | BadRow]]

    def rows(self) -> Iterator[Row | BadRow]:
        return self.keep(self.source.rows())


def _fixed_and_drawn(params: Params) -> tuple[dict[str, Any], dict[str, Choice | Uniform]]:
    """Those that are the same for all samples, and those that each sample draws its own of."""
    fixed: dict[str, Any] = {}
    drawn: dict[str, Choice | Uniform] = {}
    for name in type(params).model_fields:
        if name == "schema_":  # a part of the request, beside its parameters
            continue
        value = getattr(params, name)
        if isinstance(value, Choice | Uniform):
            drawn[name] = value
        else:
            fixed[name] = tuple(value) if isinstance(value, list) else value
    return fixed, drawn


def _name_of(origin: str) -> str:
    """``folder/file:line`` → ``file:line``, as text that any file can hold."""
    name = origin.rpartition(os.sep)[2]
    return name if name.isascii() else os.fsencode(name).decode(errors="replace")


def _repeated(digests: array[int]) -> frozenset[int]:
    ordered = sorted(digests)
    return frozenset(a for a, b in pairwise(ordered) if a == b)
