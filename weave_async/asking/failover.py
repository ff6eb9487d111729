"""Failover inside a mix: the rows of an endpoint that is down go to the others.

An endpoint is down while its breaker has been open for some seconds (at once, where that is for
answers that come far later than they used to, or no more), or while it has asked for a long pause.
New rows then go elsewhere, and those that wait in its line leave it, as long as another endpoint is
up; where none is, they wait, as they would without others. An endpoint that refuses its key or has
no quota, or has failed for too long, is left for the rest of the run; one that is not there when
the run begins is looked for again from time to time.

Whether an endpoint is back, its own rows show: one is sent there whenever its breaker would let it
through at once, and goes elsewhere if it fails.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from weave_async.asking.asker import Answered
from weave_async.blame import Tries
from weave_async.dispatch import Dispatcher, TurnedAway
from weave_async.errors import ProviderError
from weave_async.flow.slowness import Slowness
from weave_async.records import Sample
from weave_async.seeding import fraction_for

logger = logging.getLogger(__name__)

DOWN_AFTER_S = 5.0
"""A breaker that has been open for so long: by then, two probes have failed."""
LONG_PAUSE_S = 120.0
"""Limits by the minute never ask for as much: a share for the day, or the month, is used up."""
LOOK_AGAIN_AFTER_S, LONGEST_LOOK_AGAIN_S = 30.0, 600.0
"""After that, an endpoint that was not there is looked for again; twice as long each time."""
ROUNDING_S = 0.01
MENDED_BY_TIME = 75
"""The exit code of errors that go away by themselves."""


class Failover:
    """Asks the endpoint that the plan has drawn, or another one while that one is down.

    All of ``weights``, by the name of an endpoint, can stand in for each other. An order among them
    is drawn from each sample's seed, never from arrival.
    """

    def __init__(self, dispatchers: Mapping[str, Dispatcher], weights: Mapping[str, float]) -> None:
        self._members = {name: dispatchers[name] for name in weights}
        self._weights = weights
        self._down: set[str] = set()
        self._absent: dict[str, float] = {}
        """Endpoints that were not there yet, and how long they are left alone."""
        self._was_any_up = True
        self._look_again_handle: asyncio.TimerHandle | None = None
        self._watch_handle: asyncio.TimerHandle | None = None
        for dispatcher in self._members.values():
            dispatcher.admission.breaker.on_change = self._look_again
            dispatcher.admission.on_long_pause = self._look_again
            dispatcher.admission.slowness = Slowness()
            dispatcher.admission.has_stand_ins = len(self._members) > 1

    def __repr__(self) -> str:
        return f"<Failover among {len(self._members)}, {len(self._down)} down>"

    async def ask(self, samples: Sequence[Sample]) -> Answered:
        """Raises what an endpoint was left for, once all of them have been."""
        if self._watch_handle is None:
            self._watch()
        [sample] = samples
        planned = self._members[sample.endpoint]
        tries = Tries()
        while True:
            dispatcher = planned if planned.takes_requests else self._stand_in_for(sample)
            endpoint = dispatcher.endpoint
            request = sample.request
            if dispatcher is not planned:
                request = replace(request, model=endpoint.model)
            try:
                outcome = await dispatcher.dispatch(request, tries)
            except TurnedAway:
                tries.begin_elsewhere()
            except ProviderError as error:
                self._leave(dispatcher, error)
                tries.begin_elsewhere()
            else:
                if dispatcher is not planned:
                    dispatcher.num_taken_over += 1
                if endpoint.name in self._absent:
                    self._welcome(endpoint.name)
                sent = tries.answered or request
                return Answered((sample.answered(outcome, endpoint=endpoint.name, sent=sent),))

    def _stand_in_for(self, sample: Sample) -> Dispatcher:
        """The first that takes requests, in an order in which each leads as often as it weighs."""

        def place(name: str) -> float:
            prompt = sample.prompt
            stage = f"failover:{name}"
            drawn = fraction_for(sample.seed, prompt.prompt_id, prompt.sample_index, stage)
            return -math.log(1 - drawn) / self._weights[name]

        for name in sorted(self._members, key=place):
            if self._members[name].takes_requests:
                return self._members[name]
        raise self._most_useful_error()

    def _leave(self, dispatcher: Dispatcher, error: ProviderError) -> None:
        """For good, as far as this run goes, or until it is there. Said once, however many
        requests find out.
        """
        name = dispatcher.endpoint.name
        if dispatcher.left_because is not None and not dispatcher.takes_requests:
            return
        was_absent, is_absent = name in self._absent, error.retryable and not dispatcher.is_ready
        if is_absent:
            alone_s = 2 * self._absent.get(name, LOOK_AGAIN_AFTER_S / 2)
            self._absent[name] = alone_s = min(alone_s, LONGEST_LOOK_AGAIN_S)
            dispatcher.leave(error, for_s=alone_s)
        else:
            self._absent.pop(name, None)
            dispatcher.leave(error)
        others = [name for name, each in self._members.items() if each.left_because is None]
        if others and not (was_absent and is_absent):
            logger.warning(
                "%s is left %s: %s. Its rows go to %s",
                name,
                "until it is there" if is_absent else "for the rest of this run",
                error,
                " and ".join(others),
            )
        self._look_again()

    def _welcome(self, name: str) -> None:
        """An endpoint that was absent has answered."""
        del self._absent[name]
        logger.warning("%s is there now, and gets its rows", name)
        self._look_again()

    def _most_useful_error(self) -> Exception:
        """Of what the endpoints were left for: first what mends itself, since another run will do.

        The others were told of when it happened.
        """
        errors = [each.left_because for each in self._members.values() if each.left_because]
        return next((e for e in errors if e.exit_code == MENDED_BY_TIME), errors[-1])

    def _watch(self) -> None:
        """Look for endpoints from which nothing comes any more: that is no event.

        Ends when nothing is out, until somebody asks again.
        """
        loop = asyncio.get_running_loop()
        admissions = [each.admission for each in self._members.values()]
        if self._watch_handle is not None and not any(each.in_flight for each in admissions):
            self._watch_handle = None
            return
        wait_s = min(admission.look_for_silence(loop.time()) for admission in admissions)
        self._watch_handle = loop.call_later(wait_s + ROUNDING_S, self._watch)

    def _look_again(self) -> None:
        """Find out who is down now, and send the rows that wait there to those that are up."""
        loop = asyncio.get_running_loop()
        down = {name for name, each in self._members.items() if _is_down(each, loop.time())}
        is_any_up = len(down) < len(self._members)
        for name, dispatcher in self._members.items():
            is_left = dispatcher.left_because is not None
            dispatcher.turn_away(is_left or (is_any_up and name in down))
            dispatcher.admission.has_stand_ins = bool(self._members.keys() - down - {name})
            if self._was_any_up and not is_any_up:
                dispatcher.turn_out()  # each to where it was planned: all lines need one to probe
        self._was_any_up = is_any_up
        self._tell_of(down if is_any_up else ())
        if self._look_again_handle is not None:
            self._look_again_handle.cancel()
        wait_s = min(_changes_in_s(each, loop.time()) for each in self._members.values())
        self._look_again_handle = None
        if wait_s < math.inf:
            self._look_again_handle = loop.call_later(wait_s, self._look_again)

    def _tell_of(self, down: Collection[str]) -> None:
        left = {name for name, each in self._members.items() if each.left_because is not None}
        for name in set(down) - self._down - left:
            logger.warning("%s is down: its rows go elsewhere until it is back", name)
        self._down = set(down)


def _is_down(dispatcher: Dispatcher, now_s: float) -> bool:
    admission = dispatcher.admission
    return (
        dispatcher.left_because is not None
        or admission.breaker.is_slow
        or admission.breaker.outage_s(now_s) >= DOWN_AFTER_S
        or admission.paused_for_s > LONG_PAUSE_S
    )


def _changes_in_s(dispatcher: Dispatcher, now_s: float) -> float:
    """When time alone will change the answer, if nothing else happens."""
    admission = dispatcher.admission
    waits_s = [admission.paused_for_s - LONG_PAUSE_S]
    if not admission.breaker.is_closed:
        waits_s.append(DOWN_AFTER_S - admission.breaker.outage_s(now_s))
    return min((wait_s + ROUNDING_S for wait_s in waits_s if wait_s > 0), default=math.inf)
