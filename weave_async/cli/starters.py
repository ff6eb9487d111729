"""The recipes that ``weave-async new --kind`` begins with, each with the files beside it."""

from __future__ import annotations

from collections.abc import Mapping

PERSONAS = """\
# Many voices: who asks, what about, and how are drawn for each sample.
name: NAME
seed: 7

prompts:
  source: subjects.txt                       # a line is `text`
  system: You write one message that a customer sends. Write the message alone.
  template: |
    You are {{ customer.first_name }}, {{ customer.age }}, {{ persona.job }} in {{ customer.city }}.
    {{ persona.voice }} Write about: {{ text }} ({{ topic.path }}). {{ mood }}
  attributes:
    customer: {person: [en_US, en_GB]}       # Faker: pip install 'weave-async[noise]'
    persona: {file: personas.jsonl}          # rows; a column `weight` is how often
    topic: {tree: topics.yaml}               # a taxonomy: {{ topic }}, {{ topic.path }}
    tone: {choice: [angry, calm, hurried], weights: [1, 2, 1]}
    mood:                                    # depends on an attribute above it
      when:
        tone:
          angry: {choice: [You are fed up., This is the third time.]}
          hurried: {choice: [You have one minute.]}
      else: {choice: ["", You have time.]}
  draws: 4

generate:
  mix: [{endpoint: local}]
  params: {temperature: {uniform: [0.6, 1.2]}, max_tokens: 100}

validation: [{length: {min_words: 5, max_words: 90}}, refusal, echo]
selection: [exact, {near_duplicates: 0.7}]
# controller: on                             # ask more for what brings new texts
"""

PERSONAS_FILES = {
    "subjects.txt": "a late delivery\na wrong invoice\nan account that is locked\na question\n",
    "personas.jsonl": """\
{"job": "a nurse", "voice": "You write short sentences.", "weight": 2}
{"job": "a retired teacher", "voice": "You write politely and at length.", "weight": 1}
{"job": "a courier", "voice": "You write in small letters, without commas.", "weight": 1}
""",
    "topics.yaml": """\
shop: [opening hours, returns, vouchers]
delivery:
  - lost
  - late: [by a day, by weeks]
""",
}

EVOLVE = """\
# Evol-Instruct: each prompt is rewritten into a harder one, or another of its kind. What this run
# writes are prompts; have them answered by a second run whose source is this one's folder:
#
#   weave-async run NAME/recipe.yaml -o out/NAME
#   weave-async run NAME/answer.yaml -o out/NAME-answered
name: NAME
seed: 7

prompts:
  source: prompts.jsonl
  system: You rewrite prompts. Write the new prompt alone, and do not answer it.
  template: |
    Rewrite this prompt. {{ evolution }} Change what is asked, not its language.

    {{ prompt }}
  attributes:
    evolution: {evolve: all}                 # or some of: deepen, constrain, concretize, reason …
  draws: 3

generate:
  mix: [{endpoint: local}]
  params: {temperature: 0.9, max_tokens: 120}

validation:
  - length: {min_words: 4, max_words: 90}
  - echo                                     # not the same prompt again
  - refusal
selection: [exact, {near_duplicates: 0.7}]
"""

EVOLVE_FILES = {
    "prompts.jsonl": """\
{"prompt": "Explain how a bicycle stays upright."}
{"prompt": "Write an invitation to a birthday party."}
{"prompt": "Compare trains and planes."}
""",
    "answer.yaml": """\
# Answers the prompts that recipe.yaml has written.
name: NAME-answered
seed: 7

prompts:
  source: ../out/NAME                        # the folder of that run
  template: "{{ completion }}"               # its completions are the prompts here
  max_generation: 3                          # no further away from what people wrote

generate:
  mix: [{endpoint: local}]
  params: {max_tokens: 200}

validation: [{length: {min_words: 5}}, refusal, truncation]
selection: [exact]
""",
}

SELF_INSTRUCT = """\
# Self-Instruct: new tasks from a few of people's, shown as examples. Then go on from one's own:
# name the folder of this run under `examples.source`, and write to another one with -o.
name: NAME
seed: 7

prompts:
  source: tasks.jsonl
  system: You come up with tasks for an assistant. Write one new task alone, unlike those before.
  template: "A task about {{ subject }}."
  attributes:
    subject: {choice: [cooking, law, a trip, physics, a letter, small talk, money, sports]}
  examples:
    num: 3
    draw: cover                              # all of them are shown before one comes again
    # source: ../out/NAME                    # your own accepted rows: {{ completion }} below
    user: "A task about {{ about }}."
    assistant: "{{ task }}"
  max_generation: 2
  draws: 4

generate:
  mix: [{endpoint: local}]
  params: {temperature: {uniform: [0.7, 1.1]}, max_tokens: 80}

validation: [{length: {min_words: 4, max_words: 60}}, refusal, echo]
selection: [exact, {near_duplicates: 0.6}]
"""

SELF_INSTRUCT_FILES = {
    "tasks.jsonl": """\
{"about": "a garden", "task": "List five flowers that grow in the shade, with their colours."}
{"about": "a job", "task": "Write a polite mail that asks to move an interview to next week."}
{"about": "history", "task": "Explain to a child why castles have thick walls."}
{"about": "a phone", "task": "Suggest a name for an app that counts steps, and say why."}
{"about": "health", "task": "Turn these notes into a plan for the week: run, swim, rest."}
""",
}

KINDS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "personas": (PERSONAS, PERSONAS_FILES),
    "evolve": (EVOLVE, EVOLVE_FILES),
    "self-instruct": (SELF_INSTRUCT, SELF_INSTRUCT_FILES),
}
"""Recipe and files, by the kind's name."""
