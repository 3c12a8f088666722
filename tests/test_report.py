"""A report says what the files say: numbers that one can check by hand, and '-' for what nobody measured."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import score as made_up

from snn_rl import report
from snn_rl.core.errors import UserError
from snn_rl.measure import results, stats, tables
from snn_rl.store.card import Energy

SNN_ENERGY = {  # 10 of the ANN against 1 + 2 + 0.5 + 0.5, by T = 2
    "ann_uj": 10.0,
    "technology": "45 nm",
    "convention": "per decision",
    "first_layer_uj": 1.0,
    "accumulate_uj": 2.0,
    "neuron_uj": 0.5,
    "membrane_uj": 0.5,
    "snn_uj": 4.0,
    "ratio": 2.5,
    "snn_synaptic_uj": 3.0,
    "ratio_synaptic": 10 / 3,
    "snn_first_layer_times_T_uj": 5.0,
    "ratio_first_layer_times_T": 2.0,
}


def agent(
    run: Path,
    name: str,
    T: int,
    returns: dict[str, list[float]],
    *,
    training_seed: int | None = 0,
    env: str = "CartPole-v1",
    energy: dict[str, Any] | None = None,
    measured: bool = True,
    frames: int = 1,
) -> Path:
    """Writes an agent's folder by hand: its returns by protocol, episode n with seed n."""
    folder = run / name
    folder.mkdir(parents=True)
    score = made_up(agent=f"{env}/{name}", env=env, T=T, frames=frames, carry=bool(T)).to_json()
    score["spike_rate"] = {"fc1": 0.1, "fc2": 0.3}
    score["energy"] = energy or (SNN_ENERGY if T else {"ann_uj": 10.0, "ann_effective_uj": 6.0})
    if not T:
        del score["spike_rate"]
    scores = {protocol: score for protocol in returns} if measured else {}
    what = {"format": 1, "env": env, "name": name, "T": T, "frames": frames, "carry": bool(T), "observation_shape": [4]}
    card = {**what, "input_scale": 1.0, "network": [], "v_th": [], "decay": [], "made": {}, "scores": scores}
    (folder / "card.json").write_text(json.dumps(card))
    with (folder / "episodes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["training_seed", "protocol", "episode", "start", "seed", "return", "length"])
        for protocol, values in returns.items():
            writer.writerows([training_seed, protocol, n, "", n, value, 10] for n, value in enumerate(values))
    return folder


def rows(*folders: Path) -> dict[tuple[str, str], dict[str, Any]]:
    found = results.summarise(results.read(folder for where in folders for folder in results.find(str(where))))
    return {(row["agent"], row["protocol"]): row for row in found}


def test_several_trainings_count_with_their_means(tmp_path: Path) -> None:
    for seed, values in enumerate([[1.0, 2.0], [3.0, 6.0], [5.0, 7.0]]):
        agent(tmp_path / str(seed), "T1", 1, {"greedy": values}, training_seed=seed)
    row = rows(tmp_path / "0", tmp_path / "1", tmp_path / "2")["T1", "greedy"]
    assert row["return"]["mean"] == 4.0  # (1 + 2 + 3 + 6 + 5 + 7) / 6
    assert row["return"]["iqm"] == 4.0  # of the trainings' means 1.5, 4.5 and 6: a quarter of three, rounded down, is none
    assert row["return"]["ci95"] == [1.5, 6.0]
    assert row["return"]["over"] == "trainings"
    assert (row["return"]["min"], row["return"]["max"]) == (1.0, 7.0)
    assert (row["episodes"], row["training_seeds"]) == (6, 3)
    assert row["return"]["mean_ci95"] == [1.5, 6.0]


def test_what_is_not_the_same_training_is_another_result(tmp_path: Path) -> None:
    def changed(folder: Path, **made: Any) -> Path:
        card = json.loads((folder / "card.json").read_text())
        (folder / "card.json").write_text(json.dumps({**card, "made": made}))
        return folder

    folders = [
        agent(tmp_path / "one", "ann", 0, {"greedy": [10.0]}),
        agent(tmp_path / "one", "T1", 1, {"greedy": [1.0]}),
        agent(tmp_path / "more", "T1", 1, {"greedy": [3.0]}, training_seed=1),
        agent(tmp_path / "two", "ann", 0, {"greedy": [20.0]}),
        agent(tmp_path / "two", "T1", 1, {"greedy": [2.0]}),  # the same training seed, another result
        changed(agent(tmp_path / "td", "T1", 1, {"greedy": [4.0]}, training_seed=2), objective="td"),
        agent(tmp_path / "a" / "td", "T1", 1, {"greedy": [5.0]}, training_seed=1),
    ]
    found = {row["agent"]: row for row in results.summarise(results.read(folders))}
    assert {name: row["return"]["mean"] for name, row in found.items()} == {
        "ann": 10.0, "ann (two)": 20.0, "T1": 2.0, "T1 (two)": 3.5, "T1 (td)": 4.0
    }  # fmt: skip
    assert found["T1"]["minus_ann"]["mean"] == -8.0  # beside each agent stands its own ANN
    assert found["T1 (two)"]["ann"] == "ann (two)"
    longer = agent(tmp_path / "longer", "T1", 1, {"greedy": [1.0, 2.0]}, training_seed=7)
    assert [entry.label for entry in results.read([folders[1], longer])] == ["T1", "T1 (longer)"]
    slower = changed(agent(tmp_path / "slower", "T1", 1, {"greedy": [2.0]}, training_seed=8), recipe={"learning_rate": 0.1})
    assert [entry.label for entry in results.read([folders[1], slower])] == ["T1", "T1 (slower)"]
    unknown = [agent(tmp_path / run, "T2", 2, {"greedy": [1.0]}, training_seed=None) for run in ("x", "y")]
    other = agent(tmp_path / "z", "T2", 2, {"greedy": [2.0]}, training_seed=None)
    labels = [(entry.label, len(entry.folders)) for entry in results.read([*unknown, other])]
    assert labels == [("T2", 2), ("T2 (z)", 1)]


def test_one_training_seed_has_the_interval_over_its_episodes(tmp_path: Path) -> None:
    values = [1.0, 4.0, 5.0, 9.0, 12.0]
    agent(tmp_path, "T1", 1, {"greedy": values})
    reward = rows(tmp_path)["T1", "greedy"]["return"]
    assert reward["ci95"] == stats.bootstrap(values, stats.iqm)
    assert reward["over"] == "episodes"


def test_differences_are_paired_by_start_seed_and_protocol(tmp_path: Path) -> None:
    agent(tmp_path, "ann", 0, {"greedy": [10.0, 20.0, 30.0], "sticky 0.25": [1.0, 1.0, 1.0]})
    agent(tmp_path, "T1", 1, {"greedy": [9.0, 20.0], "sticky 0.25": [2.0, 3.0, 4.0], "epsilon 0.01": [5.0]})
    found = rows(tmp_path)
    greedy = found["T1", "greedy"]["minus_ann"]
    assert greedy["mean"] == -0.5  # (9 - 10, 20 - 20): the third start has no partner
    assert (greedy["wins"], greedy["ties"], greedy["losses"], greedy["episodes"]) == (0, 1, 1, 2)
    assert found["T1", "sticky 0.25"]["minus_ann"]["mean"] == 2.0
    assert found["T1", "epsilon 0.01"]["minus_ann"] is None  # the ANN was not measured so
    assert found["ann", "greedy"]["minus_ann"] is None


def test_the_partner_of_a_zeroed_membrane_is_the_same_ann(tmp_path: Path) -> None:
    agent(tmp_path, "ann", 0, {"greedy": [10.0, 20.0]})
    agent(tmp_path, "T1", 1, {"greedy, membrane zeroed": [7.0, 19.0]})
    assert rows(tmp_path)["T1", "greedy, membrane zeroed"]["minus_ann"]["mean"] == -2.0


def test_an_ann_that_sees_less_is_compared_with_the_one_that_sees_more(tmp_path: Path) -> None:
    agent(tmp_path, "ann", 0, {"greedy": [3.0, 5.0]}, frames=4)
    agent(tmp_path, "ann-frames1-distill", 0, {"greedy": [3.0, 4.0]}, frames=1)
    found = rows(tmp_path)
    assert found["ann-frames1-distill", "greedy"]["minus_ann"]["mean"] == -0.5
    assert found["ann", "greedy"]["minus_ann"] is None


def test_of_anns_that_see_as_much_the_one_without_a_teacher_is_the_opponent(tmp_path: Path) -> None:
    taught = agent(tmp_path / "a", "ann-distill", 0, {"greedy": [3.0]})
    alone = agent(tmp_path / "b", "ann", 0, {"greedy": [5.0]})
    spiking = agent(tmp_path / "c", "T1", 1, {"greedy": [4.0]})
    for order in ((taught, alone, spiking), (alone, taught, spiking)):
        assert rows(*order)["T1", "greedy"]["minus_ann"]["mean"] == -1.0


def test_a_training_seed_is_compared_with_its_own_ann() -> None:
    ann: results.Returns = {0: {(None, 0): 10.0}, 1: {(None, 0): 20.0}}
    own: results.Returns = {0: {(None, 0): 11.0}, 1: {(None, 0): 23.0}}
    assert (results.compare(own, ann) or {})["mean"] == 2.0  # (11 - 10, 23 - 20)
    other: results.Returns = {7: {(None, 0): 11.0}}
    assert (results.compare(other, ann) or {})["mean"] == -4.0  # 11 - (10 + 20) / 2


def test_energy_of_several_agents_is_their_mean_and_its_ratio(tmp_path: Path) -> None:
    for seed, uj in enumerate([3.0, 5.0]):
        agent(tmp_path / str(seed), "T2", 2, {"greedy": [1.0]}, training_seed=seed, energy=SNN_ENERGY | {"snn_uj": uj})
    row = rows(tmp_path)["T2", "greedy"]
    assert (row["energy"]["snn_uj"], row["energy"]["ratio"]) == (4.0, 2.5)
    assert row["mean_spike_rate"] == pytest.approx(0.2)


def test_the_table_says_what_was_measured_and_a_dash_where_nothing_was(tmp_path: Path) -> None:
    agent(tmp_path, "ann", 0, {"greedy": [10.0, 20.0]})
    agent(tmp_path, "T2", 2, {"greedy": [9.0, 18.0]})
    out = tmp_path / "report"
    assert report.main([str(tmp_path), "--out", str(out)]) == 0
    lines = (out / "report.md").read_text().splitlines()
    cells = {line.split(" | ")[0]: line.strip("| ").split(" | ") for line in lines if line.startswith("| ")}
    ann, snn = cells["| ann"], cells["| T2"]
    assert ann == ["ann", "ANN", "1", "-", "greedy", "15.00", ann[6], "10 .. 20", "2", "1", "-", "-", "10", "-", "-", "-"]
    assert snn[:6] == ["T2", "2", "1", "yes", "greedy", "13.50"]
    assert snn[7:] == ["9 .. 18", "2", "1", "-1.50", "0.200", "4", "2.50", "3.33", "2.00"]
    assert (ann[6].endswith("over episodes"), snn[6].endswith("over episodes")) == (True, True)
    assert "Energy: 45 nm; per decision." in (out / "report.md").read_text()


def test_what_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent(tmp_path / "run", "ann", 0, {"greedy": [10.0, 20.0]})
    agent(tmp_path / "run", "converted-T5", 5, {"greedy": [1.0, 2.0]})
    for T in (2, 1):
        agent(tmp_path / "run", f"T{T}", T, {"greedy": [9.0, 18.0]})
    report.main([str(tmp_path / "run"), str(tmp_path / "run" / "T1"), "--out", str(tmp_path / "out")])
    printed = {Path(line).name for line in capsys.readouterr().out.splitlines()}
    assert printed == {path.name for path in (tmp_path / "out").iterdir()}
    assert printed == {"report.md", "summary.json", "reward_vs_T.png", "energy_vs_T.png", "spike_rate.png"}
    vectors = tmp_path / "vectors"
    report.main([str(tmp_path / "run"), "--out", str(vectors), "--format", "svg", "--format", "pdf"])
    assert (vectors / "energy_vs_T.svg").read_bytes().startswith(b"<?xml")
    assert (vectors / "reward_vs_T.pdf").read_bytes().startswith(b"%PDF")
    assert (vectors / "energy_vs_T.png").read_bytes() == (tmp_path / "out" / "energy_vs_T.png").read_bytes()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [row["agent"] for row in summary] == ["ann", "converted-T5", "T2", "T1"]
    assert [row["episodes"] for row in summary] == [2, 2, 2, 2]  # T1 was named twice and counts once


def test_each_environment_has_its_own_folder_and_an_ann_alone_no_plots(tmp_path: Path) -> None:
    agent(tmp_path / "a", "ann", 0, {"greedy": [1.0]})
    agent(tmp_path / "b", "ann", 0, {"greedy": [2.0]}, env="ALE/Pong-v5")
    report.main([str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out")])
    for env in ("CartPole-v1", "ALE-Pong-v5"):
        assert {path.name for path in (tmp_path / "out" / env).iterdir()} == {"report.md", "summary.json"}


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")]
    with pytest.raises(UserError, match="holds no agents"):
        report.main([str(tmp_path / "nowhere"), *out])
    unscored = agent(tmp_path / "unscored", "T1", 1, {"greedy": [1.0]}, measured=False)
    with pytest.raises(UserError, match="evaluate '"):
        report.main([str(unscored), *out])
    damaged = agent(tmp_path / "damaged", "T1", 1, {"greedy": [1.0]})
    (damaged / "card.json").write_text('{"env": ')
    with pytest.raises(UserError, match="damaged"):
        report.main([str(damaged), *out])
    for damage in ({"T": "1"}, {"scores": {"greedy": {"energy": {"snn_uj": 1.0}}}}):
        folder = agent(tmp_path / next(iter(damage)), "T1", 1, {"greedy": [1.0]})
        card = json.loads((folder / "card.json").read_text())
        (folder / "card.json").write_text(json.dumps({**card, **damage}))
        with pytest.raises(UserError, match="damaged"):
            report.main([str(folder), *out])
    with pytest.raises(UserError, match="a return is nan"):
        report.main([str(agent(tmp_path / "nan", "T1", 1, {"greedy": [float("nan")]})), *out])
    one = agent(tmp_path / "one", "T1", 1, {"greedy": [1.0]})
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write the report"):
        report.main([str(one), "--out", str(tmp_path / "file")])


def test_it_does_not_need_torch(tmp_path: Path) -> None:
    agent(tmp_path, "T1", 1, {"greedy": [1.0]})
    script = "import sys; from snn_rl import report; report.main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    command = [sys.executable, "-c", script, str(tmp_path), "--out", str(tmp_path / "out")]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "out" / "report.md").is_file()


def test_an_agent_of_fewer_frames_is_also_measured_against_the_ann_that_it_replaces(tmp_path: Path) -> None:
    four = {"ann_uj": 14.0, "ann_effective_uj": 6.0}
    folders = [
        agent(tmp_path, "ann", 0, {"greedy": [1.0]}, energy=four, frames=4),
        agent(tmp_path, "T1", 1, {"greedy": [1.0]}),
    ]
    rows = results.summarise(results.read(folders))
    assert rows[1]["energy"]["ratio"] == pytest.approx(2.5)
    assert rows[1]["energy"]["ratio_replaced"] == pytest.approx(14 / 4)
    assert tables.table(rows).splitlines()[0].endswith("| replaced ANN / this |")
    assert tables.table(rows).splitlines()[2].endswith("| - |")
    blind = agent(tmp_path, "ann-frames1", 0, {"greedy": [-21.0]}, energy={"ann_uj": 10.0})  # trained on as little: a control
    row = results.summarise(results.read([blind, *folders]))[-1]
    assert (row["ann"], row["minus_ann"]["mean"], row["energy"]["ratio_replaced"]) == ("ann", 0.0, pytest.approx(14 / 4))
    like = results.summarise(results.read([folders[1], agent(tmp_path / "b", "ann", 0, {"greedy": [1.0]})]))
    assert "ratio_replaced" not in like[1]["energy"]
    assert "replaced" not in tables.table(like)


def test_a_curve_of_learning_from_reward_is_drawn(tmp_path: Path) -> None:
    folder = agent(tmp_path / "run", "T1-td", 1, {"greedy": [3.0]})
    assert not any("learning" in path.name for path in tables.write(results.read([folder]), tmp_path / "without"))
    card = json.loads((folder / "card.json").read_text())
    card["made"] = {"seed": 0, "curve": {"return": [[10, 1.0], [20, 2.5]]}, "selection": [[20, 3.0]]}
    (folder / "card.json").write_text(json.dumps(card))
    (entry,) = results.read([folder])
    assert entry.curves == {0: {"training": [(10, 1.0), (20, 2.5)], "selection": [(20, 3.0)]}}
    assert tmp_path / "with" / "learning.png" in tables.write([entry], tmp_path / "with")
    assert "![learning.png](learning.png)" in (tmp_path / "with" / "report.md").read_text()


def test_energy_is_the_mean_over_agents_layer_by_layer_too() -> None:
    measured = [
        Energy.from_json({**SNN_ENERGY, "snn_uj": uj, "acs_by_layer": {"fc2": acs}}) for uj, acs in ((4.0, 10.0), (6.0, 30.0))
    ]
    mean = results.mean_energy([measured[0], None, measured[1]])
    assert mean == {**mean, "snn_uj": 5.0, "ratio": 2.0, "acs_by_layer": {"fc2": 20.0}}
    assert results.mean_energy([None]) == {}


def test_an_agent_is_the_same_training_whatever_word_its_card_has_for_neurons(tmp_path: Path) -> None:
    folders = []
    for seed, (number, word) in enumerate(((1, "ReLU"), (2, "LIF"))):
        folder = agent(tmp_path / str(seed), "T1", 1, {"greedy": [1.0]}, training_seed=seed)
        card = json.loads((folder / "card.json").read_text())
        (folder / "card.json").write_text(json.dumps({**card, "format": number, "network": [{"type": word}]}))
        folders.append(folder)
    (result,) = results.read(folders)
    assert len(result.folders) == 2
