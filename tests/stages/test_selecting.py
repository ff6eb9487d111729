"""What selectors see of each other, what a final one holds back, and who pays for a mistake."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from weave_async.errors import RecipeError, StorageError
from weave_async.metrics.stage_times import StageTimes
from weave_async.records import ACCEPTED, Rejection, Sample, Verdict
from weave_async.stages.building import PartSpec, selectors_of
from weave_async.stages.selecting import HeldSamples, SelectingStage, Selection

MakeSample = Callable[..., Sample]


@dataclass
class Remembering:
    """Refuses texts with ``refuse`` in them, and knows which it was told to keep."""

    refuse: str = "-"
    kept: list[str] = field(default_factory=list, init=False)
    batches: list[int] = field(default_factory=list, init=False)
    threads: set[int] = field(default_factory=set, init=False)

    def features_of(self, samples: Sequence[Sample]) -> list[str]:
        if len(samples) > 1:
            self.batches.append(len(samples))
        self.threads.add(threading.get_ident())
        return [_checked(sample.completion) for sample in samples]

    def verdict(self, sample: Sample, text: str) -> Verdict:
        return (
            Verdict(False, "refused", {"kept": list(self.kept)})
            if self.refuse in text
            else ACCEPTED
        )

    def keep(self, sample: Sample, text: str) -> None:
        self.kept.append(text)


@dataclass
class Longest:
    """Of all that it was offered, keeps the longest."""

    offered: list[int] = field(default_factory=list, init=False)

    def features_of(self, samples: Sequence[Sample]) -> list[int]:
        return [len(sample.completion) for sample in samples]

    def offer(self, sample: Sample, length: int) -> None:
        self.offered.append(length)

    def verdicts(self) -> list[Verdict]:
        best = max(self.offered, default=0)
        return [Verdict(length == best, "shorter", {"best": best}) for length in self.offered]


def _checked(text: str) -> str:
    if "bomb" in text:
        raise ValueError("a bomb")
    return text


def selection(*rules: Any) -> Selection:
    return Selection([SelectingStage(type(rule).__name__, rule) for rule in rules], StageTimes())


@pytest.fixture
def samples(make_sample: MakeSample) -> Callable[..., list[Sample]]:
    return lambda *texts: [make_sample(text, ordinal=n) for n, text in enumerate(texts)]


def ends(samples: Sequence[Sample]) -> list[str | None]:
    return [sample.rejection and sample.rejection.rule for sample in samples]


def test_a_selector_keeps_only_what_all_others_have_passed(samples: Callable[..., Any]) -> None:
    first, second = Remembering(), Remembering(refuse="bad")
    came = asyncio.run(selection(first, second).select(samples("good", "bad", "fine")))
    assert ends(came) == [None, "Remembering", None]
    assert first.kept == second.kept == ["good", "fine"]


def test_what_has_ended_already_is_neither_looked_at_nor_changed(
    samples: Callable[..., Any],
) -> None:
    rule = Remembering()
    good, bad = samples("good", "bomb")
    bad = replace(bad, rejection=Rejection("validation", "length", "short", {}))
    assert asyncio.run(selection(rule).select([bad, good, bad])) == [bad, good, bad]
    assert rule.kept == ["good"]


def test_a_text_on_which_a_selector_raises_costs_that_sample_alone(
    samples: Callable[..., Any],
) -> None:
    rule = Remembering()
    came = asyncio.run(selection(rule).select(samples("good", "bomb", "fine")))
    assert rule.batches == [3]  # it was asked about all at once, and only then about each
    assert [sample.rejection and sample.rejection.reason for sample in came] == [
        None,
        "raised",
        None,
    ]
    assert rule.kept == ["good", "fine"]


def test_what_is_not_light_leaves_the_loop_its_thread(samples: Callable[..., Any]) -> None:
    rule = Remembering()
    asyncio.run(selection(rule).select(samples("good")))
    assert threading.get_ident() not in rule.threads


def test_a_function_is_a_selector_too(samples: Callable[..., Any]) -> None:
    seen: list[str] = []

    def rule(sample: Sample) -> Verdict:
        seen.append(sample.completion)
        return Verdict(len(seen) < 2, "enough")

    assert ends(asyncio.run(selection(rule).select(samples("a", "b")))) == [None, "function"]


def test_a_final_selector_holds_back_what_it_decides_about_at_the_end(
    samples: Callable[..., Any],
) -> None:
    async def outcome() -> tuple[list[Sample], list[Sample]]:
        chosen = selection(Remembering(refuse="bad"), Longest())
        at_once = [*await chosen.select(samples("a", "bad", "ccc"))]
        at_once += await chosen.select(samples("ccc"))
        held = list(await chosen.held())
        chosen.close()
        return at_once, held

    at_once, held = asyncio.run(outcome())
    assert ends(at_once) == ["Remembering"]
    assert [sample.completion for sample in held] == ["a", "ccc", "ccc"]
    assert ends(held) == ["Longest", None, None]
    assert held[0].rejection is not None
    assert held[0].rejection.evidence == {"best": 3}


@dataclass
class Counting(Longest):
    """Says how many of its verdicts have been taken."""

    num_taken: int = field(default=0, init=False)

    def verdicts(self) -> Iterator[Verdict]:  # type: ignore[override]
        for verdict in super().verdicts():
            self.num_taken += 1
            yield verdict


def test_what_is_held_is_counted_and_its_verdicts_come_one_by_one(
    samples: Callable[..., Any],
) -> None:
    rule = Counting()

    async def outcome() -> tuple[list[int], list[Sample]]:
        chosen = selection(rule)
        nums = [chosen.num_held]
        await chosen.select(samples("a", "ccc"))
        await chosen.select(samples("bb"))
        nums.append(chosen.num_held)
        held = await chosen.held()
        first = next(held)
        nums.append(rule.num_taken)
        ended = [first, *held]
        chosen.close()
        return nums, ended

    nums, ended = asyncio.run(outcome())
    assert nums == [0, 3, 1]
    assert ends(ended) == ["Counting", None, "Counting"]


def test_a_final_selector_without_candidates_decides_nothing() -> None:
    assert list(asyncio.run(selection(Longest()).held())) == []


def test_a_final_selector_must_be_the_last() -> None:
    parts = [PartSpec(f"{__name__}:Longest", {}), PartSpec("exact", {})]
    with pytest.raises(RecipeError, match="seen all samples, so it comes last"):
        selectors_of(parts)


def test_held_samples_come_back_as_they_were(make_sample: MakeSample) -> None:
    held = HeldSamples()
    sample = make_sample("täxt \ud800")
    held.append(sample)
    assert list(held) == list(held) == [sample]
    held.close()


def test_time_is_told_by_selector(samples: Callable[..., Any]) -> None:
    times = StageTimes()
    stages = [SelectingStage("one", Remembering())]
    asyncio.run(Selection(stages, times).select(samples("a", "b")))
    assert times["selection:one"].num_samples == 2
    assert times["selection:one"].wall_s > 0


def test_whoever_leaves_while_a_selector_prepares_waits_for_nothing() -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    class Preparing(Remembering):
        def prepare(self) -> None:
            has_begun.set()
            may_end.wait()

    async def leave() -> None:
        selection = Selection([SelectingStage("slow", Preparing())], StageTimes())
        preparing = asyncio.create_task(selection.prepare())
        while not has_begun.is_set():
            await asyncio.sleep(0.001)
        preparing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await preparing

    try:
        left = threading.Thread(target=asyncio.run, args=(leave(),))  # it closes its executor, too
        left.start()
        left.join(timeout=10)
        assert not left.is_alive()
    finally:
        may_end.set()


def test_what_keeps_a_selector_from_preparing_is_raised() -> None:
    class Broken(Remembering):
        def prepare(self) -> None:
            raise RecipeError("no such rows")

    with pytest.raises(RecipeError, match="no such rows"):
        asyncio.run(Selection([SelectingStage("broken", Broken())], StageTimes()).prepare())


class FullFile(io.BytesIO):
    """On a disk that takes nothing more, as each call on it finds."""

    def write(self, _: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_temporary_folder_that_is_full_is_named(
    samples: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: FullFile())
    selection = Selection([SelectingStage("longest", Longest())], StageTimes())
    with pytest.raises(StorageError, match=f"cannot write {tempfile.gettempdir()}: No space left"):
        asyncio.run(selection.select(samples("a", "b")))
    selection.close()


def test_a_disk_that_refuses_a_selector_costs_no_sample(samples: Callable[..., Any]) -> None:
    class Spooling(Remembering):
        def keep(self, sample: Sample, text: str) -> None:
            raise StorageError("cannot write /tmp")

    selection = Selection([SelectingStage("spooling", Spooling())], StageTimes())
    with pytest.raises(StorageError, match="cannot write /tmp"):
        asyncio.run(selection.select(samples("a", "b")))
