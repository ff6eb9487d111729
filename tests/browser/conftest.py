"""A real Chromium, driven by Playwright: the one that is installed, as Debian's ``chromium``.

Selected by ``make browser`` alone; what is missing then is an error, not a reason to skip.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_WATCH = "window.attacks = 0; window.attacked = () => { window.attacks += 1; };"


@dataclass(slots=True)
class Watched:
    """A page, and what went on in it that should not have."""

    page: Any
    own: str
    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def num_attacks(self) -> int:
        return int(self.page.evaluate("window.attacks"))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    assert path, f"no Chromium here: install one of {', '.join(NAMES)}, or name it in CHROMIUM"
    with sync_playwright() as playwright:
        # Without its sandbox it runs as root, too, as in a container; it opens our pages alone.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def watched(chromium: Any) -> Iterator[Callable[..., Watched]]:
    """Makes a page of its own context; ``own`` is how addresses of the page itself begin."""
    contexts = []

    def open_page(own: str, **options: Any) -> Watched:
        context = chromium.new_context(**options)
        contexts.append(context)
        context.add_init_script(_WATCH)
        page = context.new_page()
        found = Watched(page, own)
        context.on(
            "request",
            lambda request: (
                request.url.startswith((own, "data:")) or found.foreign.append(request.url)
            ),
        )
        page.on("dialog", lambda dialog: (found.foreign.append("dialog"), dialog.dismiss()))
        page.on("pageerror", lambda error: found.errors.append(str(error)))
        context.on("page", lambda other: found.foreign.append(f"a window: {other.url}"))
        return found

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots go: a folder that stays, if ``SCREENSHOTS`` names one."""
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path / "pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
