"""A sweep on a Ray cluster of three nodes, of which one is lost in the middle."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from snn_rl import sweep
from snn_rl.sweeps.cells import grid
from snn_rl.sweeps.local import Local
from snn_rl.sweeps.on_ray import OnRay
from snn_rl.sweeps.run import begin, carry_out, is_done
from snn_rl.sweeps.training import LOG

ENOUGH, HALF = 60, 20

# In place of a training: it counts, and keeps in its folder how far it is, as a training does by its checkpoints. It writes
# down from where it went on, and which process looks after it.
COUNTING = f"""
import json, os, pathlib, sys, time

folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
(folder / "T1").mkdir(parents=True, exist_ok=True)
kept = folder / "T1" / "card.json"
count = json.loads(kept.read_text())["count"] if kept.exists() else 0
with open(folder / "T1" / "episodes.csv", "a") as log:
    log.write(f"{{count}} {{os.getppid()}}\\n")
(folder / "settings.json").write_text("{{}}")
while count < {ENOUGH}:
    time.sleep(0.1)
    count += 1
    new = kept.with_suffix(".new")
    new.write_text(json.dumps({{"count": count}}))
    new.replace(kept)
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The head, which takes no cells, and three nodes of one core each."""
    (tmp_path / "counting.py").write_text(COUNTING)
    package = str(Path(sweep.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), package]))  # of the nodes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(3):
            made.add_node(num_cpus=1)
        ray.init(address=made.address, log_to_driver=False)
        yield made
        ray.shutdown()
        made.shutdown()


def remove(cluster: Any, worker: int) -> None:
    """Kills the node of a worker."""
    raylet = psutil.Process(worker).ppid()
    (node,) = (one for one in cluster.worker_nodes if raylet in [p.process.pid for p in one.all_processes["raylet"]])
    cluster.remove_node(node, allow_graceful=False)


def lose(cluster: Any, folder: Path, lost: list[str]) -> None:
    """Kills the node of the first cell that is some way on; ``lost`` gets the cell's name."""
    while not lost:
        time.sleep(0.05)
        for log in folder.glob("*/T1/episodes.csv"):
            kept, parent = log.with_name("card.json"), int((log.read_text() or "0 0").split()[1])
            if not kept.exists() or int(kept.read_text().partition(": ")[2].rstrip("}")) < HALF:
                continue
            remove(cluster, parent)
            lost.append(log.parents[1].name)
            return


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_lost_node_costs_only_the_time_since_its_last_checkpoint(cluster: Any, tmp_path: Path) -> None:
    cells, out, lost = grid(["CartPole-v1"], [1], [()], range(6)), tmp_path / "out", list[str]()
    name = begin(out, False)
    folder = tmp_path / "storage" / name / cells[0].group
    killer = threading.Thread(target=lose, args=(cluster, folder, lost), daemon=True)
    killer.start()
    assert not carry_out(cells, out, OnRay(out / "cells", 1, 0, None, tmp_path / "storage", name, "counting"))
    killer.join(10)
    assert all(is_done(cell, out) for cell in cells)
    for cell in cells:
        lines = [line.split() for line in (out / "cells" / cell.name / "T1" / "episodes.csv").read_text().splitlines()]
        assert lines[0][0] == "0"
        assert len(lines) == (2 if cell.name.endswith(lost[0]) else 1)
        assert all(int(count) >= HALF for count, _ in lines[1:])  # it went on from there
        assert len({parent for _, parent in lines}) == len(lines)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_sweep_that_is_ended_early_ends_its_trainings(cluster: Any, tmp_path: Path) -> None:
    cells, storage = grid(["CartPole-v1"], [1], [()], range(9)), tmp_path / "storage"
    outcomes = OnRay(tmp_path / "out", 1, 0, None, storage, "x", "counting").run(cells)
    assert not next(outcomes).error
    outcomes.close()
    kept = {path: path.read_text() for path in storage.glob("*/*/*/T1/card.json")}
    time.sleep(1)
    assert {path: path.read_text() for path in kept} == kept
    assert len(kept) < len(cells)


def lose_a_training(cluster: Any, folder: Path, lost: list[str]) -> None:
    """Kills the node of the first training that has written checkpoints for some seconds."""
    first: dict[Path, float] = {}
    while not lost:
        time.sleep(0.05)
        for states in folder.glob("*/seed*/.T1.checkpoint"):
            written = 0.0
            with contextlib.suppress(FileNotFoundError):  # a state that is just replaced
                written = max((path.stat().st_mtime for path in states.iterdir()), default=0.0)
            if not written or written < first.setdefault(states.parent, written) + 3:
                continue
            lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
            (line,) = (line for line in lines if "snn_rl.sweeps.child" in line and str(states.parent) in line)
            remove(cluster, int(line[line.index("snn_rl.sweeps.child") + 1]))
            lost.append(states.parent.name)
            return


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_training_whose_node_is_lost_ends_as_one_that_was_not(cluster: Any, tmp_path: Path) -> None:
    """Real trainings: that of the lost node goes on from its checkpoint, to the very weights of one that nothing befell."""
    numbers = ("prune.gradient_steps=[300]", "prune.stop_at_share=0.0", "prune.evaluations=2", "evaluate.episodes=2")
    more = [part for number in numbers for part in ("--recipe-set", number)]
    cells = grid(["CartPole-v1"], [1], [()], range(2), [*more, "--checkpoint-every", "0.5"])
    out, storage, lost = tmp_path / "out", tmp_path / "storage", list[str]()
    name = begin(out, False)
    killer = threading.Thread(target=lose_a_training, args=(cluster, storage / name, lost), daemon=True)
    killer.start()
    assert not carry_out(cells, out, OnRay(out / "cells", 1, 0, None, storage, name))
    killer.join(10)
    (cell,) = (cell for cell in cells if cell.name.endswith(lost[0]))
    assert re.search(r"goes on after [1-9]\d* of 300 gradient steps", (storage / name / cell.name / LOG).read_text())
    assert not carry_out([cell], tmp_path / "alone", Local(tmp_path / "alone" / "cells", 1, 0))
    weights = [folder / "cells" / cell.name / "T1" / "weights.safetensors" for folder in (out, tmp_path / "alone")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
