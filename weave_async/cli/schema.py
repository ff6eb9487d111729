"""``weave-async schema``"""

from __future__ import annotations


def schema() -> None:
    """Print the JSON Schema of a recipe, for editors to check and complete it.

    Example: `weave-async schema > recipe.schema.json`, and as the recipe's first line
    `# yaml-language-server: $schema=recipe.schema.json`
    """
    import orjson

    from weave_async.recipe import json_schema

    print(orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2).decode())
