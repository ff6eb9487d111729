"""The cache of converted models: a GGUF takes seconds to read each time, its safetensors do not.

An entry is a folder, named for everything that its content follows from: the digest of the GGUF,
the dtype, the version of transformers that converted it, and the format of this cache. An entry is
written under another name and renamed when all of it is on the disk, so what has the right name is
whole; a sidecar holds the digest of each file, in case the disk forgets later. Everything here can
be deleted at any time. Digests, and no more, are computed here: no torch.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from .source import DTYPES

FORMAT = 1
SIDECAR = "digests.json"
UNFINISHED = ".unfinished-"
_CHUNK_BYTES = 1 << 20


class CacheUnusable(Exception):
    """The entry cannot be written (no room, no right, no home): one line about the cause."""


@dataclass(frozen=True, slots=True)
class Conversions:
    """The entries of one GGUF, one for each dtype that it has been served in.

    What the weights become by being stored in the dtype they are served in is what loading the
    GGUF in that dtype makes of them anyway, and it halves the disk and the reading of a bfloat16
    model. Nothing narrower than the source's own values is lost on the way: float32 stays so.
    """

    folder: Path
    digest: str
    whole: Mapping[str, Path] = field(default_factory=dict)  # by dtype, as `look_up` found them

    def entry(self, dtype: str) -> Path:
        converter = importlib.metadata.version("transformers")
        return self.folder / f"{self.digest[:32]}-{dtype}-transformers{converter}-v{FORMAT}"

    def find(self, dtype: str) -> Path | None:
        """The entry, if there is one and it is whole. A damaged one is thrown away."""
        entry = self.entry(dtype)
        if not entry.is_dir():
            return None
        if _is_whole(entry):
            return entry
        _discard(entry)
        return None

    def make(self, dtype: str, write: Callable[[Path], None]) -> Path:
        """The entry, which `write` fills unless another process was faster.

        Waits while another process makes it. Raises `CacheUnusable`, and whatever `write` raises.
        """
        entry = self.entry(dtype)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _locked(entry) as alone:
                if (made := self.find(dtype)) is not None:
                    return made
                if alone:  # then nobody is at work on what is left unfinished: its maker died
                    for leftover in self.folder.glob(f"{entry.name}{UNFINISHED}*"):
                        shutil.rmtree(leftover, ignore_errors=True)
                return _fill(entry, write)
        except OSError as exc:
            raise CacheUnusable(f"{self.folder}: {exc.strerror or exc}") from exc


def look_up(gguf: Path) -> Conversions:
    """Reads the whole file and all of its entries, for their digests: 0.1 s per 100 MB.

    Raises `CacheUnusable` where there is no home folder, `OSError` where the file cannot be read.
    """
    conversions = Conversions(cache_folder(), _digest(gguf))
    found = {dtype: conversions.find(dtype) for dtype in DTYPES}
    return replace(conversions, whole={k: entry for k, entry in found.items() if entry})


def cache_folder() -> Path:
    """A relative or empty XDG_CACHE_HOME is to be ignored, says the XDG specification."""
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = chosen if chosen.is_absolute() else Path(os.path.expanduser("~/.cache"))
    if not base.is_absolute():
        raise CacheUnusable("this user has no home folder; XDG_CACHE_HOME can name another")
    return base / "weave-async" / "models"


def _fill(entry: Path, write: Callable[[Path], None]) -> Path:
    unfinished = Path(tempfile.mkdtemp(prefix=f"{entry.name}{UNFINISHED}", dir=entry.parent))
    try:
        write(unfinished)
        _sync(unfinished, _seal(unfinished))
        try:
            unfinished.rename(entry)
        except OSError:
            if not _is_whole(entry):  # or else another process was faster, where locks do not work
                raise
        _sync_folder(entry.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)  # the name is free where all went well
    return entry


def _seal(folder: Path) -> list[Path]:
    """Write the sidecar; returns all files that the entry now has."""
    files = sorted(folder.iterdir())
    sealed = {path.name: {"bytes": path.stat().st_size, "digest": _digest(path)} for path in files}
    sidecar = folder / SIDECAR
    sidecar.write_text(json.dumps({"files": sealed}, indent=1))
    return [*files, sidecar]


def _is_whole(entry: Path) -> bool:
    """Exactly the files that were sealed, with exactly their content."""
    try:
        sealed = json.loads((entry / SIDECAR).read_bytes())["files"]
        names = {path.name for path in entry.iterdir()} - {SIDECAR}
        return names == set(sealed) and all(
            (entry / name).stat().st_size == seal["bytes"]
            and _digest(entry / name) == seal["digest"]
            for name, seal in sealed.items()
        )
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ):  # unreadable, or a sidecar of some other kind
        return False


def _discard(entry: Path) -> None:
    """Out of the way first: another process must not find it half deleted."""
    with contextlib.suppress(OSError):  # gone already, or not ours to delete: it is made elsewhere
        doomed = Path(tempfile.mkdtemp(prefix=f"{entry.name}{UNFINISHED}", dir=entry.parent))
        entry.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


@contextlib.contextmanager
def _locked(entry: Path) -> Iterator[bool]:
    """Whether we are the only one at work. Where locks do not work, nobody waits for anybody."""
    with entry.with_name(f"{entry.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
            return
        yield True  # closing the file unlocks it, and so does the end of the process


def _sync(folder: Path, files: list[Path]) -> None:
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    digest = hashlib.blake2b()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
