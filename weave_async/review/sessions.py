"""Who is who: a link that works once gives a browser a cookie, and the cookie is a reviewer's."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable

TOKEN_BYTES = 32


class Sessions:
    """Links and cookies of one server; forgotten when it ends.

    A link works once: it stays behind in the terminal and in the browser's history. Whoever opens
    the page in another browser takes a new one.
    """

    def __init__(self) -> None:
        self._unused_links: dict[str, str] = {}
        self._reviewers: dict[str, str] = {}

    def new_link(self, reviewer: str) -> str:
        """The token of a new link."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._unused_links[token] = reviewer
        return token

    def redeem(self, token: str) -> tuple[str, str] | None:
        """The reviewer and the value of their cookie; ``None`` for a token that is used or made
        up.
        """
        known = _found(token, self._unused_links)
        if known is None:
            return None
        reviewer = self._unused_links.pop(known)
        cookie = secrets.token_urlsafe(TOKEN_BYTES)
        self._reviewers[cookie] = reviewer
        return reviewer, cookie

    def reviewer_of(self, cookies: Iterable[str]) -> str | None:
        """Whose cookie is among these: pages of other ports may have set some of the same name."""
        for cookie in cookies:
            known = _found(cookie, self._reviewers)
            if known is not None:
                return self._reviewers[known]
        return None


def _found(given: str, known: Iterable[str]) -> str | None:
    """Takes as long for a token that is nearly right as for any other."""
    found = None
    for token in known:
        if hmac.compare_digest(given.encode(), token.encode()):
            found = token
    return found
