"""Other libraries' noise in a process of another Python: what ``stages_noise.py`` asks.

    python benchmarks/stages_noise_peers.py TEXTS.json

Each line on its standard input is one round: every augmenter that is installed, with its own
defaults, over all texts. Answers with a line of JSON each. Imports nothing of ours.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

Noise = Callable[[str], str]


def main() -> None:
    texts = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    peers = augmenters()
    for noise in peers.values():
        noise(texts[0])  # loads what it needs
    for number, _ in enumerate(sys.stdin):
        random.seed(number)
        print(json.dumps({name: one_round(noise, texts) for name, noise in peers.items()}))
        sys.stdout.flush()


def one_round(noise: Noise, texts: list[str]) -> dict[str, object]:
    begun_s = time.process_time()
    noisy = [noise(text) for text in texts]
    return {"cpu_s": time.process_time() - begun_s, "noisy": noisy}


def augmenters() -> dict[str, Noise]:
    found: dict[str, Noise] = {}
    if find_spec("nlpaug"):
        import nlpaug.augmenter.char as char
        import nlpaug.augmenter.word as word

        def of_nlpaug(augmenter: object) -> Noise:
            return lambda text: augmenter.augment(text)[0]  # type: ignore[attr-defined, no-any-return]

        found |= {
            "nlpaug keyboard": of_nlpaug(char.KeyboardAug()),
            "nlpaug random char": of_nlpaug(char.RandomCharAug(action="swap")),
            "nlpaug ocr": of_nlpaug(char.OcrAug()),
            "nlpaug spelling": of_nlpaug(word.SpellingAug()),
        }
    if find_spec("textnoisr"):
        from textnoisr.noise import CharNoiseAugmenter

        found["textnoisr, 5 %"] = CharNoiseAugmenter(noise_level=0.05).add_noise
    if find_spec("typo"):
        from typo import StrErrer

        # It takes a seed for each text, and would draw one from the system.
        found["typo, one swap"] = lambda text: StrErrer(text, seed=len(text)).char_swap().result
        found["typo, near key"] = lambda text: StrErrer(text, seed=len(text)).nearby_char().result
    if find_spec("textattack") and find_spec("torch"):
        from textattack.augmentation import CharSwapAugmenter

        augmenter = CharSwapAugmenter()
        found["TextAttack char swap"] = lambda text: augmenter.augment(text)[0]
    return found


if __name__ == "__main__":
    main()
