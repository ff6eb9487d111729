"""``python benchmarks``: none is forgotten, and one that fails does not stop the others."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ROOT = BENCHMARKS.parent


def listed() -> tuple[Any, Any]:
    found = runpy.run_path(str(BENCHMARKS / "questions.py"))
    return found["BENCHMARKS"], found["PARTS"]


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, str(folder), *options]
    return subprocess.run(
        command, cwd=folder.parent, capture_output=True, text=True, env=environ, check=False
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The benchmarks elsewhere, to be broken and written to."""
    return shutil.copytree(
        BENCHMARKS, tmp_path / "benchmarks", ignore=shutil.ignore_patterns("__pycache__")
    )


def test_every_file_is_run_or_named_as_a_part_of_others() -> None:
    benchmarks, parts = listed()
    files = {path.stem for path in BENCHMARKS.glob("*.py")} - {"__main__"}
    programs = {each.program.stem for each in benchmarks}
    assert programs | parts == files
    assert not programs & parts


def test_every_benchmark_stands_in_the_readme_with_its_command() -> None:
    readme = (BENCHMARKS / "README.md").read_text()
    for each in listed()[0]:
        assert f"python benchmarks/{each.program.name}" in readme, each.name
        assert each.question, each.name


def test_documents_name_only_benchmarks_that_exist() -> None:
    documents = [BENCHMARKS / "README.md", ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for document in documents:
        for name in re.findall(r"benchmarks/([\w/]+\.(?:py|txt))", document.read_text()):
            assert (BENCHMARKS / name).exists(), f"{document.name} names {name}"


def test_the_page_has_machine_command_and_tables(copy: Path) -> None:
    done = run(copy, "--quick", "--only", "sse", "limiter", "--output", "out.md")
    assert done.returncode == 0, done.stderr
    page = (copy.parent / "out.md").read_text()
    for words in ("| processor |", "| load average |", "uvloop", "Quick: too short"):
        assert words in page
    for each in listed()[0]:
        assert (f"\n## {each.name}\n" in page) is (each.name in {"sse", "limiter"})
    assert "`python benchmarks/sse.py --chunks" in page
    assert "chunks per CPU-second" in page
    assert str(copy.parent) not in page


def test_one_that_fails_is_said_to_have_and_the_others_go_on(copy: Path) -> None:
    (copy / "sse.py").write_text('"""A question."""\nprint("half")\nraise SystemExit("no more")\n')
    (copy / "simulated.py").write_text('"""Slow."""\nimport time\ntime.sleep(60)\n')
    (copy / "limiter.py").write_text('"""Good."""\nprint("a table")\n')
    names = ("simulated", "sse", "limiter")
    done = run(copy, "--quick", "--only", *names, "--output", "out.md", "--longest-s", "4")
    assert done.returncode == 1
    page = (copy.parent / "out.md").read_text()
    assert "**Failed**: it took longer than 4 s." in page
    assert "**Failed**: it ended with 1." in page
    assert "no more" in page
    assert "half" in page
    assert "a table" in page


def test_what_cannot_be_had_quickly_is_refused() -> None:
    done = run(BENCHMARKS, "--quick", "--only", "downstream")
    assert done.returncode == 2
    assert "downstream cannot be had quickly" in done.stderr
