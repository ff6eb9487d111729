"""Rows in groups that look alike, so that what is learned of one holds for those beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weave_async.controller.novelty import MOST_CHARS
from weave_async.features.embeddings import NgramEmbedder

MOST_GROUPS = 8
DECIMALS = 6
"""Of a place on the axis: the groups must be the same on processors that add in another order."""


def num_groups_of(num_rows: int, least: int) -> int:
    """How many groups of ``least`` rows and more there can be."""
    return min(MOST_GROUPS, num_rows // least)


def groups_alike(texts: Sequence[str], num_groups: int) -> list[list[int]]:
    """The numbers of the texts, in groups of equal size: neighbours along the axis on which texts
    differ most (the first principal component of their n-grams).
    """
    rows = NgramEmbedder().embed([text[:MOST_CHARS] for text in texts]).astype(np.float64)  # (N, D)
    centred = rows - rows.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)  # the last one is the widest
    axis = axes[:, -1] * np.sign(axes[np.argmax(np.abs(axes[:, -1])), -1])
    order = np.argsort(np.round(centred @ axis, DECIMALS), kind="stable")  # (N,)
    return [sorted(map(int, group)) for group in np.array_split(order, num_groups)]
