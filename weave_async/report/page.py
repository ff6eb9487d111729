"""The report as one HTML page: it loads nothing, sends nothing, and runs one script of ours.

Everything in it is of strangers: the template escapes all that it is given, the samples are JSON
that the script makes text nodes of, and the page's own policy lets nothing else run or load.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import orjson
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from weave_async.metrics.catalogue import CATALOGUE
from weave_async.report import words
from weave_async.report.filters import filters_of
from weave_async.report.funnel import Share
from weave_async.report.side_by_side import SideBySide
from weave_async.report.speed import PERCENTILES
from weave_async.report.view import WORD_QUANTILES, Card, RunView
from weave_async.visible import visible

_SECTIONS = {
    "funnel": "From asked to written",
    "reviews": "Reviews",
    "samples": "Samples",
    "diversity": "Diversity",
    "bias": "Bias",
    "lengths": "Lengths",
    "speed": "Latency and throughput",
    "stages": "Time by stage",
    "cost": "Cost",
    "recipe": "Recipe, reproduce",
}


def page_of(views: Sequence[RunView], *, made_at: str, comparison: SideBySide | None = None) -> str:
    """Of one run, or of two with how they compare. ``made_at`` is the time, in words."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters.update(words.FILTERS)
    style, script = _own("page.css"), _own("page.js")
    rows = [{**row, "run": view.label} for view in views for row in view.run.rows]
    compared = {"compared": "Side by side"} if comparison is not None else {}
    has_reviews = any(view.reviews is not None for view in views)
    left_out = () if has_reviews else ("reviews",)
    return environment.from_string(_own("page.html")).render(
        policy=_policy(style, script),
        style=Markup(style),  # noqa: S704 - ours
        script=Markup(script),  # noqa: S704 - ours
        title=" and ".join(view.title for view in views),
        views=views,
        notes=list(_notes(views)),
        sections=[each for each in (compared | _SECTIONS).items() if each[0] not in left_out],
        has_reviews=has_reviews,
        cards=cards_of,
        comparison=comparison,
        plots=_plots(views, comparison),
        has_pictures=find_spec("matplotlib") is not None,
        filters=filters_of(rows),
        samples_data=json_for_script({"rows": rows}),
        samples_in_words=_samples_in_words(views),
        cost_in_words=_cost_in_words,
        speed_in_words=_speed_in_words,
        mix_in_words=_mix_in_words,
        catalogue=CATALOGUE,
        percentiles=PERCENTILES,
        word_quantiles=WORD_QUANTILES,
        maker=version("weave-async"),
        made_at=made_at,
    )


def cards_of(view: RunView) -> Iterator[Card]:
    """The figures that one looks for first."""
    tally = view.run.tally
    accepted = view.steps[-1].share
    judged = tally.num_judged
    of_what = "asked for" if view.run.is_finished else "that have ended"
    yield Card("Written", words.count(accepted.num), f"of {accepted.total:,} {of_what}")
    if judged:
        share = Share(tally.num_ended["written"], judged)
        yield Card(
            "Accepted",
            words.percent(share.value),
            f"{words.interval(share, 'share')}, 95 % interval",
        )
    failed = tally.num_ended["failed"]
    yield Card("Failed", words.count(failed), "without an answer" if failed else "")
    yield Card("Output tokens", words.count(view.output_tokens), "of all answers")
    if view.elapsed_s is not None:
        rate = view.run.calls.num_answers / view.elapsed_s if view.elapsed_s else None
        is_all = not view.num_recalled and rate is not None
        remark = f"{words.number(rate)} answers/s" if is_all else "in the last session"
        yield Card("Time", words.duration(view.elapsed_s), remark)
    if view.cost_usd is not None:
        price = "by list price" + (", last session" if view.num_recalled else "")
        yield Card("Cost", words.usd(view.cost_usd), price)


def _notes(views: Sequence[RunView]) -> Iterator[str]:
    for view in views:
        lead = f"{view.label}: " if view.label else ""
        for note in (*view.run.notes, *view.cautions):
            yield f"{lead}{note}"
        if view.idle_rules:
            yield f"{lead}Rules that have rejected nothing: {', '.join(view.idle_rules)}"


def _plots(views: Sequence[RunView], comparison: SideBySide | None) -> Sequence[Any]:
    if find_spec("matplotlib") is None:
        return ()
    from weave_async.report.plots import plots_of

    return list(plots_of(views, comparison))


def _samples_in_words(views: Sequence[RunView]) -> str:
    told = []
    for view in views:
        num, total = len(view.run.rows), view.run.tally.total
        lead = f"{view.label}: " if view.label else ""
        if num == total:
            told.append(f"{lead}all {total:,} samples.")
        else:
            told.append(
                f"{lead}{num:,} of {total:,} samples, drawn by a seed: some of each reason and of "
                "each model, so that rare ones are more common here than in the run."
            )
    told.append("Open one for all of its turns, its verdicts and where it comes from.")
    in_words = " ".join(told)
    return in_words[:1].upper() + in_words[1:]


def _cost_in_words(view: RunView) -> str:
    written = view.run.tally.num_ended["written"]
    told = [f"{view.input_tokens:,} tokens in and {view.output_tokens:,} out, of all answers."]
    num_questions, (asked, answered) = view.run.questions.num_answers, view.run.questions.tokens
    if num_questions:
        told.append(
            f"Judges and other stages asked models {num_questions:,} times: {asked:,} tokens in "
            f"and {answered:,} out."
        )
    if written:
        each = [
            f"{tokens / written:,.0f}"
            for tokens in (view.input_tokens + asked, view.output_tokens + answered)
        ]
        told.append(f"For each written row, {each[0]} in and {each[1]} out.")
    return " ".join([_price_in_words(view, written), *told])


def _price_in_words(view: RunView, written: int) -> str:
    if view.cost_usd is None:
        return "There is no list price for these models."
    price = f"By list price {words.usd(view.cost_usd)}"
    if view.num_recalled:
        price += " for the last session"
    elif written:
        price += f", {words.usd(view.cost_usd / written)} for each written row"
    return f"{price}."


def _speed_in_words(view: RunView) -> str:
    calls = view.run.calls
    if calls.last_s <= 0:
        return f"{calls.num_answers:,} answers, all at once."
    rates = [each / calls.last_s for each in (calls.num_answers, view.output_tokens)]
    return (
        f"{calls.num_answers:,} answers came within {words.duration(calls.last_s)}: "
        f"{words.number(rates[0])} answers and {words.number(rates[1])} output tokens per second."
    )


def _mix_in_words(entry: Mapping[str, Any]) -> str:
    told = [f"{entry.get('model', '')} by {entry.get('provider', '')}"]
    options = entry.get("options")
    if isinstance(options, dict) and options:
        told.append(", ".join(f"{name}={value}" for name, value in options.items()))
    told.append(f"weight {entry.get('weight', 1)}")
    return "; ".join(told)


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"


def _own(name: str) -> str:
    return files("weave_async.report").joinpath(name).read_text(encoding="utf-8")


def _shown(value: object) -> object:
    """Markup has been through here already, in parts."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


_ESCAPED: Mapping[int, str] = {
    ord(char): f"\\u{ord(char):04x}" for char in ("<", ">", "&", "\u2028", "\u2029")
}


def json_for_script(data: Any) -> Markup:
    """``data`` for a script element: nothing in it can end the element, or a string's line."""
    return Markup(orjson.dumps(data).decode().translate(_ESCAPED))  # noqa: S704 - escaped above
