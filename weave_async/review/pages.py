"""The pages as HTML, with style and script in them: nothing is loaded from anywhere.

All that comes from a run is hostile text: the templates escape it, and characters that would turn
the text around them are shown by their number.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from weave_async.review import shown
from weave_async.review.queue import ShownRow
from weave_async.review.results import Results
from weave_async.review_log import HumanVerdict
from weave_async.visible import visible


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one person: how many rows they have decided, and how many are planned."""

    done: int
    planned: int


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around every page."""

    run_name: str
    reviewer: str
    progress: Progress
    can_undo: bool


class Pages:
    """Renders. ``headers`` belong on every response: they let the browser run our script alone."""

    def __init__(self) -> None:
        source = files("weave_async.review").joinpath
        self._style = Markup(source("page.css").read_text(encoding="utf-8"))  # noqa: S704 - ours
        self._script = Markup(source("page.js").read_text(encoding="utf-8"))  # noqa: S704 - ours
        self._environment = Environment(
            loader=PackageLoader("weave_async.review"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_visible,
        )
        self._environment.filters.update(
            count=lambda value: f"{value:,}",
            in_words=lambda code: code.replace("_", " "),
            percent=lambda share: f"{100 * share:.1f} %",
        )

    @property
    def headers(self) -> Mapping[str, str]:
        policy = (
            "default-src 'none'; "
            f"script-src '{_hash_of(self._script)}'; style-src '{_hash_of(self._style)}'; "
            "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        return {
            "Content-Security-Policy": policy,
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }

    def row(
        self,
        frame: Frame,
        given: ShownRow,
        *,
        mine: HumanVerdict | None,
        repeats: ShownRow | None,
        reasons: Sequence[str],
    ) -> str:
        """``mine`` is what the reviewer has said of the row, as it stands now, before; ``repeats``
        the row of which it is a duplicate.
        """
        queued, row = given.queued, given.row
        stratum = queued.stratum
        edited = mine.edited if mine is not None and mine.edited is not None else row.completion
        return self._render(
            "row.html",
            frame,
            sample_id=row.sample_id,
            text_sha256=given.text_sha256,
            rejection=row.rejection,
            title=stratum.title,
            why=stratum.why,
            rare_values=queued.rare_values,
            mine=mine,
            repeats=repeats.row if repeats is not None else None,
            turns=shown.turns_of(row),
            completion=shown.completion_of(row),
            edited=Markup.escape(edited),  # as it is: what is edited here is written
            reasons=reasons,
            verdicts=shown.verdicts_of(row),
            lineage=shown.lineage_of(given),
        )

    def done(self, frame: Frame, *, title: str, words: str, can_go_on: bool) -> str:
        return self._render("done.html", frame, title=title, words=words, can_go_on=can_go_on)

    def opened(self) -> str:
        """After a link was opened: on to the first row, from our own origin."""
        return self._environment.get_template("opened.html").render()

    def results(self, frame: Frame, results: Results, mine: Sequence[HumanVerdict]) -> str:
        """``mine`` are the reviewer's own last decisions."""
        return self._render("results.html", frame, page="results", results=results, mine=mine)

    def _render(self, name: str, frame: Frame, **values: Any) -> str:
        return self._environment.get_template(name).render(
            style=self._style,
            script=self._script,
            run_name=frame.run_name,
            reviewer=frame.reviewer,
            progress=frame.progress,
            can_undo=frame.can_undo,
            **{"page": "row", **values},
        )


def _visible(value: object) -> object:
    """Markup has been through here already, or is ours."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


def _hash_of(inlined: str) -> str:
    """As CSP names an inline script or style: https://www.w3.org/TR/CSP3/#grammardef-hash-source"""
    return f"sha256-{base64.b64encode(sha256(inlined.encode()).digest()).decode()}"
