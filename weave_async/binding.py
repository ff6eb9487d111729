"""Which address a key belongs to, when settings come in layers.

A key goes only where the layer that holds it says: to the base URL that stands beside it, or to the
preset that is named beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from weave_async.registry import preset

logger = logging.getLogger(__name__)


def joined(
    lower: dict[str, Any],
    higher: dict[str, Any],
    variables: Mapping[str, str | None],
    *,
    address: str | None = None,
) -> dict[str, Any]:
    """Two sources, the higher on top. A key goes only to an address of its own source.

    A ``.env`` that came with somebody's project must not direct a key of the environment.
    """
    merged = {**_without_replaced(lower, higher), **higher}
    key_address = _address_in(higher if "api_key" in higher else lower) or address
    goes_to = _address_in(merged)
    if "api_key" in merged and goes_to is not None and not same_address(key_address, goes_to):
        logger.warning(
            "%s is not sent to %s: one is in the environment, the other in .env; "
            "put both in one place",
            variables["api_key"],
            variables["base_url" if "base_url" in merged else "provider"],
        )
        del merged["api_key"]
    return merged


def over(lower: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """Flags on top of settings, but for a key whose address a flag has replaced."""
    lower = _without_replaced(lower, flags)
    merged = {**lower, **flags}
    address = _address_in(lower)
    if address is not None and not same_address(address, _address_in(merged)):
        merged.pop("api_key", None)
    return merged


def _without_replaced(lower: dict[str, Any], higher: dict[str, Any]) -> dict[str, Any]:
    """The lower source, but for the address and the key of a provider that a preset replaces."""
    ours, named = lower.get("provider"), higher.get("provider")
    if ours is None or named is None or named == ours or preset(named) is None:
        return lower
    return {name: value for name, value in lower.items() if name not in ("base_url", "api_key")}


def _address_in(found: Mapping[str, Any]) -> str | None:
    """The address that one source names: itself, or by naming a preset."""
    named = found.get("provider")
    known = preset(named) if named else None
    address: str | None = found.get("base_url") or (known.base_url if known else None)
    return address


def same_address(one: str | None, other: str | None) -> bool:
    return (one or "").rstrip("/") == (other or "").rstrip("/")


def origin(address: str | None) -> tuple[str, str | None, int | None]:
    """Scheme, host and port. What is no address has an origin that nothing else has."""
    try:
        parts = urlsplit(address or "")
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return "", address, None
    return parts.scheme, parts.hostname, port


def with_suffix(address: str, suffix: str) -> str:
    address = address.rstrip("/")
    return address if address.endswith(suffix) else address + suffix
