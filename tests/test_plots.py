"""Plots show every difference there is, in words that one can read without knowing the files."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.figure import Figure

from snn_rl.measure import plots, stats

ENERGY = {"first_layer_uj": 1.0, "accumulate_uj": 2.0, "neuron_uj": 0.5, "membrane_uj": 0.5, "ann_uj": 10.0, "ratio": 2.5}


def row(series: str, T: int, *trainings: list[float], frames: int = 1) -> dict[str, Any]:
    """What ``results.summarise`` says of an agent with the returns of these trainings."""
    return {
        "env": "CartPole-v1",
        "series": series,
        "T": T,
        "frames": frames,
        "carry": bool(T),
        "protocol": "greedy",
        "return": stats.over_trainings(trainings),
        "energy": ENERGY if T else {"ann_uj": 10.0, "ann_effective_uj": 6.0},
        "spike_rate": {"fc1": 0.1, "fc2": 0.3} if T else None,
    }


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in (figure.legends[0].get_title(), *figure.legends[0].get_texts())]


def test_the_axis_is_broken_where_nothing_lies_in_more_than_half_of_it() -> None:
    assert plots._gap([20.0, -20.5, 20.5], [21.0, -20.3, 20.8]) == (-20.3, 20.0)
    assert plots._gap([0.0, 5.0], [4.0, 9.0]) is None
    assert plots._gap([0.0, 2.0], [9.0, 3.0]) is None  # one lies inside the other
    assert plots._gap([500.0], [500.0]) is None


@pytest.mark.parametrize(("above", "parts"), [([500.0, 500.0], 1), ([480.0, 500.0], 2)])
def test_no_axis_is_broken_for_what_does_not_differ(above: list[float], parts: int) -> None:
    rows = [row("ann", 0, [500.0, 500.0]), row("converted", 5, [20.0, 30.0]), row("", 1, above)]
    assert len(plots.draw(rows)["reward_vs_T.png"].axes) == parts


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ann-distill", ["ANN", "distilled"]),
        ("td-zeroed", ["learnt from reward", "membranes zeroed"]),
        ("my-own (run/td)", ["my-own (run/td)"]),
    ],
)
def test_agents_are_called_by_words(name: str, words: list[str]) -> None:
    assert plots._words(name) == words


def test_plots_say_who_is_shown_and_what_the_intervals_are_over() -> None:
    rows = [row("ann", 0, [5.0, 6.0], [7.0, 8.0]), row("td", 1, [4.0, 5.0], [3.0, 3.0])]
    figures = plots.draw(rows)
    assert legend(figures["reward_vs_T.png"]) == ["intervals over trainings", "ANN", "learnt from reward"]
    energy = figures["energy_vs_T.png"].axes[0]
    assert energy.get_xlabel() == "energy per decision (µJ)"
    assert energy.get_yticklabels()[-1].get_text() == "T=1, learnt from reward"
    assert any(" = ANN / " in words.get_text() for words in energy.texts)
    assert legend(figures["energy_vs_T.png"])[0] == "ANN / n: the dense ANN of the same shape uses n times as much"
    assert "T=1, learnt from reward" in legend(figures["spike_rate.png"])


def test_an_agent_that_takes_more_than_its_ann_is_said_to() -> None:
    rows = [row("ann", 0, [5.0]), row("", 1, [4.0]), row("", 5, [4.0])]
    rows[2]["energy"] = rows[2]["energy"] | {"ratio": 0.5}
    figure = plots.draw(rows)["energy_vs_T.png"]
    assert [words.get_text().partition(" = ")[2] for words in figure.axes[0].texts if " = " in words.get_text()] == [
        f"ANN / {rows[1]['energy']['ratio']:.1f}",
        "ANN x 2.0",
    ]
    assert legend(figure)[0].endswith("ANN x n: this agent uses n times as much as that ANN")


def test_a_curve_of_learning_says_in_words_whose_it_is() -> None:
    curve = {"training": [(10, 1.0), (20, 2.5)], "selection": [(20, 3.0)]}
    figure = plots.learning({"T1-td": {0: curve, 1: curve}}, "Pong")
    assert legend(figure)[1:] == [
        "T=1, learnt from reward: last 100 games of training",
        "T=1, learnt from reward: evaluations",
    ]


def test_a_single_training_among_several_is_said_and_so_are_frames_where_they_differ() -> None:
    rows = [row("ann", 0, [5.0], [7.0]), row("td", 1, [4.0], [3.0]), row("", 2, [3.0], frames=4)]
    title, *labels = legend(plots.draw(rows)["reward_vs_T.png"])
    assert title == "intervals over trainings, of a single training over its episodes"
    assert labels == ["ANN", "learnt from reward, 1 frame", "distilled, 4 frames"]


def test_no_words_of_a_legend_are_cut_off() -> None:
    rows = [
        row("ann", 0, [1.0]),
        *(row(f"frames1-{kind}", T, [1.0]) for kind in ("td", "zeroed", "converted") for T in (1, 5)),
    ]
    for figure in plots.draw([*rows, row("", 5, [1.0], frames=4)]).values():
        figure.draw_without_rendering()
        box = figure.legends[0].get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0
