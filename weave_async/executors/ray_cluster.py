"""The Ray cluster: one that is made on this machine for one run, or one that is there.

Whoever reaches an unguarded cluster can run what he likes on it (CVE-2023-48022, CVE-2025-62593).
So ours has a token of its own, and one that takes commands without a token is not used.
"""

from __future__ import annotations

import io
import logging
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import ray

from weave_async.errors import UsageError
from weave_async.settings import environment_without, variables_of_others

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.2"
"""Ray takes 127.0.0.1 for a mistake, and would advertise the machine's address instead."""
OBJECT_STORE_BYTES = 80 << 20
"""The least that Ray takes, nearly: rows do not go through it."""
LONGEST_PROBE_S = 60.0
_WAY_OUT = (
    "See docs/cluster.md; where nobody else can reach it, pass --allow-unauthenticated-cluster"
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_ACCEPTED, _REFUSED, _UNKNOWN = 0, 77, 1
_PROBE = f"""import sys
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
try:
    GcsClient(address=sys.argv[1]).internal_kv_keys(b"", namespace=None, timeout=10)
except AuthenticationError:
    sys.exit({_REFUSED})
"""
"""In a process of its own, as a process either has a token or has none. (``ray.init`` without one
tries for 20 s, and does not say why it failed.)"""


@contextmanager
def cluster(
    address: str | None, *, num_workers: int | None, allow_unauthenticated: bool
) -> Iterator[int]:
    """A connection for as long as this lasts. Gives the number of workers: as many as are wanted,
    or else as there are CPUs.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with redirect_stdout(_Notices()):
        if address is None:
            _start(num_workers or os.cpu_count() or 1)
        else:
            _connect(address, allow_unauthenticated=allow_unauthenticated)
        try:
            _require_token(is_ours=address is None, allow_unauthenticated=allow_unauthenticated)
            yield num_workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        finally:
            ray.shutdown()


class _Notices(io.TextIOBase):
    """What Ray has to say, of processes that it starts again say, it prints; we log it."""

    def write(self, text: str) -> int:
        if told := _COLOURS.sub("", text).strip():
            logger.info("%s", told)
        return len(text)


def _start(num_cpus: int) -> None:
    """A cluster on this machine, which ends with us, whatever ``RAY_ADDRESS`` says.

    Ray itself sees to it that a new one wants a token, unless the environment says otherwise.
    """
    if not _uses_token(otherwise=True):
        raise UsageError(
            "RAY_AUTH_MODE is not token, and without a token anybody who reaches this machine "
            "could run commands here: unset it"
        )
    if "RAY_AUTH_TOKEN_PATH" not in variables_of_others("RAY_AUTH"):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray.init(
        address="local",
        num_cpus=num_cpus,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address=LOOPBACK if sys.platform == "linux" else None,
    )


def _connect(address: str, *, allow_unauthenticated: bool) -> None:
    if "://" in address:
        raise UsageError(
            f"--address {address}: name the cluster's own address, HOST:PORT, or auto; the command "
            "runs on one of its machines, as it needs the storage that they share"
        )
    if not (allow_unauthenticated or _uses_token(otherwise=False)):
        raise UsageError(
            f"--address {address}: a cluster is joined with its token: set RAY_AUTH_MODE=token, "
            f"and RAY_AUTH_TOKEN or ~/.ray/auth_token. {_WAY_OUT}"
        )
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        raise UsageError(
            f"cannot join the Ray cluster at {address}: {error}. Does it run, and is the token in "
            "RAY_AUTH_TOKEN or ~/.ray/auth_token its own?"
        ) from error


def _require_token(*, is_ours: bool, allow_unauthenticated: bool) -> None:
    if allow_unauthenticated and not is_ours:
        return
    address = ray.get_runtime_context().gcs_address
    if (outcome := _without_token(address)) == _REFUSED:
        return
    found = "takes commands without" if outcome == _ACCEPTED else "may take commands without"
    raise UsageError(
        f"the Ray cluster at {address} {found} a token: start it with RAY_AUTH_MODE=token and a "
        f"token on all machines. {_WAY_OUT}"
    )


def _uses_token(*, otherwise: bool) -> bool:
    """Whether this process has said so; Ray has read it when it was imported."""
    mode = variables_of_others("RAY_AUTH").get("RAY_AUTH_MODE")
    return otherwise if mode is None else mode.lower() == "token"


def _without_token(address: str) -> int:
    """How a client without a token fares there; neither so nor so where that cannot be told."""
    try:
        probe = subprocess.run(  # noqa: S603 - our own interpreter, and words of our own
            [sys.executable, "-c", _PROBE, address],
            env={**environment_without("RAY_AUTH"), "RAY_AUTH_MODE": "disabled"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=LONGEST_PROBE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _UNKNOWN
    return probe.returncode
