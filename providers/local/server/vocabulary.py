"""Token ids → the bytes they stand for, one by one.

With the bytes of each token at hand, a text can be cut anywhere and put together again, and the
text of a stream is the text of the whole answer by construction. Decoding a window of tokens again
at each one, as is usual, costs more and has no exact answer for bytes that are not UTF-8.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import orjson

BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Decoders after which the text of [a, b] is that of [a], then something that only b decides.
ADDITIVE = {"ByteFallback", "Fuse", "Metaspace", "Replace", "Strip", "WordPiece"}


class Vocabulary:
    """Reads a tokenizer of the library `tokenizers`; each token is looked up once."""

    def __init__(self, tokenizer: Any) -> None:
        """Raises `ValueError` for a tokenizer whose tokens have no text of their own."""
        self._tokenizer = tokenizer
        kinds = _decoder_kinds(tokenizer)
        self._is_byte_level = kinds == {"ByteLevel"}
        if not self._is_byte_level and kinds - ADDITIVE:
            raise ValueError(
                f"its tokenizer decodes with {', '.join(sorted(kinds - ADDITIVE))}, "
                "which has no text for a single token"
            )
        self._has_byte_tokens = "ByteFallback" in kinds
        self._special_ids = {
            id_ for id_, token in tokenizer.get_added_tokens_decoder().items() if token.special
        }
        self.piece = cache(self._piece)
        self.opening = cache(self._opening)

    def _piece(self, token: int) -> bytes:
        """What the token adds to a text that has begun; special tokens add nothing."""
        return b"" if token in self._special_ids else self.label(token)

    def _opening(self, token: int) -> bytes:
        """What the token is as the first of a text: some tokenizers drop its leading space."""
        if token in self._special_ids or self._is_byte_level:
            return self.piece(token)
        text = self._decode(token)
        return self.piece(token) if text == REPLACEMENT else text.encode()  # a part of a character

    def label(self, token: int) -> bytes:
        """As `piece`, but special tokens have their name: to show a token rather than a text."""
        name = self._name(token)
        if token in self._special_ids:
            return name.encode()
        if self._is_byte_level:
            return _byte_level_bytes(name)
        byte = self._byte_of(name)
        if byte is not None:
            return byte
        return self._decode(token, token).removeprefix(self._decode(token)).encode()

    def _name(self, token: int) -> str:
        return self._tokenizer.id_to_token(token) or ""  # a model may have ids to spare

    def _byte_of(self, name: str) -> bytes | None:
        match = BYTE_TOKEN.fullmatch(name) if self._has_byte_tokens else None
        return bytes.fromhex(match[1]) if match else None

    def _decode(self, *tokens: int) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))


def _decoder_kinds(tokenizer: Any) -> set[str]:
    if tokenizer.decoder is None:
        return set()
    decoder = orjson.loads(tokenizer.decoder.__getstate__())
    return {part["type"] for part in decoder.get("decoders", [decoder])}


def _byte_level_bytes(name: str) -> bytes:
    try:
        return bytes(BYTE_LEVEL[character] for character in name)
    except KeyError:  # a token added later, spelled as it is
        return name.encode()


def _byte_level_alphabet() -> dict[str, int]:
    """GPT-2's way of writing any byte as a visible character: those that are none follow U+0100."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    alphabet = {chr(byte): byte for byte in visible}
    return alphabet | {chr(0x100 + rank): byte for rank, byte in enumerate(hidden)}


BYTE_LEVEL = _byte_level_alphabet()
