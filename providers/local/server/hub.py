"""A model id → a folder on this disk, through the Hugging Face Hub and its cache."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from .progress import Progress
from .source import DEFAULT_MODEL, WeightsError, one_line

# What a model is made of, and nothing that a pickle or code could hide in. Folders inside are
# other editions of it (ONNX, the original's own format).
WANTED = ["*.json", "model*.safetensors", "*.jinja", "merges.txt", "tokenizer.model"]
UNWANTED = ["*/*"]


def download(model_id: str, progress: Progress) -> Path:
    """Only what the cache lacks; all from the cache where the hub cannot be reached."""
    try:
        with progress.step("downloading", f"looking up {model_id} on the Hugging Face Hub"):
            return Path(
                snapshot_download(model_id, allow_patterns=WANTED, ignore_patterns=UNWANTED)
            )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as exc:
        raise WeightsError(
            f"cannot load {model_id!r} from the hub: {one_line(exc)} "
            f"A model is {DEFAULT_MODEL!r}, a folder, a .gguf file, or an id on the hub"
        ) from exc
