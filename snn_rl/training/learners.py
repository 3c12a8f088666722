"""The ways of learning by name."""

from __future__ import annotations

from snn_rl.training.distill import Distiller
from snn_rl.training.jobs import Learner
from snn_rl.training.rewarded import AnnLearner, TDLearner

LEARNERS: dict[str, type[Learner]] = {
    "distill": Distiller,  # from an ANN that labels observations
    "td": TDLearner,  # from reward
    "ann": AnnLearner,  # from reward, an ANN from nothing
}
