"""P8: several processes on one run folder: one writes, the others leave and say who it is."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from weave_async.testing.scripted_endpoint import RecordedRequest, Reply, chat_reply

from .site import Site, Started

NUM_ROWS = 6
MEETING_S = 20.0


@pytest.mark.parametrize(
    ("num_races", "num_rivals"),
    [(2, 6), pytest.param(10, 6, marks=pytest.mark.torture)],
)
def test_of_all_that_start_at_once_one_writes_and_the_others_name_it(
    site: Site, num_races: int, num_rivals: int
) -> None:
    over = threading.Event()

    def answer(request: RecordedRequest) -> Reply:
        """Held back until all rivals have met, so that the first cannot be done before."""

        def body() -> Iterator[bytes | float]:
            while not over.is_set():
                yield 0.01
            yield whole.body if isinstance(whole.body, bytes) else b""

        whole = chat_reply("done")
        return Reply(headers=whole.headers, body=body())

    site.answer = answer
    site.write_rows(NUM_ROWS)
    for race in range(num_races):
        over.clear()
        site.move_to(site.folder / f"race-{race}")
        rivals = [site.start("-c", "2") for _ in range(num_rivals)]
        give_up_s = time.monotonic() + MEETING_S
        while num_alive(rivals) > 1 and time.monotonic() < give_up_s:
            time.sleep(0.01)
        num_writing = num_alive(rivals)
        over.set()
        assert num_writing == 1
        [winner, *losers] = sorted((rival.end() for rival in rivals), key=lambda e: e.exit_code)
        assert winner.exit_code == 0, winner.err
        assert winner.summary["written"] == NUM_ROWS
        assert [ended.exit_code for ended in losers] == [75] * (num_rivals - 1)
        for ended in losers:
            assert f"is being written by pid {winner.pid} on {socket.gethostname()}" in ended.err
        assert len(list((site.out / "journal").glob("*.log"))) == 1


def num_alive(rivals: list[Started]) -> int:
    return sum(rival.process.poll() is None for rival in rivals)
