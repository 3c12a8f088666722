"""A search among settings: Optuna proposes, cells are trained, the mean return over seeds is what it maximises."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from snn_rl.core.errors import UserError
from snn_rl.sweeps.cells import Cell, grid, values_of
from snn_rl.sweeps.progress import returned
from snn_rl.sweeps.run import CELLS
from snn_rl.sweeps.training import Outcome

JOURNAL = "search.journal"
RANGE = re.compile(r"([^.\s][^\s]*?)\.\.([^\s]+)")
LOG_FACTOR = 10.0  # between the ends of a range, from which on it is searched by orders of magnitude


def spaces_of(texts: Sequence[str]) -> dict[str, Any]:
    """What may be proposed for each key: a range ``1e-4..1e-2`` or a list of values, as Optuna's distributions.

    Raises:
        UserError: without Optuna, or for a range that is none.
    """
    try:
        from optuna import distributions
    except ImportError as error:
        raise UserError("--search needs Optuna, which is missing: pip install 'snn-rl[search]'") from error
    spaces: dict[str, Any] = {}
    for key, values in map(values_of, texts):
        found = RANGE.fullmatch(values[0]) if len(values) == 1 else None
        if found is None:
            spaces[key] = distributions.CategoricalDistribution(values)
            continue
        try:
            low, high = float(found[1]), float(found[2])
        except ValueError:
            low = high = math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UserError(f"--recipe-set {key}: '{values[0]}' is no range; write two numbers, as in 1e-4..1e-2")
        log = low > 0 and high / low >= LOG_FACTOR
        if all(re.fullmatch(r"-?\d+", end) for end in found.groups()):
            spaces[key] = distributions.IntDistribution(int(low), int(high), log=log)
        else:
            spaces[key] = distributions.FloatDistribution(low, high, log=log)
    if not spaces:
        raise UserError("--search needs something to search: give --recipe-set, as in prune.learning_rate=1e-4..1e-2")
    return spaces


def search(
    trials: int,
    spaces: dict[str, Any],
    base: Cell,
    seeds: Sequence[int],
    out: Path,
    train: Callable[[Sequence[Cell]], list[Outcome]],
    at_once: int,
) -> tuple[dict[str, Any], float, list[Cell]]:
    """Tries settings.

    Args:
        trials: how many in all, those of earlier runs counted.
        spaces: see :func:`spaces_of`.
        base: environment, T and further options.
        seeds: of each trial.
        out: folder of the sweep; its journal holds the trials.
        train: trains cells, and returns what failed.
        at_once: trials that are proposed before the first of them is known.

    Returns:
        The best settings, their mean return, and the cells of all trials.

    Raises:
        UserError: if no trial succeeded.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(out / JOURNAL)))
    sampler = optuna.samplers.TPESampler(seed=min(seeds), constant_liar=True)
    study = optuna.create_study(
        study_name="sweep", storage=storage, sampler=sampler, direction="maximize", load_if_exists=True
    )
    among = {key: repr(space) for key, space in spaces.items()}
    if study.user_attrs.get("among", among) != among:
        raise UserError(f"the search in '{out}' was begun among other settings; give the same, or choose another --out")
    study.set_user_attr("among", among)
    state = optuna.trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(state.RUNNING,)):  # of a search that was interrupted
        study.enqueue_trial(trial.params)
        study.tell(trial.number, state=state.FAIL)
    while (done := len(study.get_trials(deepcopy=False, states=(state.COMPLETE,)))) < trials:
        asked = [study.ask(spaces) for _ in range(min(at_once, trials - done))]
        batch = {trial.number: _cells(base, trial.params, seeds) for trial in asked}
        failed = train([cell for cells in batch.values() for cell in cells])
        for number, cells in batch.items():
            values = [value for cell in cells if (value := returned(out / CELLS / cell.name, cell.T)) is not None]
            whole = len(values) == len(cells)
            study.tell(number, sum(values) / len(values) if whole else None, state=state.COMPLETE if whole else state.FAIL)
        if len(failed) == sum(map(len, batch.values())):
            raise UserError(f"no training of the last {len(batch)} trial(s) succeeded: {failed[0].error}")
    complete = study.get_trials(deepcopy=False, states=(state.COMPLETE,))
    cells = [cell for trial in complete for cell in _cells(base, trial.params, seeds)]
    return study.best_params, float(study.best_value), cells


def _cells(base: Cell, proposed: dict[str, Any], seeds: Sequence[int]) -> list[Cell]:
    settings = tuple(f"{key}={_written(value)}" for key, value in proposed.items())
    return grid([base.env], [base.T], [settings], seeds, base.more)


def _written(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
