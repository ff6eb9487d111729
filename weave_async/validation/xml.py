"""Answers that must be XML."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from xml.parsers import expat

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.fences import NoCodeError, blocks_of
from weave_async.validation.texts import quoted

MAX_CHARS = 1_000_000
_WRAPPER = "weave-async-fragment"


class _EntityDeclared(Exception):
    """The text declares an entity: a few of them could grow to gigabytes, or name a file."""


@dataclass(frozen=True, slots=True)
class XmlValidator:
    """The XML in the completion is well-formed. Entities of its own are refused, and nothing
    outside of it is ever read.

    XML is what stands in fences (```` ```xml ````, or those of no language where none is tagged);
    without any fence, the whole completion. ``root`` is the name that the outermost element must
    have, ``elements`` are names that must occur. ``fragment`` allows text and several elements side
    by side, as ``<think>…</think> <answer>…</answer>``.
    """

    root: str | None = None
    elements: list[str] = dataclass_field(default_factory=list)
    fragment: bool = False

    def __post_init__(self) -> None:
        if self.fragment and self.root is not None:
            raise ValueError(f"a fragment has no root: leave out {self.root!r}, or name elements")

    def __call__(self, sample: Sample) -> Verdict:
        text = sample.completion
        if len(text) > MAX_CHARS:
            return Verdict(False, "too_large", {"chars": len(text), "max_chars": MAX_CHARS})
        found: list[str] = []
        try:
            for block in blocks_of(text, ("xml", "svg", "xhtml")):
                first_line = block.first_line
                names = _elements_of(block.code.strip(), is_fragment=self.fragment)
                if self.root is not None and names[0] != self.root:
                    evidence = {"root": quoted(names[0]), "expected": self.root}
                    return Verdict(False, "wrong_root", evidence)
                found += names
        except NoCodeError as error:
            return Verdict(False, error.reason, {"message": str(error)})
        except _EntityDeclared as error:
            return Verdict(False, "declares_entity", {"entity": quoted(str(error))})
        except expat.ExpatError as error:
            line = first_line + error.lineno - 1 - self.fragment
            told = {"message": expat.ErrorString(error.code), "line": line}
            return Verdict(False, "not_well_formed", {**told, "column": error.offset + 1})
        except UnicodeEncodeError:
            return Verdict(False, "not_well_formed", {"message": "half of a surrogate pair"})
        if not found:
            return Verdict(False, "no_element")
        if missing := [name for name in self.elements if name not in found]:
            return Verdict(False, "element_missing", {"missing": missing})
        return ACCEPTED


def _elements_of(text: str, *, is_fragment: bool) -> list[str]:
    """The names of all elements, in the order of their start tags."""
    names: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, attributes: names.append(name)
    parser.EntityDeclHandler = _refuse_entity
    if not is_fragment:
        parser.Parse(text, True)
        return names
    parser.Parse(f"<{_WRAPPER}>\n", False)  # a line of its own: columns stay as they are
    parser.Parse(text, False)
    parser.Parse(f"</{_WRAPPER}>", True)
    return names[1:]


def _refuse_entity(name: str, *declaration: object) -> None:
    raise _EntityDeclared(name)
