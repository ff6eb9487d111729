"""``weave-async new``"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from weave_async.cli.starters import KINDS
from weave_async.errors import RunFolderError, UsageError


class Kind(StrEnum):
    answers = "answers"
    personas = "personas"
    evolve = "evolve"
    self_instruct = "self-instruct"


def new(
    name: Annotated[str, typer.Argument(help="Name of the dataset, and of the folder to make.")],
    kind: Annotated[
        Kind,
        typer.Option(
            "--kind",
            "-k",
            help="answers: questions to answer. personas: many voices. evolve: prompts made "
            "harder, then answered. self-instruct: new tasks from a few.",
        ),
    ] = Kind.answers,
) -> None:
    """Make a folder with a commented recipe and a few seed rows, ready to run.

    Example: `weave-async new my-data && weave-async run my-data/recipe.yaml`
    """
    if not re.fullmatch(r"[\w.-]+", name) or name.startswith("."):
        raise UsageError(f"'{name}': a name has letters, digits, '-', '_' and '.'")
    folder = Path(name)
    recipe, files = KINDS.get(kind.value, (RECIPE, {"seeds.jsonl": SEEDS}))
    try:
        folder.mkdir()
        for file, text in {"recipe.yaml": recipe, **files}.items():
            (folder / file).write_text(text.replace("NAME", name))
    except FileExistsError:
        raise RunFolderError(f"{folder} exists already: choose another name") from None
    except OSError as error:
        raise RunFolderError(f"cannot write {folder}: {error.strerror}") from error
    print(f"Made {', '.join(f'{folder}/{file}' for file in ('recipe.yaml', *files))}. Next:")
    print(f"  weave-async preview {folder}/recipe.yaml")
    print(f"  weave-async run {folder}/recipe.yaml")


RECIPE = """\
# What to make, from what, with whom, and what to keep. Paths start at this file.
# `weave-async schema` prints all keys; an unknown one is refused with the nearest that is known.
name: NAME
seed: 7                          # of every random choice: same seed, same requests
# accept: 100                    # stop at so many written samples …
# candidates: 300                # … or after asking for so many

prompts:
  source: seeds.jsonl            # .jsonl, .csv (with a header), .txt (a line is `text`), or -
  system: You are a helpful assistant. Answer in two or three sentences.
  template: "{{ question }} Answer for {{ reader }}."   # Jinja: columns and attributes by name
  attributes:                    # drawn anew for every sample
    reader: {choice: [a child, a beginner, an expert], weights: [1, 2, 1]}
    # persona: {file: personas.txt}
    # strictness: {uniform: [0, 1]}
  draws: 2                       # samples per row
  on_bad_row: stop               # or skip

generate:
  mix:                           # one or several models, by weight
    - {endpoint: local}          # or openai_compatible, simulated, a name from the environment
  # when_down: wait              # rows of an endpoint that is down wait; else others take them
  # hedge: {after: p95, most: 0.05}      # send stragglers a second time; both may cost
  params:
    temperature: {uniform: [0.6, 1.0]}   # a value, or a distribution to draw from
    top_p: 0.9
    max_tokens: 160
    # schema: answer.schema.json         # the JSON Schema that every answer is checked against
  # n: 2                         # completions of each prompt in one request; `draws` is a multiple

noise:                           # in turn, on the question; answers stay those to the clean one
  - typos: {rate: 0.02}          # misspelt words per letter; numbers, URLs and code are left alone
  # - casing: {style: lower, probability: 0.3}           # of three samples in ten
  # - one_of:                    # clean prompts, each with two others: typed, dictated or clipped
  #     parts: [{typos: 0.03}, asr, abbreviations]
  #     copies: 2
  #     keep_clean: true
  #     protect: [headphones]    # not touched, besides what keeps the meaning

validation:                      # rules on each sample, cheapest first
  - length: {min_words: 5, max_words: 120}
  # - required: {any: [because, since], none: [as an AI]}
  # - refusal                    # "I'm sorry, but I can't help with that"
  # - truncation                 # answers that break off
  # - pii: redact                # [EMAIL], [PHONE] ...; without `redact`, refuses
  # - python: rules.py:my_rule   # def my_rule(text): return "because" in text
  # - judge: {rubric: rubric.md, min: 4}     # a model grades; name another with endpoint, model
# repairs: 1                     # tell the model why its answer was rejected, and ask once more

selection:                       # rules among samples
  - exact                        # of equal answers, keep the first

output:
  format: messages               # rows a trainer loads as they are
  to: [jsonl]
"""

SEEDS = """\
{"question": "Why is the sky blue?"}
{"question": "How does a vaccine work?"}
{"question": "What makes bread rise?"}
{"question": "Why do we have leap years?"}
{"question": "How do noise-cancelling headphones work?"}
"""
