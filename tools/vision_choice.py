"""Chooses for how many epochs and with how much dropout networks learn the digits, without a look at the held-out images::

    python tools/vision_choice.py --out docs/results/vision-choice.json

The images that are not held out are parted in three. In turns one part scores networks that learnt from the two others (and
were selected by a share of those). What has the highest mean accuracy, over the parts and over the ANN and T=5 to 1 alike,
is chosen; of equals the one with fewer epochs.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch as th
from sklearn.model_selection import StratifiedKFold

from snn_rl.images.data import VALIDATION, Images, Part, digits, divided
from snn_rl.images.options import Options
from snn_rl.images.run import Run
from snn_rl.store.files import write_json

EPOCHS, DROPOUT, FOLDS = (10, 30, 60), (0.2, 0.5), 3


def folds(images: Images) -> Iterator[Images]:
    """The data without their held-out images: each part of them is the one that scores once."""
    parts = (images.train, images.validation)
    known = Part(th.cat([part.images for part in parts]), th.cat([part.labels for part in parts]))
    splits = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(known.labels, known.labels)
    for learnt, scored in splits:
        train, validation = divided(known.at(np.asarray(learnt)), VALIDATION, images.classes, images.name)
        yield Images(images.name, images.classes, train, validation, known.at(np.asarray(scored)), images.shift, images.flips)


def accuracies(images: Images, net: str, epochs: int, dropout: float) -> dict[str, float]:
    """Of each network of a run, on the part that scores."""
    with tempfile.TemporaryDirectory() as folder:
        options = Options("digits", net, epochs=epochs, dropout=dropout, out=Path(folder) / "run")
        found: dict[str, float] = Run(options, images, th.device("cpu")).carry_out(False)["accuracy"]
    return found


def main() -> None:
    """Measures every combination and writes what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="mlp")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for epochs, dropout in itertools.product(EPOCHS, DROPOUT):
        each = [accuracies(images, args.net, epochs, dropout) for images in folds(digits())]
        rows.append({"epochs": epochs, "dropout": dropout, "accuracy": each, "mean": mean(mean(one.values()) for one in each)})
        print(rows[-1], flush=True)
    best = max(rows, key=lambda row: (row["mean"], -row["epochs"]))
    chosen = {name: best[name] for name in ("epochs", "dropout")}
    write_json({"net": args.net, "folds": FOLDS, "rows": rows, "chosen": chosen}, args.out)
    print(chosen)


if __name__ == "__main__":
    main()
