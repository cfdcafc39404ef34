"""How many CPUs this process may use."""

import math
import os
from functools import lru_cache
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def count_cpus() -> int:
    """RETURNS (int): The number of CPUs that the process may run on, by its affinity (`taskset`)
    and by the quota of its container (cgroups v1 and v2), rounded up.
    """
    try:
        n_cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux has affinities
        n_cpus = os.cpu_count() or 1
    quota = get_quota()
    return n_cpus if quota is None else max(1, min(n_cpus, math.ceil(quota)))


@lru_cache(maxsize=1)
def get_quota() -> float | None:
    """RETURNS (Optional[float]): The CPU time per second that the container allows, read once;
    None where there is no limit.
    """
    return read_quota(CGROUPS)


def read_quota(root: Path) -> float | None:
    """Read the quota that a container sees at the root of its own control groups.

    root (Path): Where they are mounted.
    RETURNS (Optional[float]): The CPU time per second, None where there is no limit.
    """
    try:
        if (root / "cpu.max").is_file():
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):
        # Not Linux, no such file, or "max".
        return None
