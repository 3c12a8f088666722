"""Statistics against numbers worked out by hand."""

import numpy as np
import pytest
from scipy.stats import trim_mean

from snn_rl.measure.stats import bootstrap, iqm, mean, over_trainings, paired, run_scores, summary


def test_iqm_is_the_mean_of_the_middle_half() -> None:
    assert iqm([8, 1, 2, 100, 3, 4, 5, -50]) == (2 + 3 + 4 + 5) / 4
    assert iqm([1, 2, 3]) == 2  # a quarter of three, rounded down, is none
    assert iqm([7]) == 7
    assert iqm([[0, 1, 3, 100], [5, 5, 5, 5]]).tolist() == [2, 5]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 30, 101])
def test_iqm_is_scipys_trimmed_mean(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    assert iqm(values) == pytest.approx(trim_mean(values, 0.25))


def test_interval_is_fixed_by_its_seed_and_holds_the_iqm() -> None:
    values = np.random.default_rng(3).normal(10, 2, size=50)
    low, high = bootstrap(values, iqm, seed=1)
    assert bootstrap(values, iqm, seed=1) == [low, high]
    assert bootstrap(values, iqm, seed=2) != [low, high]
    assert low < iqm(values) < high
    assert values.min() < low
    assert high < values.max()


def test_interval_of_equal_values_is_a_point() -> None:
    assert bootstrap([4.0] * 10, iqm) == [4.0, 4.0]


def test_interval_narrows_with_more_values() -> None:
    rng = np.random.default_rng(0)
    few, many = (bootstrap(rng.normal(size=n), iqm) for n in (10, 1000))
    assert many[1] - many[0] < (few[1] - few[0]) / 3


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    hits = sum(low <= 0 <= high for low, high in (bootstrap(rng.normal(size=40), iqm, seed=n) for n in range(60)))
    assert hits >= 50


def test_paired_by_hand() -> None:
    result = paired([[3, 5, 2, 7]], [[1, 5, 4, 6]])  # differences 2, 0, -2, 1
    assert result["mean"] == 0.25
    assert (result["wins"], result["ties"], result["losses"]) == (2, 1, 1)
    assert -2 <= result["low"] < 0.25 < result["high"] <= 2
    assert paired([[3, 5, 2, 7]], [[1, 5, 4, 6]]) == result


def test_pairing_removes_what_both_share() -> None:
    hard = np.random.default_rng(0).normal(0, 100, size=30)
    result = paired([hard + 1], [hard])
    assert (result["low"], result["high"]) == pytest.approx((1, 1))


def test_summary_by_hand() -> None:
    result = summary([1, 2, 3, 10])
    assert (result["mean"], result["iqm"], result["min"], result["max"]) == (4, 2.5, 1, 10)
    assert result["std"] == pytest.approx(((9 + 4 + 1 + 36) / 4) ** 0.5)
    assert result["ci95"] == bootstrap([1, 2, 3, 10], iqm)


@pytest.mark.parametrize(
    "statistic", [iqm, lambda values: bootstrap(values, iqm), summary, lambda values: over_trainings([[1.0], values])]
)
@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_no_statistic_of_nothing_or_of_nonsense(statistic, values) -> None:
    with pytest.raises(ValueError, match=r"no values|finite"):
        statistic(values)


def test_paired_needs_the_same_episodes() -> None:
    with pytest.raises(ValueError, match="got 2 and 3"):
        paired([[1, 2]], [[1, 2, 3]])


def test_a_training_counts_with_its_mean_and_a_single_one_with_its_episodes() -> None:
    assert run_scores([[1, 3], [10], [4, 5, 6]]).tolist() == [2, 10, 5]
    assert run_scores([[1, 3]]).tolist() == [1, 3]


def test_the_interval_over_trainings_is_wider_than_over_episodes_that_depend_on_them() -> None:
    groups = [np.full(50, 0.0), np.full(50, 10.0), np.full(50, 20.0)]  # each training always gets the same return
    low, high = bootstrap(run_scores(groups), mean)
    assert (low, high) == (0.0, 20.0)  # the same training three times has probability 1/27 > 2.5 %
    episodes = bootstrap(np.concatenate(groups), mean)
    assert episodes[1] - episodes[0] < 5


def test_a_bad_training_is_not_trimmed_away_with_its_episodes() -> None:
    good, bad = np.full(100, 500.0), np.r_[np.full(40, 300.0), np.full(60, 500.0)]
    result = over_trainings([good, good, bad])
    assert iqm(np.concatenate([good, good, bad])) == 500  # the 40 bad episodes are among the lowest quarter
    assert result["mean"] == result["iqm"] == pytest.approx((500 + 500 + 420) / 3)  # of three scores none is trimmed
    assert result["ci95"] == result["mean_ci95"] == pytest.approx([420, 500])
    assert (result["over"], result["min"], result["max"]) == ("trainings", 300, 500)


def test_one_training_is_summarised_over_its_episodes_and_says_so() -> None:
    episodes = [1, 2, 3, 10]
    assert over_trainings([episodes]) == {**summary(episodes), "mean_ci95": bootstrap(episodes, mean), "over": "episodes"}


def test_differences_of_several_trainings_are_over_trainings() -> None:
    result = paired([[3, 5], [10, 14]], [[1, 5], [4, 4]])  # differences (2, 0) and (6, 10)
    assert result["mean"] == (1 + 8) / 2
    assert (result["low"], result["high"]) == (1, 8)
    assert (result["wins"], result["ties"], result["losses"]) == (3, 1, 0)
