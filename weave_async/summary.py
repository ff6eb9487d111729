"""How a run ended, for programs and for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from weave_async.gates import Figure, Judged

Status = Literal["complete", "unmet", "incomplete", "interrupted", "stopped"]


@dataclass(frozen=True, slots=True)
class EndpointAccount:
    """What one endpoint did in this run.

    ``answered`` are requests; ``taken_over`` samples that another endpoint was planned for;
    ``hedged`` requests that were sent a second time, ``hedges_won`` those whose second sending was
    answered first. ``left_because`` says why others went on without it.
    """

    answered: int
    taken_over: int
    hedged: int
    hedges_won: int
    left_because: str | None

    @property
    def is_worth_saying(self) -> bool:
        return bool(self.taken_over or self.hedged or self.left_because)

    def __str__(self) -> str:
        told = f"{self.answered} answered"
        if self.taken_over:
            told += f", {self.taken_over} taken over from others"
        if self.hedged:
            told += f", {self.hedged} sent twice ({self.hedges_won} won)"
        return f"{told}; left: {self.left_because}" if self.left_because else told


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The counts of a run. ``written + rejected + failed + pending == asked``, as in the files.

    ``copies`` are those among the asked that noise has made beside the first of an answer.
    ``status``: ``complete``; ``unmet`` (there, but not what the recipe requires of it);
    ``incomplete`` (samples failed, a stage raised, or fewer were accepted
    than wanted); ``interrupted`` (by the user); ``stopped`` (by ``error``). Running again goes on
    from there. ``recalled`` answers were there already, ``asked_now`` samples were asked for (all
    endings counted, also of surplus ones), ``unused`` answers belong to no sample of this
    run. ``unvaried`` samples were left as they were by a noise, by the reason;
    ``idle_rules`` have judged a hundred samples and more, and rejected none. ``cost_usd`` is of
    this run's answers, by list price, ``None`` where that is not known.
    ``consultations`` are the questions that stages had for models: see ``metrics``.
    ``diversity`` are the main figures of what was written, ``cautions`` what is odd about it;
    ``required`` is what the recipe requires, beside the figures.
    ``str`` of it is what the command line prints.
    """

    status: Status
    exit_code: int
    output_dir: str
    asked: int
    copies: int
    written: int
    rejected: int
    failed: int
    pending: int
    recalled: int
    asked_now: int
    unused: int
    rejected_by_reason: Mapping[str, int]
    unvaried: Mapping[str, int]
    failed_by_error: Mapping[str, int]
    idle_rules: Sequence[str]
    failure_examples: Mapping[str, str]
    worth_another_try: bool
    retries: Mapping[str, int]
    rows_read: int
    rows_skipped: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    elapsed_s: float
    answers_per_s: float
    files: Mapping[str, Mapping[str, Any]]
    endpoints: Mapping[str, EndpointAccount] = field(default_factory=dict)
    consultations: Mapping[str, int] = field(default_factory=dict)
    diversity: Mapping[str, Figure] = field(default_factory=dict)
    cautions: Sequence[str] = ()
    required: Sequence[Judged] = ()
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        place = self.output_dir
        lines = [
            f"{_HEADLINES[self.status]}: {self._how_many()} in {self.elapsed_s:.1f} s; "
            f"{self._whence()}.",
            f"  written   {self.written:>7}   {place}/samples.jsonl",
            f"  rejected  {self.rejected:>7}   {place}/rejected.jsonl",
            *(f"    {n:>9}   {reason}" for reason, n in self.rejected_by_reason.items()),
            f"  failed    {self.failed:>7}   {place}/failed.jsonl",
        ]
        if not self.files:
            lines[1:] = ["Nothing was published; what was published before stays as it is."]
        for error, count in self.failed_by_error.items():
            lines.append(f"    {count:>9}   {error}, as: {self.failure_examples[error]}")
        if self.pending:
            when = ", once what is said below is mended" if self.error else ""
            lines.append(
                f"  pending   {self.pending:>7}   run the same command again to continue{when}"
            )
        return "\n".join([*lines, *self._remarks()])

    def _remarks(self) -> Iterator[str]:
        waiting = self.recalled + self.asked_now - (self.asked - self.pending)
        if self.pending and waiting > 0 and not self.copies:
            yield f"{waiting} answers that are not written yet are kept, and not asked for again."
        if self.failed and self.worth_another_try:
            yield "Run the same command again to ask anew for what failed."
        if self.unused:
            yield f"{self.unused} earlier answers belong to no sample of this run: left out."
        if again := self.retries.get("schema_mismatch"):
            yield f"Asked again for not fitting the schema: {again} times."
        yield from self._remarks_of_stages()
        if self.rejected and not (self.written or self.pending):
            yield "All was rejected: look at rejected.jsonl, or try `weave-async preview`."
        yield from self._remarks_on_the_dataset()
        if self.input_tokens or self.output_tokens:
            cost = f", ${self.cost_usd:,.4f} by list price" if self.cost_usd else ""
            yield f"Used: {self.input_tokens:,} tokens in, {self.output_tokens:,} out{cost}."
        if len(self.endpoints) > 1 or any(a.is_worth_saying for a in self.endpoints.values()):
            yield from (f"At {name}: {account}." for name, account in self.endpoints.items())
        if self.rows_skipped:
            yield f"Malformed rows left out: {self.rows_skipped}."

    def _remarks_of_stages(self) -> Iterator[str]:
        if any(self.consultations.values()):
            yield f"Questions of judges and other stages to models: {_told(self.consultations)}."
        if self.unvaried:
            told = ", ".join(f"{count} by {why}" for why, count in self.unvaried.items())
            yield f"Left as they were by noise: {told}."
        if self.idle_rules:
            yield f"Rules that have rejected nothing: {', '.join(self.idle_rules)}."

    def _remarks_on_the_dataset(self) -> Iterator[str]:
        if self.diversity:
            rows, *others = self.diversity.items()
            told = ", ".join(f"{name} {figure}" for name, figure in others)
            yield f"Diversity of {rows[1]} rows: {told}."
        yield from self.cautions
        so_far = " so far" if self.pending else ""
        yield from (f"{judged}{so_far}." for judged in self.required)

    def _how_many(self) -> str:
        ended = self.asked - self.pending
        noun = "sample" if self.asked == 1 else "samples"
        if self.copies:
            noun += f" ({self.copies} of them copies)"
        return f"{self.asked} {noun}" if not self.pending else f"{ended} of {self.asked} {noun}"

    def _whence(self) -> str:
        if not self.recalled:
            return f"{self.answers_per_s:,.1f} answers/s"
        if not self.asked_now:
            return f"all {self.recalled} answers were here already, nothing was asked"
        return f"{self.recalled} answers were here already, {self.asked_now} were asked for"


def _told(consultations: Mapping[str, int]) -> str:
    words = {"asked": "asked", "failed": "of these without an answer", "recalled": "known already"}
    return ", ".join(f"{n} {words.get(what, what)}" for what, n in consultations.items() if n)


_HEADLINES = {
    "complete": "Complete",
    "unmet": "Done, with requirements missed",
    "incomplete": "Done, with samples missing",
    "interrupted": "Interrupted",
    "stopped": "Stopped",
}
