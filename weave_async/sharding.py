"""A part of a run that one process asks for, while others ask for the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from weave_async.errors import UsageError

MAX_SHARDS = 100_000
_NAMED = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


@dataclass(frozen=True, slots=True)
class Shard:
    """Number ``number`` of ``of``, from 1. Rows are divided by their content: equal rows meet in
    one shard, and a row stays in its shard when others are added or taken out.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of <= MAX_SHARDS:
            raise UsageError(
                f"a shard is K/N, with K from 1 to N and N at most {MAX_SHARDS:,}: not {self}"
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @classmethod
    def parse(cls, named: str) -> Shard:
        """``2/8``. Raises ``UsageError``."""
        found = _NAMED.fullmatch(named)
        if found is None:
            raise UsageError(f"a shard is K/N, as 2/8: not {named!r}")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def told(cls, told: Mapping[str, int] | None) -> Shard | None:
        """Of ``as_dict``."""
        return None if told is None else cls(told["number"], told["of"])

    def as_dict(self, num_of_all_shards: int) -> dict[str, int]:
        """``of_samples`` are those of all shards."""
        return {"number": self.number, "of": self.of, "of_samples": num_of_all_shards}

    @property
    def folder_name(self) -> str:
        """``0002-of-0008``: names in the order of the numbers."""
        return f"{self.number:04d}-of-{self.of:04d}"

    def holds(self, digest: int) -> bool:
        """Whether a row of this digest, as of ``rows.digest_of``, belongs here."""
        return digest % self.of == self.number - 1
