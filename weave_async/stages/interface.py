"""What a pipeline is made of: stages that look at one sample at a time, and those that ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from weave_async.interfaces import Consult
from weave_async.records import Consulted, Sample

ConsultFor = Callable[[Sample, str], Consult]
"""How a stage of that name may ask about this sample."""


class SampleStage(Protocol):
    """Makes of one sample itself, varied or judged, and maybe copies behind it. It asks nobody.

    A sample that has come to its end passes as it is. What a part raises is caught, and ends the
    sample. One that ``is_light`` may run on the event loop.
    """

    @property
    def kind(self) -> Literal["noise", "validation", "selection"]: ...

    @property
    def name(self) -> str: ...

    @property
    def is_light(self) -> bool: ...

    def apply(self, sample: Sample) -> Sequence[Sample]: ...


class AskingStage(Protocol):
    """The same with a model's help. Raises what ends the run, and ``Unsent`` when it is ending."""

    @property
    def kind(self) -> Literal["noise", "validation"]: ...

    @property
    def name(self) -> str: ...

    @property
    def consults(self) -> Sequence[Consulted]: ...

    async def apply(self, sample: Sample, consult_for: ConsultFor) -> Sequence[Sample]: ...
