"""The provider on the official SDK, against real sockets on loopback."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import ssl
import subprocess
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trustme
from pydantic import SecretStr

from one_request import KEY, REQUEST, collect, endpoint_at
from providers.openai_compatible import OpenAICompatibleProvider
from providers.openai_sdk import OpenAISdkProvider
from weave_async.errors import (
    AuthenticationError,
    BadResponseError,
    ConnectError,
    DeadlineError,
    FieldRefusedError,
    ModelNotFoundError,
    ProviderError,
    RateLimitError,
    RecipeError,
    RequestRefusedError,
    ResponseTooLargeError,
    TlsError,
)
from weave_async.interfaces import Provider
from weave_async.records import Endpoint, Message, RateLimits, Request, SamplingParams, Usage
from weave_async.testing import conformance
from weave_async.testing.conformance import Check, checks, over_http
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    Script,
    ScriptedEndpoint,
    chat_chunks,
    chat_reply,
    dripped,
    echo,
    error_reply,
    json_reply,
    sse_reply,
)

T = TypeVar("T")
Act = Callable[[OpenAISdkProvider], Awaitable[T]]

PROVIDER_CLASS: type[Provider] = OpenAISdkProvider  # mypy holds it to the protocol
AZURE = {"api_version": "2024-10-21"}


def use(base_url: str | None, act: Act[T], **fields: Any) -> T:
    async def scenario() -> T:
        async with OpenAISdkProvider(endpoint_at(base_url, **fields)) as provider:
            return await act(provider)

    return asyncio.run(scenario())


def complete(script: Script, **fields: Any) -> Any:
    with ScriptedEndpoint(script) as server:
        return use(server.base_url, lambda p: p.complete(REQUEST), **fields)


def stream(script: Script, **fields: Any) -> Any:
    with ScriptedEndpoint(script) as server:
        return use(server.base_url, lambda p: collect(p.stream(REQUEST)), **fields)


BOTH = pytest.mark.parametrize("ask", [complete, stream])


def as_azure(request: RecordedRequest) -> Reply:
    """What ``echo`` answers, whatever the query."""
    return echo(replace(request, path=request.path.partition("?")[0]))


class AzureProvider(OpenAISdkProvider):
    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(replace(endpoint, api_key=SecretStr(KEY), options=AZURE))


@pytest.mark.parametrize("check", checks(), ids=str)
@pytest.mark.parametrize("provider_class", [OpenAISdkProvider, AzureProvider])
def test_conforms(
    check: Check, provider_class: type[Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(conformance._SCRIPTS, "healthy", as_azure)
    with over_http(provider_class) as provider_for:
        asyncio.run(check(provider_for))


# --- what is sent


def test_request_carries_key_and_name_and_asks_for_no_compression() -> None:
    named = replace(REQUEST, attempt_id="r1-2")
    with ScriptedEndpoint() as server:
        use(server.base_url, lambda p: p.complete(named), api_key=SecretStr(f" {KEY}\n"))
        use(server.base_url, lambda p: collect(p.stream(named)), api_key=SecretStr(KEY))
    for sent in server.requests:
        assert (sent.method, sent.path) == ("POST", "/v1/chat/completions")
        assert sent.headers["authorization"] == f"Bearer {KEY}"
        assert sent.headers["accept-encoding"] == "identity"
        assert sent.headers["x-client-request-id"] == "r1-2"
        assert sent.body["seed"] == 1
    assert server.requests[1].body["stream_options"] == {"include_usage": True}


def test_without_key_none_is_sent_whatever_the_environment_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "AZURE_OPENAI_API_KEY"):
        monkeypatch.setenv(name, KEY)
    with ScriptedEndpoint() as server:
        use(server.base_url, lambda p: p.complete(REQUEST))
        use(server.base_url, lambda p: p.models())
    for sent in server.requests:
        assert KEY not in str(sent.headers)


@pytest.mark.parametrize("provider_class", [OpenAISdkProvider, OpenAICompatibleProvider])
@pytest.mark.parametrize("options", [{}, AZURE])
@pytest.mark.parametrize("key", [KEY, None])
def test_headers_that_the_environment_has_for_openai_go_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
    provider_class: Any,
    options: dict[str, str],
    key: str | None,
) -> None:
    """The SDK takes them from there for any address; a key among them even replaces ours."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-strange")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-strange")
    headers = "x: strange\nAuthorization: Bearer strange\napi-key: strange"
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", headers)
    if options and (key is None or provider_class is OpenAICompatibleProvider):
        pytest.skip("there is no such endpoint")

    async def scenario(base_url: str) -> None:
        secret = SecretStr(key) if key else None
        endpoint = endpoint_at(base_url, api_key=secret, options=options)
        async with provider_class(endpoint) as provider:
            await provider.complete(REQUEST)
            await collect(provider.stream(REQUEST))
            await provider.models()
            async with provider.batch_api() as api:
                with pytest.raises(ModelNotFoundError):
                    await api.state("b")

    with ScriptedEndpoint(as_azure) as server:
        asyncio.run(scenario(server.base_url))
    assert len(server.requests) == 4
    assert not [request for request in server.requests if "strange" in str(request.headers)]
    if key:
        header = "api-key" if options else "authorization"
        assert all(request.headers[header].endswith(KEY) for request in server.requests)


def test_extra_body_stands_over_the_request_and_what_is_no_json_is_refused() -> None:
    odd = replace(REQUEST, messages=(Message("user", "\ud83d"),))
    options = {"extra_body": {"seed": 2, "min_p": 0.1, "model": "other"}}
    with ScriptedEndpoint() as server:
        use(server.base_url, lambda p: p.complete(REQUEST), options=options)
        with pytest.raises(RequestRefusedError, match="JSON"):
            use(server.base_url, lambda p: p.complete(odd))
    (sent,) = server.requests
    assert (sent.body["seed"], sent.body["min_p"], sent.body["model"]) == (2, 0.1, "other")


def test_completions_api_uses_its_own_path() -> None:
    request = Request("r", "m", (Message("user", "abc"),), SamplingParams(), api="completions")
    with ScriptedEndpoint() as server:
        response = use(server.base_url, lambda p: p.complete(request))
        chunks = use(server.base_url, lambda p: collect(p.stream(request)))
    assert server.requests[0].path == "/v1/completions"
    assert response.text.startswith("You said: abc")
    assert "".join(chunk.text for chunk in chunks) == response.text


def test_refused_request_is_sent_once_for_all_that_the_sdk_would_retry_it() -> None:
    for status in (408, 409, 429, 500, 503):
        with ScriptedEndpoint([error_reply(status)]) as server, pytest.raises(ProviderError):
            use(server.base_url, lambda p: p.complete(REQUEST))
        assert len(server.requests) == 1


def test_refused_field_is_left_out_of_the_next_try() -> None:
    async def act(provider: OpenAISdkProvider) -> None:
        with pytest.raises(FieldRefusedError):
            await provider.complete(REQUEST)
        await provider.complete(REQUEST)

    refusal = error_reply(400, "Unsupported parameter: 'seed'", "unsupported_parameter")
    with ScriptedEndpoint([refusal]) as server:
        use(server.base_url, act)
    assert ["seed" in sent.body for sent in server.requests] == [True, False]


def test_connections_are_used_again_also_after_streams_and_errors() -> None:
    async def act(provider: OpenAISdkProvider) -> None:
        for _ in range(4):
            await provider.complete(REQUEST)
            await collect(provider.stream(REQUEST))
            with pytest.raises(RateLimitError):
                await provider.complete(REQUEST)

    replies = [chat_reply("a"), sse_reply(chat_chunks("a b")), error_reply(429)] * 4
    with ScriptedEndpoint(replies) as server:
        use(server.base_url, act)
    assert len(server.requests) == 12
    assert server.num_connections == 1


# --- what comes back


def test_answer_is_lifted_with_its_limits() -> None:
    headers = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59"}
    response = complete([chat_reply("hi there", headers=headers)])
    assert (response.text, response.finish_reason) == ("hi there", "stop")
    assert response.usage == Usage(19, 2)
    assert response.rate_limits == RateLimits(limit_requests=60, remaining_requests=59)
    assert 0 < response.e2e_s < 5


def test_stream_chunks_arrive_as_they_are_sent() -> None:
    async def act(provider: OpenAISdkProvider) -> list[float]:
        started = time.perf_counter()
        return [time.perf_counter() - started async for _ in provider.stream(REQUEST)]

    with ScriptedEndpoint([sse_reply(chat_chunks("a b"), pause_s=0.1)]) as server:
        arrivals = use(server.base_url, act)
    assert arrivals[0] < arrivals[1] - 0.05


@BOTH
def test_page_where_an_answer_should_be_is_a_bad_response(ask: Callable[..., Any]) -> None:
    page = Reply(headers={"content-type": "text/html"}, body=b"<html><title>Sign in</title>")
    with pytest.raises(BadResponseError, match="Sign in"):
        ask([page])


# --- bounds


@BOTH
def test_drip_ends_at_the_deadline(ask: Callable[..., Any]) -> None:
    with pytest.raises(DeadlineError, match=r"deadline_s=0\.5"):
        ask([Reply(body=dripped(b"data: " + b"x" * 100, 0.2))], timeout_s=0.4, deadline_s=0.5)


def test_silence_ends_at_the_timeout() -> None:
    with pytest.raises(DeadlineError, match=r"timeout_s=0\.3") as caught:
        complete([Reply(head_delay_s=60)], timeout_s=0.3)
    assert caught.value.may_be_billed


BLOCK = b"x" * 65_536
TEXT = b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % BLOCK


@pytest.mark.parametrize(
    ("ask", "headers", "body"),
    [
        (complete, {"content-type": "application/json"}, BLOCK),
        (complete, {"content-type": "text/event-stream"}, TEXT),
        (stream, {"content-type": "text/event-stream"}, BLOCK),
        (stream, {"content-type": "text/event-stream"}, b"data: " + BLOCK + b"\n"),
        (stream, {"content-type": "text/event-stream"}, TEXT),
    ],
    ids=["body", "stream nobody asked for", "line", "event", "text"],
)
def test_flood_ends_by_name(ask: Callable[..., Any], headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(ResponseTooLargeError):
        ask([Reply(headers=headers, body=itertools.repeat(body))], timeout_s=20)


def test_five_hundred_early_ends_leave_a_whole_pool() -> None:
    async def first_chunk(provider: OpenAISdkProvider) -> None:
        async with aclosing(provider.stream(REQUEST)) as chunks:
            async for _ in chunks:
                return

    async def act(provider: OpenAISdkProvider) -> int:
        for wave in range(10):
            ends = [provider.complete(REQUEST) for _ in range(40)]
            ends += [first_chunk(provider) for _ in range(10)]  # type: ignore[list-item]
            tasks = [asyncio.create_task(end) for end in ends]
            await asyncio.sleep(0.004 * wave)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(30):
            fresh = await asyncio.gather(*(provider.complete(REQUEST) for _ in range(20)))
        return len(fresh)

    with ScriptedEndpoint() as server:
        assert use(server.base_url, act, max_concurrency=20) == 20


def test_leaving_while_a_request_flies_is_a_connect_error() -> None:
    async def scenario() -> None:
        with ScriptedEndpoint([Reply(head_delay_s=60)]) as server:
            async with OpenAISdkProvider(endpoint_at(server.base_url)) as provider:
                task = asyncio.create_task(provider.complete(REQUEST))
                await asyncio.sleep(0.2)
            with pytest.raises(ConnectError, match="closed"):
                await task

    asyncio.run(scenario())


def test_leaving_while_a_token_is_awaited_is_a_connect_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        with ScriptedEndpoint() as server:
            async with OpenAISdkProvider(endpoint_at(server.base_url, options=options)) as provider:
                task = asyncio.create_task(provider.complete(REQUEST))
                await asyncio.sleep(0.05)
            with pytest.raises(ConnectError, match="closed"):
                await task
        assert server.num_connections == 0

    monkeypatch.setitem(sys.modules, "tokens_of_mine", sys.modules[__name__])
    options = {"azure_ad_token_provider": "tokens_of_mine:late_token"}
    asyncio.run(scenario())


async def late_token() -> str:
    await asyncio.sleep(0.3)
    return "late"


# --- where the key goes


@BOTH
@pytest.mark.parametrize("options", [{}, AZURE], ids=["plain", "azure"])
def test_redirect_is_not_followed_with_the_key(
    ask: Callable[..., Any], options: dict[str, str]
) -> None:
    with ScriptedEndpoint() as elsewhere:
        headers = {"location": f"{elsewhere.base_url}/chat/completions"}
        with pytest.raises(ModelNotFoundError, match="redirects to"):
            ask([Reply(status=307, headers=headers)], api_key=SecretStr(KEY), options=options)
    assert elsewhere.num_connections == 0


FAULTS = [
    error_reply(401, f"bad key {KEY}"),
    error_reply(500, f"bad key {KEY}"),
    error_reply(400, f"bad key {KEY}"),
    sse_reply([{"error": {"message": f"bad key {KEY}"}}]),
    sse_reply(["{"]),
    Reply(body=b"<html>"),
    Reply(raw=b""),
    Reply(body=b"{", content_length=9),
    Reply(head_delay_s=60),
]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("options", [{}, AZURE], ids=["plain", "azure"])
def test_key_is_in_no_error_and_in_nothing_that_an_error_holds(
    options: dict[str, str], caplog: pytest.LogCaptureFixture, *, streamed: bool
) -> None:
    async def act(provider: OpenAISdkProvider) -> list[ProviderError]:
        errors = []
        for _ in FAULTS:
            with pytest.raises(ProviderError) as caught:
                if streamed:
                    await collect(provider.stream(REQUEST))
                await provider.complete(REQUEST)
            errors.append(caught.value)
        return errors

    caplog.set_level(logging.DEBUG)
    with ScriptedEndpoint(FAULTS) as server:
        errors = use(server.base_url, act, api_key=SecretStr(KEY), timeout_s=0.3, options=options)
    assert KEY not in caplog.text
    for error in errors:
        assert KEY not in "".join(traceback.format_exception(error))
        link: BaseException | None = error
        while link is not None:
            held = {type(value).__name__ for value in vars(link).values()}
            assert not held & {"Request", "Response"}, "what holds the request holds the key"
            link = link.__cause__ or link.__context__


def test_repr_holds_no_key() -> None:
    provider = OpenAISdkProvider(endpoint_at(None, api_key=SecretStr(KEY)))
    assert repr(provider) == "<OpenAISdkProvider https://api.openai.com/v1 closed>"


# --- Azure and tokens


def test_azure_is_asked_by_deployment_and_version_with_its_own_header() -> None:
    async def act(provider: OpenAISdkProvider) -> None:
        await provider.complete(REQUEST)
        await provider.models()

    for options, suffix in (
        (AZURE, ""),
        (AZURE, "/openai/v1"),
        ({**AZURE, "azure_deployment": "mine"}, "/openai"),
    ):
        with ScriptedEndpoint(as_azure) as server:
            address = server.base_url.removesuffix("/v1") + suffix
            use(address, act, api_key=SecretStr(KEY), options=options)
        deployment = options.get("azure_deployment", "scripted-model")
        paths = [
            f"/openai/deployments/{deployment}/chat/completions?api-version=2024-10-21",
            "/openai/models?api-version=2024-10-21",
        ]
        assert [sent.path for sent in server.requests] == paths
        assert server.requests[0].headers["api-key"] == KEY
        assert "authorization" not in server.requests[0].headers


def test_azure_base_url_may_name_the_deployment() -> None:
    with ScriptedEndpoint(as_azure) as server:
        base_url = server.base_url.replace("/v1", "/openai/deployments/mine")
        use(base_url, lambda p: p.complete(REQUEST), api_key=SecretStr(KEY), options=AZURE)
    path = "/openai/deployments/mine/chat/completions?api-version=2024-10-21"
    assert server.requests[0].path == path


TOKENS = iter(())


def next_token() -> str:
    return next(TOKENS)


async def awaited_token() -> str:
    return next(TOKENS)


@pytest.mark.parametrize("function", ["next_token", "awaited_token"])
@pytest.mark.parametrize("options", [{}, AZURE], ids=["plain", "azure"])
def test_token_of_a_function_is_asked_for_with_each_request(
    options: dict[str, str], function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(provider: OpenAISdkProvider) -> None:
        await provider.complete(REQUEST)
        await provider.complete(REQUEST)

    monkeypatch.setattr(sys.modules[__name__], "TOKENS", iter(["one", "two"]))
    monkeypatch.setitem(sys.modules, "tokens_of_mine", sys.modules[__name__])
    named = {"azure_ad_token_provider": f"tokens_of_mine:{function}"}
    with ScriptedEndpoint(as_azure) as server:
        use(server.base_url, act, options=options | named)
    sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer one", "Bearer two"]


def test_token_that_does_not_come_stops_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokens_of_mine", sys.modules[__name__])
    options = {**AZURE, "azure_ad_token_provider": "tokens_of_mine:no_token"}
    with ScriptedEndpoint() as server, pytest.raises(AuthenticationError, match="no_token gave"):
        use(server.base_url, lambda p: p.complete(REQUEST), options=options)
    assert server.num_connections == 0


def test_token_is_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokens_of_mine", sys.modules[__name__])
    options = {**AZURE, "azure_ad_token_provider": "tokens_of_mine:secret_token"}
    for reply in (
        error_reply(401, "not eyJ.secret.token"),
        json_reply({"error": "not eyJ.secret.token"}),
    ):
        for ask in (complete, stream):
            with pytest.raises(ProviderError, match=r"not \*\*\*"):
                ask([reply], options=options)


def secret_token() -> str:
    return "eyJ.secret.token"


def no_token() -> str:
    raise OSError("the vault is closed")


def test_token_of_the_environment_is_azures_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", "of-the-environment")
    with ScriptedEndpoint(as_azure) as server:
        use(server.base_url, lambda p: p.complete(REQUEST), options=AZURE)
        use(server.base_url, lambda p: p.complete(REQUEST))
    sent = [request.headers.get("authorization") for request in server.requests]
    assert sent == ["Bearer of-the-environment", None]


@pytest.mark.parametrize(
    ("base_url", "goes"),
    [
        ("https://r.openai.azure.com", True),
        ("https://r.OPENAI.azure.com/openai/v1", True),
        ("https://gateway.example.com/azure", True),
        ("http://127.0.0.1:1/v1", True),
        ("https://gateway.example.com:8443", False),
        ("https://evilopenai.azure.com", False),
        ("https://openai.azure.com.evil.org", False),
        ("https://models.example.org/v1", False),
    ],
)
def test_token_of_the_environment_goes_to_no_address_that_others_may_have_written(
    monkeypatch: pytest.MonkeyPatch, base_url: str, goes: bool
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", "a-token")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://gateway.example.com/")
    endpoint = endpoint_at(base_url, options=AZURE)
    if goes:
        assert OpenAISdkProvider(endpoint)._token is not None
        return
    with pytest.raises(RecipeError, match="which is for Azure's hosts"):
        OpenAISdkProvider(endpoint)


def test_token_goes_before_a_key_only_where_the_options_name_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tokens_of_mine", sys.modules[__name__])
    monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", "of-the-environment")
    named = {**AZURE, "azure_ad_token_provider": "tokens_of_mine:secret_token"}
    with ScriptedEndpoint(as_azure) as server:
        for options in (named, AZURE):
            use(
                server.base_url,
                lambda p: p.complete(REQUEST),
                api_key=SecretStr(KEY),
                options=options,
            )
    by_token, by_key = (request.headers for request in server.requests)
    assert by_token["authorization"] == "Bearer eyJ.secret.token"
    assert KEY not in str(by_token)
    assert (by_key.get("authorization"), by_key["api-key"]) == (None, KEY)


@pytest.mark.parametrize(
    ("base_url", "options", "told"),
    [
        (None, {**AZURE, "azure_ad_token_provider": "json:dumps"}, "base_url.*openai.azure.com"),
        ("https://host", AZURE, "azure_ad_token_provider, azure_ad or AZURE_OPENAI_AD_TOKEN"),
        ("https://host", {"azure_deployment": "mine"}, "no api_version"),
        ("https://host", {"azure_ad_token_provider": "nosuch.module:f"}, "cannot be loaded"),
        ("https://host", {"azure_ad_token_provider": "json"}, "package.module:function"),
        ("https://host", {"azure_ad_token_provider": "sys:path"}, "is no function"),
        ("http://10.0.0.1", {"azure_ad_token_provider": "json:dumps"}, "in clear"),
        ("https://h.openai.azure.com", {"azure_ad": True}, "pip install azure-identity"),
        ("https://host", {"azure_ad": True}, "set AZURE_OPENAI_ENDPOINT"),
        ("https://openai.azure.com.evil.org", {"azure_ad": True}, "set AZURE_OPENAI_ENDPOINT"),
        ("https://[", {"azure_ad": True}, "set AZURE_OPENAI_ENDPOINT"),
        ("https://host", {"azure_endpoint": "https://x"}, "unknown option.*api_version"),
        ("https://host", {"proxy": "nowhere"}, "proxy must be"),
        ("https://host", {"ca_file": "/nonexistent"}, "ca_file.*No such file"),
        ("ftp://host", {}, "base_url must be"),
        (None, {}, "neither base_url nor API key"),
    ],
)
def test_what_cannot_work_is_refused_at_construction(
    base_url: str | None, options: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(RecipeError, match=told):
        OpenAISdkProvider(endpoint_at(base_url, options=options))


# --- TLS and proxies


def test_certificates_of_the_options_are_used(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with ScriptedEndpoint(ssl_context=context) as server:
        options = {"ca_file": str(tmp_path / "ca.pem")}
        assert use(server.base_url, lambda p: p.complete(REQUEST), options=options).text
        with pytest.raises(TlsError, match="issuer"):
            use(server.base_url, lambda p: p.complete(REQUEST))


def test_proxy_of_the_environment_is_used_for_other_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedEndpoint(lambda request: chat_reply("through the proxy")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url.removesuffix("/v1"))
        response = use("http://models.invalid/v1", lambda p: p.complete(REQUEST))
        assert complete([chat_reply("direct")]).text == "direct"
    assert response.text == "through the proxy"
    assert proxy.requests[0].path == "http://models.invalid/v1/chat/completions"


# --- the SDK itself


def test_whoever_only_checks_a_recipe_does_not_wait_for_the_sdk() -> None:
    code = (
        "import sys; from providers.openai_sdk import OpenAISdkProvider;"
        "from weave_async.records import Endpoint;"
        "OpenAISdkProvider(Endpoint('a', 'openai_sdk', 'm', 'http://127.0.0.1:1/v1'));"
        "print([name for name in ('openai', 'httpx2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_is_left_behind() -> None:
    """No socket without an owner, no coroutine without a loop: warnings are errors here."""
    complete([chat_reply("hi")])
    stream([sse_reply(chat_chunks("a b"))])
    with pytest.raises(BadResponseError):
        stream([sse_reply(chat_chunks("a b")[:1], done=False)])
    gc.collect()
