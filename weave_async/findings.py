"""What an audit has found: promises, each kept or broken, and notes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MAX_PROBLEMS_NAMED = 5


@dataclass(slots=True)
class Check:
    """One promise: what it says, what was counted for it, and where it is broken."""

    name: str
    counted: str = ""
    problems: list[str] = field(default_factory=list)
    num_problems: int = 0

    @property
    def passed(self) -> bool:
        return self.num_problems == 0

    def fail(self, problem: str) -> None:
        """Count a problem; the first few are named."""
        self.num_problems += 1
        if len(self.problems) < MAX_PROBLEMS_NAMED:
            self.problems.append(problem)

    def as_dict(self) -> dict[str, Any]:
        return {
            "check": self.name,
            "passed": self.passed,
            "counted": self.counted,
            "num_problems": self.num_problems,
            "problems": self.problems,
        }


@dataclass(slots=True)
class Audit:
    """What was found. ``notes`` are no damage: a crash leaves such things, the next run mends."""

    checks: list[Check] = field(default_factory=list)
    is_interrupted: bool = False
    """A run was cut short while it published: the same command again brings its files in line."""
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        checks = [check.as_dict() for check in self.checks]
        return {
            "passed": self.passed,
            "interrupted": self.is_interrupted,
            "checks": checks,
            "notes": self.notes,
        }
