"""``python -m weave_async.cli``: the same program where the script is not on the path."""

from __future__ import annotations

from weave_async.cli.main import main

main()
