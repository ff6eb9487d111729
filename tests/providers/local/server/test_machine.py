"""What a machine says of itself, in the files of a made-up one."""

from __future__ import annotations

from pathlib import Path

import pytest

from providers.local.server.machine import free_bytes, usable_cores

GIB = 1 << 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, "proc/meminfo", f"MemTotal: 1 kB\nMemAvailable: {8 * GIB // 1024} kB\n")
    return tmp_path


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_containers_it_is_what_the_kernel_says_is_available(root: Path) -> None:
    assert free_bytes(root) == 8 * GIB


def test_where_nobody_says_nothing_is_known(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) is None
    assert usable_cores(tmp_path) >= 1


def test_a_limit_of_any_group_around_us_counts_and_read_files_give_way(root: Path) -> None:
    put(root, "proc/self/cgroup", "0::/slice/service\n")
    put(root, "sys/fs/cgroup/slice/service/memory.max", "max")
    put(root, "sys/fs/cgroup/slice/service/memory.current", str(GIB))
    put(root, "sys/fs/cgroup/slice/memory.max", str(4 * GIB))
    put(root, "sys/fs/cgroup/slice/memory.current", str(3 * GIB))
    put(root, "sys/fs/cgroup/slice/memory.stat", f"anon 5\ninactive_file {GIB}\n")
    assert free_bytes(root) == 2 * GIB


def test_a_limit_of_version_1_counts_though_the_path_is_the_hosts(root: Path) -> None:
    put(root, "proc/self/cgroup", "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n")
    put(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", str(2 * GIB))
    put(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", str(GIB))
    put(root, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000")
    put(root, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000")
    assert free_bytes(root) == GIB
    assert usable_cores(root) == 1


def test_no_quota_is_no_limit(root: Path) -> None:
    put(root, "proc/self/cgroup", "0::/\n")
    cores = usable_cores(root)
    put(root, "sys/fs/cgroup/cpu.max", "max 100000")
    assert usable_cores(root) == cores
    put(root, "sys/fs/cgroup/cpu.max", "100 100000")
    assert usable_cores(root) == 1
