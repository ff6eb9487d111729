"""A provider held to its promises, whoever wrote it, and made ready when it is first needed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from traceback import format_exception

from weave_async.errors import (
    AuthenticationError,
    ConnectError,
    DeadlineError,
    EndpointGoneError,
    ProviderError,
    RateLimitError,
    WeaveError,
)
from weave_async.interfaces import Provider
from weave_async.records import Endpoint, Request, Response, Usage
from weave_async.redaction import Redaction

logger = logging.getLogger(__name__)

ALIVE_WITHIN_S = 10.0
LONGEST_FIRST_LOOK_S = 30.0
"""For the list of models, before anything is sent. To find that nobody is there takes less."""
MOST_OF_WORST_CASE = 100
"""Counts beyond so many times what a request can use are nobody's count."""
UNBOUNDED_ANSWER_TOKENS = 10_000
"""Taken for the worst case of an answer that ``max_tokens`` does not bound."""
LONGEST_MODEL_CHARS = 100


class GuardedProvider:
    """Raises ``WeaveError`` only, and returns nothing but sound responses."""

    def __init__(self, endpoint: Endpoint, provider: Provider) -> None:
        self.is_ready = False
        self._endpoint = endpoint
        self._provider = provider
        self._becoming_ready = asyncio.Lock()
        self._unready_because: WeaveError | None = None
        self._entered: AsyncExitStack | None = None
        self._lists_models = False
        self._has_warned_of_usage = False
        key = endpoint.api_key
        self._redaction = Redaction(key.get_secret_value().strip() if key else None)

    def __repr__(self) -> str:
        state = "ready" if self.is_ready else "not ready"
        return f"<GuardedProvider {self._endpoint.provider}, {state}>"

    async def complete(self, request: Request, *, most_tokens: int) -> Response:
        """The provider's answer. One of somebody else's may break its promises in any way.

        ``most_tokens`` is what the request can use at worst, as far as ``max_tokens`` bounds it.
        """
        try:
            response = await self._provider.complete(request)
            return self.checked(request, response, most_tokens=most_tokens)
        except ProviderError:
            raise
        except asyncio.CancelledError as error:
            if _is_being_cancelled():
                raise
            raise self._broken_promise(error) from error
        except Exception as error:
            self._tell_where(error)
            raise self._broken_promise(error) from error

    def checked(self, request: Request, response: Response, *, most_tokens: int) -> Response:
        """The response as it may be relied on. Raises ``TypeError`` where it is none."""
        _require_sound(response)
        return self._with_credible_usage(request, response, most_tokens)

    def _with_credible_usage(
        self, request: Request, response: Response, most_tokens: int
    ) -> Response:
        """The response, with ``None`` for counts that cannot be: some servers fill in zeros.

        Believed, they would switch off the budget, or use it up at once.
        """
        response = self._redaction.response(response)
        usage = response.usage
        if request.params.max_tokens is None:
            most_tokens += UNBOUNDED_ANSWER_TOKENS * request.num_choices
        most = MOST_OF_WORST_CASE * most_tokens
        least_out = 1 if response.text or response.reasoning else 0
        for other in response.others:
            least_out += 1 if other.text or other.reasoning else 0
        input_tokens = _within(1, usage.input_tokens, most)
        output_tokens = _within(least_out, usage.output_tokens, most)
        if input_tokens == usage.input_tokens and output_tokens == usage.output_tokens:
            return response
        if not self._has_warned_of_usage:
            self._has_warned_of_usage = True
            logger.warning(
                "%s reports %s tokens in and %s out, which cannot be: such answers are counted at "
                "their worst case",
                self._endpoint.name,
                usage.input_tokens,
                usage.output_tokens,
            )
        credible = replace(usage, input_tokens=input_tokens, output_tokens=output_tokens)
        return replace(response, usage=credible)

    def _tell_where(self, error: Exception) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            raised = self._redaction.text("".join(format_exception(error)))
            logger.debug("provider '%s' raised: %s", self._endpoint.provider, raised)

    def _broken_promise(self, error: BaseException) -> ProviderError:
        said = self._redaction.text(f"{type(error).__name__}: {error}")
        return ProviderError(
            f"provider '{self._endpoint.provider}' raised {said} "
            "(a provider should raise ProviderError)"
        )

    @property
    def is_becoming_ready(self) -> bool:
        """Whether somebody looks just now whether its endpoint is there."""
        return self._becoming_ready.locked()

    async def wait_until_ready(self, *, anew: bool = False) -> None:
        """Enter the provider, once, and see that its endpoint is there; ``anew`` looks again where
        it was not.
        """
        async with self._becoming_ready:
            # Many wait for the same answer: ask once.
            if self._unready_because is not None and not anew:
                raise self._unready_because
            if self.is_ready:
                return
            try:
                await self._enter()
            except WeaveError as error:
                self._unready_because = error
                raise

    async def _enter(self) -> None:
        async with AsyncExitStack() as stack:
            try:
                provider = await stack.enter_async_context(self._provider)
            except WeaveError:
                raise
            except (Exception, asyncio.CancelledError) as error:
                if _is_being_cancelled():
                    raise
                raise EndpointGoneError(
                    f"provider '{self._endpoint.provider}' cannot be made ready: "
                    + self._redaction.text(f"{type(error).__name__}: {error}")
                ) from error
            await self._probe(provider)
            self._entered = stack.pop_all()
            self.is_ready = True

    async def is_alive(self) -> bool | None:
        """Whether the endpoint answers a question that is free; ``None`` where it cannot tell."""
        try:
            async with asyncio.timeout(ALIVE_WITHIN_S):
                await self._provider.models()
        except (ConnectError, DeadlineError, TimeoutError):
            return False
        except RateLimitError:
            return True
        except ProviderError as error:
            # Some servers answer 500 for want of a list: that counts where there was one before.
            return False if error.retryable and self._lists_models else None
        except (Exception, asyncio.CancelledError) as error:
            if _is_being_cancelled():
                raise
            logger.debug("%s lists no models: %s", self._endpoint.name, self._shown(str(error)))
            return None
        self._lists_models = True
        return True

    async def close(self) -> None:
        """Leave the provider, if it was entered."""
        if self._entered is None:
            return
        try:
            await self._entered.aclose()
        except Exception as error:  # all answers are in: no reason to lose the run
            said = self._redaction.text(repr(error))
            logger.warning("%s did not close in good order: %s", self._endpoint.name, said)

    async def _probe(self, provider: Provider) -> None:
        """Ask for the list of models, which is free: better to learn now that nobody is there."""
        try:
            async with asyncio.timeout(LONGEST_FIRST_LOOK_S):
                models = [str(name) for name in await provider.models()]
        except (ConnectError, AuthenticationError):
            raise
        except (Exception, asyncio.CancelledError) as error:  # a list of models is nice to have
            if _is_being_cancelled():
                raise
            logger.debug("%s lists no models: %s", self._endpoint.name, self._shown(str(error)))
            return
        self._lists_models = True
        if models and not is_listed(self._endpoint.model, models):
            logger.warning(
                "%s does not list the model '%s'; it lists %s",
                self._endpoint.name,
                self._endpoint.model,
                ", ".join(self._shown(name) for name in models[:8]),
            )

    def _shown(self, name: str) -> str:
        """What a server calls a model, safe to show: it knows our key, and may repeat it."""
        return self._redaction.text(name)[:LONGEST_MODEL_CHARS]


def _is_being_cancelled() -> bool:
    """Whether a cancellation is meant for us, rather than one that a provider let through."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _within(least: int, count: int | None, most: int) -> int | None:
    return None if count is None or not least <= count <= most else count


def _require_sound(response: Response) -> None:
    """What the journal and the stages rely on, whoever wrote the provider."""
    if not isinstance(response, Response) or not isinstance(response.usage, Usage):
        raise TypeError(f"complete returned {response!r}, not a Response with its Usage")
    response.text.encode()
    for other in response.others:
        _require_sound(other)
    for count in (response.usage.input_tokens, response.usage.output_tokens):
        if count is not None and (type(count) is not int or count < 0):
            raise TypeError(f"usage holds {count!r}, not a number of tokens")


def is_listed(model: str, models: Sequence[str]) -> bool:
    """Whether a list of models has it. Some put ``models/`` in front of what they answer to."""
    return model in models or f"models/{model}" in models
