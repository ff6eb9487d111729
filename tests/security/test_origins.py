"""A key goes to the origin it was set for; rows and answers name addresses that nobody visits."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from weave_async.testing import scripts
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    chat_completion,
    json_reply,
)

from .conftest import keyed_providers, write_recipe
from .watching import watch, watch_commands

RUN = ("run", "recipe.yaml", "-o", "out", "--json")
KEYED = pytest.mark.parametrize("provider", keyed_providers())

# Every address that this process connects to or looks up, by Python's own account (uvloop and
# pyreqwest open sockets without it; what they do is seen by the decoy).
AUDITED = """
import json, sys
sys.modules["uvloop"] = None
visited = set()
def hook(event, arguments):
    if event == "socket.connect":
        visited.add(str(arguments[1]))
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        visited.add(str(arguments[0]))
sys.addaudithook(hook)
from weave_async.cli.main import main
try:
    main()
finally:
    print(json.dumps(sorted(visited)), file=sys.stderr)
"""


def keys_at(endpoint: ScriptedEndpoint) -> set[str | None]:
    return {request.headers.get("authorization") for request in endpoint.requests}


@KEYED
def test_each_endpoint_of_a_mix_gets_its_own_key_alone(place: Path, provider: str) -> None:
    write_recipe(
        place,
        rows=12,
        generate={"mix": [{"endpoint": "one", "model": "m"}, {"endpoint": "two", "model": "m"}]},
    )
    with ScriptedEndpoint() as one, ScriptedEndpoint() as two:
        env = {}
        for name, endpoint in (("ONE", one), ("TWO", two)):
            prefix = f"WEAVE_ASYNC_ENDPOINTS__{name}__"
            env[f"{prefix}PROVIDER"] = provider
            env[f"{prefix}BASE_URL"] = endpoint.base_url
            env[f"{prefix}API_KEY"] = f"key-of-{name}"
        watched = watch_commands(RUN, ("doctor", "recipe.yaml"), folder=place, env=env)
        assert watched.exit_codes == {"run": 0, "doctor": 0}, watched.err
        assert keys_at(one) == {"Bearer key-of-ONE"}
        assert keys_at(two) == {"Bearer key-of-TWO"}


@KEYED
@pytest.mark.parametrize("variable", ["WEAVE_ASYNC_BASE_URL", "OPENAI_BASE_URL"])
def test_the_dotenv_of_a_foreign_project_gets_no_key_of_ours(
    place: Path, provider: str, variable: str
) -> None:
    with ScriptedEndpoint() as foreign, ScriptedEndpoint() as ours:
        (place / ".env").write_text(
            f"{variable}={foreign.base_url}\n"
            f"WEAVE_ASYNC_ENDPOINTS__FAST__BASE_URL={foreign.base_url}\n"
        )
        env = {
            "WEAVE_ASYNC_PROVIDER": provider,
            "WEAVE_ASYNC_MODEL": "m",
            "WEAVE_ASYNC_ENDPOINTS__FAST__API_KEY": "key-of-fast",
            "WEAVE_ASYNC_API_KEY": "key-of-default",
            "OPENAI_API_KEY": "key-of-openai",
        }
        if variable == "OPENAI_BASE_URL":
            env["WEAVE_ASYNC_BASE_URL"] = ours.base_url
        watch_commands(RUN, ("doctor", "recipe.yaml"), folder=place, env=env)
        assert keys_at(foreign) <= {None}
        assert keys_at(ours) <= {"Bearer key-of-default"}


@KEYED
def test_a_redirect_is_reported_and_not_followed(place: Path, provider: str) -> None:
    with ScriptedEndpoint() as elsewhere:
        location = f"{elsewhere.base_url}/chat/completions"
        with ScriptedEndpoint(lambda request: scripts.redirect(location)) as endpoint:
            env = {
                "WEAVE_ASYNC_PROVIDER": provider,
                "WEAVE_ASYNC_MODEL": "m",
                "WEAVE_ASYNC_BASE_URL": endpoint.base_url,
                "WEAVE_ASYNC_API_KEY": "k" * 30,
            }
            watched = watch_commands(RUN, folder=place, env=env)
        assert elsewhere.num_connections == 0
    assert watched.exit_codes["run"] != 0
    assert "redirect" in (watched.out + watched.err).lower()


@KEYED
def test_sockets_are_opened_to_the_configured_address_alone(place: Path, provider: str) -> None:
    """Whatever addresses stand in rows, templates, answers, and in the fields around them."""
    with ScriptedEndpoint() as decoy:
        address = decoy.base_url.removesuffix("/v1")
        texts = [
            f"see {address}/a.png",
            f'{{"type": "image_url", "image_url": {{"url": "{address}/b.png"}}}}',
            f"![x]({address}/c.png) <img src='{address}/d.png'>",
            "file:///etc/passwd http://169.254.169.254/latest/meta-data",
            f"{{% include '{address}/e' %}}",
        ]
        rows = [
            {"text": text, "image_url": f"{address}/f", "base_url": decoy.base_url, "url": address}
            for text in texts
        ]

        def reply(request: RecordedRequest) -> Reply:
            completion = chat_completion(f"Look at {address}/g and ![y]({address}/h)", address)
            return json_reply({**completion, "next": f"{address}/i", "id": f"{address}/j"})

        write_recipe(place)
        (place / "seeds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        with ScriptedEndpoint(reply) as endpoint:
            env = {
                "WEAVE_ASYNC_PROVIDER": provider,
                "WEAVE_ASYNC_MODEL": "m",
                "WEAVE_ASYNC_BASE_URL": endpoint.base_url,
                "WEAVE_ASYNC_API_KEY": "k" * 30,
            }
            command = [sys.executable, "-c", AUDITED, *RUN]
            watched = watch(command, folder=place, env=env)
            port = int(endpoint.base_url.rpartition(":")[2].partition("/")[0])
            assert len(endpoint.requests) >= len(rows)
        assert decoy.num_connections == 0
    assert watched.exit_code == 0, watched.err
    visited = set(json.loads(watched.err.splitlines()[-1]))
    assert visited <= {f"('127.0.0.1', {port})", "127.0.0.1", "b'127.0.0.1'"}
    assert visited
