"""Every metric of diversity: its name in ``metrics.json`` and in gates, its definition, its source.

One table for the docs, the gates of recipes and ``compare``. It loads nothing; ``measuring.py`` has
the function for each name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Need = Literal["embedder", "seeds", "attributes"]


@dataclass(frozen=True, slots=True)
class Metric:
    """``bounds`` are the least and the highest value it can have; ``needs`` is what it takes beside
    the texts. ``grows_with`` says which way the figure goes as rows are added, all else equal:
    figures of different numbers of rows cannot be compared.
    """

    name: str
    definition: str
    source: str
    higher_is_more_diverse: bool
    grows_with_rows: Literal["up", "down", "no"]
    needs: tuple[Need, ...] = ()
    bounds: tuple[float, float] = (0.0, 1.0)


_LI = "Li et al., 2016, A Diversity-Promoting Objective Function for Neural Conversation Models"
_MCCOY = "McCoy et al., 2023, How Much Do Language Models Copy From Their Training Data? (RAVEN)"
_COVERED = "coverage of t-way combinations: Kuhn, Kacker and Lei, 2013, Combinatorial Testing"

_METRICS = (
    Metric(
        "distinct_1",
        "Distinct words over all words.",
        _LI,
        higher_is_more_diverse=True,
        grows_with_rows="down",
    ),
    Metric(
        "distinct_2",
        "Distinct pairs of neighbouring words over all such pairs.",
        _LI,
        higher_is_more_diverse=True,
        grows_with_rows="down",
    ),
    Metric(
        "distinct_3",
        "Distinct runs of three words over all such runs.",
        _LI,
        higher_is_more_diverse=True,
        grows_with_rows="down",
    ),
    Metric(
        "self_bleu",
        "Mean BLEU-4 of each text against all the others, a precision without a match smoothed "
        "to 0.1 matches.",
        "Zhu et al., 2018, Texygen; BLEU: Papineni et al., 2002; smoothing: Chen and Cherry, 2014",
        higher_is_more_diverse=False,
        grows_with_rows="up",
    ),
    Metric(
        "compression_ratio",
        "Bytes of all texts, joined by line ends in a seeded order, over their bytes in xz.",
        "Shaib et al., 2024, Standardizing the Measurement of Text Diversity (there with gzip)",
        higher_is_more_diverse=False,
        grows_with_rows="up",
        bounds=(0.0, math.inf),
    ),
    Metric(
        "mtld",
        "Mean number of words until types / words falls to 0.72, over all texts in a seeded order, "
        "read forwards and backwards.",
        "McCarthy and Jarvis, 2010, MTLD, vocd-D, and HD-D",
        higher_is_more_diverse=True,
        grows_with_rows="no",
        bounds=(0.0, math.inf),
    ),
    Metric(
        "novelty_2",
        "Share of the pairs of neighbouring words that no seed text has.",
        _MCCOY,
        higher_is_more_diverse=True,
        grows_with_rows="no",
        needs=("seeds",),
    ),
    Metric(
        "novelty_3",
        "Share of the runs of three words that no seed text has.",
        _MCCOY,
        higher_is_more_diverse=True,
        grows_with_rows="no",
        needs=("seeds",),
    ),
    Metric(
        "top_opening_share",
        "Share of the texts that begin with the most common first three words.",
        "ours; it is the Berger-Parker dominance (1970) of openings",
        higher_is_more_diverse=False,
        grows_with_rows="no",
    ),
    Metric(
        "vendi",
        "exp of the entropy of the eigenvalues of the texts' similarity matrix (cosines of "
        "embeddings) over its size: how many wholly different texts they amount to.",
        "Friedman and Dieng, 2023, The Vendi Score",
        higher_is_more_diverse=True,
        grows_with_rows="up",
        needs=("embedder",),
        bounds=(1.0, math.inf),
    ),
    Metric(
        "cluster_entropy",
        "Entropy of the texts' shares of 64 cells, which 6 fixed random hyperplanes cut out of the "
        "space of embeddings, over log 64; the mean of 16 such divisions.",
        "cells: Charikar, 2002, Similarity Estimation Techniques from Rounding Algorithms",
        higher_is_more_diverse=True,
        grows_with_rows="up",
        needs=("embedder",),
    ),
    Metric(
        "attribute_coverage",
        "Share of the values that an attribute can have that some row has, as a mean over the "
        "attributes.",
        _COVERED,
        higher_is_more_diverse=True,
        grows_with_rows="up",
        needs=("attributes",),
    ),
    Metric(
        "attribute_pair_coverage",
        "Share of the pairs of values of two attributes that some row has, as a mean over the "
        "pairs of attributes.",
        _COVERED,
        higher_is_more_diverse=True,
        grows_with_rows="up",
        needs=("attributes",),
    ),
    Metric(
        "attribute_entropy",
        "Entropy of an attribute's values over the log of how many it can have, as a mean over the "
        "attributes: 1 where all are equally common.",
        "evenness: Pielou, 1966, The Measurement of Diversity in Different Types of Biological "
        "Collections",
        higher_is_more_diverse=True,
        grows_with_rows="no",
        needs=("attributes",),
    ),
)

CATALOGUE: Mapping[str, Metric] = {metric.name: metric for metric in _METRICS}
