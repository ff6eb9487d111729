"""Certificates named by files: whom to trust, and who we are."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, fields

from weave_async.errors import RecipeError


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """How to reach an endpoint where its address alone does not do.

    ``ca_file`` holds the certificates to trust, in place of the machine's own. ``client_cert_file``
    is shown to a server that asks who we are; its key stands in ``client_key_file``, or in the same
    file. ``proxy`` is http(s):// or socks5(h)://, in place of those of the environment, and is used
    for this machine, too. Files are PEM.
    """

    ca_file: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    proxy: str | None = None


TRUSTING_OPTIONS = tuple(each.name for each in fields(ConnectionOptions))
"""Each says who may read what goes out, key and all; see ``interfaces.Provider``."""


def tls_context(options: ConnectionOptions) -> ssl.SSLContext | None:
    """Of the files that are named, each read and checked now; ``None`` where none is.

    Raises ``RecipeError``.
    """
    ca_file, cert_file, key_file = (
        options.ca_file,
        options.client_cert_file,
        options.client_key_file,
    )
    if key_file and not cert_file:
        raise RecipeError("client_key_file is set and client_cert_file is not: a key needs both")
    if not (ca_file or cert_file):
        return None
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as exc:
        raise _unusable("ca_file", str(ca_file), exc) from exc
    if cert_file:
        try:
            # An empty password: without any, OpenSSL asks the terminal for that of a locked key.
            context.load_cert_chain(cert_file, key_file, password="")
        except OSError as exc:
            raise _unusable("client_cert_file", f"{cert_file} with its key", exc) from exc
    return context


def _unusable(option: str, path: str, exc: OSError) -> RecipeError:
    if not isinstance(exc, ssl.SSLError):
        return RecipeError(f"{option}: {exc.filename or path}: {exc.strerror}")
    why = (exc.reason or "no PEM").replace("_", " ").lower()
    return RecipeError(f"{option}: {path} cannot be used ({why}): is it PEM, and unlocked?")
