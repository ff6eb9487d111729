"""Which proxy of the environment takes a request, if any.

The rules are those of pyreqwest, which talks to the proxy if there is one: nobody should be in two
minds about who connects. ``HTTP_PROXY``, ``HTTPS_PROXY`` or ``ALL_PROXY`` names it, ``NO_PROXY``
lists the hosts that it is not for: names with all that is below them, addresses, networks, ``*``
for all names.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from importlib.util import find_spec

from pyreqwest.http import Url

from weave_async.errors import RecipeError


def proxy_for(base_url: str, chosen: str | None, *, is_loopback: bool) -> str | None:
    """The proxy for httpx2, which has to be told: the chosen one, else the environment's."""
    url = Url(base_url)
    proxy = chosen
    if proxy is None and not is_loopback:
        proxy = environment_proxy(url.scheme, url.host_str or "")
    if proxy is not None and proxy.startswith("socks") and find_spec("socksio") is None:
        raise RecipeError("this endpoint's proxy speaks SOCKS, which takes: pip install socksio")
    return proxy


def goes_through_proxy(host: str, environ: Mapping[str, str] = os.environ) -> bool:
    return environment_proxy("http", host, environ) is not None


def environment_proxy(
    scheme: str, host: str, environ: Mapping[str, str] = os.environ
) -> str | None:
    """The proxy for requests to ``host`` over ``scheme``, for a transport that has to be told."""
    names = ["ALL_PROXY", "all_proxy"]
    if scheme == "https":
        names = ["HTTPS_PROXY", "https_proxy", *names]
    elif "REQUEST_METHOD" not in environ:  # in a CGI script HTTP_PROXY is a header of the client's
        names = ["HTTP_PROXY", "http_proxy", *names]
    proxy = next(filter(None, map(environ.get, names)), None)
    excepted = environ.get("NO_PROXY", environ.get("no_proxy", ""))
    if any(_covers(entry.strip(), host.strip("[]")) for entry in excepted.split(",")):
        return None
    return proxy


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
