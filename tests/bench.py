"""`python -m tests.bench`: the engine against a plain PyTorch loop in two processes, alternating in one run.

Both train the same network on the same stored arrays in the same batches with the same optimiser, both score the
same slices after each round. Printed for 8 and 32 channels: the median round, an empty round (no training, no
scoring), the time from a cold start to the first round's end, the peak memory (PSS over all processes), the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tests.arrays import random_arrays

SITES = [f"site_{k}" for k in range(4)]
COLD_STARTS = 3
BLOCK = 10  # empty rounds timed together: the engine streams its rounds, asking for each is not its way
SLICES, SIZE, BATCH, EVALUATED = 32, 64, 8, 8
LR = 1e-3


def main() -> int:
    """Run the comparison, or one of its contenders (that is how the comparison runs them)."""
    began = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, nargs="+", default=[8, 32], help="channels of the U-Net")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each contender, after the first")
    parser.add_argument("--algorithm", choices=("fl-mr", "fl-mrcm"), default="fl-mr", help="what the engine runs")
    parser.add_argument("--contender", choices=("loop", "engine"), help=argparse.SUPPRESS)
    parser.add_argument("--arrays", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--empty", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        _serve(options, began)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "arrays.npz"
        np.savez(arrays, allow_pickle=False, **random_arrays(SITES, SLICES, SIZE))
        for channels in options.channels:
            _compare(arrays, channels, options.rounds, options.algorithm)
    return 0


# ---- the comparison -----------------------------------------------------------------------------------------


def _compare(arrays: Path, channels: int, rounds: int, algorithm: str) -> None:
    print(f"\n{algorithm}, U-Net of {channels} channels, {len(SITES)} sites x {SLICES} slices of {SIZE}x{SIZE}")
    print(f"{'':<28}{'plain loop':>12}{'engine':>12}{'ratio':>9}")
    kinds = ("loop", "engine")
    cold = [[cold_start(kind, arrays, channels, algorithm) for kind in kinds] for _ in range(COLD_STARTS)]
    _line("first round's end, s", *map(statistics.median, zip(*cold, strict=True)))
    with (
        Contender("loop", arrays, channels, algorithm) as loop,
        Contender("engine", arrays, channels, algorithm) as engine,
    ):
        pairs = [(loop.round(), engine.round()) for _ in range(rounds)]
        _line("median round, s", *map(statistics.median, zip(*pairs, strict=True)))
        ratios = sorted(e / p for p, e in pairs)
        spread = f"{ratios[0]:.3f} .. {statistics.median(ratios):.3f} .. {ratios[-1]:.3f}"
        print(f"{'  ratio pair by pair':<28}{spread:>33}")
        _line("peak memory (PSS), MB", loop.peak / 1e6, engine.peak / 1e6)
    with (
        Contender("loop", arrays, channels, algorithm, empty=True) as loop,
        Contender("engine", arrays, channels, algorithm, empty=True) as engine,
    ):
        pairs = [(loop.round(BLOCK), engine.round(BLOCK)) for _ in range(rounds)]
        _line("median empty round, s", *map(statistics.median, zip(*pairs, strict=True)))


def _line(name: str, loop: float, engine: float) -> None:
    print(f"{name:<28}{loop:>12.4g}{engine:>12.4g}{engine / loop:>9.3f}", flush=True)


def cold_start(kind: str, arrays: Path, channels: int, algorithm: str) -> float:
    """Seconds from a contender's start, alone, to its first round's end."""
    answer = subprocess.run(
        _command(kind, arrays, channels, algorithm), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    return float(json.loads(answer.stdout))


def _command(kind: str, arrays: Path, channels: int, algorithm: str) -> list[str]:
    options = ["--contender", kind, "--arrays", str(arrays), "--channels", str(channels), "--algorithm", algorithm]
    return [sys.executable, "-m", "tests.bench", *options]


class Contender:
    """A contender in a process of its own, asked for one round at a time; its memory is watched meanwhile."""

    def __init__(self, kind: str, arrays: Path, channels: int, algorithm: str, empty: bool = False) -> None:
        command = [*_command(kind, arrays, channels, algorithm), *(["--empty"] if empty else [])]
        self.peak = 0
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        self._answer()  # its first round is done

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()
        self._process.communicate()

    def round(self, count: int = 1) -> float:
        """Seconds a round of the next `count`, as the contender's own clock has it."""
        assert self._process.stdin
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        return self._answer() / count

    def _answer(self) -> float:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the contender ended early; its message is above")
        return float(json.loads(line))

    def _watch(self) -> None:
        while not self._done.wait(2):  # reading a process's page tables holds it up
            self.peak = max(self.peak, tree_pss(self._process.pid))


def tree_pss(pid: int) -> int:
    """Bytes of memory of a process and all its descendants, shared pages counted once (proportional set size)."""
    import psutil

    total = 0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            try:
                total += process.memory_full_info().pss
            except psutil.Error:
                continue
    except psutil.Error:
        return 0
    return total


# ---- the contenders -----------------------------------------------------------------------------------------


class Federation(Protocol):
    """What a contender offers."""

    def rounds(self, count: int) -> None:
        """Train everywhere, average, score everywhere; or only the weights' way there and back."""
        ...

    def close(self) -> None:
        """Stop its processes."""
        ...


def _serve(options: argparse.Namespace, began: float) -> None:
    channels, stored = options.channels[0], dict(np.load(options.arrays))
    federation: Federation
    if options.contender == "loop":
        federation = PlainLoop(stored, channels, options.empty)
    else:
        federation = Engine(stored, channels, options.empty, options.algorithm)
    federation.rounds(1)
    print(json.dumps(time.perf_counter() - began), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        federation.rounds(int(line))
        print(json.dumps(time.perf_counter() - start), flush=True)
    federation.close()


class PlainLoop:
    """What one would write by hand: two processes with pipes, two sites each, torch.optim, a mean."""

    def __init__(self, arrays: dict[str, Any], channels: int, empty: bool) -> None:
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        self._empty = empty
        self._pipes, self._processes = [], []
        for names in (SITES[:2], SITES[2:]):
            ours, theirs = context.Pipe()
            own = {key: a for key, a in arrays.items() if key.split("/")[0] in names}
            process = context.Process(target=plain_sites, args=(theirs, own, names, channels, empty), daemon=True)
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)
        self._weights = [pipe.recv() for pipe in self._pipes][-1]  # the seeded network, from both

    def rounds(self, count: int) -> None:
        """Send the weights, receive the sites', average; then have the mean scored."""
        for _ in range(count):
            for pipe in self._pipes:
                pipe.send(("train", self._weights))
            locals_ = [weights for pipe in self._pipes for weights in pipe.recv()]
            self._weights = np.mean(locals_, axis=0)
            for pipe in self._pipes if not self._empty else ():
                pipe.send(("score", self._weights))
            for pipe in self._pipes if not self._empty else ():
                pipe.recv()

    def close(self) -> None:
        """Stop both processes."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.terminate()


def plain_sites(pipe: Any, arrays: dict[str, Any], names: list[str], channels: int, empty: bool) -> None:
    """One process of the plain loop: its sites take turns in one network, each with its own Adam."""
    import torch
    from torch.nn.utils import parameters_to_vector, vector_to_parameters

    from engine.config import ModelConfig
    from engine.metrics import score

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = ModelConfig(channels=channels).build()
    optimizers = {name: torch.optim.Adam(model.parameters(), lr=LR) for name in names}
    images = {key: torch.from_numpy(array)[:, None] for key, array in arrays.items()}
    pipe.send(parameters_to_vector(model.parameters()).detach().numpy())

    def train(name: str) -> Any:
        inputs, targets = images[f"{name}/input"], images[f"{name}/target"]
        for start in range(0, 0 if empty else len(inputs), BATCH):
            optimizers[name].zero_grad()
            output = model.decode(*model.encode(inputs[start : start + BATCH]))
            torch.nn.functional.l1_loss(output, targets[start : start + BATCH]).backward()
            optimizers[name].step()
        return parameters_to_vector(model.parameters()).detach().numpy().copy()

    @torch.no_grad()
    def evaluate(name: str) -> None:
        output = model.decode(*model.encode(images[f"{name}/input"][:EVALUATED]))
        score(images[f"{name}/target"][:EVALUATED, 0], output[:, 0])

    for what, weights in _messages(pipe):
        results = []
        for name in names:
            vector_to_parameters(torch.from_numpy(weights), model.parameters())
            if what == "train":
                results.append(train(name))
            else:
                evaluate(name)
        pipe.send(results)


def _messages(pipe: Any) -> Iterator[Any]:
    while True:
        try:
            yield pipe.recv()
        except (EOFError, ConnectionError):
            return


class Engine:
    """The engine as the main command runs it: a driver actor, two workers, streamed reports."""

    def __init__(self, arrays: dict[str, Any], channels: int, empty: bool, algorithm: str) -> None:
        import contextlib

        from engine.algorithms import ALGORITHMS
        from engine.cluster import cluster
        from engine.config import ModelConfig, Setting, TrainConfig
        from engine.outcomes import Roles
        from engine.placement import Machine, Placement, plan

        setting = Setting(
            algorithm=ALGORITHMS[algorithm](),
            model=ModelConfig(channels=channels),
            train=TrainConfig(lr=LR, batch_size=BATCH, local_epochs=0 if empty else 1),
            seed=0,
            target=SITES[-1],
        )
        placed = plan([(name, SLICES) for name in SITES], Machine(cpus=2), Placement(device="cpu"))
        roles = Roles(everyone=() if empty else tuple(SITES), sources=tuple(SITES), target=SITES[-1])
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(cluster())
        from engine.remote import RemoteDriver
        from tests.arrays import ArrayFactory

        self._driver = RemoteDriver(setting, placed, roles, shift_every=0)
        self._stack.callback(self._driver.close)
        self._driver.start({name: ArrayFactory(name, evaluated=EVALUATED) for name in SITES}, arrays, None)
        self._done = 0

    def rounds(self, count: int) -> None:
        """So many more rounds, their reports received."""
        self._done += count
        for _ in self._driver.run(self._done, snapshot_every=0):
            pass

    def close(self) -> None:
        """Stop Ray."""
        self._stack.close()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
