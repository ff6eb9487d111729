"""A text as words: what diversity and bias are counted in."""

from __future__ import annotations

import re

_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"  # scripts that leave no spaces
    r"|[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+(?:['’][^\W_]+)*"
)


def words_of(text: str) -> list[str]:
    """Its words in small letters, without punctuation; of Chinese and Japanese, its characters."""
    return _WORD.findall(text.lower())
