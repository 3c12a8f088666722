"""The whole path for one data set: ANN, conversion, temporal pruning, each measured by the harness of agents."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch as th

from snn_rl.core.fold import folded
from snn_rl.core.network import QNetwork
from snn_rl.core.synops import OperationCounter
from snn_rl.images import cifar, data, folders
from snn_rl.images.data import Images
from snn_rl.images.kept import keep, kept
from snn_rl.images.learning import Classifier, Numbers, accuracy, chunk, merit
from snn_rl.images.nets import spec_of
from snn_rl.images.options import CHAIN_START, Options
from snn_rl.measure.energy import energy
from snn_rl.measure.technology import FP32, Technology
from snn_rl.sb3.conversion import spiking_twin
from snn_rl.store.checkpoints import States
from snn_rl.store.files import begin_run
from snn_rl.store.provenance import command, versions
from snn_rl.tasks.progress import Progress
from snn_rl.tasks.recipes import ConvertRecipe
from snn_rl.training.checkpoints import Checkpoint, Stateful
from snn_rl.training.curve import Curve
from snn_rl.training.jobs import late_points
from snn_rl.training.selection import Selection
from snn_rl.training.watch import Watch

EVALUATIONS = 20  # of a training, in its last half
CALIBRATION, CURRENTS = 512, 20_000_000  # images by which thresholds are set, at most; and currents of a layer
SMALL, LARGE = {"epochs": 60, "learning_rate": 1e-3, "dropout": 0.5}, {"epochs": 60, "learning_rate": 1e-4, "dropout": 0.2}
ANN_RATES = {"small": 3e-3, "large": 1e-3}  # of images below 32 x 32 pixels, and of others


def images_of(options: Options) -> Images:
    """The data that the options name.

    Raises:
        UserError: if they are not there or damaged.
    """
    kind, where = options.source
    if kind == "digits":
        return data.digits()
    if kind == "folder":
        assert where is not None
        return folders.read(where, options.size)
    return cifar.read(kind, where)


def numbers_of(options: Options, images: Images) -> Numbers:
    """How the spiking networks learn: what the options do not say follows from the size of the images."""
    usual = SMALL if images.shape[-1] < 32 else LARGE
    said = {name: getattr(options, name) for name in usual if getattr(options, name) is not None}
    return Numbers(batch_size=options.batch_size, objective=options.objective, **{**usual, **said})


class Run:
    """A run that is being carried out.

    Args:
        options: what the user asked for.
        images: the data.
        device: where networks learn.

    Attributes:
        results: of each network, by its name: accuracy, spikes, energy.
    """

    def __init__(self, options: Options, images: Images, device: th.device) -> None:
        self.options, self.images, self.device = options, images, device
        self.numbers = numbers_of(options, images)
        self.results: dict[str, dict[str, Any]] = {}

    def carry_out(self, resume: bool) -> dict[str, Any]:
        """Makes all networks, each kept in a folder of the run; what is there already is loaded.

        Raises:
            UserError: if the folder exists and is not to be resumed, or a training fails.
            KeyboardInterrupt: after a checkpoint was written.
        """
        options = self.options
        with begin_run(options.folder, options.settings, resume):
            ann = self._made("ann", 0, None, None)
            network = self._converted(ann)
            for T in options.stages:
                network = self._made(f"T{T}", T, network, ann)
            return self._summary()

    def _made(self, name: str, T: int, before: QNetwork | None, ann: QNetwork | None) -> QNetwork:
        """A trained network, from the one before it."""
        folder = self.options.folder / name
        if folder.is_dir():
            States(_checkpoint(folder)).remove()  # what was interrupted between the two
            network, self.results[name] = kept(folder)
            return network
        th.manual_seed(self.options.seed)
        if before is None:
            spec = spec_of(self.options.net, self.images.shape, len(self.images.classes))
            network, numbers = QNetwork(spec, 0, 1 / 255, carry=False), self._of_ann()
        else:
            network, numbers = QNetwork(before.spec, T, before.input_scale, carry=False), self.numbers
            network.load_state_dict(before.state_dict())
        teacher = ann.to(self.device) if ann is not None and numbers.objective == "distill" else None
        learner = Classifier(network.to(self.device), self.images, numbers, self.options.seed * 1000 + T, teacher)
        with _watch(learner, folder, f"{self.images.name} {f'T={T}' if T else 'ANN'}") as watch:
            watch.resume()
            learner.learn(watch)
        watch.selection.choose(network)
        network.dropout = 0.0
        network = folded(network.cpu())
        self.results[name] = measured(network, self.images) | {"seconds": round(watch.progress.seconds, 1)}
        keep(folder, network, self.images.shape, self.results[name])
        watch.checkpoint.remove()
        return network

    def _of_ann(self) -> Numbers:
        epochs = self.numbers.epochs * len(self.options.stages)  # what comes of it has learnt as long once more
        rate = ANN_RATES["small" if self.images.shape[-1] < 32 else "large"]
        return dataclasses.replace(self.numbers, epochs=epochs, learning_rate=rate, objective="cross-entropy")

    def _converted(self, ann: QNetwork) -> QNetwork:
        """The conversion at the first T; those straight to each T are measured beside it."""
        convert, found = ConvertRecipe(percentile=self.options.percentile, decay=1.0), {}
        widest = max(map(lambda shape: th.Size(shape).numel(), ann.shapes(self.images.shape)), default=1)
        for T in reversed(self.options.stages):
            count = max(min(CALIBRATION, CURRENTS // (widest * T)), 1)
            observations = self.images.train.images[:: max(len(self.images.train) // count, 1)][:count]
            twin = spiking_twin(ann, T, observations, convert, carry=False)
            found[f"T{T}"] = accuracy(twin, self.images.test)
        self.results["converted"] = found
        return twin

    def _summary(self) -> dict[str, Any]:
        """What ``--json`` holds."""
        names = ["ann", *(f"T{T}" for T in self.options.stages)]
        parts = {name: len(getattr(self.images, name)) for name in ("train", "validation", "test")}
        rows = {key: {name: self.results[name][key] for name in names} for key in ("accuracy", "validation", "energy")}
        return {
            **rows,
            "spike_rate": {name: self.results[name]["spike_rate"] for name in names[1:]},
            "converted": self.results["converted"],
            "data": self.images.name,
            "classes": len(self.images.classes),
            "image_shape": list(self.images.shape),
            "images": parts,
            "net": self.options.net,
            "seed": self.options.seed,
            "numbers": dataclasses.asdict(self.numbers),
            "seconds": {name: self.results[name]["seconds"] for name in names},
            "command": command(),
            "versions": versions(),
        }


def measured(network: QNetwork, images: Images, technology: Technology = FP32) -> dict[str, Any]:
    """Accuracy on the images to select by and on the held-out ones; spikes and energy per decision on the latter."""
    counter = OperationCounter(network, images.shape)
    network.eval()
    with th.no_grad():
        for some in images.test.images.split(min(chunk(network, images.shape), 500)):
            record: list[th.Tensor] = []
            network.unroll(some.unsqueeze(0), None, None, record)
            counter.update(some, [sent[0] for sent in record])
    cost = {key: value for key, value in energy(counter.counts(), technology).to_json().items() if value is not None}
    return {
        "accuracy": accuracy(network, images.test),
        "validation": accuracy(network, images.validation),
        "spike_rate": counter.rates() if network.spiking else {},
        "energy": cost,
    }


def _watch(learner: Classifier, folder: Path, title: str) -> Watch:
    progress, curve = Progress(learner.total, "gradient steps", title), Curve()
    points = late_points(learner.total, min(EVALUATIONS, learner.numbers.epochs))
    selection = Selection(points, lambda network: 100 * merit(network, learner.images.validation), measure="accuracy")
    identity = {"total": learner.total, "seed": learner.seed, **dataclasses.asdict(learner.numbers)}
    parts: dict[str, Stateful] = {"learner": learner, "progress": progress, "selection": selection, "curve": curve}
    return Watch(learner.network, progress, selection, Checkpoint(_checkpoint(folder), identity, parts), curve)


def _checkpoint(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.checkpoint")


def untested(options: Options) -> str:
    """What is said of more timesteps than the paper's; "" otherwise."""
    first = options.stages[0]
    return f"T={first}: more than {CHAIN_START} timesteps per decision are untested" if first > CHAIN_START else ""
