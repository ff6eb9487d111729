"""Keys and passwords. Those here are made up, and put together at run time, so that scanners of
repositories find none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.records import Sample
from weave_async.validation.secrets import SecretsValidator, secrets
from weave_async.validation.sensitive import redacted

MakeSample = Callable[..., Sample]
RANDOM = "Zq8vT3mK9xLw2RbY7nHc5JdF4gPs6aUe1Xk0"
KEY_LINE = "MIIEpAIBAAKCAQEA" + RANDOM[:32]
JWT = ".".join(["eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0NSJ9", "dBjftJeZ4CVP"])
BEGIN, END = ("-----" + word + " RSA PRIVATE" + " KEY-----" for word in ("BEGIN", "END"))
FOUND = {
    "aws_key": "AKIA" + "QY3LZ7PMWX2NRTBV",
    "github_token": "ghp_" + RANDOM,
    "gitlab_token": "glpat-" + RANDOM[:20],
    "slack_token": "xoxb-" + "2345678901-" + RANDOM[:20],
    "google_key": "AIza" + RANDOM[:35],
    "stripe_key": "sk_live_" + RANDOM[:24],
    "huggingface_token": "hf_" + RANDOM[:34],
    "npm_token": "npm_" + RANDOM,
    "sendgrid_key": f"SG.{RANDOM[:22]}.{RANDOM}{RANDOM[:7]}",
    "api_key": "sk-proj-" + RANDOM,
    "jwt": JWT,
    "private_key": f"{BEGIN}\n{KEY_LINE}\n{KEY_LINE}\n{END}",
}
ORDINARY = [
    "The token is the unit of a language model; a secret is a secret.",
    "Set OPENAI_API_KEY=sk-your-api-key-goes-here-please first.",
    'api_key = os.environ["OPENAI_API_KEY"]',
    "api_key: <your-api-key-123456789>",
    "password: ********************",
    "password = correct-horse-battery-staple",
    "AWS's documentation uses AKIA" + "IOSFODNN7EXAMPLE.",
    "Clone https://github.com/org/repo.git or https://user:pass@host/repo.",
    "sk-learn-is-a-library-for-machine-learning",
    "max_tokens = 1234, num_tokens: 4096",
    "token = tokenizer.convert_ids_to_tokens(ids)[0]",
    f"A key begins with\n{BEGIN}\n...\n{END}",
    "commit 3f786850e387550fdab836ed7e6dc881de23001b",
    "The secret: add a pinch of salt.",
    "password: hunter2",
    "secret = base64.b64encode(b'something long enough')",
    "data:image/png;base64,iVBORw0KGgo",
]


@pytest.mark.parametrize("kind", FOUND)
def test_it_is_found_redacted_and_never_shown(make_sample: MakeSample, kind: str) -> None:
    text = f"Use {FOUND[kind]} for it."
    refused = SecretsValidator()(make_sample(text))
    assert (refused.passed, refused.reason) == (False, "found")
    assert refused.evidence["found"] == [{"kind": kind, "count": 1, "message": 1, "at": [4]}]
    passed = SecretsValidator("redact")(make_sample(text))
    assert passed.messages is not None
    assert passed.messages[-1].content == f"Use [{kind.upper()}] for it."
    assert FOUND[kind][8:20] not in repr((refused, passed.evidence))


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f'api_key = "{RANDOM[:20]}"', 'api_key = "[SECRET]"'),
        (f'"client_secret": "{RANDOM[:24]}"', '"client_secret": "[SECRET]"'),
        (f"export API-KEY={RANDOM}", "export API-KEY=[SECRET]"),
        ("postgres://me:h0rse%21x@db/x", "postgres://me:[PASSWORD]@db/x"),
        (f"{BEGIN}\n{KEY_LINE}\n{KEY_LINE}", "[PRIVATE_KEY]"),
        (f"{BEGIN}\\n{KEY_LINE}\\n{KEY_LINE}\\nand so on", "[PRIVATE_KEY]\\nand so on"),
    ],
)
def test_values_are_told_by_what_stands_around_them(text: str, clean: str) -> None:
    assert redacted(text, secrets) == (clean, True)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_and_stand_ins_pass(make_sample: MakeSample, text: str) -> None:
    verdict = SecretsValidator()(make_sample(text))
    assert verdict.passed, verdict.evidence


PIECES = st.lists(
    st.one_of(
        st.sampled_from([*FOUND.values(), "token=", "://a:", "@", " ", "\n", "'", "-", RANDOM]),
        st.text(max_size=4),
    ),
    max_size=10,
).map("".join)


@given(PIECES)
def test_a_redacted_text_has_no_findings_and_stays_as_it_is(text: str) -> None:
    clean, is_clean = redacted(text, secrets)
    if is_clean:
        assert not list(secrets(clean))
        assert redacted(clean, secrets) == (clean, True)
