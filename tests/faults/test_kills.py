"""P1: a run that is killed again and again loses nothing and buys nothing twice."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import replace

import pytest

from invariants import OUTPUTS, Ended, answers, prompt_in, prompt_of, read_rows
from weave_async.testing.scripted_endpoint import RecordedRequest, Reply, echo, error_reply

from .site import Site, Started

CONCURRENCY = 16
FAILING_SHARE = 0.02


class Hurried:
    """Answers after 1 to 15 ms; now and then with a 500."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.refused: set[str] = set()
        """Prompts whose last answer was a 500: they are owed another request."""

    def __call__(self, request: RecordedRequest) -> Reply:
        if self._chance.random() < FAILING_SHARE:
            self.refused.add(prompt_in(request))
            return error_reply(500)
        self.refused.discard(prompt_in(request))
        return replace(echo(request), head_delay_s=self._chance.uniform(0.001, 0.015))


def kill_at_random(process: Started, chance: random.Random) -> Ended:
    """Most die while they ask; some before, while they read the journal or import."""
    if chance.random() < 0.15:
        time.sleep(chance.uniform(0.2, 0.7))
    else:
        process.wait_until_asked(chance.randint(1, 110))
        time.sleep(chance.uniform(0, 0.02))
    return process.kill()


def num_sent_again(killed: Ended, refused: set[str], later: list[Ended]) -> int:
    """Requests of a killed process that had to be sent again, though not refused."""
    asked_later = {prompt for process in later for prompt in process.asked}
    return len(asked_later.intersection(killed.asked) - refused)


@pytest.mark.parametrize(
    ("num_kills", "num_rows"),
    [
        pytest.param(15, 2000),
        pytest.param(200, 20_000, marks=[pytest.mark.torture, pytest.mark.timeout(900)]),
    ],
)
def test_kills_at_random_points_lose_nothing_and_send_again_what_was_in_flight(
    site: Site, num_kills: int, num_rows: int
) -> None:
    site.answer = endpoint = Hurried(seed=1)
    site.write_rows(num_rows)
    chance = random.Random(2)
    refused = []
    for _ in range(num_kills):
        kill_at_random(site.start("-c", str(CONCURRENCY)), chance)
        refused.append(set(endpoint.refused))
    last = site.run("-c", "32", timeout_s=300)
    assert last.exit_code == 0, last.err
    written = [prompt_of(row) for name in OUTPUTS for row in read_rows(site.out / f"{name}.jsonl")]
    assert sorted(written) == sorted(f"row {i}" for i in range(num_rows))
    bought = Counter(answer["request_id"] for answer in answers(site.out))
    assert max(bought.values()) == 1
    again = [
        num_sent_again(site.ended[number], refused[number], site.ended[number + 1 :])
        for number in range(num_kills)
    ]
    print(f"{num_kills} kills, {sum(again)} sent again, at most {max(again)}: {again}")
    assert max(again) <= CONCURRENCY
