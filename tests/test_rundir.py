"""The run folder: whose it is, and what appears in it when."""

from __future__ import annotations

import os
import re
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from hashlib import sha256
from pathlib import Path

import orjson
import pytest
import yaml

from weave_async import rundir
from weave_async.errors import RunFolderError, RunLockedError, StorageError
from weave_async.rundir import FORMAT_VERSION, RunFolder, replace_file

HOLDER = """
import sys
from pathlib import Path
from weave_async.rundir import RunFolder
folder = RunFolder(Path(sys.argv[1]))
folder.open()
print("open", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by_another_process(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        yield holder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    folder = RunFolder(tmp_path / "out" / "demo")
    folder.open()
    yield folder
    folder.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_that_another_process_writes_is_refused_with_its_pid(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with held_by_another_process(path) as holder:
        with pytest.raises(RunLockedError, match=rf"{path} is being written by pid {holder.pid} "):
            RunFolder(path).open()
        with pytest.raises(RunLockedError, match=f"pid {holder.pid} "):
            RunFolder(path).open()


def test_a_killed_process_leaves_no_lock_behind(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with held_by_another_process(path) as holder:
        holder.send_signal(signal.SIGKILL)
    folder = RunFolder(path)
    folder.open()
    assert (path / "lock").read_text().startswith(f"pid {os.getpid()} on ")
    folder.close()


RACER = """
import sys
from pathlib import Path
from weave_async.errors import RunLockedError
from weave_async.rundir import RunFolder
folder = RunFolder(Path(sys.argv[1]))
for line in sys.stdin:
    if line == "go\\n":
        try:
            folder.open()
            print("won", flush=True)
        except RunLockedError as error:
            print(error.exit_code, error, flush=True)
    else:
        folder.close()
        print("closed", flush=True)
"""


def test_of_two_processes_exactly_one_wins_and_the_other_names_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RACER, str(tmp_path / "run")]
    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
                )
            )
            for _ in range(2)
        ]

        def told(racer: subprocess.Popen[str]) -> str:
            assert racer.stdout is not None
            return racer.stdout.readline().strip()

        def tell(racer: subprocess.Popen[str], word: str) -> None:
            assert racer.stdin is not None
            racer.stdin.write(f"{word}\n")

        for _ in range(50):
            for racer in racers:
                tell(racer, "go")
            said = [told(racer) for racer in racers]
            winner = said.index("won")
            loser = said[1 - winner]
            assert loser.startswith("75 ")
            assert f"is being written by pid {racers[winner].pid} on " in loser
            tell(racers[winner], "close")
            assert told(racers[winner]) == "closed"


def test_the_name_of_a_dead_process_in_the_lock_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with held_by_another_process(path) as holder:
        host = (path / "lock").read_text().split()[-1]
        (path / "lock").write_text(f"pid {2**30} on {host}\n")
        with pytest.raises(RunLockedError, match="is being written by another process"):
            RunFolder(path).open()
        assert holder.poll() is None


def test_a_network_file_system_is_refused_unless_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rundir, "filesystem_of", lambda path: "nfs4")
    with pytest.raises(RunFolderError, match=r"network file system \(nfs4\).*--allow-network-fs"):
        RunFolder(tmp_path / "run").open()
    assert list((tmp_path / "run").iterdir()) == []
    folder = RunFolder(tmp_path / "run", allow_network_fs=True)
    folder.open()
    folder.close()


def test_the_file_system_is_the_one_of_the_device(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "35 1 0:999 / /elsewhere rw shared:1 - ext4 /dev/sda1 rw\n"
        f"36 35 {number} / /with\\040space rw,noatime master:1 - nfs4 host:/x rw,vers=4.2\n"
    )
    assert rundir.filesystem_of(tmp_path, str(mounts)) == "nfs4"
    mounts.write_text("")
    assert rundir.filesystem_of(tmp_path, str(mounts)) is None
    assert rundir.filesystem_of(tmp_path, str(tmp_path / "missing")) is None


def test_no_child_process_inherits_the_lock(folder: RunFolder) -> None:
    assert folder._lock is not None
    assert not os.get_inheritable(folder._lock.fileno())


def test_close_gives_the_lock_back(folder: RunFolder) -> None:
    with pytest.raises(RunLockedError):
        RunFolder(folder.path).open()
    folder.close()
    again = RunFolder(folder.path)
    again.open()
    again.close()


@pytest.mark.parametrize("what", ["deleted", "replaced"])
def test_a_lock_that_was_taken_away_is_noticed(folder: RunFolder, what: str) -> None:
    assert folder.still_holds_lock()
    folder.require_lock()
    (folder.path / "lock").unlink()
    if what == "replaced":
        (folder.path / "lock").touch()
    assert not folder.still_holds_lock()
    with pytest.raises(RunFolderError, match=r"lock was deleted or replaced while the run held it"):
        folder.require_lock()


def test_a_folder_with_foreign_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photos"
    path.mkdir()
    (path / "cat.png").write_bytes(b"meow")
    with pytest.raises(RunFolderError, match=rf"{path} is not empty and holds no run.*-o"):
        RunFolder(path).open()
    assert [each.name for each in path.iterdir()] == ["cat.png"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("mine")
    with pytest.raises(RunFolderError, match=rf"{path} is a file: choose another folder with -o"):
        RunFolder(path).open()
    assert path.read_text() == "mine"


def test_a_file_in_the_way_to_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(RunFolderError, match=r"cannot write in .*out/run: Not a directory.*-o"):
        RunFolder(tmp_path / "out" / "run").open()


def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir(mode=0o555)
    locked = False
    if os.access(path, os.W_OK):  # root may write anywhere, except where a flag forbids it
        chattr = subprocess.run(["chattr", "+i", path], capture_output=True, check=False)
        locked = chattr.returncode == 0
        if not locked:
            pytest.skip("this user may write everywhere")
    try:
        with pytest.raises(RunFolderError, match=rf"cannot write in {path}: .*-o"):
            RunFolder(path).open()
    finally:
        if locked:
            subprocess.run(["chattr", "-i", path], check=True)


def test_a_folder_that_could_not_be_opened_is_not_kept_locked(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "recipe.yaml").write_text("name: demo")
    (path / "manifest.json").write_text("{}")
    (path / "journal").write_text("in the way")
    refused = RunFolder(path)
    with pytest.raises(RunFolderError, match="cannot write in"):
        refused.open()
    (path / "journal").unlink()
    folder = RunFolder(path)
    folder.open()
    folder.close()
    assert repr(refused) == f"<RunFolder {path}>"


@pytest.mark.parametrize("left_behind", ["lock", "probe", "probe.part"])
def test_a_folder_whose_first_opening_was_cut_short_can_be_opened(
    tmp_path: Path, left_behind: str
) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "lock").touch()
    (path / left_behind).touch()
    folder = RunFolder(path)
    folder.open()
    folder.close()


def test_opening_leaves_only_the_journal_and_the_lock(folder: RunFolder) -> None:
    assert sorted(each.name for each in folder.path.iterdir()) == ["journal", "lock"]


def test_folders_and_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        folder = RunFolder(tmp_path / "run")
        folder.open()
        folder.write_recipe({"name": "demo"})
        folder.write_manifest({})
        output = folder.output("samples")
        assert mode(folder.path / "samples.jsonl.part") == 0o600
        output.publish()
        folder.close()
    finally:
        os.umask(umask)
    assert mode(folder.path) == mode(folder.journal) == 0o700
    files = [each for each in folder.path.iterdir() if each.is_file()]
    names = ("lock", "recipe.yaml", "manifest.json", "samples.jsonl")
    assert {each.name: mode(each) for each in files} == dict.fromkeys(names, 0o600)


def test_an_output_appears_whole_when_it_is_published(folder: RunFolder) -> None:
    output = folder.output("samples")
    rows = [b'{"n": %d}\n' % n for n in range(20_000)]
    for row in rows:
        output.write(row)
    assert not output.path.exists()
    assert output.path.with_name("samples.jsonl.part").exists()
    entry = output.publish()
    content = output.path.read_bytes()
    assert content == b"".join(rows)
    assert entry == {
        "rows": 20_000,
        "bytes": len(content),
        "sha256": sha256(content).hexdigest(),
    }
    assert not output.path.with_name("samples.jsonl.part").exists()


def test_an_output_without_rows_is_published_too(folder: RunFolder) -> None:
    entry = folder.output("failed").publish()
    assert (folder.path / "failed.jsonl").read_bytes() == b""
    assert entry == {"rows": 0, "bytes": 0, "sha256": sha256(b"").hexdigest()}


def test_the_earlier_output_stays_until_the_new_one_is_published(folder: RunFolder) -> None:
    first = folder.output("samples")
    first.write(b"one\n")
    first.publish()
    second = folder.output("samples")
    second.write(b"two\n")
    assert second.path.read_bytes() == b"one\n"
    second.close()
    assert second.path.read_bytes() == b"one\n"
    third = folder.output("samples")
    third.write(b"three\n")
    third.publish()
    assert third.path.read_bytes() == b"three\n"


@contextmanager
def files_limited_to(num_bytes: int) -> Iterator[None]:
    """A disk that is full for whoever writes more than this into one file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("row_bytes", [100, 200_000], ids=["on publish", "on write"])
def test_a_full_disk_is_a_storage_error_that_names_the_file(
    folder: RunFolder, row_bytes: int
) -> None:
    output = folder.output("samples")
    with files_limited_to(50), closing(output):
        with pytest.raises(StorageError, match=r"cannot write .*samples\.jsonl\.part: "):
            for _ in range(3):
                output.write(b"x" * row_bytes)
            output.publish()
    assert not output.path.exists()


def test_a_full_disk_is_an_error_of_ours_for_the_manifest_too(folder: RunFolder) -> None:
    with files_limited_to(50):
        with pytest.raises((StorageError, RunFolderError), match=r"manifest\.json"):
            folder.write_manifest({"note": "x" * 1000})
    assert not folder.manifest.exists()


def test_the_manifest_says_its_format_and_what_it_was_given(folder: RunFolder) -> None:
    folder.write_manifest({"status": "complete", "files": {"samples.jsonl": {"rows": 3}}})
    assert orjson.loads(folder.manifest.read_bytes()) == {
        "format_version": FORMAT_VERSION,
        "status": "complete",
        "files": {"samples.jsonl": {"rows": 3}},
    }


def test_the_recipe_is_written_as_it_is_in_its_order_and_as_utf8(folder: RunFolder) -> None:
    recipe = {"name": "demo", "prompts": {"template": "Grüße an {{ name }} 🦆\nund: \"'"}, "n": 3}
    folder.write_recipe(recipe)
    written = yaml.safe_load(folder.recipe.read_bytes())
    assert written == recipe
    assert list(written) == list(recipe)
    assert "Grüße".encode() in folder.recipe.read_bytes()


def test_a_run_is_told_from_an_empty_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert not folder.holds_a_run()
    folder.open()
    assert folder.holds_a_run()
    assert repr(folder) == f"<RunFolder {folder.path} locked>"
    folder.close()


def test_a_file_is_replaced_whole_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("an earlier one")
    path.chmod(0o644)
    replace_file(path, b"a new one")
    assert path.read_bytes() == b"a new one"
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_replaced_stays_and_leaves_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="folder"):
        replace_file(tmp_path / "folder", b"no folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_who_names_the_wrong_folder_is_told_where_a_run_is(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / "out" / name / "journal").mkdir(parents=True)
    (tmp_path / "out" / "first" / "samples.jsonl").touch()
    (tmp_path / "empty").mkdir()
    for named, why in (
        ("out/fist", f"is {tmp_path}/out/first meant?"),
        ("out/other", "there is no such folder"),
        ("out", "name one of those in it: first, second"),
        ("out/first/samples.jsonl", "it is a file, and a run is a folder"),
        ("empty", "name the folder that -o named"),
    ):
        with pytest.raises(RunFolderError, match=re.escape(why)):
            RunFolder(tmp_path / named).require_run()
