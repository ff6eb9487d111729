"""Prompts by the million, no two alike, of the words in ``noise_texts.txt``."""

from __future__ import annotations

import random
import re
from pathlib import Path

NUM_WORDS = 6


def write_prompts(path: Path, num_rows: int) -> None:
    """A prompt a line. Each has words enough of its own that most answers to it have, too."""
    texts = Path(__file__).with_name("noise_texts.txt").read_text(encoding="utf-8")
    words = sorted(set(re.findall(r"[a-z]{4,}", texts)))
    rng = random.Random(7)
    with path.open("w") as file:
        for number in range(num_rows):
            about = " ".join(rng.sample(words, NUM_WORDS))
            file.write(f"Write support message number {number} about {about}\n")
