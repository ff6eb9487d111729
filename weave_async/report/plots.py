from __future__ import annotations


def plots_of(views, comparison):
    return []
