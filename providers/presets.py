"""Services and servers whose address and ways are known, by the name that chooses them.

Data only: a row that is wrong is mended here, and what a row does not say is learned from the
endpoint's own refusals. ``lacks`` names what is refused, or taken and ignored. docs/providers.md is
made from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from weave_async.records import Preset

from .wire.capabilities import PLAIN, Capabilities

ADAPTER: Final = "openai_compatible"
OPENAI_HEADERS: Final = "x-ratelimit-{limit,remaining,reset}-{requests,tokens}"
_DRAWN_SINGLY: Final = Capabilities(lacks=frozenset({"n"}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Preset):
    """A preset of a provider that builds requests by ``Capabilities``."""

    provider: str = ADAPTER
    capabilities: Capabilities = PLAIN


_LLAMA_CPP = Service(
    title="llama.cpp (llama-server)",
    base_url="http://127.0.0.1:8080/v1",
    capabilities=_DRAWN_SINGLY,
    traps=(
        "503 while the model loads. A prompt that is too long may fail inside the stream. "
        "Several slots share --ctx-size."
    ),
    docs_url="https://github.com/ggml-org/llama.cpp/tree/master/tools/server",
)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "openai": Service(
            title="OpenAI",
            base_url="https://api.openai.com/v1",
            key_variable="OPENAI_API_KEY",
            base_url_variable="OPENAI_BASE_URL",
            model_variable="OPENAI_MODEL",
            rate_limit_headers=OPENAI_HEADERS,
            capabilities=Capabilities(max_tokens_field="max_completion_tokens"),
            traps=(
                "Reasoning models refuse max_tokens, and any temperature but 1. "
                "Rejected requests count against the limit. 429 may mean that the money is spent."
            ),
            docs_url="https://platform.openai.com/docs/api-reference/chat",
        ),
        "azure": Service(
            title="Azure OpenAI",
            key_variable="AZURE_OPENAI_API_KEY",
            base_url_variable="AZURE_OPENAI_ENDPOINT",
            base_url_suffix="/openai/v1",
            address_advice=(
                "set AZURE_OPENAI_ENDPOINT to https://RESOURCE.openai.azure.com, as the portal "
                "shows it under Keys and Endpoint"
            ),
            rate_limit_headers=f"{OPENAI_HEADERS}, reset in whole seconds",
            capabilities=Capabilities(max_tokens_field="max_completion_tokens"),
            traps=(
                "The model is the name of a deployment. Without max_tokens the whole context is "
                "charged against the limit, which is judged over 1 or 10 s. A content filter "
                "answers 400."
            ),
            docs_url="https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle",
        ),
        "openrouter": Service(
            title="OpenRouter",
            base_url="https://openrouter.ai/api/v1",
            key_variable="OPENROUTER_API_KEY",
            capabilities=_DRAWN_SINGLY,
            traps=(
                "Comments keep a stream alive before its first token. Errors may come inside a "
                "200. What else is taken depends on who serves the model."
            ),
            docs_url="https://openrouter.ai/docs",
        ),
        "together": Service(
            title="Together AI",
            base_url="https://api.together.xyz/v1",
            key_variable="TOGETHER_API_KEY",
            traps=(
                "Limits are enforced by the second. A plain 429 carries the type credit_limit, "
                "and is no empty account."
            ),
            docs_url="https://docs.together.ai/docs/inference/openai-compatibility",
        ),
        "groq": Service(
            title="Groq",
            base_url="https://api.groq.com/openai/v1",
            key_variable="GROQ_API_KEY",
            rate_limit_headers=f"{OPENAI_HEADERS}, of which the requests are those of a day",
            capabilities=Capabilities(
                lacks=frozenset({"n", "logprobs", "top_logprobs", "logit_bias"})
            ),
            traps="json_schema is for some models only. The wait after a 429 may be in its text.",
            docs_url="https://console.groq.com/docs/openai",
        ),
        "mistral": Service(
            title="Mistral AI",
            base_url="https://api.mistral.ai/v1",
            key_variable="MISTRAL_API_KEY",
            capabilities=Capabilities(lacks=frozenset({"seed", "stream_options"})),
            traps=(
                "Fields that it does not know are refused with 422; its seed is random_seed. "
                "Content of reasoning models is a list of blocks."
            ),
            docs_url="https://docs.mistral.ai/api",
        ),
        "deepseek": Service(
            title="DeepSeek",
            base_url="https://api.deepseek.com",
            key_variable="DEEPSEEK_API_KEY",
            capabilities=Capabilities(response_format="json_object", lacks=frozenset({"n"})),
            traps=(
                "JSON mode needs the word JSON in the prompt. No limits are stated: under load, "
                "answers wait for minutes behind blank lines. 402 means that the money is spent."
            ),
            docs_url="https://api-docs.deepseek.com",
        ),
        "gemini": Service(
            title="Google Gemini",
            base_url="https://generativelanguage.googleapis.com/v1beta/openai",
            key_variable="GEMINI_API_KEY",
            capabilities=Capabilities(lacks=frozenset({"seed"})),
            traps=(
                "Models are listed with models/ in front. Tool calls end with stop. Errors come "
                "in a list, with the wait after a 429 inside."
            ),
            docs_url="https://ai.google.dev/gemini-api/docs/openai",
        ),
        "anthropic": Service(
            title="Anthropic",
            base_url="https://api.anthropic.com/v1",
            key_variable="ANTHROPIC_API_KEY",
            rate_limit_headers=OPENAI_HEADERS,
            capabilities=Capabilities(
                response_format="none",
                lacks=frozenset(
                    {
                        "n",
                        "seed",
                        "logprobs",
                        "presence_penalty",
                        "frequency_penalty",
                        "reasoning_effort",
                    }
                ),
            ),
            traps=(
                "Meant for trials, says Anthropic. What it lacks is ignored without a word. "
                "Temperatures above 1 count as 1; system turns are moved to the front."
            ),
            docs_url="https://platform.claude.com/docs/en/api/openai-sdk",
        ),
        "vllm": Service(
            title="vLLM",
            base_url="http://127.0.0.1:8000/v1",
            traps="No limits: its queue grows. The model's name must match --served-model-name.",
            docs_url="https://docs.vllm.ai",
        ),
        "sglang": Service(
            title="SGLang",
            base_url="http://127.0.0.1:30000/v1",
            traps="No limits: its queue grows. Errors may come inside a stream.",
            docs_url="https://docs.sglang.io",
        ),
        "llama_cpp": _LLAMA_CPP,
        "llama.cpp": _LLAMA_CPP,
        "ollama": Service(
            title="Ollama",
            base_url="http://127.0.0.1:11434/v1",
            capabilities=_DRAWN_SINGLY,
            traps=(
                "A prompt longer than the context is cut without a word: set "
                "OLLAMA_CONTEXT_LENGTH on the server, as num_ctx cannot be sent here."
            ),
            docs_url="https://docs.ollama.com/api/openai-compatibility",
        ),
        "lmstudio": Service(
            title="LM Studio",
            base_url="http://127.0.0.1:1234/v1",
            capabilities=_DRAWN_SINGLY,
            traps=(
                "A model's name that it does not know is ignored. response_format is json_schema "
                "or nothing. A prompt that is too long may end as an empty answer."
            ),
            docs_url="https://lmstudio.ai/docs/developer/openai-compat",
        ),
        "tgi": Service(
            title="Text Generation Inference",
            base_url="http://127.0.0.1:3000/v1",
            capabilities=_DRAWN_SINGLY,
            traps=(
                "Containers mostly listen on another port, such as 8080. Busy servers answer 429 "
                "with an error that is plain text."
            ),
            docs_url="https://huggingface.co/docs/text-generation-inference/messages_api",
        ),
    }
)


def known_capabilities(preset: str | None) -> Capabilities:
    """Where an endpoint starts; one of no preset, or of somebody else's, is like most."""
    row = PRESETS.get(preset or "")
    return row.capabilities if isinstance(row, Service) else PLAIN
