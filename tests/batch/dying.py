"""``python dying.py FOLDER ARGUMENT…``: die at each step that a run takes in its batches' folder.

As ``faults/killing.py``, which looks at the whole run folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import anyio._backends._asyncio
import httpcore2
import httpx2
import openai.resources.batches
import openai.resources.files

from faults import killing
from providers.sdk import client
from weave_async.batch import batching

IMPORTED = (anyio._backends, httpcore2, httpx2, openai.resources, client)
"""Before the fork, not in every child."""
die_in_folder = killing.die_at
killing.die_at = lambda step, folder: die_in_folder(step, folder / "batches")
batching.FIRST_POLL_S = 0.01

if __name__ == "__main__":
    print(killing.kill_at_every_step(Path(sys.argv[1]), Path("nothing"), sys.argv[2:]))
