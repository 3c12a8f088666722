"""Kills trainings and resumes them: does each end as if nothing had happened, and what is left behind?

    python tools/kills.py [--runs 60] [--seed 0] [--only NAME ...]

Prints what docs/files.md says of kills. Every training is tiny and runs in a process of its own.
It is killed (``kill -9``) at a random moment, or at a call of ``os.replace``, ``os.fsync`` or another that writes, then
resumed; half of the runs are killed a second time. What a training ends with is compared by its SHA-256 sum: weights,
optimiser, replay buffer, random generators, environments, evaluations, curve.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import killed

from snn_rl.store.leftovers import is_temporary

PONG, CARTPOLE = "PongNoFrameskip-v4", "CartPole-v1"
TRAININGS = {
    "ann": f"--env {CARTPOLE} --T 0",
    "td": f"--env {CARTPOLE} --objective td --ann none",
    "distill": f"--env {CARTPOLE}",
    "chain": f"--env {CARTPOLE} --ann scratch --start 2",
    "pong ann": f"--env {PONG} --T 0 --frames 1",
    "pong td": f"--env {PONG} --objective td",
    "pong distill": f"--env {PONG}",
}
PATIENCE = 600  # seconds that a process may take


@dataclass
class Result:
    """What became of a run."""

    name: str
    moments: list[str]
    resumed: bool
    identical: bool
    leftovers: list[str]


def ended(name: str, out: Path, notes: Path, *more: str, at: str = "", moment: float = PATIENCE) -> int:
    """Runs a training, and kills it after so many seconds; its exit code, negative where it was killed."""
    command = [*TRAININGS[name].split(), "--out", str(out), *more]
    command += ["--checkpoint-every", "0", "--device", "cpu", "--threads", "1"]
    begun, pid = time.monotonic(), killed.begin(command, notes, log_of(out), at)
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - begun > moment:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def lines(path: Path) -> list[str]:
    """Of a text; none where there is no file."""
    return path.read_text(encoding="utf-8").split("\n") if path.exists() else []


def log_of(out: Path) -> Path:
    """What the processes of a run printed."""
    return out.with_name(f"{out.name}.log")


def left(out: Path) -> list[str]:
    """Temporary files, checkpoints and locks in the folder of a run that has ended."""
    return [path.name for path in out.rglob(".*") if is_temporary(path.name) or path.name.startswith((".lock", ".T", ".ann"))]


def scored(out: Path) -> list[bytes]:
    """Weights and episodes of all agents of a run."""
    return [path.read_bytes() for path in sorted([*out.glob("*/weights.safetensors"), *out.glob("*/episodes.csv")])]


class Undisturbed:
    """Runs that nobody kills, to compare with: one of each training."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._known = folder, dict[str, tuple[list[str], list[bytes], float]]()

    def of(self, name: str) -> tuple[list[str], list[bytes], float]:
        """Notes, weights and episodes, and seconds."""
        if name not in self._known:
            out, notes, begun = self.folder / name.replace(" ", "-"), self.folder / f"{name}.txt", time.monotonic()
            if ended(name, out, notes):
                raise SystemExit(f"{name} does not run:\n{lines(log_of(out))}")
            if found := left(out):
                raise SystemExit(f"{name} leaves {found} though nobody killed it")
            self._known[name] = lines(notes), scored(out), time.monotonic() - begun
        return self._known[name]


def kill(name: str, out: Path, notes: Path, rng: random.Random, seconds: float, *more: str) -> str:
    """Starts a training and kills it, at a random moment or at a random call; says which."""
    if rng.random() < 0.5:
        moment = rng.uniform(0.0, 1.0) * seconds
        ended(name, out, notes, *more, moment=moment)
        return f"{moment:.1f} s"
    at = f"{rng.choice(['', 'after-'])}{rng.choice([*killed.CALLS])}:{int(1.5 ** rng.uniform(0, 10))}"
    code = ended(name, out, notes, *more, at=at)
    return at if code < 0 else f"{at} (not reached)"


def try_one(name: str, folder: Path, undisturbed: Undisturbed, rng: random.Random) -> Result:
    """A run that is killed once or twice and resumed."""
    notes, files, seconds = undisturbed.of(name)
    out, told, moments, more = folder / "run", folder / "notes.txt", list[str](), list[str]()
    for _ in range(rng.choice([1, 2])):
        moments.append(kill(name, out, told, rng, seconds, *more))
        more = ["--resume"]
    resumed = ended(name, out, told, "--resume") == 0
    # a training that is killed between saving its agent and removing its checkpoint notes nothing: its weights are compared
    same = resumed and scored(out) == files and set(lines(told)) <= {*notes, ""}
    if not same:
        print(f"{name}, killed at {moments}:", *lines(log_of(out)), *lines(told), "undisturbed:", *notes, sep="\n")
    return Result(name, moments, resumed, same, left(out))


def main() -> None:
    """Prints the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60, help="runs to kill (default 60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", nargs="*", choices=TRAININGS, default=[*TRAININGS], metavar="NAME", help=", ".join(TRAININGS)
    )
    args = parser.parse_args()
    rng, results = random.Random(args.seed), []
    with tempfile.TemporaryDirectory() as temporary:
        undisturbed = Undisturbed(Path(temporary, "undisturbed"))
        undisturbed.folder.mkdir()
        for n in range(args.runs):
            name = args.only[n % len(args.only)]
            folder = Path(temporary, f"run-{n}")
            folder.mkdir()
            results.append(try_one(name, folder, undisturbed, rng))
            print(f"{n + 1}/{args.runs} {name}: {', then '.join(results[-1].moments)}: {results[-1].identical}", flush=True)
    resumed, same = (sum(getattr(one, what) for one in results) for what in ("resumed", "identical"))
    files = sum(bool(one.leftovers) for one in results)
    print(f"kill -9 at a random moment or write, then --resume: resumed {resumed} of {len(results)}, identical {same}")
    print(f"temporary files left after a kill and a finished resume: {files} of {len(results)} runs")
    sys.exit(same < len(results) or files > 0)


if __name__ == "__main__":
    main()
