"""Reads hostile and damaged files, and counts what should not happen. For maintainers, in a checkout, on Linux.

    python tools/attack.py [--cases 600] [--flips 300] [--seed 0]

Each case is a process of its own with a limit on its memory and its time. What is printed: how many files made code run, ended
in an error that is not one sentence for the user, took more than 10 seconds of processor time (or waited for 30), and needed
more than 1 GB of memory; and how many flipped bits in an agent's files were loaded in silence.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch as th
from hostile import ENV, Case, Sound, cases

from snn_rl.core.errors import UserError
from snn_rl.store import agents, integrity
from snn_rl.store.agents import CARD, WEIGHTS
from snn_rl.store.files import data_folder

MOST_SECONDS, MOST_WAIT, MOST_BYTES = 10.0, 30.0, 1e9
LIMIT_BYTES = 24 << 30  # of addresses: torch takes many that it does not use
LOADED, REFUSED, UNEXPECTED = 0, 3, 4


def attempt(case: Case, log: Path) -> tuple[int, float, float]:
    """Reads in a process of its own: the code with which it ended, processor seconds, bytes of memory."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        code = UNEXPECTED
        try:
            case.read()
            code = LOADED
        except UserError as error:
            code = REFUSED if "\n" not in str(error) and len(str(error)) < 1000 else UNEXPECTED
            log.write_text(str(error), encoding="utf-8")
        except BaseException:
            log.write_text(traceback.format_exc(), encoding="utf-8")
        finally:
            os._exit(code)
    begun, done, status = time.monotonic(), 0, 0
    while not done:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if not done and time.monotonic() - begun > MOST_WAIT:
            os.kill(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            return status, MOST_WAIT, usage.ru_maxrss * 1024.0
        time.sleep(0 if done else 0.002)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024.0


def attack(number: int, seed: int, folder: Path) -> dict[str, int]:
    """Tries so many files.

    Returns:
        How many were executed, ended in unexpected errors, took too long and needed too much memory, and how many loaded.
    """
    sound, mark, log = Sound.make(folder), folder / "executed", folder / "log"
    names = ("tried", "loaded", "executed", "unexpected errors", "over 10 s", "above 1 GB")
    found, worst = dict.fromkeys(names, 0), (0.0, 0.0)
    for n in range(number):
        place = folder / str(n)
        place.mkdir()
        case = cases(sound, random.Random(f"{seed} {n}"), place, mark)
        code, seconds, memory = attempt(case, log)
        wrong = {
            "executed": mark.exists(),
            "unexpected errors": code not in (LOADED, REFUSED),
            "over 10 s": seconds > MOST_SECONDS,
            "above 1 GB": memory > MOST_BYTES,
        }
        for name in [name for name, happened in wrong.items() if happened]:
            found[name] += 1
            said = log.read_text(encoding="utf-8")[-1500:] if log.exists() else ""
            print(f"case {n} ({case.name}): {name}: code {code}, {seconds:.1f} s, {memory / 1e9:.2f} GB\n{said}", flush=True)
        found["tried"] += 1
        found["loaded"] += code == LOADED
        worst = max(worst[0], seconds), max(worst[1], memory)
        mark.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
        shutil.rmtree(place, ignore_errors=True)
    print(f"the longest took {worst[0]:.1f} s of processor time, the largest {worst[1] / 1e9:.2f} GB")
    return found


def flips(number: int, seed: int, folder: Path) -> dict[str, int]:
    """Flips a bit of an agent's weights, and one of its card, so many times each, half of them in a shipped agent's.

    Returns:
        How many of either were loaded as another agent in silence.
    """
    catalogue = folder / "agents"
    shutil.copytree(data_folder("agents") / ENV / "T1", catalogue / ENV / "T1")
    shutil.copy(data_folder("agents") / integrity.LIST, catalogue)
    setattr(integrity, "data_folder", lambda name: folder / name)  # noqa: B010
    new = agents.save(agents.load(catalogue / ENV / "T1"), folder / "flipped")
    rng, silent = random.Random(seed), {"flips in weights": 0, "flips in the card": 0}
    for n in range(2 * number):
        path = (new, catalogue / ENV / "T1")[n // 2 % 2] / (WEIGHTS, CARD)[n % 2]
        content = path.read_bytes()
        before = agents.load(path.parent)
        changed, bit = bytearray(content), rng.randrange(8 * len(content))
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            after = agents.load(path.parent)
            same = agents.fingerprint(before.network) == agents.fingerprint(after.network)
            if not same or json.loads(content if n % 2 else b"0") != json.loads(path.read_bytes() if n % 2 else b"0"):
                silent[[*silent][n % 2]] += 1
                print(f"bit {bit} of {path.name} in '{path.parent.name}' was loaded in silence", flush=True)
        except UserError:
            pass
        finally:
            path.write_bytes(content)
    return silent


def main(argv: Sequence[str] | None = None) -> int:
    """``python tools/attack.py``; the exit code is 1 if anything happened that should not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=600, help="hostile and damaged files to try")
    parser.add_argument("--flips", type=int, default=300, help="bits to flip in weights, and in cards")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    th.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = attack(args.cases, args.seed, Path(folder))
        silent = flips(args.flips, args.seed, Path(folder))
    print(f"files: {', '.join(f'{name} {count:,}' for name, count in found.items())}")
    print(f"{args.flips:,} of each, loaded in silence: {', '.join(f'{name} {count:,}' for name, count in silent.items())}")
    bad = sum(found.values()) - found["tried"] - found["loaded"] + sum(silent.values())
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
