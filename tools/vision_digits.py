"""Puts the results of several runs of ``snn_rl.vision`` into one file, from which a table of docs/vision.md is made::

for s in 0 1 2; do python -m snn_rl.vision --data digits --seed $s --json stages$s.json; done
python tools/vision_digits.py stages?.json --out docs/results/vision-digits.json

and, with runs of another kind beside them, the comparison of stages with T=1 straight away::

for s in 0 1 2; do
    python -m snn_rl.vision --data digits --epochs 30 --seed $s --json stages$s.json
    python -m snn_rl.vision --data digits --start 1 --epochs 150 --seed $s --out straight$s --json straight$s.json
done
python tools/vision_digits.py stages?.json --straight straight?.json --out docs/results/vision-straight.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from snn_rl.store.files import write_json


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--straight", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    write_json(
        {name: [json.loads(path.read_bytes()) for path in getattr(args, name)] for name in ("runs", "straight")}, args.out
    )


if __name__ == "__main__":
    main()
