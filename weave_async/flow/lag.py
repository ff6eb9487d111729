"""How late the event loop is: whatever blocks it holds up every request at once."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

logger = logging.getLogger(__name__)

INTERVAL_S = 0.05
NUM_KEPT = 20_000
WORTH_SAYING_S = 0.1
SAID_EVERY_S = 60.0


class LagProbe:
    """Asks to be woken at a time, and notes how much later it was. Run it as a task."""

    def __init__(self) -> None:
        self._recent_s: deque[float] = deque(maxlen=NUM_KEPT)
        self.max_s = 0.0

    def __repr__(self) -> str:
        return f"<LagProbe p99 {self.p99_s * 1000:.0f} ms, at most {self.max_s * 1000:.0f} ms>"

    @property
    def p99_s(self) -> float:
        """Of the last quarter of an hour."""
        lags = sorted(self._recent_s)
        return lags[int(0.99 * len(lags))] if lags else 0.0

    async def run(self) -> None:
        """Probe until cancelled; say so when the loop stands still, at most once a minute."""
        loop = asyncio.get_running_loop()
        silent_until_s = 0.0
        while True:
            due_s = loop.time() + INTERVAL_S
            await asyncio.sleep(INTERVAL_S)
            now_s = loop.time()
            lag_s = max(0.0, now_s - due_s)
            self._recent_s.append(lag_s)
            self.max_s = max(self.max_s, lag_s)
            if lag_s > WORTH_SAYING_S and now_s > silent_until_s:
                silent_until_s = now_s + SAID_EVERY_S
                logger.info("the event loop stood still for %.0f ms", lag_s * 1000)
