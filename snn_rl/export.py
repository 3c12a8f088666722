"""``python -m snn_rl.export``: an agent as a file for other tools."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from snn_rl.console import ENV_HELP, add_hints, environment, run
from snn_rl.core.errors import UserError

FORMATS = {
    "c": "an agent of integers in C99, for microcontrollers: one header, one source",
    "js": "plain JavaScript and weights as JSON, for web pages and Node; a folder",
    "nir": "NIR, for neuromorphic tools: exact, with golden spikes in the file",
    "nir-lif": "NIR with its own LIF, which is another neuron; the file says what that changes",
    "onnx": "ONNX, for onnxruntime and others: a decision, the membranes in and out",
    "zip": "a zip of SpikingDQN, which goes on learning with Stable-Baselines3",
}


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m snn_rl.export``."""
    parser = argparse.ArgumentParser(
        prog="snn_rl.export",
        description="Writes an agent as a file for other tools:\n"
        + "\n".join(f"  {name:8}{what}" for name, what in FORMATS.items()),
        epilog="example: python -m snn_rl.export CartPole-v1/T1 --to zip --out runs/cartpole.zip",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("agent", help="agent folder, shipped name, or zip")
    parser.add_argument("--env", type=environment, help=f"{ENV_HELP}; needed for a zip")
    add_hints(parser)
    parser.add_argument("--to", required=True, choices=FORMATS, help="format")
    parser.add_argument("--out", type=Path, required=True, help="file to write, or folder for a format of several files")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    args = parser.parse_args(argv)
    from snn_rl.sb3.hints import Hints
    from snn_rl.sb3.zips import load_hinted
    from snn_rl.store.files import check_new

    check_new(args.out)
    hints = Hints(args.extractor, args.activation, args.vecnormalize, args.trust_pickle)
    agent = load_hinted(args.agent, args.env, hints)
    try:
        writer = import_module(f"snn_rl.exports.{args.to.replace('-', '_')}")
    except ModuleNotFoundError as error:
        raise UserError(
            f"--to {args.to} needs the package {error.name}: pip install 'snn-rl[{args.to.partition('-')[0]}]'"
        ) from error
    print(writer.write(agent, args.out))
    return 0


if __name__ == "__main__":
    run(main)
