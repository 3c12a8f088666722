"""A sweep on a Ray cluster of three nodes, of which one is lost in the middle."""

from __future__ import annotations

import os
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
from snn_rl.sweeps.on_ray import OnRay
from snn_rl.sweeps.run import begin, carry_out, is_done

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


def lose(cluster: Any, folder: Path, lost: list[str]) -> None:
    """Kills the node of the first cell that is some way on; ``lost`` gets the cell's name."""
    while not lost:
        time.sleep(0.05)
        for log in folder.glob("*/T1/episodes.csv"):
            kept, parent = log.with_name("card.json"), int((log.read_text() or "0 0").split()[1])
            if not kept.exists() or int(kept.read_text().partition(": ")[2].rstrip("}")) < HALF:
                continue
            raylet = psutil.Process(parent).ppid()
            (node,) = (one for one in cluster.worker_nodes if raylet in [p.process.pid for p in one.all_processes["raylet"]])
            cluster.remove_node(node, allow_graceful=False)
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
