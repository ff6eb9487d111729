"""Stages that do what they must not, to the one sample whose answer tells them to.

They run in worker processes only, which find this module as it is found here.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from weave_async.records import Message, NoiseEdit, Rejection, Sample, TextChange

MEMORY_BYTES = 200 << 20


@dataclass
class Shout:
    """A well-behaved noise: capitals, and a quieter copy of each third sample."""

    name: str = "shout"
    kind: str = "noise"

    def apply(self, sample: Sample) -> Sequence[Sample]:
        *before, last = sample.messages
        loud = Message(last.role, last.content.upper())
        change = TextChange(0, last.content, loud.content)
        edit = NoiseEdit(self.name, len(before), (change,))
        shouted = replace(sample, messages=(*before, loud), edits=(*sample.edits, edit))
        return [shouted, replace(sample, copy=1)] if sample.ordinal % 3 == 0 else [shouted]


@dataclass
class Short:
    """A well-behaved rule, which looks at all that a sample brings along."""

    most_chars: int = 60
    name: str = "short"
    kind: str = "validation"

    def apply(self, sample: Sample) -> Sequence[Sample]:
        response = sample.response
        num_chars = len(sample.completion) + len(sample.prompt.columns.get("text", ""))
        if response is None or response.finish_reason != "stop" or num_chars > self.most_chars:
            rejection = Rejection(self.kind, self.name, "too_long", {"chars": num_chars})
            return [replace(sample, rejection=rejection)]
        return [sample]


@dataclass
class Hostile:
    """Takes an answer for the name of a fault."""

    name: str = "hostile"
    kind: str = "validation"

    def apply(self, sample: Sample) -> Any:
        fault = FAULTS.get(sample.completion)
        return [sample] if fault is None else fault(sample)


@dataclass
class SlowToLoad:
    """Loads a model, as it were, when it is first called."""

    load_s: float
    name: str = "slow_to_load"
    kind: str = "validation"
    is_loaded: bool = False

    def apply(self, sample: Sample) -> Sequence[Sample]:
        if not self.is_loaded:
            self.is_loaded = True
            time.sleep(self.load_s)
        return [sample]


STAGES: Mapping[str, Callable[..., Any]] = {
    "shout": Shout,
    "short": Short,
    "hostile": Hostile,
    "slow_to_load": SlowToLoad,
}


def build(spec: Mapping[str, Any]) -> Sequence[Any]:
    return [STAGES[name](**options) for name, options in spec["stages"]]


def build_nothing(spec: Mapping[str, Any]) -> Sequence[Any]:
    raise ValueError("no word list at hand")


def build_and_leave(spec: Mapping[str, Any]) -> Sequence[Any]:
    os._exit(3)


def build_forever(spec: Mapping[str, Any]) -> Sequence[Any]:
    while True:
        pass


def _raise(sample: Sample) -> Sequence[Sample]:
    raise ValueError("cannot read this")


def _exit(sample: Sample) -> Sequence[Sample]:
    sys.exit("enough")


def _interrupt(sample: Sample) -> Sequence[Sample]:
    raise KeyboardInterrupt


def _wrong_type(sample: Sample) -> Any:
    return ["a text"]


def _no_list(sample: Sample) -> Any:
    return True


def _foreign_change(sample: Sample) -> Sequence[Sample]:
    return [replace(sample, seed=sample.seed + 1)]


def _million(sample: Sample) -> Iterator[Sample]:
    return (replace(sample, copy=number) for number in range(10**6))


def _bulk(sample: Sample) -> Sequence[Sample]:
    return [replace(sample, messages=(Message("assistant", "x" * (17 << 20)),))]


def _hang(sample: Sample) -> Sequence[Sample]:
    while True:
        pass


def _sleep(sample: Sample) -> Sequence[Sample]:
    time.sleep(3600)
    return [sample]


def _regex_bomb(sample: Sample) -> Sequence[Sample]:
    re.match(r"(a+)+$", "a" * 60 + "b")
    return [sample]


def _deaf_hang(sample: Sample) -> Sequence[Sample]:
    for number in (signal.SIGABRT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    return _hang(sample)


def _segfault(sample: Sample) -> Sequence[Sample]:
    ctypes.string_at(0)
    return [sample]


def _leave(sample: Sample) -> Sequence[Sample]:
    os._exit(3)


def _kill(sample: Sample) -> Sequence[Sample]:
    os.kill(os.getpid(), signal.SIGKILL)
    return _hang(sample)


def _eat_memory(sample: Sample) -> Sequence[Sample]:
    eaten = []
    while True:
        eaten.append(bytearray(16 << 20))


def _close_all(sample: Sample) -> Sequence[Sample]:
    os.closerange(0, 4096)
    return [sample]


def _print(sample: Sample) -> Sequence[Sample]:
    print('{"is_last": true}', "x" * 100_000)
    os.write(1, b"\x00\x00\x00\x00 to standard output\n")
    os.write(2, b"to standard error\n")
    return [sample]


def _close_standard(sample: Sample) -> Sequence[Sample]:
    os.close(0)
    os.close(1)
    return [sample]


def _fork(sample: Sample) -> Sequence[Sample]:
    os.fork()  # and both of them return
    return [sample]


def _fork_and_stay(sample: Sample) -> Sequence[Sample]:
    if os.fork() == 0:
        time.sleep(3600)
    return [sample]


def _forget_modules(sample: Sample) -> Sequence[Sample]:
    sys.modules.clear()
    return [sample]


def _warn(sample: Sample) -> Sequence[Sample]:
    for _ in range(1000):
        logging.getLogger("somebody").warning("odd \x1b[31m sample")
    return [sample]


def _list_files(sample: Sample) -> Sequence[Sample]:
    files = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing had one of its own
            files.append(os.readlink(f"/proc/self/fd/{fd}"))
    return [replace(sample, rejection=Rejection("validation", "hostile", "-", {"files": files}))]


FAULTS: Mapping[str, Callable[[Sample], Any]] = {
    "raise": _raise,
    "exit": _exit,
    "interrupt": _interrupt,
    "wrong type": _wrong_type,
    "no list": _no_list,
    "foreign change": _foreign_change,
    "million": _million,
    "bulk": _bulk,
    "hang": _hang,
    "sleep": _sleep,
    "regex bomb": _regex_bomb,
    "deaf hang": _deaf_hang,
    "segfault": _segfault,
    "leave": _leave,
    "kill": _kill,
    "eat memory": _eat_memory,
    "close all": _close_all,
    "print": _print,
    "close standard": _close_standard,
    "fork": _fork,
    "fork and stay": _fork_and_stay,
    "forget modules": _forget_modules,
    "warn": _warn,
    "list files": _list_files,
}
