"""Classifiers of images: the paper's networks, learning that repeats itself, and the whole path of ``vision``."""

from __future__ import annotations

import json
import os
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch as th

from snn_rl import vision
from snn_rl.core.counts import Counts
from snn_rl.core.errors import UserError
from snn_rl.core.fold import folded
from snn_rl.core.network import QNetwork
from snn_rl.core.synops import dense_macs
from snn_rl.images import run
from snn_rl.images.data import Images, Part, divided
from snn_rl.images.kept import NETWORK, WEIGHTS, kept
from snn_rl.images.learning import Classifier, Numbers, accuracy, merit, varied
from snn_rl.images.nets import spec_of
from snn_rl.images.options import Options
from snn_rl.measure.energy import energy
from snn_rl.measure.technology import FP32


def tiny(side: int = 4) -> Images:
    """Two classes: bright and dark images."""
    labels = np.arange(60) % 2
    pixels = np.full((60, 1, side, side), 40, np.uint8) + (labels * 150).astype(np.uint8)[:, None, None, None]
    everything = Part.of(pixels, labels)
    rest, test = divided(everything, 0.3, ("dark", "bright"), "tiny")
    return Images("tiny", ("dark", "bright"), *divided(rest, 0.2, ("dark", "bright"), "tiny"), test, shift=1)


def test_vgg16_has_the_papers_operations() -> None:
    """Energies of the paper's VGG16 start from 338.4 million multiply-accumulates, 1.77 million of them in the first layer."""
    shape = (3, 32, 32)
    network = folded(QNetwork(spec_of("vgg16", shape, 10), 0, 1 / 255, carry=False))
    macs = dense_macs(network.spec, shape)
    first, convs, dense = 32 * 32 * 64 * 27, 313_196_544, 2048 * 4096 + 4096 * 4096 + 4096 * 10
    assert macs[0] == first == 1_769_472
    assert sum(macs[:13]) == convs
    assert sum(macs) == convs + dense == 338_403_328
    assert network.layer_names == [f"conv{n}" for n in range(1, 14)] + ["fc1", "fc2", "fc3"]


@pytest.mark.parametrize("net", ["vgg5", "vgg9", "vgg16", "mlp"])
def test_every_network_takes_small_images(net: str) -> None:
    ann = folded(QNetwork(spec_of(net, (1, 8, 8), 10), 0, 1 / 255, carry=False))
    assert ann(th.randint(0, 256, (2, 1, 8, 8)))[0].shape == (2, 10)


def test_shifts_move_and_flips_mirror() -> None:
    image = th.zeros(200, 1, 3, 3, dtype=th.uint8)
    image[:, 0, 1, 1] = 9
    moved = varied(image, 1, False, th.Generator().manual_seed(0))
    assert moved.shape == image.shape
    assert bool((moved.sum((1, 2, 3)) == 9).all())
    assert bool((moved.float().mean(0)[0] > 0).all())  # it lands everywhere
    corner = th.arange(9, dtype=th.uint8).view(1, 1, 3, 3).expand(50, 1, 3, 3)
    mirrored = varied(corner, 0, True, th.Generator().manual_seed(0))
    kinds = {tuple(each.flatten().tolist()) for each in mirrored}
    assert kinds == {(0, 1, 2, 3, 4, 5, 6, 7, 8), (2, 1, 0, 5, 4, 3, 8, 7, 6)}


def test_selection_looks_at_accuracy_first() -> None:
    images = tiny()
    network = folded(QNetwork(spec_of("mlp", images.shape, 2), 0, 1 / 255, carry=False))
    with th.no_grad():
        for sure in (1.0, 10.0):
            network.synapses[-1][0].weight.zero_()
            network.synapses[-1][0].bias.copy_(th.tensor([sure, 0.0]))
            assert accuracy(network, images.test) == 0.5
            assert 0.5 - 0.5 / len(images.test) <= merit(network, images.test) < 0.5


def learnt(T: int, steps: range, state: dict[str, Any] | None = None) -> tuple[Classifier, list[float]]:
    th.manual_seed(0)
    spec = folded(QNetwork(spec_of("mlp", (1, 4, 4), 2), 0)).spec
    classifier = Classifier(QNetwork(spec, T, 1 / 255, carry=False), tiny(), Numbers(5, 16, 1e-2, 0.2), 3)
    if state is not None:
        classifier.load_state_dict(state)
    return classifier, [classifier.update(step) for step in steps]


@pytest.mark.parametrize("T", [0, 2])
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(T: int) -> None:
    whole, losses = learnt(T, range(8))
    half, first = learnt(T, range(4))
    resumed, rest = learnt(T, range(4, 8), half.state_dict())
    assert first + rest == losses
    for key, value in whole.network.state_dict().items():
        assert th.equal(value, resumed.network.state_dict()[key]), key


def test_distillation_moves_towards_the_ann() -> None:
    ann, _ = learnt(0, range(15))
    teacher = ann.network.eval()
    spec = ann.network.spec
    student = Classifier(QNetwork(spec, 1, 1 / 255, carry=False), tiny(), Numbers(30, 16, 1e-3, 0.0, "distill"), 0, teacher)
    losses = [student.update(step) for step in range(60)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    classifier, _ = learnt(1, range(1))
    with th.no_grad():
        classifier.network.synapses[0][1].weight.fill_(float("nan"))
        classifier.network.synapses[-1][0].weight.fill_(float("nan"))
    with pytest.raises(UserError, match="the loss is nan after 1 gradient steps; give a lower --learning-rate"):
        classifier.update(1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch a stage."""
    folder = tmp_path_factory.mktemp("vision")
    options = ["--data", "digits", "--epochs", "1", "--T", "1", "--start", "2", "--batch-size", "256"]
    assert vision.main([*options, "--out", str(folder / "run"), "--json", str(folder / "result.json")]) == 0
    return folder


def test_the_command_writes_accuracy_and_energy(finished: Path) -> None:
    result = json.loads((finished / "result.json").read_text())
    assert result == json.loads((finished / "run" / "results.json").read_text())
    assert list(result["accuracy"]) == list(result["energy"]) == ["ann", "T2", "T1"]
    assert all(0 <= share <= 1 for share in result["accuracy"].values())
    assert list(result["converted"]) == ["T1", "T2"]
    assert result["images"] == {"train": 1069, "validation": 189, "test": 539}
    macs = 64 * 256 + 256 * 256 + 256 * 10
    assert result["energy"]["ann"]["ann_uj"] == pytest.approx(macs * 4.6e-6)
    one = result["energy"]["T1"]
    assert one["first_layer_uj"] == pytest.approx(64 * 256 * 4.6e-6)
    assert one["membrane_uj"] == 0  # from rest, in one timestep, nothing is kept
    rates = result["spike_rate"]["T1"]
    acs = rates["fc1"] * 256 * 256 + rates["fc2"] * 256 * 10
    assert one["acs"] == pytest.approx(acs)
    counts = Counts(1, macs, first_layer_macs=64 * 256, acs_by_layer={"all": acs}, neuron_updates=512)
    assert one["snn_uj"] == pytest.approx(energy(counts, FP32).snn_uj)
    assert "| T=1 |" in (finished / "run" / "report.md").read_text()


def test_what_is_kept_is_what_was_measured(finished: Path) -> None:
    network, record = kept(finished / "run" / "T1")
    assert network.T == 1
    assert accuracy(network, run.images_of(Options("digits")).test) == record["accuracy"]


def test_a_finished_run_is_loaded_and_another_is_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(finished / "run")
    options = ["--data", "digits", "--epochs", "1", "--T", "1", "--start", "2", "--out", out]
    with pytest.raises(UserError, match="add --resume"):
        vision.main([*options, "--batch-size", "256"])
    with pytest.raises(UserError, match="was begun with batch_size = 256, not 64"):
        vision.main([*options, "--resume"])
    before = {path: path.stat().st_mtime_ns for path in (finished / "run").glob("*/*")}
    assert vision.main([*options, "--batch-size", "256", "--resume"]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (finished / "run").glob("*/*")}


def test_damaged_networks_are_named(finished: Path, tmp_path: Path) -> None:
    for name, content in ((WEIGHTS, b"\0" * 20), (NETWORK, b"{}")):
        folder = tmp_path / name
        folder.mkdir()
        for each in (WEIGHTS, NETWORK):
            (folder / each).write_bytes((finished / "run" / "T1" / each).read_bytes())
        (folder / name).write_bytes(content)
        with pytest.raises(UserError, match="is damaged"):
            kept(folder)


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted in the second training, it ends as one that was not."""
    options = Options("digits", T=1, start=2, epochs=3, batch_size=16, out=tmp_path / "whole")
    whole = run.Run(options, tiny(), th.device("cpu")).carry_out(False)
    calls = 0
    update = Classifier.update

    def interrupted(self: Classifier, step: int) -> float:
        nonlocal calls
        calls += 1
        if calls == 22:
            os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C
        return update(self, step)

    monkeypatch.setattr(Classifier, "update", interrupted)
    parts = Options("digits", T=1, start=2, epochs=3, batch_size=16, out=tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt, match="--resume goes on from"):
        run.Run(parts, tiny(), th.device("cpu")).carry_out(False)
    assert (tmp_path / "parts" / "ann").is_dir()
    assert (tmp_path / "parts" / ".T2.checkpoint").exists()
    again = run.Run(parts, tiny(), th.device("cpu")).carry_out(True)
    assert calls == 36  # none was done twice
    for key in ("accuracy", "energy", "spike_rate", "converted"):
        assert again[key] == whole[key]
    assert not list((tmp_path / "parts").glob(".*"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "mnist"], "unknown data 'mnist'; choose from digits"),
        (["--data", "digits:x"], "unknown data"),
        (["--data", "folder"], "needs the path"),
        (["--data", "digits", "--net", "resnet"], "unknown network 'resnet'; choose from vgg5, vgg9, vgg16, mlp"),
        (["--data", "digits", "--T", "0"], "--T must be at least 1, got 0; the ANN is trained in any case"),
        (["--data", "digits", "--T", "3", "--start", "2"], "--start must be at least --T"),
        (["--data", "digits", "--epochs", "0"], "--epochs must be at least 1"),
        (["--data", "digits", "--learning-rate", "nan"], "--learning-rate must be a finite number above 0, got nan"),
        (["--data", "digits", "--dropout", "1"], "--dropout must lie in"),
        (["--data", "digits", "--percentile", "nan"], "--percentile must lie in"),
        (["--data", "digits", "--size", "1"], "--size must lie in"),
        (["--data", "cifar10:absent"], "no CIFAR-10 in 'absent': download"),
        (["--data", "folder:absent"], "no folder 'absent'"),
    ],
)
def test_errors_are_one_sentence(options: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said) as raised:
        vision.main(options)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_stages_lead_from_five_to_one() -> None:
    assert list(Options("digits").stages) == [5, 4, 3, 2, 1]
    assert list(Options("digits", T=7).stages) == [7]
    assert "T=7" in run.untested(Options("digits", T=7))
    assert not run.untested(Options("digits"))
    assert all(before - after == 1 for before, after in pairwise(Options("digits", T=2, start=6).stages))
