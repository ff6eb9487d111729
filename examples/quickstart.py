"""The Python API in 15 lines. Run it from the repository: python examples/quickstart.py"""

import asyncio

from weave_async import Recipe, Run


async def main() -> None:
    recipe = Recipe.load("examples/support_queries/recipe.yaml")
    async with Run(recipe, output_dir="out/quickstart", samples=6) as run:
        async for sample in run:
            print(f"Q: {sample.messages[-2].content}\nA: {sample.completion}\n")
    print(run.summary)


asyncio.run(main())
