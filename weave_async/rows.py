"""What a row is known by, wherever it stands."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson


def digest_of(values: Mapping[str, Any]) -> int:
    """8 bytes that name a row's content, whatever the order of its columns."""
    canonical = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(blake2b(canonical, digest_size=8).digest(), "big")
