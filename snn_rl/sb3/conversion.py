"""The weights of an ANN in a spiking network of the same shape."""

from __future__ import annotations

from torch import Tensor

from snn_rl.core.initialise import balance_thresholds, standardize
from snn_rl.core.lstm import CANDIDATE, GATES, LSTM
from snn_rl.core.network import QNetwork
from snn_rl.core.spec import rectified, spiking
from snn_rl.tasks.recipes import ConvertRecipe


def _weights(ann: QNetwork) -> dict[str, Tensor]:
    """The weights of an ANN for LIF neurons, which have one current where a cell of an LSTM has four."""
    weights = ann.state_dict()
    for n in (n for n, neurons in enumerate(ann.neurons) if isinstance(neurons, LSTM)):
        last = len(list(ann.synapses[n].children())) - 1
        for key in weights:
            if key.startswith((f"synapses.{n}.{last}.", f"recurrent.{n}.", f"beside.{n}.")):
                weights[key] = weights[key].chunk(GATES)[CANDIDATE]
    return weights


def spiking_twin(ann: QNetwork, T: int, observations: Tensor, numbers: ConvertRecipe, carry: bool) -> QNetwork:
    """The ANN's weights in a spiking network, fitted to observations of real play.

    Where the ANN has ReLUs only, spikes stand for its activations, with balanced thresholds. None can stand for those of a
    Tanh, which are negative half of the time, nor for the gates of an LSTM: such an ANN gives its weights alone (for a cell of
    an LSTM those of its candidate, what it would remember), and every neuron's current gets mean 0, deviation 1 and a
    threshold of one deviation. That is a start for training; it does not play like the ANN.

    Args:
        ann: the network to convert (T = 0).
        T: timesteps per decision, at least 1.
        observations: ``(n, *observation)``, unscaled.
        numbers: percentile and decay, and what neurons have beyond that.
        carry: whether the twin keeps its membranes between environment steps.

    Raises:
        UserError: as :func:`~snn_rl.core.initialise.balance_thresholds`.
        UnconvertibleError: if currents that have to be standardised cannot be.
    """
    decay = numbers.decay_at(T)
    spec = spiking(ann.spec, decays=isinstance(decay, tuple), recurrent=numbers.recurrent)
    twin = QNetwork(spec, T, ann.input_scale, carry)
    twin.load_state_dict({**twin.state_dict(), **_weights(ann)})
    if rectified(ann.spec):
        if numbers.standardize:
            standardize(twin, observations, layers=1)
        balance_thresholds(twin, observations, numbers.percentile, decay)
        return twin
    for lif in twin.lifs:
        lif.set(v_th=1.0, decay=decay)
    standardize(twin, observations)
    return twin
