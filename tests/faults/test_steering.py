"""A run with a controller that is killed asks, in the end, what it would have asked."""

from __future__ import annotations

import random
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from weave_async.testing.replies import chat_reply
from weave_async.testing.scripted_endpoint import RecordedRequest, Reply

from .site import Site

KILLING = Path(__file__).with_name("killing.py")
NUM_ROWS, ROUND = 240, 20
WORDS = ("anchor", "birch", "candle", "delta", "ember", "fjord", "glacier", "harbor", "island")


def uneven(request: RecordedRequest) -> Reply:
    """One model repeats itself; the other answers by what it is asked. In no order."""
    asked = request.body
    rng = random.Random(f"{asked['messages']}{asked['temperature']}")
    text = "It is the same as ever with this one."
    if asked["model"] == "lively":
        text = " ".join(rng.choices(WORDS, k=12))
    delay_s = random.Random(text + str(asked["messages"])).uniform(0.001, 0.01)
    return replace(chat_reply(text), head_delay_s=delay_s)


@pytest.fixture
def steered(site: Site) -> Site:
    site.recipe["controller"] = {"round": ROUND}
    site.recipe["generate"]["mix"] = [
        {"endpoint": "openai_compatible", "model": model} for model in ("lively", "dull")
    ]
    site.recipe["generate"]["params"]["temperature"] = {"uniform": [0.2, 1.2]}
    site.answer = uneven
    site.write_rows(NUM_ROWS)
    return site


def test_kills_at_random_points_change_no_byte_at_any_concurrency(steered: Site) -> None:
    site, chance = steered, random.Random(4)
    whole = site.run("-c", "16")
    assert whole.exit_code == 0, whole.err
    expected = site.outputs()
    assert expected["decisions.jsonl"].count(b"\n") == 1 + NUM_ROWS // ROUND - 2
    site.check()
    site.move_to(site.folder / "killed")
    for concurrency in ("16", "1", "64", "16"):
        process = site.start("-c", concurrency)
        process.wait_until_asked(chance.randint(20, 50))
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
    last = site.run("-c", "64")
    assert last.exit_code == 0, last.err
    assert site.outputs() == expected


@pytest.mark.torture  # dozens of processes
@pytest.mark.timeout(300)
def test_killed_at_any_step_on_the_disk_it_decides_the_same_afterwards(steered: Site) -> None:
    site = steered
    site.recipe["controller"] = {"round": 10}
    site.write_rows(30)
    assert site.call().exit_code == 0
    expected = site.outputs()
    site.check()
    site.is_replayed = False  # continuing is the replay here, and there are dozens of it
    deaths = site.folder / "deaths"
    deaths.mkdir()
    nothing = str(site.folder / "nothing")
    ended = site.start_command(
        [sys.executable, str(KILLING), str(deaths), nothing, "recipe.yaml"]
    ).end()
    assert ended.exit_code == 0, ended.err
    for step in range(1, int(ended.out) + 1):
        site.move_to(deaths / str(step))
        continued = site.call()
        assert continued.exit_code == 0, f"step {step}: {continued.err}"
        assert site.outputs() == expected, f"step {step}"
