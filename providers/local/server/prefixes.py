"""Which beginnings of prompts have their keys and values lying in a span already.

A trie over blocks of tokens, compared token for token: no hash that two prompts could share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .kv_cache import Span

BLOCK_TOKENS = 16


@dataclass(slots=True)
class _Node:
    """One block. `span` holds it and all blocks above it, from the span's first token on."""

    span: Span | None = None
    children: dict[tuple[int, ...], _Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """The longest beginning that lies in a span now, and the longest that a span will hold."""

    span: Span | None
    num_tokens: int
    span_soon: Span | None
    num_tokens_soon: int


class PrefixIndex:
    def __init__(self, max_nodes: int) -> None:
        """Nodes whose spans were lent to others are forgotten once there are `max_nodes`."""
        self._root = _Node()
        self._num_nodes = 0
        self._max_nodes = max_nodes

    def match(self, prompt: Sequence[int]) -> Match:
        """At least the prompt's last token is left to compute: its logits are wanted."""
        now, num_tokens, soon, num_tokens_soon = None, 0, None, 0
        for depth, node in self._path(prompt[:-1]):
            # One that is gone is no end: a deeper block lies in a younger span, this one with it.
            if node.span is not None and node.span.will_hold(depth):
                soon, num_tokens_soon = node.span, depth
                if node.span.holds(depth):
                    now, num_tokens = node.span, depth
        return Match(now, num_tokens, soon, num_tokens_soon)

    def add(self, prompt: Sequence[int], span: Span) -> None:
        """`span` holds the beginning of `prompt`, or will when it is computed."""
        if self._num_nodes > self._max_nodes:
            self._num_nodes = _prune(self._root)
        node = self._root
        for number, block in enumerate(_blocks(prompt), start=1):
            child = node.children.get(block)
            if child is None:
                child = node.children[block] = _Node()
                self._num_nodes += 1
            node = child
            if node.span is None or not node.span.will_hold(number * BLOCK_TOKENS):
                node.span = span

    def prefer(self, prompt: Sequence[int], span: Span) -> None:
        """`span` has all of `prompt` computed, and is the youngest: it will live longest."""
        for depth, node in self._path(prompt):
            if span.num_computed >= depth:
                node.span = span

    def _path(self, prompt: Sequence[int]) -> list[tuple[int, _Node]]:
        """The nodes along `prompt`, with the number of tokens up to each one's end."""
        path, node = [], self._root
        for number, block in enumerate(_blocks(prompt), start=1):
            child = node.children.get(block)
            if child is None:
                break
            node = child
            path.append((number * BLOCK_TOKENS, node))
        return path


def _blocks(prompt: Sequence[int]) -> list[tuple[int, ...]]:
    ends = range(BLOCK_TOKENS, len(prompt) + 1, BLOCK_TOKENS)
    return [tuple(prompt[end - BLOCK_TOKENS : end]) for end in ends]


def _prune(node: _Node) -> int:
    """Drop what leads to no living span. Returns how many nodes are left below `node`."""
    left = 0
    for block, child in list(node.children.items()):
        below = _prune(child)
        if below or (child.span is not None and child.span.alive):
            left += below + 1
        else:
            del node.children[block]
    return left
