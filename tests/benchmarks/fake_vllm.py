"""Started like vLLM, and answers at once: ``fake_vllm.py PIDFILE SECONDS serve FOLDER …``

Each answer has as many tokens as were allowed, and comes after so many seconds. To be ended only
by a signal. It counts as many prompt tokens as requests have come, so that order can be seen.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

NUMBERS = count(1)
DELAY_S = float(sys.argv[2])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send(json.dumps({"data": [{"id": "m"}]}).encode())

    def do_POST(self) -> None:
        asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert asked["ignore_eos"]
        assert asked["messages"][0]["role"] == "system"
        time.sleep(DELAY_S)
        usage = {"completion_tokens": asked["max_tokens"], "prompt_tokens": next(NUMBERS)}
        if not asked.get("stream"):
            self._send(json.dumps({"usage": usage}).encode())
            return
        deltas = [{"role": "assistant"}, {"content": "word"}]
        chunks: list[dict[str, Any]] = [{"choices": [{"delta": delta}]} for delta in deltas]
        lines = [json.dumps(chunk) for chunk in [*chunks, {"choices": [], "usage": usage}]]
        self._send(b"".join(f"data: {line}\n\n".encode() for line in [*lines, "[DONE]"]))

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


def main() -> None:
    port = int(sys.argv[sys.argv.index("--port") + 1])
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        Path(sys.argv[1]).write_text(str(os.getpid()))
        server.serve_forever()


if __name__ == "__main__":
    main()
