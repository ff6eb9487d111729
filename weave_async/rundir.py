"""The run folder: which files there are, how they are locked, written and published.

::

    RUN/
    ├── recipe.yaml       what was asked for, resolved, without secrets
    ├── journal/          every answer as it came: the only truth (see weave_async.journal)
    ├── decisions.jsonl   what a controller has decided, and on what evidence
    ├── batches/          what went to a batch API and came back, and a ledger of how far each got
    ├── samples.jsonl     the dataset
    ├── rejected.jsonl    a row per rejected sample: stage, rule, reason, evidence
    ├── failed.jsonl      a row per failed sample: error, message, attempts
    ├── metrics.json      counts, tokens, rates and the time each stage took
    ├── manifest.json     counts, rows and SHA-256 of the files above; written last
    ├── shard.json        which part of a run this is, where it is one; see weave_async.sharding
    ├── merging           there while shards are merged here: what is beside it can be made again
    ├── review.jsonl      what people have decided on the rows; see weave_async.review_log
    ├── report.html       a page about all this, where somebody has made one; no part of the run
    └── lock              held by the process that writes here

While a run goes on, outputs grow as ``*.part`` and are renamed at the end: a file without that
ending is whole. Only this module knows these names.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from tempfile import mkstemp
from typing import IO, Any

import orjson
import yaml

from weave_async.errors import InputError, RunFolderError, RunLockedError, StorageError

FORMAT_VERSION = 2
"""Format 1 had no calls in its journal, and did not say what was synced; it is still read."""
_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600
_BEFORE_A_RUN = {"lock", "probe", "probe.part"}
"""What a crash while a folder is opened may leave in it."""


NETWORK_FILESYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "fuse.sshfs"}
NUM_LOOKS_AT_LOCK, LOOK_AT_LOCK_EVERY_S = 20, 0.01
MOST_RUNS_NAMED = 5
OUTPUTS = ("samples", "rejected", "failed")
"""Stems of the files in which samples end."""
READ_BLOCK_BYTES = 1 << 20
_MANIFEST_FIELDS: Mapping[str, type] = {
    "format_version": int,
    "files": dict,
    "epoch": int,
    **dict.fromkeys(("asked", "written", "rejected", "failed", "pending"), int),
}


class RunFolder:
    """One run on disk. ``open`` it before the first request: it proves that writing works."""

    def __init__(self, path: Path, *, allow_network_fs: bool = False) -> None:
        self.path = path
        self._allow_network_fs = allow_network_fs
        self._lock: IO[str] | None = None

    def __repr__(self) -> str:
        return f"<RunFolder {self.path}{' locked' if self._lock else ''}>"

    @property
    def journal(self) -> Path:
        return self.path / "journal"

    @property
    def consultations(self) -> Path:
        """The journal of what stages have asked models, apart from that of the samples."""
        return self.path / "consultations"

    @property
    def batches(self) -> Path:
        return self.path / "batches"

    @property
    def decisions(self) -> Path:
        """What a controller has decided, where there is one: as much a part of what was asked as
        the recipe.
        """
        return self.path / "decisions.jsonl"

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def shard(self) -> Path:
        """Which part of a run this is; not there where it is a whole one."""
        return self.path / "shard.json"

    @property
    def merging(self) -> Path:
        """Stands for as long as shards are being merged here."""
        return self.path / "merging"

    @property
    def review(self) -> Path:
        """What people have decided on the rows."""
        return self.path / "review.jsonl"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def report(self) -> Path:
        """The page about this run."""
        return self.path / "report.html"

    @property
    def comparison(self) -> Path:
        """The page about this run and another."""
        return self.path / "comparison.html"

    def output(self, name: str, suffix: str = ".jsonl") -> OutputFile:
        """An output file of this run, by its stem: ``samples``, ``rejected`` or ``failed``."""
        return OutputFile(self.path / f"{name}{suffix}")

    def remove_outputs(self, pattern: str, *, but: Iterable[OutputFile]) -> None:
        """Delete the outputs of that pattern, finished or not, that are none of these."""
        kept = {file.path for file in but}
        for path in [*self.path.glob(pattern), *self.path.glob(f"{pattern}.part")]:
            if path not in kept:
                path.unlink()

    def holds_a_run(self) -> bool:
        return self.journal.is_dir() or self.manifest.is_file()

    def holds_answers(self) -> bool:
        """Whether somebody has asked here, or published."""
        return self.manifest.is_file() or any(self.journal.glob("[0-9]*"))

    def require_run(self) -> None:
        """Raises ``RunFolderError`` where there is no run to look at."""
        if not self.holds_a_run():
            raise RunFolderError(f"{self.path} holds no run: {self._where_one_is()}")

    def _where_one_is(self) -> str:
        """For whoever has named this folder as a run."""
        if self.path.is_file():
            return "it is a file, and a run is a folder, which -o has named"
        if not self.path.is_dir():
            names = [each.name for each in _runs_in(self.path.parent)]
            near = get_close_matches(self.path.name, names, n=1)
            return (
                f"is {self.path.with_name(near[0])} meant?" if near else "there is no such folder"
            )
        if runs := [each.name for each in _runs_in(self.path)]:
            more = ", …" if len(runs) > MOST_RUNS_NAMED else ""
            return f"name one of those in it: {', '.join(runs[:MOST_RUNS_NAMED])}{more}"
        return "name the folder that -o named"

    def read_manifest(self) -> dict[str, Any] | None:
        """What the last run that came to its end published; ``None`` if none has."""
        try:
            with open_regular(self.manifest) as file:
                manifest = orjson.loads(file.read())
        except FileNotFoundError:
            return None
        except (OSError, orjson.JSONDecodeError) as error:
            raise InputError(f"cannot read {self.manifest}: {error}") from error
        if not isinstance(manifest, dict):
            raise InputError(f"{self.manifest} is not a manifest")
        for name, kind in _MANIFEST_FIELDS.items():
            if not isinstance(manifest.get(name, kind()), kind):
                raise InputError(f"{self.manifest} is not a manifest: its {name} is odd")
        if manifest.get("format_version", 0) > FORMAT_VERSION:
            raise RunFolderError(f"{self.manifest} is of a newer weave-async: upgrade first")
        return manifest

    def published_answers(self) -> int:
        """How many answers the journal must hold, by what the last run has published; 0 after a
        repair, which has left out what was damaged with its user's consent.
        """
        manifest = self.read_manifest()
        if manifest is None or manifest.get("repaired"):
            return 0
        ended = manifest.get("written", 0) + manifest.get("rejected", 0)
        return int(ended - manifest.get("copies", 0))

    def note_repair(self) -> None:
        """Answers that were published may be missing now, and will be asked for again."""
        manifest = self.read_manifest()
        if manifest is not None:
            self.write_manifest({**manifest, "repaired": True})

    def unfinished(self) -> list[Path]:
        """Outputs of a run that goes on, or was cut short."""
        return sorted(self.path.glob("*.part"))

    def lost_outputs(self) -> list[str]:
        """Outputs that were there, where there is no manifest to tell: they appear in their order,
        and then the metrics, so that none may be missing before one that is there.
        """
        names = {path.name.partition(".")[0] for path in self.path.iterdir()}
        stems = [*OUTPUTS, "metrics"]
        last = max((stems.index(stem) for stem in names & set(stems)), default=0)
        return [stem for stem in stems[:last] if stem not in names]

    def open(self) -> None:
        """Create the folder, take its lock, and try a write, a sync and a rename in it."""
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"{self.path} is a file: choose another folder with -o")
        if self._is_foreign():
            raise RunFolderError(
                f"{self.path} is not empty and holds no run: choose another folder with -o"
            )
        try:
            self.path.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
            self._require_local_disk()
            self._take_lock()
            self._probe()
            self.journal.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        except (OSError, StorageError) as error:
            self.close()
            cause = error.__cause__ if isinstance(error, StorageError) else error
            why = cause.strerror if isinstance(cause, OSError) else cause
            raise RunFolderError(
                f"cannot write in {self.path}: {why}. Choose another folder with -o"
            ) from error

    def take(self) -> None:
        """Take the lock of a run that is there, to read what nobody is to change meanwhile."""
        self.require_run()
        try:
            self._take_lock()
        except OSError as error:
            raise RunFolderError(f"cannot lock {self.path}: {error.strerror}") from error

    def make_consultations(self) -> Path:
        """The folder of that journal, made if it is not there."""
        with storage_errors(self.consultations):
            self.consultations.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        return self.consultations

    def close(self) -> None:
        """Give the lock back. Who finds it taken right afterwards must not read our name in it."""
        if self._lock is not None:
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None

    def still_holds_lock(self) -> bool:
        """Whether ``lock`` is still the file that we hold: once it is deleted, another process can
        lock a new one, and write beside us.
        """
        if self._lock is None:
            return False
        try:
            return os.path.samestat(os.stat(self.path / "lock"), os.fstat(self._lock.fileno()))
        except OSError:
            return False

    def require_lock(self) -> None:
        """Raises ``RunFolderError`` if the lock was taken away from under us."""
        if not self.still_holds_lock():
            raise RunFolderError(
                f"{self.path / 'lock'} was deleted or replaced while the run held it, so that "
                "another may write here too: see that none does, then run the same command again"
            )

    def write_recipe(self, resolved: Mapping[str, Any]) -> None:
        text = yaml.safe_dump(dict(resolved), sort_keys=False, allow_unicode=True)
        self._publish_bytes(self.recipe, text.encode())

    def write_shard(self, told: Mapping[str, int]) -> None:
        self._publish_bytes(self.shard, orjson.dumps(told) + b"\n")

    def read_shard(self) -> dict[str, int] | None:
        """Raises ``RunFolderError`` where it is none of ours."""
        try:
            with open_regular(self.shard) as file:
                told = orjson.loads(file.read())
            return {name: int(told[name]) for name in ("number", "of", "of_samples")}
        except FileNotFoundError:
            return None
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise RunFolderError(f"cannot read {self.shard}: {error!r}") from error

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        body = orjson.dumps(metrics, option=orjson.OPT_INDENT_2)
        self._publish_bytes(self.path / "metrics.json", body + b"\n")

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        body = {"format_version": FORMAT_VERSION, **manifest}
        self._publish_bytes(self.manifest, orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n")

    def _is_foreign(self) -> bool:
        try:
            names = set(os.listdir(self.path)) if self.path.exists() else set()
        except OSError as error:
            raise RunFolderError(f"cannot read {self.path}: {error.strerror}") from error
        return bool(names - _BEFORE_A_RUN) and not self.holds_a_run()

    def _require_local_disk(self) -> None:
        """Locks and appends of a network file system promise less than a journal needs."""
        kind = filesystem_of(self.path)
        if kind in NETWORK_FILESYSTEMS and not self._allow_network_fs:
            raise RunFolderError(
                f"{self.path} is on a network file system ({kind}), where two machines might write "
                "at once: choose a folder on a local disk with -o, or pass --allow-network-fs"
            )

    def _take_lock(self) -> None:
        # flock, not lockf: closing any other descriptor of the file would drop a lockf lock.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = os.fdopen(os.open(self.path / "lock", flags, _PRIVATE_FILE), "r+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with lock:
                holder = _holder(lock)
            raise RunLockedError(
                f"{self.path} is being written by {holder}: wait for it, or choose another folder"
            ) from None
        self._lock = lock
        lock.truncate(0)
        lock.write(f"pid {os.getpid()} on {socket.gethostname()}\n")
        lock.flush()

    def _probe(self) -> None:
        self._publish_bytes(self.path / "probe", b"can we write here?\n")
        (self.path / "probe").unlink()

    def _publish_bytes(self, path: Path, content: bytes) -> None:
        part = path.with_name(path.name + ".part")
        with storage_errors(path), open_private(part) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(part, path)
            sync_folder(path.parent)


class OutputFile:
    """An output that grows as ``*.part`` and appears whole, or not at all.

    It starts afresh each time: outputs are derived from the journal and cost nothing to make again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self.num_bytes = 0
        self._digest = sha256()
        self._part = path.with_name(path.name + ".part")
        with storage_errors(self._part):
            self._file = open_private(self._part)

    def write(self, row: bytes, *, num_rows: int = 1) -> None:
        """Append one row, buffered; or bytes of a format in which rows are not apart, where whoever
        writes says how many they are.
        """
        try:  # not `with`, which is called for every row
            self._file.write(row)
        except OSError as error:
            raise _cannot_write(self._part, error) from error
        self._digest.update(row)
        self.rows += num_rows
        self.num_bytes += len(row)

    def publish(self) -> dict[str, Any]:
        """Sync and rename; returns the file's entry for the manifest."""
        with storage_errors(self._part):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._part, self.path)
            sync_folder(self.path.parent)
        return {"rows": self.rows, "bytes": self.num_bytes, "sha256": self._digest.hexdigest()}

    def discard(self) -> None:
        """Stop writing, and delete what was written: there will be no more of it."""
        self.close()
        self._part.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop writing without publishing; the ``*.part`` stays as it is."""
        with suppress(OSError):
            self._file.close()


def _runs_in(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(each for each in folder.iterdir() if RunFolder(each).holds_a_run())
    return []


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Name the file when the disk refuses."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot write {path}: {error.strerror}. What was answered so far is kept; "
        "run the same command again once there is space"
    )


def filesystem_of(path: Path, mounts: str = "/proc/self/mountinfo") -> str | None:
    """The kind of file system that ``path`` is on, as ``ext4``; ``None`` where nobody says."""
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError), open(mounts, encoding="utf-8", errors="replace") as lines:
        for line in lines:  # 36 35 98:0 /root /mount/point rw master:1 - ext4 /dev/sda1 rw
            before, _, after = line.partition(" - ")
            if before.split()[2] == number:
                return after.split()[0]
    return None


def _holder(lock: IO[str]) -> str:
    """Who holds the lock, by its content; written right after it was taken, so look twice."""
    for _ in range(NUM_LOOKS_AT_LOCK):
        lock.seek(0)
        holder = lock.read()
        if holder.endswith("\n") and not _is_of_dead_process(holder):
            return holder.strip()
        time.sleep(LOOK_AT_LOCK_EVERY_S)
    return "another process"


def _is_of_dead_process(holder: str) -> bool:
    """A killed process leaves its name behind, and the next one may not have written its own."""
    named = re.fullmatch(r"pid (\d+) on (.*)\n", holder)
    is_local = named is not None and named[2] == socket.gethostname()
    return named is not None and is_local and not Path(f"/proc/{named[1]}").exists()


def open_regular(path: Path) -> IO[bytes]:
    """Open to read, in large blocks. Raises ``RunFolderError`` for whatever is no file itself: a
    FIFO would hold us up for ever, and a link may lead anywhere.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise RunFolderError(f"{path} is not a regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise RunFolderError(f"{path} is not a regular file")
    return os.fdopen(fd, "rb", buffering=READ_BLOCK_BYTES)


def reserve_of(journal: Path) -> Path:
    """The file that keeps room on the disk while a run writes, and is deleted when it needs it."""
    return journal / "reserve"


def ledger_of(batches: Path) -> Path:
    """What has become of each batch, a line per step."""
    return batches / "ledger.jsonl"


def requests_of(batches: Path, number: int) -> Path:
    """The file of requests that a batch is made of."""
    return batches / f"{number:04d}.requests.jsonl"


def answers_of(batches: Path, number: int, file_number: int) -> Path:
    """One of the files of answers that came of it; whole, if it is there."""
    return batches / f"{number:04d}.answers-{file_number}.jsonl"


def sync_folder(folder: Path) -> None:
    """Make a rename or a new file in ``folder`` survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, content: bytes) -> None:
    """Have ``content`` stand there, whole or not at all; nobody else may read it.

    What a crash may leave beside it is hidden, and is not taken for an output that grows.
    """
    with storage_errors(path):
        fd, beside = mkstemp(prefix=".new-", dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise
        sync_folder(path.parent)


def open_private(path: Path) -> IO[bytes]:
    """Open to write from the start; nobody else may read it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, _PRIVATE_FILE), "wb", buffering=1 << 16)
