"""``weave-async explain``"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from weave_async.cli import options
from weave_async.visible import printable

if TYPE_CHECKING:
    from rich.text import Text

    from weave_async.explanation import Attempt, Consultation, Explanation

_STYLES = {"written": "green", "rejected": "yellow", "failed": "red", "pending": "dim"}


def explain(
    run: options.RunArgument,
    row: Annotated[
        str,
        typer.Argument(
            metavar="ROW",
            help="A sample's id or how it begins; `samples:12`, `rejected:3`, `failed:1` for a row "
            "of the outputs; or `seeds.jsonl:12` for a row of the source.",
        ),
    ],
    json: options.JsonOption = False,
) -> None:
    """Print one row's whole path: what was asked, every attempt, the answer, each stage's verdict.

    Reads the run's files only.

    Example: `weave-async explain out/demo rejected:1`
    """
    from weave_async.explanation import explain as explained

    found = explained(run, row)
    if json:
        import orjson

        print(orjson.dumps(found.as_dict()).decode())
        return
    from rich.console import Console

    console = Console(highlight=False)
    for line in _lines(found):
        console.print(line, soft_wrap=True)


def _lines(found: Explanation) -> Iterator[Text]:
    from rich.text import Text

    place = f", {found.place}" if found.place else ", not written yet"
    yield Text(printable(found.sample_id), "bold") + Text(
        f"  {found.state}{place}", _STYLES[found.state]
    )
    for heading, rows in _sections(found):
        yield Text()
        yield Text(heading, "bold")
        for label, text in rows:
            # Lines of a text stay under its first one.
            told = printable(text).replace("\n", "\n" + " " * 16)
            yield Text(f"  {printable(label):<14}", "dim") + Text(told, "default")


def _sections(found: Explanation) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    lineage = found.lineage
    if found.messages:
        yield "Row", [(each["role"], each["content"]) for each in found.messages]
    if lineage:
        asked = [
            ("source", lineage["source"]),
            ("attributes", _told(lineage["attributes"])),
            ("model", f"{lineage['model']} at {lineage['endpoint']}"),
            ("params", _told(lineage["params"])),
            ("request", lineage["request_id"]),
        ]
        yield "Asked", [(label, text) for label, text in asked if text]
    if found.attempts:
        yield "Attempts", [_attempt_line(each) for each in found.attempts]
    if found.answer is not None:
        yield "Answer", _answer_lines(found)
    if found.consultations:
        yield "Consultations", [_consultation_line(each) for each in found.consultations]
    if found.failure is not None:
        yield "Failed", [(key, str(value)) for key, value in found.failure.items()]
    if found.stages:
        yield (
            "Stages",
            [
                (each.stage, f"{each.name}: {each.verdict}  {_told(each.detail)}".rstrip())
                for each in found.stages
            ],
        )


def _attempt_line(attempt: Attempt) -> tuple[str, str]:

    took = "" if attempt.took_s is None else f" after {attempt.took_s:.3f} s"
    reason = f": {attempt.reason}" if attempt.reason else ""
    label = f"run {attempt.run}"
    return label, f"{attempt.at}  {attempt.outcome}{took}{reason}  ({attempt.attempt_id})"


def _consultation_line(asked: Consultation) -> tuple[str, str]:
    whom = f"{asked.model} at {asked.endpoint}, draw {asked.draw}"
    return asked.stage, f"{whom}: {asked.answer}  (run {asked.run}, {asked.place})"


def _answer_lines(found: Explanation) -> list[tuple[str, str]]:
    answer = found.answer or {}
    usage = answer["usage"]
    lines = [
        ("text", answer["text"]),
        ("reasoning", answer.get("reasoning", "")),
        ("finish reason", str(answer["finish_reason"])),
        ("tokens", f"{_count(usage['input_tokens'])} in, {_count(usage['output_tokens'])} out"),
        ("journal", found.answer_place or ""),
    ]
    return [(label, text) for label, text in lines if text]


def _count(tokens: int | None) -> str:
    return "?" if tokens is None else str(tokens)


def _told(values: object) -> str:
    import orjson

    return orjson.dumps(values).decode() if values else ""
