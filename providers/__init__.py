"""Providers that ship with weave_async. Each stands alone, and imports only its seams."""

WEAVE_ASYNC_PROVIDERS = True
"""Tells our package from a folder named ``providers`` that happens to stand first on the path."""
