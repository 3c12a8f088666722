"""``python -m snn_rl.benchmark``: decisions, gradient steps and neurons, each beside its rivals, in one run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from snn_rl.console import run
from snn_rl.core.errors import UserError
from snn_rl.store.files import check_writable


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.benchmark``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.benchmark",
        description="Times decisions on real frames of Pong, gradient steps and layers of neurons, beside onnxruntime, "
        "Stable-Baselines3, snnTorch, SpikingJelly and Norse, as far as they are installed. All contestants take turns on one "
        "thread, so the ratios hold where the times do not.",
        epilog="example: python -m snn_rl.benchmark --quick --json speed.json",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds: about a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write speed.json, speed.md and plots here")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    if args.json is not None:
        if args.json.is_dir():
            raise UserError(f"'{args.json}' is a folder; give the name of a file")
        check_writable(args.json)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        check_writable(args.out / "speed.json")
    import torch as th

    from snn_rl.speed import activity, cartpole, decisions, layers, page, updates
    from snn_rl.speed.timing import contest
    from snn_rl.store.files import write_json

    th.set_num_threads(1)
    th.manual_seed(0)
    observations, rounds = (60, 3) if args.quick else (400, 9)
    print(f"recording {observations} observations of Pong", flush=True)
    frames = decisions.recorded(observations)
    print(f"decisions: {rounds} rounds", flush=True)
    deciding = contest(decisions.contestants(frames), rounds)
    balancing = contest(cartpole.contestants(cartpole.recorded(observations)), rounds)
    print(f"gradient steps: {rounds} rounds", flush=True)
    updating = contest(updates.contestants(frames), rounds, 1 if args.quick else 5)
    print(f"layers of neurons: {rounds} rounds", flush=True)
    neurons = contest(layers.contestants(), rounds, 1 if args.quick else 3)
    found = page.record(deciding, updating, neurons, balancing, observations)
    print("decisions by activity", flush=True)
    found["activity"] = by_activity = activity.measure(frames, rounds)
    print(page.tables(found))
    if args.json is not None:
        write_json(found, args.json)
        print(f"wrote {args.json}")
    if args.out is not None:
        write_json(found, args.out / "speed.json")
        (args.out / "speed.md").write_text(
            f"# Speed\n\n{page.tables(found)}\n\n![Time of a decision](speed.png)\n", encoding="utf-8"
        )
        page.plot(found).savefig(args.out / "speed.png")
        if not isinstance(by_activity, str):
            activity.plot(by_activity).savefig(args.out / "speed-activity.png")
        print(f"wrote {args.out}/speed.json, speed.md and its plots")
    return 0


if __name__ == "__main__":
    run(main)
