"""``python -m snn_rl.vision``: classifiers of images, from an ANN down to T timesteps per decision."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from snn_rl.console import add_threads, device, run, seed, use_threads


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="snn_rl.vision",
        description="Trains a classifier of images: ANN, conversion, temporal pruning down to T; accuracy, spikes, energy.",
        epilog="example: python -m snn_rl.vision --data digits --net mlp --T 1",
    )
    parser.add_argument("--data", required=True, help="digits, cifar10[:PATH], cifar100[:PATH] or folder:PATH")
    parser.add_argument("--net", default="mlp", help="vgg5, vgg9, vgg16 or mlp (default mlp)")
    parser.add_argument("--T", type=int, default=1, help="timesteps per decision to end with (default 1)")
    parser.add_argument("--start", type=int, metavar="T", help="T of the conversion and the first stage (default 5)")
    said = "cross-entropy of the classes (default), or distill: that, and as much of the divergence from the ANN"
    parser.add_argument("--objective", default="cross-entropy", choices=("cross-entropy", "distill"), help=said)
    parser.add_argument("--seed", type=seed, default=0, help="default 0")
    said = "of each spiking stage, and for each of them of the ANN (default 60)"
    parser.add_argument("--epochs", type=int, help=said)
    parser.add_argument("--batch-size", type=int, default=64, help="default 64")
    parser.add_argument("--learning-rate", type=float, help="of spiking networks (default: 1e-3 for small images, else 1e-4)")
    parser.add_argument("--dropout", type=float, help="default 0.5 for small images, else 0.2")
    parser.add_argument("--percentile", type=float, default=90.0, help="of currents, for the conversion's thresholds")
    parser.add_argument("--size", type=int, default=32, help="pixels a side of a folder's images (default 32)")
    parser.add_argument("--out", type=Path, help="folder of the run; default runs/<data>-<net>-T<T>-seed<seed>")
    parser.add_argument("--json", type=Path, help="write the result here too")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    parser.add_argument("--device", type=device, default="cpu", help="cpu, cuda or auto (default cpu)")
    add_threads(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.vision``."""
    args = _parser().parse_args(argv)
    from snn_rl.images.options import Options

    options = Options(**{part.name: getattr(args, part.name) for part in dataclasses.fields(Options)})
    options.check()
    from snn_rl.images.nets import check_net
    from snn_rl.images.run import Run, images_of, untested
    from snn_rl.images.tables import report
    from snn_rl.store.files import check_writable, whole, write_json

    check_net(options.net)
    use_threads(args.threads)
    if args.json is not None:
        check_writable(args.json)
    images = images_of(options)
    for note in (*images.notes, untested(options)):
        print(note, end="\n" * bool(note))
    print(f"{images.name}: {len(images.train):,} images to learn from, written to {options.folder}")
    results = Run(options, images, args.device).carry_out(args.resume)
    written = report(results)
    write_json(results, options.folder / "results.json")
    with whole(options.folder / "report.md") as new:
        new.write_bytes(written.encode())
    if args.json is not None:
        write_json(results, args.json)
    print(written)
    return 0


if __name__ == "__main__":
    run(main)
