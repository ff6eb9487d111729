"""How many connections this process may have open."""

from __future__ import annotations

import os
import resource

KEPT_BACK = 48
"""Descriptors for files, pipes and libraries that open some later on."""
PER_CONNECTION = 2
"""A pool may open a connection while another one of its own is about to be free."""


def room_for_connections(wanted: int) -> int:
    """Raise the limit as far as ``wanted`` needs and the system allows; how many then fit."""
    kept_back = KEPT_BACK + len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc") else 128
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted * PER_CONNECTION + kept_back
    if soft < needed and soft != resource.RLIM_INFINITY:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    return max(1, (soft - kept_back) // PER_CONNECTION)
