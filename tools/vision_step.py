"""How long a gradient step of VGG16 on 32 x 32 pixels takes at T=1, beside one of its ANN: in turns, in one process, with one
thread::

    python tools/vision_step.py --out docs/results/vision-step.json

The ANN is taken as it is trained, with batch norm, and as it is compared, with the batch norm folded into its weights.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch as th

from snn_rl.core.fold import folded
from snn_rl.core.network import QNetwork
from snn_rl.images.data import Images, Part
from snn_rl.images.learning import Classifier, Numbers
from snn_rl.images.nets import spec_of
from snn_rl.sb3.conversion import spiking_twin
from snn_rl.store.files import whole
from snn_rl.store.provenance import versions
from snn_rl.tasks.recipes import ConvertRecipe

SHAPE, CLASSES, T = (3, 32, 32), 10, 1


def noise(n: int) -> Images:
    """Random pixels: times do not depend on what is seen."""
    rng = np.random.default_rng(0)
    part = Part.of(rng.integers(0, 256, (n, *SHAPE), np.uint8), np.arange(n) % CLASSES)
    return Images("noise", tuple(map(str, range(CLASSES))), part, part, part, shift=4, flips=True)


def main() -> None:
    """Times the steps and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", default="vgg16")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    th.set_num_threads(1)
    th.manual_seed(0)
    images, numbers = noise(4 * args.batch_size), Numbers(1000, args.batch_size, 1e-4, 0.2)
    ann = QNetwork(spec_of(args.net, SHAPE, CLASSES), 0, 1 / 255, carry=False)
    plain = folded(ann)
    twin = spiking_twin(plain, T, images.train.images[:16], ConvertRecipe(percentile=90.0, decay=1.0), carry=False)
    learners = {
        "ann": Classifier(ann, images, numbers, 0),
        "ann_folded": Classifier(plain, images, numbers, 0),
        f"T{T}": Classifier(twin, images, numbers, 0),
    }
    seconds: dict[str, list[float]] = {name: [] for name in learners}
    for step in range(args.rounds + 1):  # the first is slow
        for name, learner in learners.items():
            begun = time.process_time()
            learner.update(step)
            seconds[name].append(time.process_time() - begun)
    spent = {name: times[1:] for name, times in seconds.items()}
    ratios = {name: median(spent[f"T{T}"]) / median(spent[name]) for name in ("ann", "ann_folded")}
    record = {
        "net": args.net,
        "batch_size": args.batch_size,
        "threads": 1,
        "cpu_seconds": {name: [round(value, 4) for value in times] for name, times in spent.items()},
        "ratio": {name: round(value, 3) for name, value in ratios.items()},
        "machine": platform.machine(),
        "versions": versions(),
    }
    with whole(args.out) as new:
        new.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record["ratio"]))


if __name__ == "__main__":
    main()
