"""Names of requests: the digest of all that can change an answer, and of whose answer it is."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from weave_async.records import Api, Endpoint, Message, SamplingParams


def namer_of(endpoint: Endpoint, api: Api, schema: Mapping[str, Any] | None) -> blake2b:
    """The part of a request's name that all requests to this endpoint share.

    The provider is in it: a simulated answer must never pass for a bought one.
    """
    shared = [endpoint.provider, endpoint.public_options, endpoint.model, api]
    if schema is not None:  # else names stay what they were before there were any
        shared.append(named_by_content(schema))
    return blake2b(orjson.dumps(shared, option=orjson.OPT_SORT_KEYS), digest_size=16)


def named_by_content(schema: Mapping[str, Any]) -> str:
    canonical = orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)
    return blake2b(canonical, digest_size=8).hexdigest()


def request_id_of(
    namer: blake2b,
    messages: tuple[Message, ...],
    params: SamplingParams,
    prompt_id: str,
    sample_index: int,
) -> str:
    """Names all that can change the answer, and whose it is: equal questions get an answer each.

    All but ``max_tokens``: an answer that ended before the old limit stands under another one
    too, and the journal looks at that.
    """
    named_params = params.as_dict()
    named_params.pop("max_tokens", None)
    name = namer.copy()
    name.update(orjson.dumps((messages, named_params, prompt_id, sample_index)))
    return name.hexdigest()
