"""P5 and P7: the disk fills up, is not writable, or is pulled from under the run."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from weave_async.testing.scripted_endpoint import RecordedRequest, Reply, chat_reply, echo

from .site import Site

CONCURRENCY = 8


def wordy(num_bytes: int, delay_s: float = 0.005) -> Callable[[RecordedRequest], Reply]:
    """Answers of a size, so that a small disk is soon full."""
    return lambda request: chat_reply("word " * (num_bytes // 5), head_delay_s=delay_s)


def at_most(num_bytes: int) -> Callable[[], None]:
    """No file of the process may grow beyond this: the write that would, fails in the middle."""
    limits = (num_bytes, num_bytes)
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a small disk, where that is allowed."""
    mounted: list[Path] = []

    def mount_here(name: str, *options: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount command")
        if done.returncode:
            pytest.skip(f"cannot mount a disk of our own: {done.stderr.decode()}")
        mounted.append(folder)
        return folder

    yield mount_here
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def assert_it_says_once_that_it_cannot_write(err: str) -> None:
    complaints = [line for line in err.splitlines() if line.startswith("weave-async: error:")]
    assert len(complaints) == 1, err
    assert "again once there is space" in complaints[0]


def assert_nothing_was_bought_twice(site: Site) -> None:
    """Whatever the endpoint had answered had been received: the run had waited for it."""
    twice = [prompt for prompt, count in Counter(site.asked()).items() if count > 1]
    assert not twice


def test_a_file_size_limit_loses_no_answer_and_the_run_goes_on_without_it(site: Site) -> None:
    site.answer = wordy(num_bytes=2000)
    site.write_rows(200)
    full = site.run("-c", str(CONCURRENCY), in_child=at_most(150_000))
    assert full.exit_code == 74, full.err
    assert_it_says_once_that_it_cannot_write(full.err)
    assert 30 < len(full.asked) < 150
    assert site.run("-c", str(CONCURRENCY)).exit_code == 0
    assert_nothing_was_bought_twice(site)


def test_a_full_disk_loses_no_answer_and_the_run_goes_on_once_there_is_space(
    site: Site, mount: Callable[..., Path]
) -> None:
    disk = mount("small", "size=1m")
    site.out = disk / "out"
    site.answer = wordy(num_bytes=4000)
    site.write_rows(400)
    full = site.run("-c", str(CONCURRENCY))
    assert full.exit_code == 74, full.err
    assert_it_says_once_that_it_cannot_write(full.err)
    assert 0 < len(full.asked) < 300
    subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
    assert site.run("-c", str(CONCURRENCY)).exit_code == 0
    assert_nothing_was_bought_twice(site)


def test_a_disk_that_fills_while_outputs_are_published_keeps_the_old_ones(site: Site) -> None:
    """The journal is whole by then; only what is derived from it finds no room."""
    site.answer = wordy(num_bytes=400, delay_s=0.0)
    site.recipe["prompts"]["system"] = "s" * 4000  # in the outputs only
    site.write_rows(20)
    assert site.call().exit_code == 0
    old, num_asked = site.outputs(), len(site.asked())
    site.recipe["validation"] = [{"length": {"min_words": 1}}]
    full = site.run(in_child=at_most(60_000))
    assert full.exit_code == 74, full.err
    assert site.outputs() == old
    assert site.call().exit_code == 0
    assert len(site.asked()) == num_asked


def test_standard_output_on_a_full_disk_costs_the_summary_alone(site: Site) -> None:
    site.write_rows(5)
    with open("/dev/full", "w") as full_device:
        ended = site.run(stdout=full_device)
    assert ended.exit_code == 74
    assert "No space left on device" in ended.err
    assert (site.out / "manifest.json").exists()
    assert len(site.asked()) == 5


def test_a_read_only_disk_is_noticed_before_anything_is_paid(
    site: Site, mount: Callable[..., Path]
) -> None:
    site.out = mount("sealed", "ro") / "out"
    site.write_rows(5)
    ended = site.run()
    assert ended.exit_code == 73, ended.err
    assert "Read-only file system" in ended.err
    assert ended.asked == ()


def test_a_file_in_the_way_is_noticed_before_anything_is_paid(site: Site) -> None:
    (site.folder / "file").write_text("mine\n")
    site.out = site.folder / "file" / "out"
    site.write_rows(5)
    ended = site.run()
    assert ended.exit_code == 73, ended.err
    assert "file" in ended.err
    assert ended.asked == ()


def test_a_folder_deleted_while_the_run_goes_on_stops_it(site: Site) -> None:
    site.answer = lambda request: replace(echo(request), head_delay_s=0.02)
    site.write_rows(2000)
    process = site.start("-c", str(CONCURRENCY))
    process.wait_until_asked(40)
    shutil.rmtree(site.out)
    asked_before = process.num_asked()
    ended = process.end(timeout_s=5)
    assert ended.exit_code == 73, ended.err
    assert "deleted" in ended.err
    per_second = CONCURRENCY / 0.02
    assert len(ended.asked) - asked_before <= per_second + CONCURRENCY
    assert not os.path.exists(site.out)
