"""A key of an unusual shape is used in every way, and is nowhere to be found afterwards."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from weave_async.testing import scripts
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    chat_completion,
    echo,
    error_reply,
    json_reply,
)

from .conftest import keyed_providers, write_recipe
from .watching import (
    CANARY,
    CORE,
    Scene,
    Watched,
    descendants,
    places_of,
    traces_of,
    watch,
    watch_commands,
    watch_scenes,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")

TRACES = traces_of(CORE, CANARY)
COMMANDS = (
    ("run", "recipe.yaml", "-o", "out", "--json"),
    ("preview", "recipe.yaml", "-n", "1"),
    ("doctor", "recipe.yaml"),
    ("doctor", "recipe.yaml", "--json"),
    ("verify", "out"),
    ("explain", "out", "1"),
)
MODEL = {"WEAVE_ASYNC_MODEL": "scripted-model", "OPENAI_LOG": "debug"}
ECHOING = {"x-key": CANARY, "set-cookie": f"session={CANARY}", "www-authenticate": CANARY}


def echoing(status: int, **options: Any) -> Reply:
    """An error whose body and headers repeat the key, as real ones do."""
    headers = {**ECHOING, **options.pop("headers", {})}
    return error_reply(status, f"with the key {CANARY}", headers=headers, **options)


def _html() -> Reply:
    page = f"<html><title>{CANARY}</title>{CANARY}</html>"
    return Reply(status=502, headers={"content-type": "text/html", **ECHOING}, body=page.encode())


def _only_completions(reply: Callable[[], Reply]) -> Callable[[RecordedRequest], Reply]:
    return lambda request: reply() if request.path.endswith("/completions") else echo(request)


FAULTS: dict[str, Callable[[RecordedRequest], Reply]] = {
    "success": echo,
    "success with an echo": _only_completions(
        lambda: json_reply(
            {**chat_completion(f"who is {CANARY}?"), "model": CANARY, "system_fingerprint": CANARY},
            headers=ECHOING,
        )
    ),
    "models that are keys": lambda request: (
        json_reply({"data": [{"id": CANARY}]})
        if request.path.endswith("/models")
        else echo(request)
    ),
    "401": lambda request: echoing(401, code="invalid_api_key"),
    "401 after the models": _only_completions(lambda: echoing(401)),
    "403": lambda request: echoing(403),
    "400": _only_completions(lambda: echoing(400)),
    "404": _only_completions(lambda: echoing(404)),
    "422": _only_completions(
        lambda: json_reply({"detail": [{"msg": "no", "input": CANARY}]}, 422, headers=ECHOING)
    ),
    "out of quota": _only_completions(lambda: echoing(429, code="insufficient_quota")),
    "html": _only_completions(_html),
    "200 with an error": _only_completions(
        lambda: json_reply({"error": {"message": f"bad {CANARY}", "code": 400}})
    ),
    "200 that is no JSON": _only_completions(lambda: Reply(body=f"who, {CANARY}?".encode())),
}


@dataclass(frozen=True, slots=True)
class Played:
    """What a fault came to, and what was asked while it was played."""

    watched: Watched
    folder: Path
    requests: list[RecordedRequest]


@pytest.fixture(scope="module", params=keyed_providers())
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Played]:
    """All faults by name, one after the other in one process: most of its time is its start."""
    env = {"WEAVE_ASYNC_PROVIDER": request.param, "WEAVE_ASYNC_API_KEY": CANARY, **MODEL}
    with contextlib.ExitStack() as stack:
        endpoints = [stack.enter_context(ScriptedEndpoint(answer)) for answer in FAULTS.values()]
        place = tmp_path_factory.mktemp("place")
        scenes = scenes_at([each.base_url for each in endpoints], place, COMMANDS)
        watched = watch_scenes(scenes, folder=place, env=env)
    return {
        name: Played(seen, scene.folder, endpoint.requests)
        for name, seen, scene, endpoint in zip(FAULTS, watched, scenes, endpoints, strict=True)
    }


@pytest.fixture(params=keyed_providers())
def settings(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"WEAVE_ASYNC_PROVIDER": request.param, "WEAVE_ASYNC_API_KEY": CANARY, **MODEL}


def require_no_trace(watched: Watched, folder: Path) -> None:
    places = places_of(watched, folder, TRACES)
    assert not places, "\n".join(places)


@pytest.mark.parametrize("name", FAULTS)
def test_no_command_leaves_a_trace_of_the_key(played: dict[str, Played], name: str) -> None:
    fault = played[name]
    bearers = {request.headers.get("authorization") for request in fault.requests}
    assert bearers == {f"Bearer {CANARY}"}, "the key was not used"
    assert set(fault.watched.exit_codes) == {command[0] for command in COMMANDS}
    require_no_trace(fault.watched, fault.folder)


@pytest.mark.parametrize("hint", ["none", "retry-after"])
def test_a_rate_limit_leaves_no_trace(place: Path, settings: dict[str, str], hint: str) -> None:
    headers = {} if hint == "none" else {"retry-after": "1"}
    left = iter([echoing(429, headers=headers)] * 2)

    def answer(request: RecordedRequest) -> Reply:
        if request.path.endswith("/completions"):
            return next(left, None) or echo(request)
        return echo(request)

    with ScriptedEndpoint(answer) as endpoint:
        settings["WEAVE_ASYNC_BASE_URL"] = endpoint.base_url
        watched = watch_commands(COMMANDS[0], folder=place, env=settings)
    assert watched.exit_codes == {"run": 0}
    require_no_trace(watched, place)


def test_an_endpoint_that_is_away_leaves_no_trace(place: Path, settings: dict[str, str]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    settings["WEAVE_ASYNC_BASE_URL"] = f"http://127.0.0.1:{port}/v1"
    watched = watch_commands(*COMMANDS[:4], folder=place, env=settings)
    assert 0 not in watched.exit_codes.values()
    require_no_trace(watched, place)


def test_a_tls_failure_leaves_no_trace(place: Path, settings: dict[str, str]) -> None:
    """A certificate that nobody vouches for, and a server that speaks no TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with ScriptedEndpoint(ssl_context=context) as strange, ScriptedEndpoint() as plain:
        addresses = [each.base_url.replace("http:", "https:") for each in (strange, plain)]
        scenes = scenes_at(addresses, place, COMMANDS[2:4])
        settings["WEAVE_ASYNC_TIMEOUT_S"] = "1"
        watched = watch_scenes(scenes, folder=place, env=settings)
        assert not strange.requests
        assert not plain.requests
    for seen in watched:
        assert 0 not in seen.exit_codes.values()
        require_no_trace(seen, place)


def test_a_redirect_takes_the_key_nowhere(place: Path, settings: dict[str, str]) -> None:
    def redirecting(status: int) -> Callable[[RecordedRequest], Reply]:
        return lambda request: scripts.redirect(location, status)

    with ScriptedEndpoint() as elsewhere, contextlib.ExitStack() as stack:
        location = f"{elsewhere.base_url}/{CANARY}?key={CANARY}"
        endpoints = [
            stack.enter_context(ScriptedEndpoint(redirecting(status)))
            for status in (301, 302, 307, 308)
        ]
        scenes = scenes_at([each.base_url for each in endpoints], place, COMMANDS[:3])
        watched = watch_scenes(scenes, folder=place, env=settings)
        assert all(endpoint.requests for endpoint in endpoints)
        assert elsewhere.num_connections == 0
    for seen in watched:
        require_no_trace(seen, place)


def scenes_at(
    base_urls: Sequence[str], place: Path, commands: Sequence[Sequence[str]]
) -> list[Scene]:
    """The same commands at each address, each in a folder of its own in ``place``."""
    scenes = []
    for number, base_url in enumerate(base_urls):
        folder = place / f"scene-{number}"
        folder.mkdir()
        write_recipe(folder)
        scenes.append(Scene(folder, {"WEAVE_ASYNC_BASE_URL": base_url}, commands))
    return scenes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_trace(
    place: Path, settings: dict[str, str], number: signal.Signals
) -> None:
    write_recipe(place, rows=200)
    with ScriptedEndpoint(_only_completions(lambda: scripts.slow_first_byte(0.2))) as endpoint:
        settings["WEAVE_ASYNC_BASE_URL"] = endpoint.base_url

        def interrupt(process: subprocess.Popen[str]) -> None:
            while len(endpoint.requests) < 8 and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(number)

        # Whoever runs the tests in the background may have SIGINT ignored for all of us.
        listening = f"import signal; signal.signal({number:d}, signal.default_int_handler)"
        code = f"{listening}\nfrom weave_async.cli.main import main\nmain()"
        command = [sys.executable, "-X", "dev", "-c", code, "run", "recipe.yaml", "-o", "out"]
        watched = watch(command, folder=place, env=settings, meanwhile=interrupt)
    assert watched.exit_code in (130, 143)
    require_no_trace(watched, place)


BROKEN = '''
from pydantic import SecretStr
from weave_async.testing.echo import echo

def explode(sample):
    raise RuntimeError(f"boom at {sample.endpoint} {sample.request}")

class Leaking:
    """A provider of somebody else's: what it raises holds what it was given."""
    default_max_concurrency, default_model, environment_fallback = 4, "m", "OPENAI"
    def __init__(self, endpoint):
        self.key = endpoint.api_key.get_secret_value()
    async def __aenter__(self):
        return self
    async def __aexit__(self, *exc_info):
        raise ValueError(f"cannot close with {self.key}")
    async def complete(self, request):
        raise ValueError(f"Illegal header value b'Bearer {self.key}'")
    async def stream(self, request):
        raise ValueError(self.key)
        yield
    async def models(self):
        raise ValueError(f"no models for {self.key}")

class LeakingAtTheDoor(Leaking):
    async def __aenter__(self):
        raise ValueError(f"cannot open with {self.key}")
'''


def test_a_stage_that_crashes_leaves_no_trace(place: Path, settings: dict[str, str]) -> None:
    (place / "broken.py").write_text(BROKEN)
    write_recipe(place, validation=["broken:explode"])
    with ScriptedEndpoint() as endpoint:
        settings["WEAVE_ASYNC_BASE_URL"] = endpoint.base_url
        watched = watch_commands(*COMMANDS, folder=place, env=settings)
    assert "boom" in watched.err
    require_no_trace(watched, place)


@pytest.mark.parametrize("name", ["Leaking", "LeakingAtTheDoor"])
def test_what_a_foreign_provider_raises_is_shown_without_the_key(place: Path, name: str) -> None:
    (place / "broken.py").write_text(BROKEN)
    env = {"WEAVE_ASYNC_PROVIDER": f"broken:{name}", "WEAVE_ASYNC_API_KEY": CANARY}
    watched = watch_commands(*COMMANDS[:4], folder=place, env=env)
    assert "ValueError" in watched.err + watched.out
    require_no_trace(watched, place)


def test_a_password_of_a_proxy_leaves_no_trace(place: Path) -> None:
    with ScriptedEndpoint(lambda request: error_reply(407)) as proxy:
        address = proxy.base_url.removeprefix("http://").removesuffix("/v1")
        env = {
            "WEAVE_ASYNC_PROVIDER": "openai_compatible",
            "WEAVE_ASYNC_BASE_URL": "http://models.invalid/v1",
            "HTTP_PROXY": f"http://user:{CORE}@{address}",
            **MODEL,
        }
        watched = watch_commands(*COMMANDS[:4], folder=place, env=env)
        assert proxy.requests
        gone = {**env, "HTTP_PROXY": f"http://user:{CORE}@127.0.0.1:1"}
    away = watch_commands(*COMMANDS[:4], folder=place, env=gone)
    for each in (watched, away):
        assert not places_of(each, place, traces_of(CORE, CORE))


def test_a_proxy_of_the_options_leaves_no_trace_and_buys_nothing_again(place: Path) -> None:
    with ScriptedEndpoint() as endpoint, ScriptedEndpoint(lambda r: error_reply(407)) as proxy:
        env = {
            "WEAVE_ASYNC_PROVIDER": "openai_compatible",
            "WEAVE_ASYNC_BASE_URL": endpoint.base_url,
            **MODEL,
        }
        assert watch_commands(COMMANDS[0], folder=place, env=env).exit_codes == {"run": 0}
        num_asked = len([each for each in endpoint.requests if each.method == "POST"])
        address = proxy.base_url.removeprefix("http://").removesuffix("/v1")
        env["WEAVE_ASYNC_OPTIONS__PROXY"] = f"http://user:{CORE}@{address}"
        watched = watch_commands(COMMANDS[0], folder=place, env=env)
        assert watched.exit_codes == {"run": 0}, watched.err
        assert len([each for each in endpoint.requests if each.method == "POST"]) == num_asked
        assert not places_of(watched, place, traces_of(CORE, CORE))


def test_the_local_server_is_not_told_the_keys_of_others(place: Path, tiny_folder: Path) -> None:
    """Neither in its command line nor in its environment."""
    write_recipe(place, budget={"wall": "90s"})  # loading takes its time on a busy machine
    environments: set[bytes] = set()
    names = ("WEAVE_ASYNC_ENDPOINTS__FAST__API_KEY", "OPENAI_API_KEY", "GROQ_API_KEY")
    env = {
        **dict.fromkeys(names, CANARY),
        "WEAVE_ASYNC_ENDPOINTS__FAST__BASE_URL": "http://127.0.0.1:1/v1",
        "WEAVE_ASYNC_PROVIDER": "local",
        "WEAVE_ASYNC_MODEL": str(tiny_folder),
        "WEAVE_ASYNC_OPTIONS__THREADS": "1",
    }

    def read_environments(process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            for child in descendants(process.pid):
                with contextlib.suppress(OSError):
                    if b"providers.local.server" in Path(f"/proc/{child}/cmdline").read_bytes():
                        environments.add(Path(f"/proc/{child}/environ").read_bytes())
                        return
            time.sleep(0.005)

    watched = watch_commands(COMMANDS[0], folder=place, env=env, meanwhile=read_environments)
    assert watched.exit_codes == {"run": 0}, watched.err
    assert any(b"providers.local.server" in line for line in watched.command_lines)
    assert environments
    assert not [trace for environ in environments for trace in TRACES if trace in environ]
    require_no_trace(watched, place)


def test_the_search_would_find_a_trace(place: Path) -> None:
    leak = f"import sys; print({json.dumps(CANARY)}); open('left', 'w').write({CANARY!r})"
    watched = watch([sys.executable, "-c", leak], folder=place, env={})
    found = {line.split(":")[0] for line in places_of(watched, place, TRACES)}
    assert found == {"stdout", "a command line", str(place / "left")}
