"""Answers that must be HTML with balanced tags."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weave_async.records import Sample
from weave_async.validation.html import MAX_CHARS, HtmlValidator

MakeSample = Callable[..., Sample]


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("<p>One<p>two", ""),
        ("<ul><li>a<li>b</ul>", ""),
        ("<table><tr><td>1<td>2<tr><td>3</table>", ""),
        ("<img src=x><br/>text<hr>", ""),
        ("<svg><path d='M0'/></svg>", ""),
        ("<DIV>x</div>", ""),
        ("<p>1 < 2 & 3 > 2</p>", ""),
        ("<script>if (a < b) { x = '</div>' }</script>", ""),
        ("<!doctype html><html><head><title>x</title><body>y</html>", ""),
        ("Here:\n```html\n<b>x</b>\n```", ""),
        ("<div>", "never_closed"),
        ("<b><i>x</b></i>", "never_closed"),
        ("x</b>", "never_opened"),
        ("<div></div></div>", "never_opened"),
        ("no markup, 1 < 2", "no_element"),
        ("", "no_element"),
        ("<div>" * 30_000, "never_closed"),
        ("</div>" * 30_000, "never_opened"),
        ("<p>" + "x" * MAX_CHARS, "too_large"),
    ],
)
def test_tags_are_balanced_as_far_as_html_wants_it(
    make_sample: MakeSample, completion: str, reason: str
) -> None:
    verdict = HtmlValidator()(make_sample(completion))
    assert (verdict.passed, verdict.reason) == (not reason, reason)


def test_the_evidence_names_the_tag_and_the_line_of_the_answer(make_sample: MakeSample) -> None:
    verdict = HtmlValidator()(make_sample("So:\n```html\n<div>\n<b>\n</div>\n```"))
    assert (verdict.reason, verdict.evidence) == ("never_closed", {"tag": "b", "line": 4})


def test_elements_can_be_asked_for(make_sample: MakeSample) -> None:
    rule = HtmlValidator(elements=["h1", "Table"])
    assert rule(make_sample("<h1>x</h1><table></table>")).passed
    assert rule(make_sample("<h1>x</h1>")).evidence == {"missing": ["Table"]}


@given(st.text(st.sampled_from("<>/!?[]&;'\"= bpi\n`-\ud800é\0"), max_size=100))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_answer_raises(make_sample: MakeSample, completion: str) -> None:
    HtmlValidator()(make_sample(completion))


@pytest.mark.parametrize(
    "piece", ["<a '", "<a ", "<a b=", "<a b='", "<!--", "<!-- -", "</a ", "<![", "<?", "<script>"]
)
def test_what_is_never_closed_takes_no_time(make_sample: MakeSample, piece: str) -> None:
    # html.parser took 12 s for a fifth of such a text
    began_s = time.thread_time()
    verdict = HtmlValidator()(make_sample(piece * (200_000 // len(piece))))
    assert verdict.reason == "never_closed"
    assert time.thread_time() - began_s < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "<p title='a > b'>It's 3 < 4 and I <3 you.</p>",
        "<a href=\"/x?a=1&b='2'\">x</a>",
        "<a href=/x class=y>x</a>",
        "<script>if (a<b && c>d) { s = '<p>' }</script>",
        "<style>p > a { color: red }</style><p>x</p>",
        "<!DOCTYPE html><!-- <p> --><P>x</p>",
        "<p data-x=it's>x</p>",
        "<svg><path d='M0'/><![CDATA[x]]></svg>",
        "<input disabled value = 'a>b'>",
    ],
)
def test_tags_are_cut_as_browsers_cut_them(make_sample: MakeSample, text: str) -> None:
    assert HtmlValidator()(make_sample(text)).passed
