"""OpenVINO GenAI's continuous batching in its own process, on the GGUF file as it is.

python -m local_generation.openvino_child MODEL.gguf --threads 2
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import openvino
import openvino_genai

from local_generation.child_loop import answer_sets
from local_generation.load import Answered, Load

CACHE_GB = 1


class Pipeline:
    """Asked as a server would ask it: the next request comes in when another is answered."""

    def __init__(self, path: str, threads: int, max_concurrency: int) -> None:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = CACHE_GB
        scheduler.max_num_seqs = max_concurrency
        scheduler.enable_prefix_caching = True
        properties = {"INFERENCE_NUM_THREADS": threads}
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            path, scheduler, "CPU", properties
        )
        self._tokenizer = self._pipeline.get_tokenizer()
        self._num_requests = 0

    def generate(self, load: Load) -> Answered:
        output_tokens: list[int] = []
        input_tokens: list[int] = []
        e2e_s: list[float] = []
        running: dict[Any, float] = {}
        waiting = iter(load.conversations)
        started_s = time.monotonic()
        while True:
            while len(running) < load.concurrency and (messages := next(waiting, None)):
                ids = self._encode(messages)
                input_tokens.append(ids.shape[1])
                self._num_requests += 1
                handle = self._pipeline.add_request(self._num_requests, ids, sampling(load))
                running[handle] = time.monotonic()
            if not running:
                break
            self._pipeline.step()
            for handle in [h for h in running if _is_finished(h)]:
                e2e_s.append(time.monotonic() - running.pop(handle))
                output_tokens.append(len(handle.read_all()[0].generated_ids))
        return Answered(time.monotonic() - started_s, output_tokens, input_tokens, e2e_s)

    def _encode(self, messages: Any) -> Any:
        """Token ids of one conversation  # (1, prompt)"""
        text = self._tokenizer.apply_chat_template(messages, True)
        return self._tokenizer.encode(text, add_special_tokens=False).input_ids


def sampling(load: Load) -> Any:
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = load.max_tokens
    config.ignore_eos = True
    config.do_sample = True
    config.temperature = load.temperature
    config.top_p = load.top_p
    return config


def _is_finished(handle: Any) -> bool:
    return handle.get_status().name != "RUNNING"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--max-concurrency", type=int, default=64)
    given = parser.parse_args()
    pipeline = Pipeline(given.path, given.threads, given.max_concurrency)
    numbers = openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT")
    answer_sets(f"GGUF as {numbers.get_type_name()}", pipeline.generate)


if __name__ == "__main__":
    main()
