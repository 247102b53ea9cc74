"""A Ray of our own: loopback only, no dashboard, and nothing left of it afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine import cluster as module
from engine.cluster import ALLOCATOR, LOOPBACK, PREFIX, THREADS, cluster, cpu_count, sweep
from engine.placement import Machine


def directories() -> set[Path]:
    return set(Path("/tmp").glob(f"{PREFIX}{os.getpid()}-*"))


def listening() -> set[tuple[str, int]]:
    """Address and port of every listening TCP socket of this process and its descendants."""
    found = set()
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            connections = process.net_connections("tcp")
        except psutil.NoSuchProcess:
            continue
        found |= {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}
    return found


def worker_environment() -> dict[str, str]:
    import ray

    def look() -> dict[str, str]:
        return dict(os.environ)

    environment: dict[str, str] = ray.get(ray.remote(look).options(num_cpus=0).remote(), timeout=60)
    return environment


@pytest.mark.slow
def test_loopback_only_and_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice in one process, Ray long imported: each cluster has its own token and directory."""
    import ray

    for name in ("RAY_AUTH_TOKEN", "PYTHONBREAKPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MALLOC_TOP_PAD_", "123")  # a user's own setting comes back
    environment, sockets, earlier = dict(os.environ), listening(), directories()
    tokens = set()
    for _ in range(2):
        with cluster() as machine:
            assert machine.cpus == cpu_count()
            (directory,) = directories() - earlier
            seen = worker_environment()
            for name, value in (LOOPBACK | ALLOCATOR | THREADS).items():
                assert seen[name] == value
            tokens.add(seen["RAY_AUTH_TOKEN"])
            opened = listening() - sockets
            assert len(opened) > 2
            assert {ip for ip, _ in opened} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
            node: Any = ray._private.worker._global_node
            assert not node.webui_url  # no dashboard
            assert directory.is_dir()
            children = psutil.Process().children(recursive=True)
        assert not ray.is_initialized()
        assert directories() == earlier
        assert dict(os.environ) == environment
        _, alive = psutil.wait_procs(children, timeout=20)
        assert [p.name() for p in alive] == []
    assert listening() <= sockets
    assert len(tokens) == 2
    assert all(len(token) == 32 for token in tokens)


@pytest.mark.slow
def test_an_error_inside_shuts_it_down_too() -> None:
    import ray

    environment, earlier = dict(os.environ), directories()
    with pytest.raises(KeyboardInterrupt), cluster(machine=Machine(cpus=3, gpus=2)):  # noqa: PT012
        assert ray.cluster_resources()["GPU"] == 2
        raise KeyboardInterrupt
    assert not ray.is_initialized()
    assert directories() == earlier
    assert dict(os.environ) == environment


@pytest.mark.slow
def test_strangers_are_turned_away() -> None:
    """Another process of this machine that knows the address, but not the token."""
    with cluster(machine=Machine(cpus=1)):
        import ray

        address = ray.get_runtime_context().gcs_address
        code = f"from ray._raylet import GcsClient; GcsClient(address={address!r}); print('joined')"
        answers = []
        for token in (os.environ["RAY_AUTH_TOKEN"], "0" * 32):
            environment = {**os.environ, "RAY_AUTH_TOKEN": token}
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, env=environment
            )
            answers.append((done.returncode == 0, done.stdout, "AuthenticationError" in done.stderr))
    assert answers == [(True, "joined\n", False), (False, "", True)]


def test_a_start_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def fail(**_options: Any) -> None:
        assert len(directories() - earlier) == 1
        raise RuntimeError("no room")

    environment, earlier = dict(os.environ), directories()
    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(RuntimeError, match="no room"), cluster():
        raise AssertionError("it did not start")
    assert directories() == earlier
    assert dict(os.environ) == environment


def test_an_address_where_nothing_answers() -> None:
    """Said at once: Ray itself would go on trying for minutes."""
    with pytest.raises(ConnectionError, match=r"ray_address 127\.0\.0\.1:1: nothing answers"), cluster("127.0.0.1:1"):
        raise AssertionError("it did not start")


def test_an_address_where_something_else_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's own error comes through, and no directory is made for somebody else's cluster."""
    import ray

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def refuse(**options: Any) -> None:
            assert options["address"] == address
            raise ConnectionError("nobody there")

        earlier = directories()
        monkeypatch.setattr(ray, "init", refuse)
        with pytest.raises(ConnectionError, match="nobody there"), cluster(address):
            raise AssertionError("it did not start")
        assert directories() == earlier


def test_sweep_removes_what_the_dead_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    monkeypatch.setattr(module, "_root", lambda: tmp_path)
    dead, living, init = (tmp_path / f"{PREFIX}{pid}-ab_c1" for pid in (gone.pid, os.getpid(), 1))
    foreign, nameless = tmp_path / f"other-{gone.pid}-x", tmp_path / f"{PREFIX}x-y"
    for directory in (dead, living, init, foreign, nameless):
        (directory / "session" / "sockets").mkdir(parents=True)
        (directory / "session" / "log.txt").write_text("left")
    sweep()
    assert sorted(tmp_path.iterdir()) == sorted([living, init, foreign, nameless])
    assert (living / "session" / "log.txt").exists()


def test_sockets_have_room_in_the_directorys_name() -> None:
    """A Unix socket's path may have 107 characters; Ray's own part is up to 75."""
    assert len(f"{module._root()}/{PREFIX}4194304-abcdefgh") <= 107 - 75
