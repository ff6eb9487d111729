"""`python -m providers.local.server`: options to `serve`, events to lines on stdout."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from .server import API_KEY_VARIABLE, serve

HUMAN = {
    "loading": "loading {model} …",
    "progress": "  {message}",
    "warning": "warning: {message}",
    "loaded": "loaded in {seconds} s ({device}, {dtype}, {threads} threads)",
    "ready": "serving {model} at {url}/v1",
    "error": "error: {message}",
}


def main(argv: list[str] | None = None) -> int:
    options = vars(_parser().parse_args(argv))
    write_event = _write_json if options.pop("json_events") else _write_human
    return serve(**options, on_event=write_event)


def _write_json(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _write_human(event: dict[str, Any]) -> None:
    stream = sys.stderr if event["event"] in ("error", "warning") else sys.stdout
    stream.write(HUMAN[event["event"]].format(**event) + "\n")
    stream.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m providers.local.server",
        description="Serve a local model over OpenAI's HTTP interface.",
        epilog=f"A key that clients must send is read from {API_KEY_VARIABLE}; "
        "off loopback it is required.",
        argument_default=argparse.SUPPRESS,  # `serve` has the defaults
    )
    parser.add_argument(
        "--model", help="smollm2-135m (default), a folder, a .gguf file or a transformers model id"
    )
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="0 takes any free one (default 8000)")
    parser.add_argument("--device", help="auto (default), cpu, cuda or cuda:N")
    parser.add_argument("--dtype", help="auto (default), bfloat16, float16 or float32")
    parser.add_argument(
        "--max-concurrency", type=_count, help="sequences generated at once (default 64)"
    )
    parser.add_argument(
        "--max-queue", type=int, help="sequences that may wait; then 429 (default 256)"
    )
    parser.add_argument(
        "--max-context", type=_count, help="tokens of prompt and answer (default: the model's own)"
    )
    parser.add_argument(
        "--kv-tokens",
        type=_count,
        help="room of the KV cache (default 1024 per concurrent sequence)",
    )
    parser.add_argument("--threads", type=_count, help="CPU threads of a step (default: the cores)")
    parser.add_argument("--engine", help="auto (default), slots or transformers")
    parser.add_argument(
        "--exit-on-stdin-close", action="store_true", help="exit when the parent process is gone"
    )
    parser.add_argument(
        "--json-events", action="store_true", default=False, help="one JSON object per line"
    )
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a number from 1 up")
    return value


if __name__ == "__main__":
    sys.exit(main())
