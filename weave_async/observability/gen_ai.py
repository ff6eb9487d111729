"""Requests and answers in the words of OpenTelemetry's conventions for generative AI.

By version 1.41.0 of the semantic conventions: the last that has a part on generative AI, before
that moved to a place of its own, where it is being renamed and has had no release. All of it is in
the state "development". https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/

What was said, to a model or by it, is recorded nowhere: neither messages nor stop sequences nor the
texts of errors, which may repeat both.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from weave_async.observability.labels import label_of
from weave_async.records import Endpoint, Request, Response, SamplingParams

SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"
OPERATIONS = MappingProxyType({"chat": "chat", "completions": "text_completion"})
ERROR_TYPE = "error.type"
MODEL, RESPONSE_MODEL = "gen_ai.request.model", "gen_ai.response.model"
ENDPOINT = "weave_async.endpoint"
REQUEST_ID, ATTEMPT_ID = "weave_async.request.id", "weave_async.attempt.id"
ATTEMPTS = "weave_async.attempts"

_PARAMS = (
    *("max_tokens", "temperature", "top_p", "top_k", "seed"),
    *("presence_penalty", "frequency_penalty"),
)
_PARAM_NAMES = tuple((name, f"gen_ai.request.{name}") for name in _PARAMS)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PROVIDERS = MappingProxyType(
    {
        "ai.azure.com": "azure.ai.inference",
        "aiplatform.googleapis.com": "gcp.vertex_ai",
        "anthropic.com": "anthropic",
        "cohere.ai": "cohere",
        "cohere.com": "cohere",
        "deepseek.com": "deepseek",
        "generativelanguage.googleapis.com": "gcp.gemini",
        "groq.com": "groq",
        "mistral.ai": "mistral_ai",
        "openai.azure.com": "azure.ai.openai",
        "openai.com": "openai",
        "perplexity.ai": "perplexity",
        "x.ai": "x_ai",
    }
)
"""The well-known values of ``gen_ai.provider.name``, by the domain of the address."""


def provider_name_of(endpoint: Endpoint, address: str | None) -> str:
    """Whose it is by its address; else what the recipe calls its kind."""
    host = urlsplit(address or "").hostname or ""
    labels = host.split(".")
    for start in range(len(labels)):
        if name := _PROVIDERS.get(".".join(labels[start:])):
            return name
    return label_of(endpoint.preset or endpoint.provider)


def endpoint_attributes(endpoint: Endpoint, address: str | None) -> dict[str, Any]:
    """What is the same for all requests to an endpoint; ``address`` is its base URL, if any."""
    attributes: dict[str, Any] = {
        "gen_ai.provider.name": provider_name_of(endpoint, address),
        ENDPOINT: label_of(endpoint.name),
    }
    url = urlsplit(address or "")
    if url.hostname:
        attributes["server.address"] = label_of(url.hostname)
        if port := url.port or _DEFAULT_PORTS.get(url.scheme):
            attributes["server.port"] = port
    return attributes


def request_attributes(of_endpoint: Mapping[str, Any], request: Request) -> dict[str, Any]:
    attributes = {
        **of_endpoint,
        "gen_ai.operation.name": OPERATIONS[request.api],
        MODEL: label_of(request.model),
        REQUEST_ID: request.request_id,
    }
    _add_params(attributes, request.params)
    if request.num_choices != 1:
        attributes["gen_ai.request.choice.count"] = request.num_choices
    if request.schema is not None:
        attributes["gen_ai.output.type"] = "json"
    return attributes


def _add_params(attributes: dict[str, Any], params: SamplingParams) -> None:
    for name, attribute in _PARAM_NAMES:
        if (value := getattr(params, name)) is not None:
            attributes[attribute] = value


def response_attributes(response: Response) -> dict[str, Any]:
    """There is no ``gen_ai.response.id``: no adapter hands it on."""
    reasons = (response.finish_reason, *(other.finish_reason for other in response.others))
    attributes: dict[str, Any] = {"gen_ai.response.finish_reasons": reasons}
    if response.model is not None:
        attributes[RESPONSE_MODEL] = label_of(response.model)
    usage = response.usage
    if usage.input_tokens is not None:
        attributes["gen_ai.usage.input_tokens"] = usage.input_tokens
    if usage.output_tokens is not None:
        attributes["gen_ai.usage.output_tokens"] = usage.output_tokens
    return attributes
