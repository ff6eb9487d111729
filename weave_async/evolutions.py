"""Ways to make another prompt of a prompt: Evol-Instruct's (Xu et al., WizardLM, 2023), in our
words. In depth, a prompt gets harder; in breadth, another one of its kind is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

EVOLUTIONS: Mapping[str, Sequence[str]] = {
    "deepen": (
        "Ask for more depth: go beyond what a first, short answer would say.",
        "Ask also why it is so, and what follows from it.",
    ),
    "constrain": (
        "Add one more condition that the answer has to keep to.",
        "Add a limit, such as of time, money, length or tools, that makes it harder.",
    ),
    "concretize": (
        "Replace what is general in it by something specific: a case, a number, a place, a person.",
        "Set it in a situation that somebody could really be in.",
    ),
    "reason": (
        "Change it so that several steps of thought are needed to answer it.",
        "Change it so that two things have to be weighed against each other.",
    ),
    "broaden": (
        "Write a new one on another, rarer subject of the same field, as long and as hard.",
        "Write a new one that somebody with quite another background would ask.",
    ),
}
"""Instructions, by kind."""
