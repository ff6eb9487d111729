"""Answers that must be JSON, and may have to fit a schema."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.json_answer import NotJsonError, TooLargeError, parse
from weave_async.validation.texts import quoted

if TYPE_CHECKING:
    from weave_async.validation.json_schema import AnswerSchema  # loads jsonschema


@dataclass(frozen=True, slots=True)
class JsonValidator:
    """The completion is JSON and nothing besides, but for a code fence around it.

    ``schema`` is a JSON Schema that it must fit, written out in the recipe or in a file.
    ``generate.params.schema`` does more: the model is told the schema, and asked again.
    """

    paths: ClassVar[tuple[str, ...]] = ("schema",)

    schema: str | dict[str, Any] | None = None
    _schema: AnswerSchema | None = dataclass_field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_schema", self._compiled())

    def __call__(self, sample: Sample) -> Verdict:
        if self._schema is not None:
            return self._schema(sample.completion)
        try:
            parse(sample.completion)
        except NotJsonError as error:
            return Verdict(False, "not_json", {"message": quoted(str(error))})
        except TooLargeError as error:
            return Verdict(False, "too_large", {"message": quoted(str(error))})
        return ACCEPTED

    def _compiled(self) -> AnswerSchema | None:
        if self.schema is None:
            return None
        from weave_async.validation.json_schema import AnswerSchema, read_schema

        if isinstance(self.schema, str):
            return AnswerSchema(read_schema(Path(self.schema)))
        return AnswerSchema(self.schema)
