"""A Ray of its own for one command: loopback only, small, gone at the end."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partialmethod
from importlib import metadata
from pathlib import Path

from engine.placement import Machine

PREFIX = "fedmr-"  # the temporary directory is short: Ray's socket paths may have 107 characters
OBJECT_STORE_BYTES = 512 * 2**20  # small: memory that was touched before is quicker than fresh

DRIVER = 1  # Ray keeps a process ready for every CPU it is told of; this one is the driver's

LOOPBACK = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # every socket binds 127.0.0.1
    "RAY_AUTH_MODE": "token",  # other users of the machine can't connect either
    "RAY_USAGE_STATS_ENABLED": "0",
}
ALLOCATOR = {
    # glibc's defaults give freed tensors back to the kernel and fault them in again: a sixth of a training step
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(8 * 2**30),
    "MALLOC_TOP_PAD_": str(256 * 2**20),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@contextlib.contextmanager
def cluster(
    address: str = "", machine: Machine | None = None, store_bytes: int = OBJECT_STORE_BYTES
) -> Iterator[Machine]:
    """Start Ray on this machine, or join the one at `address`; yields what there is to place on.

    machine: cores and GPUs to use in place of all there are (Ray's are logical: tests need not have them).
    Raises ConnectionError if nothing answers at the address.
    """
    _probe(address)
    with (
        _environment({**THREADS} if address else {**LOOPBACK, **ALLOCATOR, **THREADS}),
        _directory(address) as temporary,
    ):
        if not address:
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(16))
        import ray

        _reread_environment()
        try:
            if address:
                ray.init(address=address, log_to_driver=False, configure_logging=False)
            else:
                _init(machine or Machine(cpu_count(), gpu_count()), temporary, store_bytes)
            resources = ray.cluster_resources()
            found = Machine(cpus=int(resources.get("CPU", 1)), gpus=int(resources.get("GPU", 0)))
            yield found if address else replace(found, cpus=found.cpus - DRIVER)
        finally:
            ray.shutdown()


def _probe(address: str) -> None:
    """Raises ConnectionError if nothing listens at host:port: Ray itself would go on trying for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host or "127.0.0.1", int(port)), timeout=5).close()
    except OSError as error:
        told = error.strerror or error
        raise ConnectionError(f"ray_address {address}: nothing answers there ({told}); is the cluster up?") from error


def _init(machine: Machine, temporary: str, store_bytes: int) -> None:
    """Start Ray with a process ready for each core and one for the driver."""
    import ray

    with _lean():
        ray.init(
            num_cpus=machine.cpus + DRIVER,
            num_gpus=machine.gpus,
            include_dashboard=False,
            object_store_memory=store_bytes,
            _temp_dir=temporary,
            log_to_driver=False,
            configure_logging=False,
        )


@contextlib.contextmanager
def _lean() -> Iterator[None]:
    """Ray without what one machine has no use for, and no setting leaves out: 1.5 s of start-up and 240 MB.

    The autoscaler, the shipping of log files to the terminal, and the dashboard's server without a dashboard.
    """
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    parameters, server = RayParams.__init__, Node.start_api_server
    RayParams.__init__ = partialmethod(parameters, no_monitor=True, include_log_monitor=False)  # type: ignore
    Node.start_api_server = lambda *_, **__: None  # type: ignore
    try:
        yield
    finally:
        RayParams.__init__, Node.start_api_server = parameters, server  # type: ignore


def _reread_environment() -> None:
    """Ray reads its environment on import, which may have been before, or for an earlier cluster's token."""
    from ray._private import ray_constants
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    switch = os.environ.get(ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, str(int(sys.platform == "linux")))
    ray_constants.ENABLE_RAY_CLUSTER = switch != "0"
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def _directory(address: str) -> Iterator[str]:
    """A temporary directory for a Ray of our own, gone afterwards; none for somebody else's."""
    if address:
        yield ""
        return
    sweep()
    directory = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_root())
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def sweep() -> None:
    """Remove temporary directories whose command is gone (killed before it could tidy up)."""
    for directory in _root().glob(f"{PREFIX}*-*"):
        owner = directory.name.removeprefix(PREFIX).split("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(directory, ignore_errors=True)


def cpu_count() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def memory_bytes() -> int | None:
    """Memory that is free for this process, of the machine or the container; None if nothing says so."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None
    with contextlib.suppress(OSError, ValueError):  # "max": no limit
        group = Path("/sys/fs/cgroup")
        held = int((group / "memory.current").read_text())
        files = sum(
            int(line.split()[1])
            for line in (group / "memory.stat").read_text().splitlines()
            if line.split()[0] == "inactive_file"  # given back when it is needed
        )
        free = min(free, int((group / "memory.max").read_text()) - held + files)
    return max(free, 0)


def gpu_count() -> int:
    """NVIDIA GPUs that this process may use with the torch it has, without importing torch."""
    if metadata.version("torch").endswith("+cpu"):
        return 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    listed = [name for name in visible.split(",") if name.strip() not in ("", "-1")] if visible is not None else None
    return _gpus() if listed is None else min(_gpus(), len(listed))


def _gpus() -> int:
    """NVIDIA GPUs of this machine."""
    found = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    if found or not shutil.which("nvidia-smi"):
        return found
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in answer.stdout.splitlines())


def _root() -> Path:
    """/tmp rather than a long TMPDIR, if it can be written."""
    return Path("/tmp") if os.access("/tmp", os.W_OK) else Path(tempfile.gettempdir())


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables that Ray's processes inherit; as they were afterwards, also those Ray itself sets."""
    before = {name: os.environ.get(name) for name in [*values, "RAY_AUTH_TOKEN", "PYTHONBREAKPOINT"]}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
