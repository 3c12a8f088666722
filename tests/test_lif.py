"""The neuron, by hand."""

import pytest
import torch as th
from torch import Tensor

from snn_rl.core.lif import LIF, MIN_DECAY, SURROGATE_SLOPE, lif_step


def trace(currents: list[float], v_th: float, decay: float, v: float = 0.0) -> tuple[list[float], list[float]]:
    """Spikes and membranes of one neuron."""
    z_all, v_all, v_now = [], [], th.tensor([v])
    for current in currents:
        z, v_now = lif_step(th.tensor([current]), v_now, th.tensor(v_th), th.tensor(decay))
        z_all.append(z.item())
        v_all.append(v_now.item())
    return z_all, v_all


def test_leaky_trace_by_hand() -> None:
    # decay 0.5, v_th 1. v: 0.75 | .375+.75=1.125 > 1, fires, 0.125 | .0625+.75=.8125 | .40625+.75=1.15625, fires
    z, v = trace([0.75] * 4, v_th=1.0, decay=0.5)
    assert z == [0, 1, 0, 1]
    assert v == [0.75, 0.125, 0.8125, 0.15625]


def test_soft_reset_keeps_what_exceeds_the_threshold_and_one_spike_per_timestep() -> None:
    z, v = trace([2.75, 0.0, 0.0, 0.0], v_th=1.0, decay=1.0)
    assert z == [1, 1, 0, 0]
    assert v == [1.75, 0.75, 0.75, 0.75]


def test_threshold_is_strict() -> None:
    assert trace([1.0], v_th=1.0, decay=1.0) == ([0], [1.0])
    assert trace([1.0000001192092896], v_th=1.0, decay=1.0)[0] == [1]  # the next float


def test_leak_acts_before_the_current_and_negative_currents_only_lower_the_membrane() -> None:
    z, v = trace([-1.0, 0.5, 3.0], v_th=2.0, decay=0.25)
    # -1 | -0.25+0.5 = 0.25 | 0.0625+3 = 3.0625, fires, 1.0625
    assert z == [0, 0, 1]
    assert v == [-1.0, 0.25, 1.0625]


@pytest.mark.parametrize(("v", "expected"), [(2.0, 0.3), (3.0, 0.15), (1.0, 0.15), (4.0, 0.0), (0.0, 0.0), (5.0, 0.0)])
def test_surrogate_gradient_is_a_triangle_around_the_threshold(v: float, expected: float) -> None:
    # v_th = 2, u = v/2 - 1: dz/di = slope * max(0, 1 - |u|) / v_th
    i = th.tensor([v], requires_grad=True)
    z, _ = lif_step(i, th.zeros(1), th.tensor(2.0), th.tensor(1.0))
    z.sum().backward()
    assert i.grad is not None
    assert SURROGATE_SLOPE == 0.3
    assert i.grad.item() == pytest.approx(expected / 2)


def test_slope_scales_the_surrogate_gradient() -> None:
    i = th.tensor([1.0], requires_grad=True)
    lif_step(i, th.zeros(1), th.tensor(1.0), th.tensor(1.0), slope=0.7)[0].sum().backward()
    assert i.grad is not None
    assert i.grad.item() == pytest.approx(0.7)


def test_gradients_through_the_spike_by_hand() -> None:
    # v = 0.5 * 2 + 2 = 3, v_th = 2, u = 0.5: dz/du = 0.3 * 0.5 = 0.15; du/dv = 1/2; du/dv_th = -v/v_th^2 = -3/4
    i, v, v_th, decay = (th.tensor(x, requires_grad=True) for x in (2.0, 2.0, 2.0, 0.5))
    lif_step(i, v, v_th, decay)[0].backward()
    assert [x.grad.item() for x in (i, v, v_th, decay)] == pytest.approx([0.075, 0.0375, -0.1125, 0.15])


@pytest.mark.parametrize(("current", "spike"), [(2.0, 1.0), (0.5, 0.0)])
def test_gradients_through_the_reset_treat_the_spike_as_a_constant(current: float, spike: float) -> None:
    # v' = decay * v + i - v_th * z: dv'/di = 1, dv'/dv = decay, dv'/ddecay = v, dv'/dv_th = -z
    i, v, v_th, decay = (th.tensor(x, requires_grad=True) for x in (current, 2.0, 2.0, 0.5))
    lif_step(i, v, v_th, decay)[1].backward()
    assert [x.grad.item() for x in (i, v, v_th, decay)] == pytest.approx([1.0, 0.5, -spike, 2.0])


def test_a_threshold_per_neuron_is_a_scale_of_its_weights() -> None:
    """Currents, membrane and amplitude in units of each neuron's threshold: the same spikes at a threshold of 1."""
    thresholds = th.tensor([0.25, 1.0, 4.0], requires_grad=True)  # powers of two: the scaling is exact
    i, v, w = th.randn(50, 8, 3), th.zeros(8, 3), th.zeros(8, 3)
    total = 0.0
    for current in i:
        z, v = lif_step(current, v, thresholds, th.tensor(0.75))
        z_scaled, w = lif_step(current / thresholds, w, th.tensor(1.0), th.tensor(0.75))
        assert th.equal(z, z_scaled)
        assert th.equal(v, w * thresholds)
        total += z.sum(0)
    assert (total > 0).all()
    total.sum().backward()
    for n, v_th in enumerate(thresholds.detach()):  # each has the gradient that it would have alone
        alone, v = v_th.clone().requires_grad_(), th.zeros(8)
        spikes = []
        for current in i[:, :, n]:
            z, v = lif_step(current, v, alone, th.tensor(0.75))
            spikes.append(z)
        th.stack(spikes).sum().backward()
        assert thresholds.grad is not None
        assert alone.grad is not None
        assert thresholds.grad[n].item() == pytest.approx(alone.grad.item(), rel=1e-4)


def test_currents_in_half_precision_leave_the_membrane_in_full() -> None:
    i = th.tensor([0.75, 1.5], dtype=th.bfloat16, requires_grad=True)
    z, v = lif_step(i, th.zeros(2), th.tensor(1.0), th.tensor(1.0))
    assert (z.dtype, v.dtype) == (th.bfloat16, th.float32)
    assert (z.tolist(), v.tolist()) == ([0, 1], [0.75, 0.5])
    v.sum().backward()
    assert i.grad is not None
    assert i.grad.tolist() == [1, 1]


def test_decay_at_its_bound_can_begin_to_leak_and_never_exceeds_one() -> None:
    lif = LIF(decay=1.0)
    optimizer = th.optim.SGD([lif.raw_decay], lr=0.1)
    (-lif.decay).backward()  # descent would raise it beyond 1
    assert lif.raw_decay.grad == 0
    optimizer.step()
    assert lif.decay == 1
    optimizer.zero_grad()
    lif.decay.backward()  # descent lowers it
    assert lif.raw_decay.grad == 1
    optimizer.step()
    assert lif.decay.item() == pytest.approx(0.9)


def test_decay_at_its_lower_bound_can_rise_and_never_falls_below() -> None:
    lif = LIF(decay=MIN_DECAY)
    lif.decay.backward()
    assert lif.raw_decay.grad == 0
    lif.raw_decay.grad = None
    (-lif.decay).backward()
    assert lif.raw_decay.grad == -1


def test_threshold_and_decay_stay_in_range_whatever_the_optimiser_does() -> None:
    lif = LIF()
    for value in (-100.0, -2.0, 0.0, 2.0, 50.0):
        with th.no_grad():
            lif.log_v_th.fill_(value)
            lif.raw_decay.fill_(value)
        assert lif.v_th > 0
        assert 0 < lif.decay <= 1


def test_threshold_and_decay_are_what_was_set() -> None:
    lif = LIF(v_th=0.37, decay=0.9)
    assert lif.v_th.item() == pytest.approx(0.37)
    assert lif.decay.item() == pytest.approx(0.9)
    lif.set(v_th=2.5)
    assert (lif.v_th.item(), lif.decay.item()) == pytest.approx((2.5, 0.9))
    assert {name for name, _ in lif.named_parameters()} == {"log_v_th", "raw_decay"}
    assert "v_th=2.5, decay=0.9" in repr(lif)


def unroll_by_hand(lif: LIF, i: Tensor, v: Tensor, keep: Tensor, T: int) -> tuple[Tensor, Tensor]:
    rows = []
    for s in range(len(i)):
        v = v * keep[s].reshape(-1, *[1] * (v.dim() - 1))
        for t in range(T):
            z, v = lif(i[s, t if i.shape[1] > 1 else 0], v)
            rows.append(z)
    return th.stack(rows).unflatten(0, (len(i), T)), v


@pytest.mark.parametrize("same_current", [True, False])
def test_unroll_is_repeated_steps(same_current: bool) -> None:
    lif = LIF(v_th=0.7, decay=0.9)
    i = th.randn(4, 1 if same_current else 3, 2, 5, 6)
    keep = th.tensor([[1.0, 1], [0, 1], [1, 1], [1, 0]])
    spikes, v = lif.unroll(i, th.randn(2, 5, 6), keep, 3)
    assert spikes.shape == (4, 3, 2, 5, 6)
    th.manual_seed(0)
    th.randn(4, 1 if same_current else 3, 2, 5, 6)
    expected_spikes, expected_v = unroll_by_hand(lif, i, th.randn(2, 5, 6), keep, 3)
    assert th.equal(spikes, expected_spikes)
    assert th.equal(v, expected_v)
    assert 0 < spikes.mean() < 1


def test_keep_zeroes_only_the_rows_it_says() -> None:
    lif = LIF(v_th=10.0, decay=1.0)
    _, v = lif.unroll(th.ones(1, 1, 3, 2), th.full((3, 2), 5.0), th.tensor([[1.0, 0.0, 1.0]]), 1)
    assert v.tolist() == [[6, 6], [1, 1], [6, 6]]


@pytest.mark.parametrize("v_th", [0.0, -1.0, float("inf"), float("nan")])
def test_a_threshold_out_of_range_is_an_error(v_th: float) -> None:
    with pytest.raises(ValueError, match="v_th must be a finite number above 0"):
        LIF(v_th=v_th)


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.0001, float("nan")])
def test_a_decay_out_of_range_is_an_error(decay: float) -> None:
    with pytest.raises(ValueError, match="decay must lie in"):
        LIF(decay=decay)


def test_channels_may_leak_at_speeds_of_their_own() -> None:
    lif = LIF(v_th=10.0, decay=(0.25, 0.75), shape=(3, 1, 1))
    assert lif.decay.flatten().tolist() == pytest.approx([0.25, 0.5, 0.75])
    v = th.ones(2, 3, 4, 4)
    _, v = lif(th.zeros_like(v), v)
    assert th.allclose(v, lif.decay.expand(2, 3, 4, 4))
    lif.raw_decay.grad = None
    lif(th.zeros_like(v), th.ones_like(v))[1].sum().backward()
    assert lif.raw_decay.grad.flatten().tolist() == pytest.approx([32.0] * 3)  # 2 x 4 x 4 neurons each


def test_one_decay_cannot_be_spread() -> None:
    with pytest.raises(ValueError, match="cannot be spread"):
        LIF(decay=(0.1, 0.9))
    with pytest.raises(ValueError, match="must lie in"):
        LIF(decay=(0.1, 1.5), shape=(2,))
