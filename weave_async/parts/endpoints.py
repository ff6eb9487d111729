"""The endpoints that a recipe and the environment mean, their providers and prices."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from weave_async import registry
from weave_async.errors import RecipeError, RunFolderError, WeaveError
from weave_async.flow.descriptors import PER_CONNECTION, room_for_connections
from weave_async.interfaces import Provider
from weave_async.journal.calls import Seller
from weave_async.journal.segments import list_segments
from weave_async.pricing import Price, price_of
from weave_async.recipe import MixEntry, Recipe
from weave_async.records import Endpoint
from weave_async.rundir import RunFolder
from weave_async.settings import ProviderTraits, Settings

logger = logging.getLogger(__name__)

DEFAULT_MAX_CONCURRENCY = 16
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def endpoints_of(
    mix: Sequence[MixEntry], settings: Settings, *, default_model: str | None = None
) -> list[Endpoint]:
    """An endpoint per entry of the mix, each with a name of its own unless two are the same.

    ``default_model`` is what the source names, where nobody else names one.
    """
    named: dict[str, Endpoint] = {}
    endpoints = [
        named_apart(endpoint_of(entry, settings, default_model=default_model), named)
        for entry in mix
    ]
    refuse_shared_address([entry.endpoint for entry in mix], settings)
    return endpoints


def named_apart(endpoint: Endpoint, named: dict[str, Endpoint]) -> Endpoint:
    """The endpoint under a name that is no other's, and noted as such."""
    count = 1
    while named.setdefault(endpoint.name, endpoint) != endpoint:
        count += 1
        endpoint = replace(endpoint, name=f"{endpoint.name.partition('#')[0]}#{count}")
    return endpoint


def is_simulation(provider: Provider) -> bool:
    return bool(getattr(provider, "is_simulation", False))


def endpoint_of(
    entry: MixEntry, settings: Settings, *, default_model: str | None = None
) -> Endpoint:
    """The endpoint an entry of the mix means, once the environment has had its say."""
    named = settings.provider_of(entry.endpoint)
    provider = registry.load("provider", named, also_known=list(settings.endpoints))
    traits = ProviderTraits(
        getattr(provider, "default_model", None) or default_model,
        getattr(provider, "environment_fallback", None),
        getattr(provider, "trusting_options", ()),
    )
    return settings.endpoint(
        entry.endpoint, model=entry.model, options=entry.options, traits=traits, mode=entry.mode
    )


def providers_of(endpoints: Sequence[Endpoint]) -> dict[str, Provider]:
    """A provider for each endpoint, by name. What can be checked without asking is checked."""
    return {endpoint.name: _new_provider(endpoint) for endpoint in endpoints}


def _new_provider(endpoint: Endpoint) -> Provider:
    try:
        provider: Provider = registry.load("provider", endpoint.provider)(endpoint)
    except WeaveError:
        raise
    except Exception as error:  # a provider of somebody else's may raise anything
        raise RecipeError(
            f"provider '{endpoint.provider}' cannot be made: {type(error).__name__}: {error}"
        ) from error
    return provider


def sellers_of(
    endpoints: Iterable[Endpoint], providers: Mapping[str, Provider]
) -> dict[str, Seller]:
    """Model and address of each endpoint, by name, as the journal keeps them."""
    return {
        endpoint.name: Seller(
            endpoint.model,
            endpoint.base_url or getattr(providers[endpoint.name], "default_base_url", None),
        )
        for endpoint in endpoints
    }


def described_sellers(
    endpoints: Iterable[Endpoint], providers: Mapping[str, Provider]
) -> dict[str, dict[str, Any]]:
    """The same as the journal's opening tells it: never a key."""
    return {
        name: {"model": seller.model, "address": seller.address}
        for name, seller in sellers_of(endpoints, providers).items()
    }


def prices_of(sellers: Mapping[str, Seller]) -> dict[str, Price | None]:
    """What a token costs at each endpoint; ``None`` where nobody knows."""
    return {name: price_at(seller) for name, seller in sellers.items()}


def price_at(seller: Seller) -> Price | None:
    model, address = seller.model, seller.address
    if model is None or address is None or urlsplit(address).hostname in _THIS_MACHINE:
        return None
    return price_of(model, base_url=address)


def start_concurrency_of(endpoint: Endpoint, provider: Provider) -> int:
    suggested = getattr(provider, "default_max_concurrency", DEFAULT_MAX_CONCURRENCY)
    if not isinstance(suggested, int) or suggested < 1:
        raise RecipeError(
            f"provider '{endpoint.provider}': its default_max_concurrency is {suggested!r}"
        )
    return suggested


def usual_concurrency(endpoints: Iterable[Endpoint], providers: Mapping[str, Provider]) -> int:
    """Requests in flight that these endpoints begin with; adaptive ones may come to more."""
    named = {endpoint.name: endpoint for endpoint in endpoints}
    return sum(
        endpoint.max_concurrency or start_concurrency_of(endpoint, providers[name])
        for name, endpoint in named.items()
    )


def fitted_concurrency(concurrency: dict[str, int]) -> dict[str, int]:
    """What is wanted of each endpoint, cut down to the connections that this process may open."""
    wanted = sum(concurrency.values())
    room = room_for_connections(wanted)
    if room == wanted:
        return concurrency
    logger.warning(
        "only %d of %d requests can be in flight, as this process may not open more files: "
        "raise the limit with `ulimit -n %d`",
        room,
        wanted,
        wanted * PER_CONNECTION + 128,
    )
    return {name: max(1, wanted_here * room // wanted) for name, wanted_here in concurrency.items()}


def refuse_shared_address(names: Sequence[str], settings: Settings) -> None:
    """One address and key cannot be meant for several endpoints of different names."""
    unnamed = sorted({name for name in names if name not in settings.endpoints})
    default = settings.default
    if len(unnamed) > 1 and default.provider is None and (default.base_url or default.api_key):
        raise RecipeError(
            f"WEAVE_ASYNC_BASE_URL and WEAVE_ASYNC_API_KEY could be meant for {unnamed[0]} or for "
            f"{unnamed[1]}: give each an endpoint of its own, WEAVE_ASYNC_ENDPOINTS__NAME__BASE_URL"
        )


def endpoints_asked(folder: RunFolder, recipe: Recipe) -> list[Endpoint]:
    """Who was asked last, by the journal: a run may have been sent elsewhere than its recipe says.

    With the addresses of then, without which some providers cannot be made, and without keys:
    nobody is asked now.
    """
    segments = list_segments(folder.journal) if folder.journal.is_dir() else []
    mix = segments[-1].opening.get("asks", {}).get("mix", []) if segments else []
    sellers = segments[-1].opening.get("endpoints", {}) if segments else {}
    names = list(sellers)
    if len(names) != len(mix):  # two entries of the mix are one endpoint
        names = [f"{entry.get('provider')}#{number}" for number, entry in enumerate(mix)]
    if not mix:
        raise RunFolderError(
            f"{folder.journal} is empty, so that nothing tells who was asked: nothing has come "
            "back yet. Run the same command again"
        )
    if len(mix) != len(recipe.generate.mix):
        raise RunFolderError(f"{folder.recipe} is not the recipe of the journal beside it")
    return [
        Endpoint(
            name,
            entry.get("provider"),
            entry.get("model"),
            base_url=sellers[name].get("address") if name in sellers else None,
            options=entry.get("options") or {},
        )
        for name, entry in zip(names, mix, strict=True)
    ]
