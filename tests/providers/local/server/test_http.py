"""The server as a client sees it: a real process, a tiny random model, HTTP."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tiny_models import MAX_CONTEXT, make_tokenizer

from .conftest import MAX_CONCURRENCY, MAX_QUEUE, is_idle, wait_until

HELLO = [{"role": "user", "content": "hello"}]
ENDLESS = {"ignore_eos": True, "max_tokens": 4000}


def ask(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    body = {"model": "tiny", "messages": HELLO, "max_tokens": 16, **fields}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    reply = answer.json()
    assert isinstance(reply, dict)
    return reply


def ask_text(client: httpx.Client, **fields: Any) -> str:
    return str(ask(client, **fields)["choices"][0]["message"]["content"])


def complete(client: httpx.Client, prompt: Any, **fields: Any) -> dict[str, Any]:
    body = {"model": "tiny", "prompt": prompt, "max_tokens": 16, **fields}
    answer = client.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    reply = answer.json()
    assert isinstance(reply, dict)
    return reply


def stream(client: httpx.Client, path: str, **fields: Any) -> list[dict[str, Any]]:
    body = {"model": "tiny", "max_tokens": 16, "stream": True, **fields}
    with client.stream("POST", path, json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def refusal(client: httpx.Client, path: str = "/v1/chat/completions", **fields: Any) -> Any:
    body = {"model": "tiny", "messages": HELLO, **fields}
    answer = client.post(path, json=body)
    return answer.status_code, answer.json()["error"]


def test_chat_answers_in_openai_shape(client: httpx.Client) -> None:
    reply = ask(client, ignore_eos=True)
    assert reply["id"].startswith("chatcmpl-")
    assert reply["object"] == "chat.completion"
    assert reply["model"] == "tiny"
    assert reply["system_fingerprint"] == "slots_float32_cpu"
    assert reply["choices"][0]["message"]["role"] == "assistant"
    assert reply["choices"][0]["finish_reason"] == "length"
    # "<|start|>user\nhello<|end|><|start|>assistant\n": 3 special tokens and 20 bytes
    assert reply["usage"] == {"prompt_tokens": 23, "completion_tokens": 16, "total_tokens": 39}


def test_content_parts_are_the_text_they_hold(client: httpx.Client) -> None:
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    messages = [{"role": "user", "content": parts}]
    assert ask_text(client, temperature=0, messages=messages) == ask_text(client, temperature=0)


@pytest.mark.parametrize("n", [1, 3])
def test_streamed_text_is_the_whole_text_under_the_same_seed(client: httpx.Client, n: int) -> None:
    fields = {"seed": 7, "n": n, "max_tokens": 60, "messages": HELLO}
    whole = ask(client, **fields)
    chunks = stream(
        client, "/v1/chat/completions", stream_options={"include_usage": True}, **fields
    )
    last = chunks.pop()
    assert last["choices"] == []
    assert last["usage"] == whole["usage"]
    assert [c["choices"][0]["delta"] for c in chunks[:n]] == [
        {"role": "assistant", "content": ""}
    ] * n
    texts, reasons = [""] * n, [None] * n
    for chunk in chunks:
        assert chunk["usage"] is None
        (choice,) = chunk["choices"]
        assert reasons[choice["index"]] is None, "a chunk after the one with the finish_reason"
        texts[choice["index"]] += choice["delta"].get("content", "")
        reasons[choice["index"]] = choice["finish_reason"]
    assert texts == [choice["message"]["content"] for choice in whole["choices"]]
    assert reasons == [choice["finish_reason"] for choice in whole["choices"]]


def test_streamed_completion_is_the_whole_completion(client: httpx.Client) -> None:
    whole = complete(client, "abc", temperature=0)
    chunks = stream(client, "/v1/completions", prompt="abc", temperature=0)
    assert "".join(c["choices"][0]["text"] for c in chunks) == whole["choices"][0]["text"]
    assert all("usage" not in chunk for chunk in chunks)


def test_completion_takes_texts_and_token_ids(client: httpx.Client) -> None:
    ids = complete(client, "ab", temperature=0)
    reply = complete(client, ["ab", "cd"], temperature=0, n=2)
    texts = [choice["text"] for choice in reply["choices"]]
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2, 3]
    assert texts[0] == texts[1] == ids["choices"][0]["text"]
    assert texts[2] == texts[3] != texts[0]
    assert reply["usage"]["prompt_tokens"] == 4
    assert complete(client, [5, 6, 7], temperature=0)["usage"]["prompt_tokens"] == 3
    assert len(complete(client, [[5], [6, 7]], temperature=0)["choices"]) == 2


def test_greedy_is_the_same_alone_and_in_company(client: httpx.Client) -> None:
    def greedy(prompt: str) -> str:
        return str(complete(client, prompt, temperature=0, max_tokens=48)["choices"][0]["text"])

    prompts = [chr(ord("a") + i) * (3 * i + 1) for i in range(8)]
    alone = [greedy(prompt) for prompt in prompts]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(greedy, prompts)) == alone


def test_a_seed_repeats_its_text_and_another_gives_another(client: httpx.Client) -> None:
    texts = [ask_text(client, seed=seed, max_tokens=40) for seed in (1, 1, 2, -3)]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


def test_without_a_seed_texts_differ(client: httpx.Client) -> None:
    assert len({ask_text(client, max_tokens=40) for _ in range(3)}) == 3


def test_choices_of_one_request_differ(client: httpx.Client) -> None:
    choices = ask(client, seed=1, n=4, max_tokens=40)["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2, 3]
    assert len({choice["message"]["content"] for choice in choices}) == 4


def test_top_k_one_is_greedy(client: httpx.Client) -> None:
    greedy = ask_text(client, temperature=0)
    assert ask_text(client, temperature=2, top_k=1) == greedy
    assert ask_text(client, temperature=2, top_p=0.0001) == greedy


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_max_tokens_is_exact(client: httpx.Client, name: str) -> None:
    reply = ask(client, **{"max_tokens": None, name: 5}, ignore_eos=True)
    assert reply["usage"]["completion_tokens"] == 5
    assert reply["choices"][0]["finish_reason"] == "length"


def test_max_tokens_has_a_default(client: httpx.Client) -> None:
    reply = ask(client, max_tokens=None, ignore_eos=True)
    assert reply["usage"]["completion_tokens"] == 512


def test_models_and_health(client: httpx.Client) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    assert (model["id"], model["max_model_len"]) == ("tiny", MAX_CONTEXT)
    assert client.get("/v1/models/tiny").json() == model
    assert client.get("/v1/models/other").json()["error"]["code"] == "model_not_found"
    before = client.get("/health").json()
    assert (before["status"], before["model"]) == ("ok", "tiny")
    ask(client, max_tokens=9, ignore_eos=True)
    assert client.get("/health").json()["generated_tokens"] == before["generated_tokens"] + 9


# ---- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", [{"type": "function"}]),
        ("echo", True),
        ("suffix", "x"),
        ("audio", {"voice": "x"}),
        ("chat_template", "{{ x }}"),
        ("guided_regex", "(a+)+"),
        ("best_of", 2),
    ],
)
def test_an_unsupported_parameter_is_named(client: httpx.Client, name: str, value: Any) -> None:
    status, error = refusal(client, **{name: value})
    assert (status, error["param"]) == (400, name)
    assert error["code"] == "unsupported_parameter"
    assert error["type"] == "invalid_request_error"
    assert json.dumps(value, separators=(",", ":")) in error["message"]


def test_neutral_values_and_harmless_fields_are_accepted(client: httpx.Client) -> None:
    neutral = {"presence_penalty": 0, "frequency_penalty": 0.0, "repetition_penalty": 1}
    neutral |= {"logit_bias": {}, "logprobs": False, "tools": [], "min_p": 0, "stop": None}
    harmless = {"user": "me", "metadata": {"a": "b"}, "store": True, "service_tier": "auto"}
    harmless |= {"parallel_tool_calls": True}
    ask(client, **neutral, **harmless, response_format={"type": "text"}, stream_options={})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 2.1),
        ("temperature", -0.1),
        ("min_p", 1.1),
        ("presence_penalty", 2.5),
        ("frequency_penalty", "much"),
        ("repetition_penalty", 0),
        ("repetition_penalty", 1e-300),
        ("logit_bias", {"100000": 1}),
        ("logprobs", 2),
        ("temperature", "hot"),
        ("temperature", True),
        ("top_p", 0),
        ("top_k", 1.5),
        ("n", 9),
        ("n", 0),
        ("seed", 1.5),
        ("max_tokens", 0),
        ("max_tokens", 2**70),
        ("stop", ["a", "b", "c", "d", "e"]),
        ("stop", ""),
        ("stop", [1]),
        ("stream", "yes"),
        ("messages", []),
        ("messages", "hello"),
        ("messages", [{"role": "robot", "content": "x"}]),
        ("messages", [{"role": "user"}]),
        ("messages", [{"role": "user", "content": [{"type": "image_url"}]}]),
    ],
)
def test_a_wrong_value_is_named(client: httpx.Client, name: str, value: Any) -> None:
    status, error = refusal(client, **{name: value})
    assert (status, error["param"]) == (400, name)


@pytest.mark.parametrize(
    "prompt", ["", [], [[]], [-1], [10**6], [1.5], ["a", 3], [True], None, ["a"] * 65]
)
def test_a_wrong_prompt_is_refused(client: httpx.Client, prompt: Any) -> None:
    answer = client.post("/v1/completions", json={"model": "tiny", "prompt": prompt})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"7", b'{"model": NaN}', b'{"a": "\xff"}', b"[" * 100_000]
)
def test_a_body_that_is_no_json_object_is_refused(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/v1/chat/completions", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


def test_another_model_is_not_found_and_the_served_one_named(client: httpx.Client) -> None:
    status, error = refusal(client, model="gpt-5")
    assert (status, error["code"]) == (404, "model_not_found")
    assert "'tiny'" in error["message"]


def test_a_prompt_too_long_for_the_context_says_the_numbers(client: httpx.Client) -> None:
    status, error = refusal(client, max_tokens=MAX_CONTEXT)
    assert (status, error["code"]) == (400, "context_length_exceeded")
    assert "23 tokens" in error["message"]
    assert str(MAX_CONTEXT) in error["message"]
    long = [{"role": "user", "content": "x" * MAX_CONTEXT}]
    assert refusal(client, messages=long)[1]["param"] == "messages"


def test_a_body_over_4_mb_is_refused(client: httpx.Client) -> None:
    body = b" " * (4 * 1024 * 1024 + 1)
    answer = client.post("/v1/chat/completions", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    chunked = client.post("/v1/chat/completions", content=iter([body[: 1024 * 1024]] * 5))
    assert chunked.status_code == 413


def test_unknown_paths_and_methods_answer_in_the_same_shape(client: httpx.Client) -> None:
    for answer, status in (
        (client.get("/v1/embeddings"), 404),
        (client.get("/v1/completions"), 405),
    ):
        assert answer.status_code == status
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_foreign_host_header_is_refused(client: httpx.Client) -> None:
    assert client.get("/health", headers={"Host": "evil.example"}).status_code == 400


# ---- limits and leaving --------------------------------------------------------------------------


def open_stream(client: httpx.Client) -> httpx.Response:
    body = {"model": "tiny", "messages": HELLO, "stream": True, **ENDLESS}
    request = client.build_request("POST", "/v1/chat/completions", json=body)
    answer = client.send(request, stream=True)
    assert answer.status_code == 200
    return answer


def test_over_the_queue_bound_is_429_and_leaving_makes_room(client: httpx.Client) -> None:
    answers = [open_stream(client) for _ in range(MAX_CONCURRENCY + MAX_QUEUE)]
    health = client.get("/health").json()
    assert (health["running"], health["waiting"]) == (MAX_CONCURRENCY, MAX_QUEUE)
    refused = client.post("/v1/chat/completions", json={"model": "tiny", "messages": HELLO})
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["code"] == "queue_full"
    for answer in answers:
        answer.close()
    wait_until(lambda: is_idle(client), 3)
    ask(client)


def test_an_answer_does_not_wait_for_a_delayed_acknowledgement(client: httpx.Client) -> None:
    """Without TCP_NODELAY each answer took 44 ms: its head, 40 ms of silence, its body."""

    def seconds() -> float:
        return client.post("/v1/completions", json={"model": "other"}).elapsed.total_seconds()

    assert sorted(seconds() for _ in range(21))[10] < 0.03


def test_more_sequences_than_ever_fit_is_not_worth_a_retry(client: httpx.Client) -> None:
    body = {"model": "tiny", "prompt": ["a", "b"], "n": 8}
    assert client.post("/v1/completions", json=body).status_code == 400


def test_a_client_that_leaves_its_stream_stops_the_generation(client: httpx.Client) -> None:
    answer = open_stream(client)
    lines = answer.iter_lines()
    for _ in range(6):
        next(lines)
    assert client.get("/health").json()["running"] == 1
    answer.close()
    wait_until(lambda: is_idle(client), 2)
    made = client.get("/health").json()["generated_tokens"]
    ask(client, max_tokens=4, ignore_eos=True)
    more = client.get("/health").json()["generated_tokens"] - made
    assert 4 <= more <= 6  # the step that was under way, and at most one more


def test_a_client_that_stops_waiting_stops_the_generation(client: httpx.Client) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.post(
            "/v1/chat/completions",
            json={"model": "tiny", "messages": HELLO, **ENDLESS},
            timeout=0.3,
        )
    wait_until(lambda: is_idle(client), 2)


def test_greedy_equals_transformers_generate_alone_and_in_a_batch(
    client: httpx.Client, tiny_folder: Path
) -> None:
    """The longest prompt is read in two steps, beside the others' decoding."""
    tokenizer = make_tokenizer()
    lengths = (1, 5, 40, 90, 7, 700)
    prompts = [[2 + (31 * i + 7 * j) % 250 for j in range(n)] for i, n in enumerate(lengths)]
    expected = _generate(tiny_folder, prompts, num_tokens=32)
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in expected]

    def ours(ids: list[int]) -> tuple[str, int]:
        reply = complete(client, ids, temperature=0, max_tokens=32)
        return ended(reply["choices"][0]["text"]), reply["usage"]["completion_tokens"]

    def ended(text: str) -> str:
        """Without the last character where it is broken: ours drops it if it is unfinished."""
        return text.rstrip("\N{REPLACEMENT CHARACTER}")

    wanted = list(zip(map(ended, texts), map(len, expected), strict=True))
    assert [ours(ids) for ids in prompts] == wanted
    with ThreadPoolExecutor(len(prompts)) as threads:
        assert list(threads.map(ours, prompts)) == wanted


def _generate(folder: Path, prompts: list[list[int]], num_tokens: int) -> list[list[int]]:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    outputs = [
        model.generate(torch.tensor([ids]), max_new_tokens=num_tokens, do_sample=False)
        for ids in prompts
    ]
    return [output[0, len(ids) :].tolist() for ids, output in zip(prompts, outputs, strict=True)]
