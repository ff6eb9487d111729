"""``weave-async serve``"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from weave_async.cli.console import print_error, printable


def serve(
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="`smollm2-135m`, a folder, a .gguf file, or a transformers id."
        ),
    ] = "smollm2-135m",
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; beyond loopback a key is needed.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes any free one.")
    ] = 8000,
    device: Annotated[
        str, typer.Option("--device", help="`auto`, `cpu`, `cuda` or `cuda:N`.")
    ] = "auto",
    dtype: Annotated[
        str, typer.Option("--dtype", help="`auto`, `bfloat16`, `float16` or `float32`.")
    ] = "auto",
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", min=1, help="Sequences generated at once.")
    ] = 32,
    max_queue: Annotated[
        int, typer.Option("--max-queue", min=0, help="Requests that may wait; then 429.")
    ] = 256,
    max_context: Annotated[
        int | None,
        typer.Option("--max-context", min=1, help="Tokens of prompt and answer together."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads of a step.")
    ] = None,
) -> None:
    """Serve a local model over OpenAI's HTTP API, with continuous batching.

    A key that clients must send is read from WEAVE_ASYNC_SERVER_API_KEY. Stop it with Ctrl-C.

    Example: `weave-async serve --port 8000`, and elsewhere
    `weave-async run recipe.yaml --provider local --base-url http://127.0.0.1:8000/v1`
    """
    from weave_async import registry

    server = registry.load("server", "local")
    exit_code = server(
        model=model,
        host=host,
        port=port,
        device=device,
        dtype=dtype,
        max_concurrency=concurrency,
        max_queue=max_queue,
        max_context=max_context,
        threads=threads,
        on_event=_show,
    )
    raise typer.Exit(exit_code)


def _show(event: dict[str, Any]) -> None:
    if event["event"] == "error":
        print_error(event["message"])
        return
    lines = {
        "loading": "loading {model} …",
        "progress": "  {message}",
        "warning": "warning: {message}",
        "loaded": "loaded in {seconds:.1f} s on {device} as {dtype}, {threads} threads",
        "ready": "serving {model} at {url}/v1 (Ctrl-C stops it)",
    }
    print(printable(lines[event["event"]].format(**event)), file=sys.stdout, flush=True)
