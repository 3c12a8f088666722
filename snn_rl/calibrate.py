"""What a spiking network starts from: thresholds, and where something is hidden first currents, from real observations."""

from __future__ import annotations

import torch as th
from torch import Tensor, nn

from snn_rl.errors import UserError
from snn_rl.lif import Decay
from snn_rl.network import QNetwork, UnconvertibleError


def balance_thresholds(network: QNetwork, observations: Tensor, percentile: float, decay: Decay = 1.0) -> None:
    """Makes the weights of a ReLU network work in a spiking one, in place (threshold balancing, Diehl et al. 2015).

    From the first layer to the last, ``v_th`` becomes a percentile of the layer's current on the observations, with the
    layers before it spiking already (Chowdhury et al. 2022: 90th percentile of all currents, batch by batch). The amplitude
    ``v_th`` of the layer's spikes is folded into the weights behind it, so that spikes are 0/1 and the mean of
    ``v_th * spikes`` over T approximates ``min(relu(i), v_th)``.

    Args:
        network: spiking, holding the ANN's weights.
        observations: ``(n, *observation)``, unscaled, each seen from rest.
        percentile: of all currents of a layer, in (0, 100].
        decay: what every layer's decay is set to, or the pair between which the decays of its channels are spread.

    Raises:
        UserError: if the percentile is out of range, or a layer gets no positive current at all.
    """
    if not 0 < percentile <= 100:
        raise UserError(f"the percentile must lie in (0, 100], got {percentile}")
    with th.no_grad():
        i = network.synapses[0](observations.float() * network.input_scale).unsqueeze(0)  # (1 or T, n, *neurons)
        for n, lif in enumerate(network.lifs):
            currents = i.flatten()
            rank = max(round(percentile / 100 * currents.numel()), 1)
            v_th = float(currents.kthvalue(rank).values)
            if v_th <= 0:  # so few neurons are driven at all that the percentile lies below 0
                positive = currents[currents > 0]
                if not len(positive):
                    raise UserError(f"layer {network.layer_names[n]} never gets a positive current: nothing can spike")
                v_th = float(positive.median())
            lif.set(v_th=v_th, decay=decay)
            spikes, _ = lif.unroll(i.unsqueeze(0), th.zeros_like(i[0]), i.new_ones(1, i.shape[1]), network.T)
            behind = next(layer for layer in network.synapses[n + 1].children() if isinstance(layer, (nn.Conv2d, nn.Linear)))
            behind.weight.mul_(v_th)
            i = network.synapses[n + 1](spikes[0].flatten(0, 1)).unflatten(0, (network.T, -1))


def standardize_first_layer(network: QNetwork, observations: Tensor) -> None:
    """Gives the first layer's currents mean 0 and standard deviation 1 on the observations, in place: per channel of a
    convolution, per neuron of a dense layer (data-dependent initialisation, Salimans & Kingma 2016).

    For an agent from which something is hidden: what is left of the ANN's currents may vary far less than a threshold, so
    that no spike ever depends on it. The network no longer computes what its ANN did.

    Args:
        network: whose first synapses end with their only Conv2d or Linear layer, which has a bias.
        observations: ``(n, *observation)``, unscaled.

    Raises:
        UnconvertibleError: for other first synapses.
    """
    *before, layer = network.synapses[0].children()
    weighted = (nn.Conv2d, nn.Linear)
    if not isinstance(layer, weighted) or layer.bias is None or any(isinstance(other, weighted) for other in before):
        raise UnconvertibleError("currents can be standardised only behind one Conv2d or Linear layer with a bias")
    with th.no_grad():
        i = network.synapses[0](observations.float() * network.input_scale).transpose(0, 1).flatten(1)
        mean, spread = i.mean(1), i.std(1).clamp(min=1e-6)
        layer.weight.div_(spread.view(-1, *[1] * (layer.weight.dim() - 1)))
        layer.bias.sub_(mean).div_(spread)
