"""What a network starts from: thresholds, standardised currents and the first Q-values, from real observations."""

from __future__ import annotations

from typing import cast

import torch as th
from torch import Tensor, nn

from snn_rl.core.errors import UserError
from snn_rl.core.lif import MIN_DECAY, Decay
from snn_rl.core.network import Neuron, QNetwork
from snn_rl.core.spec import UnconvertibleError

WEIGHTED = (nn.Conv2d, nn.Linear)
READOUT = 0.1  # of the readout's usual first weights, so that the first Q-values lie close together


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
        scaled = (observations.float() * network.input_scale).unsqueeze(0)
        i = _current(network, 0, scaled, observations)  # (1 or T, n, *neurons)
        for n, lif in enumerate(network.lifs):
            currents = i.flatten()
            rank = max(round(percentile / 100 * currents.numel()), 1)
            v_th = float(currents.kthvalue(rank).values)
            if v_th <= 0:  # so few neurons are driven at all that the percentile lies below 0
                positive = currents[currents > 0]
                if not len(positive):
                    raise UserError(
                        f"layer {network.layer_names[n]} never gets a positive current, so nothing in it can spike; train the "
                        "ANN anew, or give another one"
                    )
                v_th = float(positive.median())
            lif.set(v_th=v_th, decay=decay)
            spikes = _sent(network, n, i)
            behind = next(layer for layer in network.synapses[n + 1].children() if isinstance(layer, WEIGHTED))
            behind.weight.mul_(v_th)
            i = _current(network, n + 1, spikes, observations)


def standardizable(network: QNetwork, layers: int | None = None) -> list[tuple[Tensor, Tensor]]:
    """The weights and biases that :func:`standardize` changes, layer by layer.

    Raises:
        UnconvertibleError: if it cannot.
    """
    found: list[tuple[Tensor, Tensor]] = []
    for name, synapse in zip(network.layer_names, network.synapses[:-1][:layers], strict=False):
        *before, layer = synapse.children()
        if not isinstance(layer, WEIGHTED) or layer.bias is None or any(isinstance(other, WEIGHTED) for other in before):
            raise UnconvertibleError(
                f"the currents of {name} cannot be standardised: that needs one Conv2d or Linear layer with a bias before "
                "each layer of neurons; train without (standardize and data_init in the recipe)"
            )
        found.append((layer.weight, layer.bias))
    return found


def standardize(network: QNetwork, observations: Tensor, layers: int | None = None) -> None:
    """Gives the currents of the first layers mean 0 and standard deviation 1 on the observations, in place: per channel of a
    convolution, per neuron of a dense layer (data-dependent initialisation, Salimans & Kingma 2016).

    A trained network no longer computes what it did.

    Args:
        network: the synapses of whose first layers end with their only Conv2d or Linear, which has a bias.
        observations: ``(n, *observation)``, unscaled, each seen from rest.
        layers: how many, from the first on; None for all but the readout.

    Raises:
        UnconvertibleError: for other synapses.
    """
    x = (observations.float() * network.input_scale).unsqueeze(0)  # (1 or T, n, ...)
    with th.no_grad():
        for n, (weight, bias) in enumerate(standardizable(network, layers)):
            i = _current(network, n, x, observations).flatten(0, 1).transpose(0, 1).flatten(1)
            mean, spread = i.mean(1), i.std(1).clamp(min=1e-6)
            weight.div_(spread.view(-1, *[1] * (weight.dim() - 1)))
            bias.sub_(mean).div_(spread)
            if str(n) in network.beside:
                cast(nn.Linear, network.beside[str(n)]).weight.div_(spread[:, None])
            x = _sent(network, n, _current(network, n, x, observations))


def initialize(network: QNetwork, observations: Tensor, value: float | Tensor) -> None:
    """Prepares a network for training, in place: currents standardised on real observations, thresholds of one standard
    deviation, Q-values near what they will be.

    In Pong nearly half of a NatureCNN's dense neurons are silent with the usual first weights, since these see almost only
    the background; in one training 71 % were after 46,000 steps, while the Q-values fell from 0 to the first returns. Of
    what an ANN's own features tell, little is left in the spikes of a plain conversion to T=1, whose thresholds only the
    strongest currents cross: a linear read-out of its last spikes explained 2 % of the ANN's advantages, 31 % with currents
    and thresholds as here.

    Args:
        network: untrained, or converted from an ANN and not trained yet; see :func:`standardize`.
        observations: ``(n, *observation)``, unscaled.
        value: what the Q-values begin at: the mean return, or the mean of each action's Q-value, ``(actions,)``.

    Raises:
        UnconvertibleError: as :func:`standardize`; the network is then unchanged.
    """
    standardizable(network)
    for lif in network.lifs:
        lif.set(v_th=1.0)
    standardize(network, observations)
    readout = [layer for layer in network.synapses[-1].children() if isinstance(layer, WEIGHTED)][-1]
    with th.no_grad():
        readout.weight.mul_(READOUT)
        if (last := str(len(network.neurons))) in network.beside:
            cast(nn.Linear, network.beside[last]).weight.mul_(READOUT)
        if readout.bias is not None:
            readout.bias.copy_(th.as_tensor(value))


def keep_memory(network: QNetwork, T: int) -> None:
    """Sets the decays, in place, so that membranes keep as much from one decision to the next as they did when the network
    decided in ``T`` timesteps: ``decay ** (T / network.T)``."""
    with th.no_grad():
        for lif in network.lifs:
            lif.raw_decay.copy_((lif.decay ** (T / network.T)).clamp(min=MIN_DECAY))


def _current(network: QNetwork, n: int, x: Tensor, observations: Tensor) -> Tensor:
    """The current of layer ``n`` for what is sent to it, ``(1 or T, n, ...)``."""
    return network.with_numbers(n, network.synapses[n](x.flatten(0, 1)).unflatten(0, x.shape[:2]), observations)


def _sent(network: QNetwork, n: int, i: Tensor) -> Tensor:
    """What layer ``n`` sends on from rest for a current ``(1 or T, n, *neurons)``: spikes ``(T, n, *neurons)``, or the ANN's
    activations."""
    neuron = cast(Neuron, network.neurons[n])
    return neuron.unroll(i.unsqueeze(0), None, i.new_ones(1, i.shape[1]), network.T)[0][0]
