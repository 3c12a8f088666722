"""Spike for spike the same as snnTorch and SpikingJelly, where their settings allow it.

Ours resets in the timestep of the spike ("post-reset"), so before its reset the membrane is

    u_t = decay * (u_{t-1} - v_th * z_{t-1}) + i_t

SpikingJelly's LIFNode (decay_input=False, v_reset=None, tau = 1 / (1 - decay)) and IFNode are the same equation. snnTorch's
Leaky with its delayed reset is

    u_t = beta * u_{t-1} + x_t - v_th * z_{t-1}

which is ours for beta = decay and x_t = i_t + (1 - decay) * v_th * z_{t-1}. Everything runs in float64 with random currents:
the order of the additions changes the last of 53 bits, and no membrane comes that close to its threshold.
"""

import pytest
import snntorch
import torch as th
from spikingjelly.activation_based import neuron
from torch import Tensor

from snn_rl.core.lif import LIF, lif_step

STEPS, NEURONS = 200, 512
V_TH = 0.75
DECAYS = [0.5, 0.9, 1.0]


@pytest.fixture
def drive() -> Tensor:
    return th.randn(STEPS, NEURONS, dtype=th.float64) * 0.5 + 0.2


def ours(drive: Tensor, decay: float) -> tuple[Tensor, Tensor]:
    """Spikes and membranes before the reset."""
    v, spikes, membranes = drive.new_zeros(drive.shape[1:]), [], []
    for i in drive:
        membranes.append(decay * v + i)
        z, v = lif_step(i, v, drive.new_tensor(V_TH), drive.new_tensor(decay))
        spikes.append(z)
    return th.stack(spikes), th.stack(membranes)


@pytest.mark.parametrize("decay", DECAYS)
def test_the_layer_is_the_step_function_of_the_comparison(drive: Tensor, decay: float) -> None:
    lif = LIF(decay=decay).double()
    lif.set(v_th=V_TH, decay=decay)
    spikes, _ = lif.unroll(drive[:, None, None], None, drive.new_ones(STEPS, 1), 1)
    assert th.equal(spikes[:, 0, 0], ours(drive, decay)[0])


@pytest.mark.parametrize("decay", DECAYS)
def test_spikes_of_snntorch_leaky(drive: Tensor, decay: float) -> None:
    leaky = snntorch.Leaky(beta=decay, threshold=V_TH, reset_mechanism="subtract", reset_delay=True).double()
    leaky.beta.fill_(decay)  # it was rounded to float32
    spikes, membranes = ours(drive, decay)
    u, z = drive.new_zeros(NEURONS), drive.new_zeros(NEURONS)
    for t in range(STEPS):
        z, u = leaky(drive[t] + (1 - decay) * V_TH * z.double(), u)  # its spikes are float32
        assert th.equal(z.double(), spikes[t])
        th.testing.assert_close(u, membranes[t], rtol=1e-9, atol=1e-9)
    assert 0.05 < spikes.mean() < 0.95


@pytest.mark.parametrize("decay", DECAYS)
def test_spikes_of_spikingjelly(drive: Tensor, decay: float) -> None:
    if decay == 1:
        theirs = neuron.IFNode(v_threshold=V_TH, v_reset=None)
    else:
        theirs = neuron.LIFNode(tau=1 / (1 - decay), decay_input=False, v_threshold=V_TH, v_reset=None)
    theirs.v = drive.new_zeros(NEURONS)
    spikes, _ = ours(drive, decay)
    with th.no_grad():
        for t in range(STEPS):
            assert th.equal(theirs(drive[t]), spikes[t])


@pytest.mark.parametrize("decay", DECAYS)
def test_gradients_of_snntorch_leaky(decay: float) -> None:
    """Of currents and decay, through 20 timesteps and a loss of spikes weighted at random.

    The extra current (1 - decay) * v_th * z of the construction takes no gradient through z, as our reset takes none. The
    threshold's gradient is not compared: snnTorch's surrogate is a function of v - v_th, ours of v / v_th - 1.
    """
    i = (th.randn(20, 64, dtype=th.float64) * 0.5 + 0.2).requires_grad_()
    weights = th.randn(20, 64, dtype=th.float64)

    v_th = th.tensor(V_TH, dtype=th.float64)
    beta = th.tensor(decay, dtype=th.float64, requires_grad=True)
    v, loss = i.new_zeros(64), i.new_zeros(())
    for t in range(20):
        z, v = lif_step(i[t], v, v_th, beta)
        loss = loss + (weights[t] * z).sum()
    expected = th.autograd.grad(loss, (i, beta))

    leaky = snntorch.Leaky(
        beta=decay,
        threshold=V_TH,
        learn_beta=True,
        spike_grad=_Triangle.apply,
        reset_mechanism="subtract",
        reset_delay=True,
    ).double()
    with th.no_grad():
        leaky.beta.fill_(decay)
    u, z, loss = i.new_zeros(64), i.new_zeros(64), i.new_zeros(())
    for t in range(20):
        z, u = leaky(i[t] + (1 - leaky.beta) * V_TH * z.detach(), u)
        loss = loss + (weights[t] * z).sum()
    actual = th.autograd.grad(loss, (i, leaky.beta))
    assert actual[0].abs().max() > 0.01
    th.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-10)


class _Triangle(th.autograd.Function):
    """0.3 * max(0, 1 - |u|) with u = x / v_th, as a function of x = v - v_th."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g * 0.3 * (1 - (x / V_TH).abs()).clamp(min=0) / V_TH
