"""Whether a proxy of the environment takes a request over plain http.

The rules are those of pyreqwest, which talks to the proxy if there is one: nobody should be in two
minds about who connects. ``HTTP_PROXY`` or ``ALL_PROXY`` names it, ``NO_PROXY`` lists the hosts
that it is not for: names with all that is below them, addresses, networks, ``*`` for all names.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping


def goes_through_proxy(host: str, environ: Mapping[str, str] = os.environ) -> bool:
    names = ["ALL_PROXY", "all_proxy"]
    if "REQUEST_METHOD" not in environ:  # in a CGI script HTTP_PROXY is a header of the client's
        names += ["HTTP_PROXY", "http_proxy"]
    if not any(environ.get(name) for name in names):
        return False
    excepted = environ.get("NO_PROXY", environ.get("no_proxy", ""))
    return not any(_covers(entry.strip(), host.strip("[]")) for entry in excepted.split(","))


def _covers(entry: str, host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = entry.lower().removeprefix(".")
        return name == "*" or (bool(name) and f".{host.lower()}".endswith(f".{name}"))
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
