"""No body of a 200 crashes us, and none that is no answer becomes one."""

from __future__ import annotations

from contextlib import suppress

import pytest

from bodies import BODIES
from one_request import REQUEST, collect, use
from providers.openai_compatible import OpenAICompatibleProvider
from providers.wire.response import parse_response
from weave_async.errors import ProviderError
from weave_async.testing.scripted_endpoint import Reply, ScriptedEndpoint
from wire_shapes import ERRORS, URL, read_stream

Ending = str | type[ProviderError]


@pytest.mark.parametrize("name", BODIES)
def test_body_ends_as_its_text_or_as_its_error(name: str) -> None:
    body, expected = BODIES[name]
    if isinstance(expected, str):
        response = parse_response(body, URL, ERRORS)
        assert response.text == expected
        f"{response}".encode()
        counts = (response.usage.input_tokens, response.usage.output_tokens)
        assert all(count is None or type(count) is int for count in counts)
    else:
        with pytest.raises(ProviderError) as caught:
            parse_response(body, URL, ERRORS)
        assert type(caught.value) is expected
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 2_200


def test_bodies_end_the_same_over_the_wire_asked_whole_or_as_a_stream(transport: str) -> None:
    async def act(provider: OpenAICompatibleProvider) -> list[tuple[str, Ending, Ending]]:
        return [(name, await whole(provider), await streamed(provider)) for name in BODIES]

    headers = {"content-type": "application/json"}
    replies = [Reply(body=body, headers=headers) for body, _ in BODIES.values() for _ in range(2)]
    with ScriptedEndpoint(replies) as server:
        endings = use(server.base_url, act)
    assert endings == [(name, ending, ending) for name, (_, ending) in BODIES.items()]
    assert len(server.requests) == 2 * len(BODIES)
    # pyreqwest gives a connection back from its own thread, now and then after the next request.
    assert server.num_connections <= (5 if transport == "reqwest" else 1)


@pytest.mark.parametrize("name", BODIES)
def test_body_as_an_event_breaks_no_stream(name: str) -> None:
    event = b"data: " + BODIES[name][0].replace(b"\n", b"\ndata: ") + b"\n\n"
    with suppress(ProviderError):
        for chunk in read_stream(event, b"data: [DONE]\n\n"):
            f"{chunk}".encode()


async def whole(provider: OpenAICompatibleProvider) -> Ending:
    try:
        return (await provider.complete(REQUEST)).text
    except ProviderError as error:
        return type(error)


async def streamed(provider: OpenAICompatibleProvider) -> Ending:
    try:
        return "".join(chunk.text for chunk in await collect(provider.stream(REQUEST)))
    except ProviderError as error:
        return type(error)
