"""JSON Schema → what a sequence may say next, by llguidance.

A schema comes from a client, so its size is bounded here and its work by llguidance's own limits:
of regexes it takes those that run in linear time (no look-around, no back references), counts
what compiling and each step spend, and fetches no reference. Compiling lets go of the GIL.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from .errors import InvalidRequest

if TYPE_CHECKING:  # the library has its name in its types alone
    from llguidance._lib import JsonCompileOptions

MAX_SCHEMA_BYTES = 64 * 1024
MAX_COMPILED = 64  # kept; a few hundred kB each

# A fifth and less of the defaults: at most some 100 ms to compile, a few to take a step, which
# every sequence of the batch waits for. Schemas met in practice need a hundredth.
LIMITS = LLParserLimits(
    initial_lexer_fuel=200_000,
    step_lexer_fuel=50_000,
    step_max_items=20_000,
    max_lexer_states=50_000,
    max_grammar_size=50_000,
    verbose_errors=False,
)
# As `json.dumps` writes. Left free, a weak model fills its answer with white space.
LAYOUT: JsonCompileOptions = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}


class JsonMatcher:
    """A `Matcher` (see generation.py)."""

    def __init__(self, matcher: LLMatcher, num_bytes: int) -> None:
        self._matcher = matcher
        self._num_bytes = num_bytes

    def __repr__(self) -> str:
        return f"<JsonMatcher {self.failure or self._matcher.stop_reason()}>"

    @property
    def failure(self) -> str | None:
        """Which limit ended the matching; None while all is well."""
        return self._matcher.get_error().partition("\n")[0] or None

    def allowed(self) -> bytes:
        # Both after a complete text and after an error llguidance would allow the end token.
        allowed: bytes = self._matcher.compute_bitmask()
        return bytes(self._num_bytes) if self._matcher.is_error() else allowed

    def accept(self, token: int) -> None:
        self._matcher.consume_token(token)  # a refusal stays in `failure`


@dataclass(frozen=True, slots=True)
class JsonGrammar:
    """A `Grammar` (see generation.py). Copies of one matcher share what it worked out so far."""

    _start: LLMatcher = field(repr=False)
    _num_bytes: int

    def matcher(self) -> JsonMatcher:
        return JsonMatcher(self._start.deep_copy(), self._num_bytes)


class GrammarCompiler:
    """For one tokenizer. Used by one thread: it may take long."""

    def __init__(self, tokenizer_json: str, end_ids: frozenset[int]) -> None:
        """The grammar's end is one of `end_ids`. Takes a quarter of a second."""
        self._tokenizer = LLTokenizer(
            tokenizer_json, eos_token=sorted(end_ids), slices=LLTokenizer.json_slices()
        )
        self._num_bytes = -(-self._tokenizer.vocab_size // 32) * 4
        self._compiled: OrderedDict[bytes, JsonGrammar] = OrderedDict()

    def __repr__(self) -> str:
        return f"<GrammarCompiler {len(self._compiled)}/{MAX_COMPILED} kept>"

    def json_object(self) -> JsonGrammar:
        return self.json_schema({"type": "object"})

    def json_schema(self, schema: Mapping[str, Any] | bool) -> JsonGrammar:
        """Raises `InvalidRequest` for a schema that is too large, wrong or beyond llguidance."""
        if isinstance(schema, bool):  # llguidance takes objects alone, these are their equals
            if not schema:
                raise _refused("'false' allows no text at all")
            schema = {}
        try:
            key = orjson.dumps(schema)  # in the client's order, which is that of the answer
        except orjson.JSONEncodeError as exc:
            raise _refused("it is nested too deeply") from exc
        if len(key) > MAX_SCHEMA_BYTES:
            raise _refused(f"it has {len(key)} bytes, at most {MAX_SCHEMA_BYTES} are read")
        if key in self._compiled:
            self._compiled.move_to_end(key)
            return self._compiled[key]
        grammar = JsonGrammar(self._compile(key.decode()), self._num_bytes)
        self._compiled[key] = grammar
        if len(self._compiled) > MAX_COMPILED:
            self._compiled.popitem(last=False)
        return grammar

    def _compile(self, schema: str) -> LLMatcher:
        if '"x-guidance"' in schema:  # llguidance reads its own options there, regexes among them
            raise _refused("'x-guidance' is not read here")
        try:
            grammar = LLMatcher.grammar_from_json_schema(schema, overrides=LAYOUT)
        except ValueError as exc:
            raise _refused(str(exc)) from exc
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=LIMITS)
        if not matcher.is_error():
            matcher.compute_bitmask()  # some limits are met only here, and it is the slowest step
        if matcher.is_error():
            raise _refused(matcher.get_error().partition("\n<non-verbose/>")[0])
        return matcher


def _refused(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"this schema cannot be kept to: {why}", param="response_format", code="invalid_schema"
    )
