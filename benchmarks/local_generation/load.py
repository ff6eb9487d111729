"""What every stack is asked: the same conversations, sampling and lengths.

The conversations of a round differ from those of the last, or a stack that keeps prefixes would
know them; within a round each stack is asked the very same ones.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Message = dict[str, str]
SLOT_TOKENS = 512  # room for one conversation and its answer, where a stack must be told
BATCH_TOKENS = 512  # in one step, prompts and answers together, likewise
SYSTEM = (
    "You are the assistant of a bank and help its customers in the app. Answer in a friendly and "
    "plain way, in at most five sentences, and name the menu where the customer finds what is "
    "asked for. Never ask for a PIN or a password. If you do not know the answer, say so and offer "
    "to pass the question on to a colleague, who will call back on the same day."
)
OPENINGS = ("Hello,", "Good morning,", "Sorry to bother you again,", "Quick question:", "Hi there,")
PLACES = ("in Lisbon", "at the airport", "online", "at my supermarket", "on a train", "abroad")
PROBLEMS = (
    "my debit card was refused",
    "I paid twice for the same thing",
    "a payment that I do not know appeared",
    "the amount on the receipt is wrong",
    "the machine kept my card",
    "I was charged a fee",
    "a refund has not arrived",
)
WISHES = (
    "How do I dispute it?",
    "What should I do now?",
    "Can I get the money back?",
    "Who can I call?",
    "How long will that take?",
)


@dataclass(frozen=True, slots=True)
class Load:
    """One set of requests: ``concurrency`` of them are under way until all are answered."""

    conversations: Sequence[Sequence[Message]]
    concurrency: int
    max_tokens: int
    temperature: float
    top_p: float


@dataclass(frozen=True, slots=True)
class Answered:
    """A set's answers. ``wall_s`` is from the first request to the last answer.

    ``e2e_s`` and ``ttft_s`` are empty where the stack does not show them; ``client_cpu_s`` is None
    where no HTTP client took part.
    """

    wall_s: float
    output_tokens: Sequence[int]
    input_tokens: Sequence[int]
    e2e_s: Sequence[float] = ()
    ttft_s: Sequence[float] = ()
    client_cpu_s: float | None = None


def conversations(number: int, seed: str, *, is_distinct: bool) -> list[list[Message]]:
    """``number`` of them after one system prompt of about 80 tokens, or sharing no word order."""
    rng = random.Random(seed)
    made = []
    for _ in range(number):
        question = (
            f"{rng.choice(OPENINGS)} {rng.choice(PROBLEMS)} {rng.choice(PLACES)}, it is about "
            f"{rng.randint(3, 900)}.{rng.randint(0, 99):02} euros and my customer number is "
            f"{rng.randint(10**6, 10**7)}. {rng.choice(WISHES)}"
        )
        system = " ".join(rng.sample(SYSTEM.split(), 65)) if is_distinct else SYSTEM
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        made.append(messages)
    return made


def as_document(load: Load) -> dict[str, Any]:
    return {
        "conversations": load.conversations,
        "concurrency": load.concurrency,
        "max_tokens": load.max_tokens,
        "temperature": load.temperature,
        "top_p": load.top_p,
    }
