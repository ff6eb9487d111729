"""What varies a prompt: values that are drawn for each sample, in shapes that a recipe gives.

Every shape makes of a ``fraction`` in [0, 1) its value, so that what is drawn depends on the seed,
the prompt, the sample index and the attribute's name, and on nothing else: another attribute beside
it changes no draw. The shapes that look into files are ``resolved`` once, before the first draw.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import accumulate, islice
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from weave_async import registry
from weave_async.errors import InputError, RecipeError
from weave_async.evolutions import EVOLUTIONS
from weave_async.interfaces import Source
from weave_async.people import person_at, require_locales
from weave_async.records import BadRow, DrawnParts
from weave_async.sources.files import format_of

PATH_JOINER = " > "
MOST_NAMES = 100_000
MOST_LEVELS = 30
"""Of a tree: one that contains itself has no end."""
LEAST_WEIGHT, MOST_WEIGHT = 1e-100, 1e100
"""Sums of others are infinite, or too small to be divided."""


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

    def resolved(self, folder: Path) -> Any:
        """The same with what stands in files; relative paths start at ``folder``."""
        return self

    def shape_for(self, drawn: Mapping[str, Any]) -> Any:
        """The shape to draw from, where ``drawn`` are the attributes before this one."""
        return self


class Choice(_Shape):
    """One of a list, by weight."""

    choice: list[Any] = Field(min_length=1, description="Values to draw from.")
    weights: list[float] | None = Field(None, description="One weight per value; equal if absent.")

    @model_validator(mode="after")
    def _weights_match(self) -> Self:
        if self.weights is not None and len(self.weights) != len(self.choice):
            raise ValueError(f"{len(self.weights)} weights for {len(self.choice)} choices")
        if self.weights is not None and (min(self.weights) < 0 or not sum(self.weights)):
            raise ValueError("weights must not be negative, nor all be zero")
        if self.weights is not None and not all(map(can_be_drawn_by, self.weights)):
            raise ValueError(f"weights are 0, or from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}")
        return self

    @cached_property
    def _cumulative(self) -> list[float]:
        return list(accumulate(self.weights or [1.0] * len(self.choice)))

    def draw(self, fraction: float) -> Any:
        """The value at ``fraction``, in [0, 1), of the weights laid end to end."""
        return self.choice[bisect(self._cumulative, fraction * self._cumulative[-1])]


class Uniform(_Shape):
    """A number between two bounds."""

    uniform: tuple[float, float] = Field(description="Lower and upper bound.")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.uniform[0] > self.uniform[1]:
            raise ValueError("the lower bound comes first")
        return self

    def draw(self, fraction: float) -> float:
        """The number at ``fraction``, in [0, 1), of the way up."""
        lower, upper = self.uniform
        return round(lower + fraction * (upper - lower), 4)


class WholeNumber(_Shape):
    """A whole number from a first to a last one, both of which can come."""

    range: tuple[int, int] = Field(description="The first and the last number.")
    step: int = Field(1, ge=1, description="From one number to the next.")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.range[0] > self.range[1]:
            raise ValueError("the first number of a range is not above the last one")
        return self

    def draw(self, fraction: float) -> int:
        first, last = self.range
        return first + self.step * int(fraction * ((last - first) // self.step + 1))


class Day(_Shape):
    """A day between two others, both of which can come."""

    date: tuple[dt.date, dt.date] = Field(description="The first and the last day, as 2026-01-31.")
    format: str = Field("%Y-%m-%d", description="As of strftime: %d %B %Y gives 31 January 2026.")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.date[0] > self.date[1]:
            raise ValueError("the first day is not after the last one")
        return self

    def draw(self, fraction: float) -> str:
        first, last = self.date
        return (first + dt.timedelta(int(fraction * ((last - first).days + 1)))).strftime(
            self.format
        )


class FileChoice(_Shape):
    """One line of a text file, or one row of a .jsonl or .csv file; relative to the recipe.

    Of a row, templates name the columns: ``{{ persona.job }}``; by itself it is the first of them.
    A column ``weight`` says how often a row is drawn, beside the others.
    """

    file: str = Field(description="A text file with one value per line, or a file of rows.")

    def resolved(self, folder: Path) -> Choice:
        path = folder / self.file
        try:
            kind = format_of(path)
        except InputError:
            kind = "text"  # whatever it is called, it has lines
        if kind == "text":
            return Choice(choice=self._lines(path))
        return self._rows(path, kind)

    def _lines(self, path: Path) -> list[str]:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {path}: {error}") from error
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not lines:
            raise InputError(f"{path} has no lines to choose from")
        return lines

    def _rows(self, path: Path, kind: str) -> Choice:
        source: Source = registry.build("source", kind, {"path": path})
        values, weights = [], []
        for row in source.rows():
            if isinstance(row, BadRow):
                raise InputError(f"{row.origin}: {row.reason}")
            value = dict(row.values)
            weights.append(_weight_of(value.pop("weight", 1.0), row.origin))
            values.append(DrawnParts(value))
        if not values:
            raise InputError(f"{path} has no rows to choose from")
        if not sum(weights):
            raise InputError(f"{path}: every row has weight 0: nothing can be drawn")
        return Choice(choice=values, weights=None if set(weights) == {1.0} else weights)


class Tree(_Shape):
    """A leaf of a taxonomy: one branch after the other is drawn, each as likely as those beside it
    unless ``weights`` says otherwise. Templates write ``{{ topic }}``, or, for all of
    ``cards > lost > abroad``, ``{{ topic.path }}``.
    """

    tree: dict[str, Any] | list[Any] | str = Field(
        description="Names with what is below them, down to lists; or a .yaml file with that."
    )
    weights: dict[str, float] = Field({}, description="By a branch's name; 1 where there is none.")

    def resolved(self, folder: Path) -> Tree:
        tree, where = self.tree, "tree"
        if isinstance(tree, str):
            path = folder / tree
            where = str(path)
            try:
                tree = yaml.safe_load(path.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
                raise InputError(f"cannot read {path}: {error}") from error
            except RecursionError:
                raise InputError(f"{path} is nested too deeply") from None
        if not isinstance(tree, dict | list):
            raise InputError(f"{where} holds no tree: names with lists below them")
        all_names = list(islice(_names_in(tree, where, MOST_LEVELS), MOST_NAMES + 1))
        if len(all_names) > MOST_NAMES:
            raise InputError(f"{where} has more than {MOST_NAMES} names: are anchors nested?")
        names = set(all_names)
        if unknown := sorted(set(self.weights) - names):
            raise RecipeError(
                f"{where}: weights: " + registry.unknown("branch", unknown[0], sorted(names))
            )
        return self.model_copy(update={"tree": tree})

    @field_validator("weights")
    @classmethod
    def _weights_are_positive(cls, weights: dict[str, float]) -> dict[str, float]:
        if any(weight <= 0 for weight in weights.values()):
            raise ValueError("a branch's weight is above 0: leave out what is not wanted")
        if not all(map(can_be_drawn_by, weights.values())):
            raise ValueError(f"weights are from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}")
        return weights

    def draw(self, fraction: float) -> DrawnParts:
        branch: Any = self.tree
        path: list[str] = []
        while isinstance(branch, dict | list):
            names = [_name_of(each) for each in branch]
            cumulative = list(accumulate(self.weights.get(name, 1.0) for name in names))
            place = bisect(cumulative, fraction * cumulative[-1])
            before = cumulative[place - 1] if place else 0.0
            fraction = (fraction * cumulative[-1] - before) / (cumulative[place] - before)
            fraction = min(fraction, 1 - 2**-53)
            path.append(names[place])
            branch = _below(branch, place)
            if isinstance(branch, str):
                path.append(branch)
        return DrawnParts(leaf=path[-1], path=PATH_JOINER.join(path))


class Person(_Shape):
    """Somebody who does not exist (Faker, the extra ``noise``): ``{{ customer }}``, and
    ``.first_name``, ``.last_name``, ``.city``, ``.country``, ``.job``, ``.company``, ``.age``.
    """

    person: str | list[str] = Field(description="A locale, as en_US, or several to draw from.")
    ages: tuple[int, int] = Field((18, 80), description="The youngest and the oldest.")

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if not 0 <= self.ages[0] <= self.ages[1]:
            raise ValueError("ages: the youngest comes first")
        require_locales(self._locales)
        return self

    @property
    def _locales(self) -> list[str]:
        return [self.person] if isinstance(self.person, str) else self.person

    def draw(self, fraction: float) -> DrawnParts:
        return DrawnParts(person_at(fraction, self._locales, self.ages))


class Several(_Shape):
    """Some of a list, each different, in the order of the list."""

    some_of: list[Any] = Field(min_length=1, description="Values to draw from.")
    num: int = Field(2, ge=1, description="How many.")
    joined: str = Field(", ", description="What stands between them.")

    @model_validator(mode="after")
    def _has_enough(self) -> Self:
        if len({str(value) for value in self.some_of}) < len(self.some_of):
            raise ValueError("a value stands in it twice: each can be drawn once")
        if self.num > len(self.some_of):
            raise ValueError(f"{self.num} of {len(self.some_of)} different values cannot be drawn")
        return self

    def draw(self, fraction: float) -> str:
        left, chosen = list(range(len(self.some_of))), []
        for _ in range(self.num):  # a digit of the fraction, in another base each time
            fraction *= len(left)
            place = min(int(fraction), len(left) - 1)
            fraction -= place
            chosen.append(left.pop(place))
        return self.joined.join(str(self.some_of[place]) for place in sorted(chosen))


class Evolve(_Shape):
    """A way to make a prompt harder or other (Xu et al., WizardLM, 2023): templates write
    ``{{ evolution }}``, and samples keep its ``kind``, too.
    """

    evolve: list[str] | str = Field(
        description="Kinds, or `all`: " + ", ".join(EVOLUTIONS) + ".", examples=["all"]
    )

    @field_validator("evolve")
    @classmethod
    def _kinds_are_known(cls, kinds: list[str] | str) -> list[str] | str:
        if kinds == "all":
            return kinds
        for kind in [kinds] if isinstance(kinds, str) else kinds:
            if kind not in EVOLUTIONS:
                raise ValueError(registry.unknown("evolution", kind, ["all", *EVOLUTIONS]))
        if not kinds:
            raise ValueError("name a kind, or `all`")
        return kinds

    def draw(self, fraction: float) -> DrawnParts:
        kinds = list(EVOLUTIONS) if self.evolve == "all" else self.evolve
        kinds = [kinds] if isinstance(kinds, str) else kinds
        instructions = [(kind, each) for kind in kinds for each in EVOLUTIONS[kind]]
        kind, instruction = instructions[int(fraction * len(instructions))]
        return DrawnParts(instruction=instruction, kind=kind)


class When(_Shape):
    """A value that depends on an attribute above this one: ``when: {tone: {angry: …}}``."""

    when: dict[str, dict[str, Attribute]] = Field(
        min_length=1, max_length=1, description="The attribute, and a shape for each of its values."
    )
    otherwise: Attribute | None = Field(
        None, alias="else", description="The shape for all its other values."
    )

    @property
    def depends_on(self) -> str:
        return next(iter(self.when))

    def require_values_of(self, other: Any) -> None:
        """Raises ``ValueError`` where a value is meant that ``other`` never has, or one that it has
        is meant by none.
        """
        if not isinstance(other, Choice):
            if self.otherwise is None:
                raise ValueError(
                    f"`when` cannot name every value of '{self.depends_on}': give it an `else`"
                )
            return
        values = [str(value) for value in other.choice]
        named = self.when[self.depends_on]
        for value in named:
            if value not in values:
                raise ValueError(registry.unknown(f"value of '{self.depends_on}'", value, values))
        if self.otherwise is None and (missing := [each for each in values if each not in named]):
            raise ValueError(
                f"nothing for '{self.depends_on}' {missing[0]!r}: add it, or an `else`"
            )

    def resolved(self, folder: Path) -> When:
        when = {
            name: {value: shape.resolved(folder) for value, shape in shapes.items()}
            for name, shapes in self.when.items()
        }
        otherwise = None if self.otherwise is None else self.otherwise.resolved(folder)
        return self.model_copy(update={"when": when, "otherwise": otherwise})

    def shape_for(self, drawn: Mapping[str, Any]) -> Any:
        shapes = self.when[self.depends_on]
        shape = shapes.get(str(drawn[self.depends_on]), self.otherwise)
        if shape is None:
            raise RecipeError(
                f"`when` says nothing of '{self.depends_on}' {drawn[self.depends_on]!r}: give it "
                "an `else`"
            )
        return shape.shape_for(drawn)

    def draw(self, fraction: float) -> Any:
        raise TypeError("what it depends on is not known here: ask `shape_for`")


_TAGS: dict[type, str] = {
    Choice: "choice",
    Uniform: "uniform",
    WholeNumber: "range",
    Day: "date",
    FileChoice: "file",
    Tree: "tree",
    Person: "person",
    Several: "some_of",
    Evolve: "evolve",
    When: "when",
}


def tag_of(value: Any) -> str:
    """Which shape is meant, by its key, so that a mistake is explained for that shape only."""
    if type(value) in _TAGS:
        return f"<{_TAGS[type(value)]}>"
    if isinstance(value, dict):
        return next((f"<{key}>" for key in _TAGS.values() if key in value), "<choice>")
    return "<number>"


TaggedChoice = Annotated[Choice, Tag("<choice>")]
TaggedUniform = Annotated[Uniform, Tag("<uniform>")]
Attribute = Annotated[
    TaggedChoice
    | TaggedUniform
    | Annotated[WholeNumber, Tag("<range>")]
    | Annotated[Day, Tag("<date>")]
    | Annotated[FileChoice, Tag("<file>")]
    | Annotated[Tree, Tag("<tree>")]
    | Annotated[Person, Tag("<person>")]
    | Annotated[Several, Tag("<some_of>")]
    | Annotated[Evolve, Tag("<evolve>")]
    | Annotated[When, Tag("<when>")],
    Discriminator(tag_of),
]
When.model_rebuild()


def require_in_order(attributes: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` where one depends on another that does not stand above it."""
    above: dict[str, Any] = {}
    for name, shape in attributes.items():
        for each in _conditions_in(shape):
            if each.depends_on not in above:
                raise ValueError(
                    f"'{name}': "
                    + registry.unknown("attribute above it", each.depends_on, list(above))
                )
            try:
                each.require_values_of(above[each.depends_on])
            except ValueError as error:
                raise ValueError(f"'{name}': {error}") from None
        above[name] = shape


def _conditions_in(shape: Any) -> Iterator[When]:
    """The shape, if it depends on something, and those within it."""
    if isinstance(shape, When):
        yield shape
        for each in (*shape.when[shape.depends_on].values(), shape.otherwise):
            yield from _conditions_in(each)


def file_in(shape: Mapping[str, Any], key: str) -> bool:
    """Whether the dumped shape names a file under this key."""
    return isinstance(shape.get(key), str)


def located(shape: Any, absolute: Any) -> Any:
    """A dumped shape with its paths made absolute by ``absolute``."""
    if not isinstance(shape, dict):
        return shape
    told = dict(shape)
    for key in ("file", "tree"):
        if file_in(told, key):
            told[key] = absolute(told[key])
    if isinstance(told.get("when"), dict):
        told["when"] = {
            name: {value: located(each, absolute) for value, each in shapes.items()}
            for name, shapes in told["when"].items()
        }
    for key in ("else", "otherwise"):
        if key in told:
            told[key] = located(told[key], absolute)
    return told


def _weight_of(value: Any, origin: str) -> float:
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = -1.0
    if not can_be_drawn_by(weight):
        raise InputError(
            f"{origin}: weight must be a number, 0 or from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}, "
            f"and is {value!r}"
        )
    return weight


def can_be_drawn_by(weight: float) -> bool:
    return weight == 0 or LEAST_WEIGHT <= weight <= MOST_WEIGHT


def _names_in(branch: Any, where: str, levels: int) -> Iterator[str]:
    """All names of a tree. Raises ``InputError`` for a branch without leaves."""
    if not branch:
        raise InputError(
            f"{where}: a branch has nothing below it: write a leaf as a text in a list"
        )
    if not levels:
        raise InputError(f"{where}: more than {MOST_LEVELS} levels: does a branch contain itself?")
    for place, each in enumerate(branch):
        if isinstance(each, list) or (isinstance(each, dict) and len(each) != 1):
            raise InputError(f"{where}: in a list, a branch is one name with what is below it")
        yield _name_of(each)
        below = _below(branch, place)
        if isinstance(below, dict | list):
            yield from _names_in(below, where, levels - 1)


def _name_of(each: Any) -> str:
    return str(next(iter(each))) if isinstance(each, dict) else str(each)


def _below(branch: Any, place: int) -> Any:
    """What is below one name of a branch; a text or nothing is below a leaf."""
    if isinstance(branch, dict):
        return list(branch.values())[place]
    each = branch[place]
    return next(iter(each.values())) if isinstance(each, dict) else None
