"""``weave-async serve``"""

from __future__ import annotations

import shlex
from enum import StrEnum
from typing import Annotated, Any

import typer

from weave_async.cli.console import print_error
from weave_async.visible import printable

_MODEL, _LIMITS, _SPEED = "Model", "Limits", "Speed and memory"

_LINES = {
    "loading": "loading {model} …",
    "loaded": "loaded in {seconds:.1f} s on {device} as {dtype}, {threads} threads",
}
_HOW_TO_USE = """\
serving {model} at {url}/v1

  from a recipe   WEAVE_ASYNC_BASE_URL={url}/v1 weave-async run recipe.yaml --provider local \
--model {quoted_model}
  from anywhere   curl {url}/v1/chat/completions -H 'Content-Type: application/json'{key} \\
                    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hi"}}]}}'

Ctrl-C stops it and lets requests under way end; a second one does not wait for them."""
_KEY_HEADER = ' -H "Authorization: Bearer $WEAVE_ASYNC_SERVER_API_KEY"'


class EngineName(StrEnum):
    auto = "auto"
    slots = "slots"
    transformers = "transformers"


def serve(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            rich_help_panel=_MODEL,
            help="`smollm2-135m`, a folder, a .gguf file, or a transformers id.",
        ),
    ] = "smollm2-135m",
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; beyond loopback a key is needed.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes any free one.")
    ] = 8000,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            rich_help_panel=_MODEL,
            help="`auto` (the GPU, if torch sees one), `cpu`, `cuda` or `cuda:N`.",
        ),
    ] = "auto",
    dtype: Annotated[
        str,
        typer.Option(
            "--dtype",
            rich_help_panel=_MODEL,
            help="`auto` (bfloat16 where the processor is fast in it), `bfloat16`, `float16` or "
            "`float32`.",
        ),
    ] = "auto",
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency",
            "-c",
            min=1,
            rich_help_panel=_SPEED,
            help="Sequences generated at once. Each has a share of the KV cache: fewer need less "
            "memory, more are faster together, up to about this many.",
        ),
    ] = 64,
    max_queue: Annotated[
        int,
        typer.Option(
            "--max-queue",
            min=0,
            rich_help_panel=_LIMITS,
            help="Sequences that may wait beside those; further requests get a 429.",
        ),
    ] = 256,
    max_context: Annotated[
        int | None,
        typer.Option(
            "--max-context",
            min=1,
            rich_help_panel=_LIMITS,
            help="Tokens of prompt and answer together. Default: what the model was made for.",
        ),
    ] = None,
    kv_tokens: Annotated[
        int | None,
        typer.Option(
            "--kv-tokens",
            min=1,
            rich_help_panel=_SPEED,
            help="Tokens that the KV cache holds, for all sequences together. Where it is full, "
            "sequences wait. Default: 1024 for each.",
        ),
    ] = None,
    engine: Annotated[
        EngineName | None,
        typer.Option(
            "--engine",
            rich_help_panel=_SPEED,
            help="`slots` is the fast one, `transformers` takes any architecture that transformers "
            "can batch, `auto` (default) chooses.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            rich_help_panel=_SPEED,
            help="CPU threads of a step. Default: the cores that are there.",
        ),
    ] = None,
) -> None:
    """Serve a local model over OpenAI's HTTP API, with continuous batching.

    A key that clients must send is read from WEAVE_ASYNC_SERVER_API_KEY. The first Ctrl-C lets
    requests under way end for a moment, the second stops at once.

    Ends with 69 if the port is taken or the memory too small, 78 if the model or an option cannot
    be, 130 after Ctrl-C, each time with one line that says why.

    Example: `weave-async serve --port 8000`, and elsewhere
    `weave-async run recipe.yaml --provider local --base-url http://127.0.0.1:8000/v1`
    """
    from weave_async import registry

    server = registry.load("server", "local")
    chosen = {
        "kv_tokens": kv_tokens,
        "max_context": max_context,
        "threads": threads,
        "engine": engine and engine.value,
    }
    exit_code = server(
        model=model,
        host=host,
        port=port,
        device=device,
        dtype=dtype,
        max_concurrency=concurrency,
        max_queue=max_queue,
        on_event=_show,
        **{name: value for name, value in chosen.items() if value is not None},
    )
    raise typer.Exit(exit_code)


def _show(event: dict[str, Any]) -> None:
    if event["event"] == "error":
        print_error(event["message"])
    else:
        print(printable(_in_words(event)), flush=True)


def _in_words(event: dict[str, Any]) -> str:
    """An event that is not known here is shown with its message, or with all that it has."""
    if event["event"] == "ready":
        model, url = event["model"], event["url"]
        key = "" if _is_loopback(url) else _KEY_HEADER
        return _HOW_TO_USE.format(model=model, url=url, key=key, quoted_model=shlex.quote(model))
    try:
        return _LINES[event["event"]].format_map(event)
    except (KeyError, ValueError):
        rest = [f"{name} {value}" for name, value in event.items() if name != "event"]
        return str(event.get("message") or " ".join([event["event"], *rest]))


def _is_loopback(url: str) -> bool:
    return any(f"//{host}:" in url for host in ("127.0.0.1", "localhost", "[::1]"))
