"""The recipe: one YAML file that says what to make.

These models are the schema, for the file as for the Python API (``weave-async schema`` prints it).
Keys that are not here are refused, with the nearest one that is.
"""

from __future__ import annotations

import os
import re
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from weave_async import recipe_file, registry
from weave_async.attributes import (
    LEAST_WEIGHT,
    MOST_WEIGHT,
    Attribute,
    TaggedChoice,
    TaggedUniform,
    can_be_drawn_by,
    located,
    require_in_order,
    tag_of,
)
from weave_async.errors import RecipeError
from weave_async.gates import OF_THE_RUN, Gate
from weave_async.metrics.catalogue import CATALOGUE

NAME_PATTERN = r"^\w[\w.-]*$"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)


_Value = Annotated[float, Tag("<number>")]
Number = Annotated[_Value | TaggedUniform | TaggedChoice, Discriminator(tag_of)]


class Turn(_Model):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str = Field(description="Jinja template, filled from the row and the attributes.")


class Examples(_Model):
    """Rows that are shown with each prompt, drawn by seed: others for each row and draw, and never
    the row itself. Of a large source, 10,000 rows are drawn from. As turns they are sent, and not
    written: the dataset holds the conversation without them.
    """

    source: str | None = Field(
        None,
        description="A .jsonl, .csv or .txt file beside the recipe, or an earlier run's folder; "
        "the prompts' if absent.",
    )
    num: int = Field(3, ge=1, le=100, description="Examples in each prompt.")
    draw: Literal["random", "cover"] = Field(
        "random",
        description="cover: prompt after prompt, none comes again before all others have. Which "
        "ones a prompt shows then depends on its place: with other rows, all is asked anew.",
    )
    user: str | None = Field(
        None, description="Template of an example's user turn, filled from the example's row."
    )
    assistant: str | None = Field(
        None,
        description="Template of the turn that answers it. With neither, examples are only what "
        "templates make of `examples`, a list of rows.",
    )

    @model_validator(mode="after")
    def _both_turns_or_neither(self) -> Self:
        if (self.user is None) != (self.assistant is None):
            given, absent = (
                ("user", "assistant") if self.assistant is None else ("assistant", "user")
            )
            raise ValueError(f"an example has two turns: beside `{given}`, it needs `{absent}`")
        return self


class Prompts(_Model):
    """Where prompts come from: rows × attributes × draws."""

    source: str = Field(
        description="A .jsonl, .csv or .txt file beside the recipe, the folder of an earlier run, "
        "or - for stdin."
    )
    system: str | None = Field(None, description="Template of the system turn, if there is one.")
    template: str | None = Field(
        None,
        description="Jinja template of the user turn, filled from the row and the attributes. "
        "Without one, the column `prompt` or `text` is the turn, or else the column `messages` the "
        "conversation.",
    )
    messages: list[Turn] | None = Field(
        None,
        min_length=1,
        description="The turns of a conversation up to the user's last, in place of `system` and "
        "`template`.",
    )
    examples: Examples | None = Field(None, description="Few-shot examples from the source.")
    attributes: dict[str, Attribute] = Field({}, description="Drawn anew for each sample.")
    max_generation: int | None = Field(
        None,
        ge=0,
        description="Of rows that an earlier run has made: how many runs may stand on one another, "
        "so that a model does not learn from its own echo for ever.",
    )
    draws: int | None = Field(
        None, ge=1, description="Samples per row; `generate.n`, which is 1, if absent."
    )
    on_bad_row: Literal["stop", "skip"] = Field("stop", description="What a malformed row does.")

    @field_validator("attributes")
    @classmethod
    def _attributes_stand_in_order(cls, attributes: dict[str, Any]) -> dict[str, Any]:
        require_in_order(attributes)
        return attributes

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        if self.messages is None:
            return self
        other = "template" if self.template is not None else "system"
        if (self.template, self.system) != (None, None):
            raise ValueError(
                f"`messages` and `{other}` are two ways to say the same: write it as a turn"
            )
        if self.messages[-1].role != "user":
            role = self.messages[-1].role
            raise ValueError(f"the last of `messages` is what is asked: a user turn, not {role}")
        if any(turn.role == "system" for turn in self.messages[1:]):
            raise ValueError("a system turn comes first in `messages`")
        return self


class Params(_Model):
    """Sampling parameters; each a value, or a distribution to draw from for each sample."""

    max_tokens: int = Field(256, ge=1, description="Most tokens in one completion.")
    temperature: Number | None = None
    top_p: Number | None = None
    top_k: int | None = Field(None, ge=0)
    min_p: Number | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    stop: list[str] | None = Field(None, max_length=4)
    schema_: str | Annotated[dict[str, Any], BeforeValidator(recipe_file.storable)] | None = Field(
        None,
        alias="schema",  # pydantic has a ``schema`` of its own
        description="The JSON Schema that answers must have: a file beside the recipe, or the "
        "schema itself.",
    )


_UNITS_S = {"h": 3600, "m": 60, "s": 1}


def _seconds(value: Any) -> Any:
    """``90``, ``30m``, ``1h30m`` → seconds."""
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"(\d+(\.\d+)?[hms])+", value):
        raise ValueError("a time is written 90s, 30m or 1h30m")
    parts = re.findall(r"([\d.]+)([hms])", value)
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


Seconds = Annotated[
    float, BeforeValidator(_seconds), WithJsonSchema({"type": ["number", "string"]}), Field(gt=0)
]


class MixEntry(_Model):
    """One endpoint and model that takes a share of the samples."""

    endpoint: str = Field(
        "local", description="A provider, a preset, or an endpoint named in the env."
    )
    model: str | None = Field(None, description="Model id; the provider's default if absent.")
    weight: float = Field(1.0, gt=0, description="Share of the samples, relative to the others.")
    options: Annotated[dict[str, Any], BeforeValidator(recipe_file.storable)] = Field(
        {}, description="The provider's own options."
    )
    mode: Literal["live", "batch"] | None = Field(
        None,
        description="live (the default), or batch: requests go out as files to the endpoint's "
        "batch API, and come back within a day, at half the price with most services.",
    )

    @field_validator("weight")
    @classmethod
    def _can_be_drawn_by(cls, weight: float) -> float:
        if not can_be_drawn_by(weight):
            raise ValueError(f"a weight is from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}")
        return weight


class BatchLimits(_Model):
    """How large the files for a batch API may get. Services allow 50,000 requests and 200 MB."""

    max_requests: int = Field(50_000, ge=1, le=50_000, description="Requests in one file.")
    max_bytes: int = Field(200_000_000, ge=1, le=200_000_000, description="Size of one file.")


class Hedge(_Model):
    """A straggler is sent a second time; the first answer counts, and both may cost."""

    after: Literal["p95"] | Seconds = Field(
        "p95",
        description="How long a request is out before that: seconds, or p95 of what is usual.",
    )
    most: float = Field(0.05, gt=0, le=1, description="Share of requests sent twice, at most.")

    @field_validator("after", mode="wrap")
    @classmethod
    def _told_as_one(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError:
            raise ValueError("expected p95, or seconds such as 20 or 30s") from None


class Generate(_Model):
    """How answers are made."""

    mix: list[MixEntry] = Field([MixEntry()], min_length=1, description="Models, by weight.")
    params: Params = Params()
    n: int = Field(
        1,
        ge=1,
        le=128,
        description="Completions of one prompt, in one request where the endpoint takes `n`. They "
        "share attributes, parameters and examples.",
    )
    api: Literal["chat", "completions"] = Field("chat", description="Which OpenAI API to speak.")
    send_seed: bool = Field(True, description="Send a seed of its own with each request.")
    attempts: int = Field(6, ge=1, description="Tries per request, the first one counted.")
    max_regenerations: int = Field(
        2,
        ge=0,
        le=10,
        description="How often a model is told what is wrong with an answer that does not fit the "
        "schema, and asked again. Each time is a request of its own; a batch API's answers are "
        "only judged.",
    )
    when_down: Literal["failover", "wait"] = Field(
        "failover",
        description="Of an endpoint that is down, or out of quota: whether its samples go to "
        "others of the mix, by weight, or wait for it.",
    )
    batch: BatchLimits = BatchLimits()
    hedge: Hedge | None = Field(None, description="Sending stragglers a second time.")


class Budget(_Model):
    """What a run may cost. It stops before the next request could cost more, and can be continued
    with a larger budget. Tokens and money count over all runs in the folder, time in each anew."""

    usd: float | None = Field(None, gt=0, description="US dollars, by public list prices.")
    tokens: int | None = Field(None, ge=1, description="Tokens, sent and received.")
    wall: Seconds | None = Field(
        None, description="Time after which nothing more is asked: 90s, 30m."
    )


class Part(_Model):
    """A stage by name, with its options: ``exact``, ``{length: {min_words: 5}}``."""

    name: str
    options: dict[str, Any] = {}


def _part_from(value: Any) -> Any:
    """``"x"``, ``{"x": {…}}`` and ``{"x": scalar}`` → a part; scalar is the part's first option."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and len(value) == 1:
        [(name, options)] = value.items()
        if options is None:
            return {"name": name}
        return {"name": name, "options": options if isinstance(options, dict) else {"": options}}
    if isinstance(value, dict) and set(value) <= {"name", "options"}:
        return value
    raise ValueError("expected a name, or a name with its options: {length: {min_words: 5}}")


_PART_SCHEMA = {
    "anyOf": [
        {"type": "string", "description": "A part's name."},
        {"type": "object", "description": "A part's name, with its options.", "maxProperties": 1},
    ]
}
PartSpec = Annotated[Part, BeforeValidator(_part_from), WithJsonSchema(_PART_SCHEMA)]


class StageLimits(_Model):
    """Where noise and validation run, and what one sample may cost there. What takes microseconds
    runs in the main process, all else in workers of its own.
    """

    workers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Worker processes. As many as there are cores if absent, of which the last "
        "starts only when the others cannot keep up.",
    )
    deadline: Seconds = Field(
        5.0,
        description="Time for one stage on one sample: a rule that hangs costs that sample alone.",
    )
    memory_mb: int = Field(
        2048, ge=64, description="Memory that a worker may take beside what its parts need."
    )


class Measure(_Model):
    """What of the written rows is measured while the run goes on: diversity, and bias."""

    label: str | None = Field(
        None,
        description="The attribute or column, or the key of answers in JSON, that holds a row's "
        "label: lengths and words are told by it.",
    )
    embedder: Literal["ngrams", "minilm"] = Field(
        "ngrams",
        description="What tells how near two texts are: ngrams by their characters, minilm by "
        "meaning (extra `embeddings`), at 170 texts/s.",
    )


def _measure_from(value: Any) -> Any:
    """``on`` and ``off`` → all of it by default, or nothing."""
    if value in ("on", True):
        return {}
    if value is None or value in ("off", False):
        return None
    if isinstance(value, str):
        raise ValueError("expected on, off or options, as {label: topic}")
    return value


MeasureSpec = Annotated[
    Measure | None,
    BeforeValidator(_measure_from),
    WithJsonSchema(
        {"anyOf": [{"enum": ["on", "off", None]}, Measure.model_json_schema()], "default": "on"}
    ),
]


def _known_metric(name: str) -> str:
    known = [*OF_THE_RUN, *CATALOGUE]
    if name not in known:
        raise ValueError(registry.unknown("metric", name, known))
    return name


def _condition(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f'say which way: ">= {value}" or "<= {value}"')
    if not isinstance(value, str):
        raise ValueError('expected a comparison with a number, as ">= 40" or "<= 0.05"')
    Gate.parsed("", value)
    return value


Requirements = dict[
    Annotated[str, AfterValidator(_known_metric)],
    Annotated[str, BeforeValidator(_condition)],
]


class Output(_Model):
    """What is written."""

    format: Literal["messages"] = Field("messages", description="The shape of a row.")
    to: list[str] = Field(["jsonl"], min_length=1, description="File formats.")


class Controller(_Model):
    """What is asked next depends on what came so far: models, parameters and attributes that bring
    more new text for a token are drawn more often. ``on`` means all as it is by default.
    """

    round: int = Field(
        200,
        ge=10,
        le=100_000,
        description="Samples that are drawn by the same weights; with `lag` times as many as three "
        "times the requests in flight, hardly any waits for a decision.",
    )
    lag: int = Field(
        1,
        ge=1,
        le=10,
        description="Rounds that are answered while the next one is decided without them.",
    )
    floor: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Share of its weight in the recipe that each choice keeps, whatever it brings.",
    )
    step: float = Field(
        0.5, gt=0, le=1, description="How much of the way to new weights a round goes."
    )
    memory: float = Field(
        0.8, gt=0, le=1, description="What evidence counts for after each further round."
    )
    bins: int = Field(4, ge=2, le=20, description="Parts that a `uniform` range is steered by.")
    leave: list[str] = Field(
        [],
        description="What stays as the recipe has it: `mix`, parameters or attributes by name, as "
        "labels whose shares are meant.",
    )


def _controller_from(value: Any) -> Any:
    """``on`` and ``off``, which YAML may have made true and false."""
    if value in ("off", False):
        return None
    if value in ("on", True):
        return {}
    if isinstance(value, str):
        raise ValueError("expected on, off, or options such as {round: 400}")
    return value


def _or_a_switch(schema: dict[str, Any]) -> None:
    schema["anyOf"].insert(0, {"enum": ["on", "off", True, False]})


class Recipe(_Model):
    """What to make, from what, with whom, and what to keep."""

    name: str = Field("dataset", description="Name of the dataset.", pattern=NAME_PATTERN)
    seed: int = Field(0, ge=-(2**63), lt=2**63, description="Seeds every random choice.")
    accept: int | None = Field(None, ge=1, description="Stop at so many written samples.")
    candidates: int | None = Field(None, ge=1, description="Samples to ask for, at most.")
    budget: Budget = Budget()
    prompts: Prompts
    generate: Generate = Generate()
    noise: list[PartSpec] = Field([], description="Variations, in order.")
    validation: list[PartSpec] = Field([], description="Rules on each sample, in order.")
    selection: list[PartSpec] = Field([], description="Rules among samples, in order.")
    repairs: int = Field(
        0,
        ge=0,
        le=5,
        description="How often a model is told why its answer was rejected, and asked for another. "
        "Each time is a request of its own.",
    )
    stages: StageLimits = StageLimits()
    controller: Annotated[Controller | None, BeforeValidator(_controller_from)] = Field(
        None,
        description="Steer what is asked by what came: on, off, or options.",
        json_schema_extra=_or_a_switch,
    )
    measure: MeasureSpec = Field(
        Measure(), description="Measuring diversity and bias of what is written: on, off, options."
    )
    require: Requirements = Field(
        {},
        description="What the finished dataset must come up to, by metric: "
        '{vendi: ">= 40", top_opening_share: "<= 0.05"}. Where it does not, the exit code is 3.',
    )
    output: Output = Output()

    _folder: Path = Path()

    @model_validator(mode="after")
    def _draws_are_whole_groups(self) -> Self:
        if self.num_draws % self.generate.n:
            raise ValueError(
                f"prompts.draws, {self.num_draws}, must be a multiple of generate.n, "
                f"{self.generate.n}: each prompt is asked for so many completions at once"
            )
        return self

    @model_validator(mode="after")
    def _what_is_required_is_measured(self) -> Self:
        missing = [name for name in self.require if name not in OF_THE_RUN]
        if self.measure is None and missing:
            raise ValueError(f"`require` needs {missing[0]}, and `measure` is off")
        return self

    @property
    def gates(self) -> list[Gate]:
        """What is required, in the order of the recipe."""
        return [Gate.parsed(name, condition) for name, condition in self.require.items()]

    @property
    def num_draws(self) -> int:
        """Samples per row."""
        return self.prompts.draws or self.generate.n

    @property
    def folder(self) -> Path:
        """Where the recipe's relative paths start."""
        return self._folder

    @cached_property
    def answer_schema(self) -> dict[str, Any] | None:
        """The JSON Schema that answers must have, checked. Its file is read once."""
        named = self.generate.params.schema_
        if named is None:
            return None
        # Loads jsonschema, which most recipes can do without.
        from weave_async.validation.json_schema import AnswerSchema, read_schema

        path = self.folder / named if isinstance(named, str) else None
        try:
            if isinstance(named, str):
                schema = recipe_file.storable(read_schema(self.folder / named))
            else:
                schema = named
            AnswerSchema(schema)
        except ValueError as error:
            said = str(error)
            if path is not None and str(path) not in said:
                said = f"{path}: {said}"
            raise RecipeError(f"generate.params.schema: {said}") from error
        return dict(schema)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a recipe file. Raises ``RecipeError`` that names file, line, key and the way out."""
        path = Path(path)
        if path.is_dir():
            path /= "recipe.yaml"
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise RecipeError(f"cannot read the recipe {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise RecipeError(f"{path} is not UTF-8 text") from error
        return cls.parse(text, where=str(path), folder=path.parent)

    @classmethod
    def parse(cls, text: str, *, where: str = "recipe", folder: Path | None = None) -> Self:
        """A recipe from YAML text."""
        data, root = recipe_file.read(text, where)
        try:
            recipe = cls.model_validate(data)
        except ValidationError as error:
            raise RecipeError(recipe_file.explain(error, root, where, cls)) from None
        recipe._folder = folder or Path()
        recipe.answer_schema  # noqa: B018 - a bad one is told of now
        return recipe

    def with_changes(self, **changes: Any) -> Self:
        """The same recipe with some keys replaced; nested mappings change only what they name."""
        data = self.model_dump()
        for key, value in changes.items():
            data[key] = {**(data[key] or {}), **value} if isinstance(value, dict) else value
        changed = type(self).model_validate(data)
        changed._folder = self._folder
        return changed

    def with_absolute_paths(self) -> Self:
        """The same recipe, but at home anywhere on this machine; the schema stands in it."""
        data = self.model_dump()
        data["generate"]["params"]["schema"] = self.answer_schema
        if self.prompts.source != "-":
            data["prompts"]["source"] = _absolute(self.folder, self.prompts.source)
        examples = data["prompts"]["examples"]
        if examples is not None and examples["source"] is not None:
            examples["source"] = _absolute(self.folder, examples["source"])
        for key, kind in _PART_KINDS:
            for part in data[key]:
                part["options"] = registry.located(kind, part["name"], part["options"], self.folder)
        data["prompts"]["attributes"] = {
            name: located(shape, partial(_absolute, self.folder))
            for name, shape in data["prompts"]["attributes"].items()
        }
        return type(self).model_validate(data)

    def resolved(self) -> dict[str, Any]:
        """All keys with their values, defaults included, as plain data."""
        return self.model_dump(mode="json")


def _absolute(folder: Path, path: str) -> str:
    return os.fsencode((folder / path).absolute()).decode(errors="replace")


_PART_KINDS = (("noise", "noise"), ("validation", "validator"), ("selection", "selector"))
"""The recipe's keys that hold parts, and what the registry calls them."""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe, with the options of every part that is installed here."""
    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    for key, kind in _PART_KINDS:
        options = {name: registry.options_schema(kind, name) for name in registry.installed(kind)}
        schema["properties"][key]["items"] = {
            "anyOf": [
                {"enum": list(options)},
                {"type": "object", "properties": options, "minProperties": 1, "maxProperties": 1},
            ]
        }
    return schema
