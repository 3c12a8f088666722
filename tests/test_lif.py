"""The neuron, by hand: the definition, and the fast one that is trained."""

import math
from collections.abc import Callable

import pytest
import torch as th
from torch import Tensor

from snn_rl.core.errors import UserError
from snn_rl.core.lif import LIF, MIN_DECAY, fast_lif_step, lif_step
from snn_rl.core.surrogate import Surrogate

Step = Callable[..., tuple[Tensor, Tensor]]


@pytest.fixture(params=[lif_step, fast_lif_step])
def step(request: pytest.FixtureRequest) -> Step:
    """Each of the two ways in which the equation is computed."""
    return request.param


def trace(step: Step, currents: list[float], v_th: float, decay: float, v: float = 0.0) -> tuple[list[float], list[float]]:
    """Spikes and membranes of one neuron."""
    z_all, v_all, v_now = [], [], th.tensor([v])
    for current in currents:
        z, v_now = step(th.tensor([current]), v_now, th.tensor(v_th), th.tensor(decay))
        z_all.append(z.item())
        v_all.append(v_now.item())
    return z_all, v_all


def test_leaky_trace_by_hand(step: Step) -> None:
    # decay 0.5, v_th 1. v: 0.75 | .375+.75=1.125 > 1, fires, 0.125 | .0625+.75=.8125 | .40625+.75=1.15625, fires
    z, v = trace(step, [0.75] * 4, v_th=1.0, decay=0.5)
    assert z == [0, 1, 0, 1]
    assert v == [0.75, 0.125, 0.8125, 0.15625]


def test_soft_reset_keeps_what_exceeds_the_threshold_and_one_spike_per_timestep(step: Step) -> None:
    z, v = trace(step, [2.75, 0.0, 0.0, 0.0], v_th=1.0, decay=1.0)
    assert z == [1, 1, 0, 0]
    assert v == [1.75, 0.75, 0.75, 0.75]


def test_threshold_is_strict(step: Step) -> None:
    assert trace(step, [1.0], v_th=1.0, decay=1.0) == ([0], [1.0])
    assert trace(step, [1.0000001192092896], v_th=1.0, decay=1.0)[0] == [1]  # the next float


def test_leak_acts_before_the_current_and_negative_currents_only_lower_the_membrane(step: Step) -> None:
    z, v = trace(step, [-1.0, 0.5, 3.0], v_th=2.0, decay=0.25)
    # -1 | -0.25+0.5 = 0.25 | 0.0625+3 = 3.0625, fires, 1.0625
    assert z == [0, 0, 1]
    assert v == [-1.0, 0.25, 1.0625]


@pytest.mark.parametrize(("v", "expected"), [(2.0, 0.3), (3.0, 0.15), (1.0, 0.15), (4.0, 0.0), (0.0, 0.0), (5.0, 0.0)])
def test_surrogate_gradient_is_a_triangle_around_the_threshold(step: Step, v: float, expected: float) -> None:
    # v_th = 2, u = v/2 - 1: dz/di = 0.3 * max(0, 1 - |u|) / v_th
    i = th.tensor([v], requires_grad=True)
    z, _ = step(i, th.zeros(1), th.tensor(2.0), th.tensor(1.0))
    z.sum().backward()
    assert i.grad is not None
    assert Surrogate() == ("triangle", 0.3)
    assert i.grad.item() == pytest.approx(expected / 2)


@pytest.mark.parametrize(
    ("shape", "expected"),  # at u = 0, 0.5, -0.5 and 2
    [
        ("triangle", [1, 1 / 2, 1 / 2, 0]),
        ("rectangle", [1, 1, 1, 0]),
        ("sigmoid", [1, 4 / 9, 4 / 9, 1 / 9]),
        ("arctan", [1, 1 / (1 + math.pi**2 / 4), 1 / (1 + math.pi**2 / 4), 1 / (1 + 4 * math.pi**2)]),
    ],
)
def test_a_surrogate_gradient_has_its_shape_and_its_height(step: Step, shape: str, expected: list[float]) -> None:
    i = th.tensor([1.0, 1.5, 0.5, 3.0], requires_grad=True)
    z, v = step(i, th.zeros(4), th.tensor(1.0), th.tensor(1.0), surrogate=Surrogate.read(f"{shape}:0.7"))
    assert (z.tolist(), v.tolist()) == ([0, 1, 0, 1], [1, 0.5, 0.5, 2])  # forward it is nothing
    z.sum().backward()
    assert i.grad is not None
    assert i.grad.tolist() == pytest.approx([0.7 * part for part in expected])


def test_a_surrogate_gradient_is_text(step: Step) -> None:
    assert Surrogate.read("arctan") == ("arctan", 0.3)
    assert str(Surrogate.read("arctan:1.50")) == "arctan:1.5"
    for wrong in ("", "tan", "arctan:0", "arctan:x", "arctan:inf", "arctan:nan"):
        with pytest.raises(UserError, match=r"such as arctan:0\.5, with a shape of triangle, rectangle, sigmoid, arctan"):
            Surrogate.read(wrong)


def test_gradients_through_the_spike_by_hand(step: Step) -> None:
    # v = 0.5 * 2 + 2 = 3, v_th = 2, u = 0.5: dz/du = 0.3 * 0.5 = 0.15; du/dv = 1/2; du/dv_th = -v/v_th^2 = -3/4
    i, v, v_th, decay = (th.tensor(x, requires_grad=True) for x in (2.0, 2.0, 2.0, 0.5))
    step(i, v, v_th, decay)[0].backward()
    assert [x.grad.item() for x in (i, v, v_th, decay)] == pytest.approx([0.075, 0.0375, -0.1125, 0.15])


@pytest.mark.parametrize(("current", "spike"), [(2.0, 1.0), (0.5, 0.0)])
def test_gradients_through_the_reset_treat_the_spike_as_a_constant(step: Step, current: float, spike: float) -> None:
    # v' = decay * v + i - v_th * z: dv'/di = 1, dv'/dv = decay, dv'/ddecay = v, dv'/dv_th = -z
    i, v, v_th, decay = (th.tensor(x, requires_grad=True) for x in (current, 2.0, 2.0, 0.5))
    step(i, v, v_th, decay)[1].backward()
    assert [x.grad.item() for x in (i, v, v_th, decay)] == pytest.approx([1.0, 0.5, -spike, 2.0])


def test_a_threshold_per_neuron_is_a_scale_of_its_weights(step: Step) -> None:
    """Currents, membrane and amplitude in units of each neuron's threshold: the same spikes at a threshold of 1."""
    thresholds = th.tensor([0.25, 1.0, 4.0], requires_grad=True)  # powers of two: the scaling is exact
    i, v, w = th.randn(50, 8, 3), th.zeros(8, 3), th.zeros(8, 3)
    total = 0.0
    for current in i:
        z, v = step(current, v, thresholds, th.tensor(0.75))
        z_scaled, w = step(current / thresholds, w, th.tensor(1.0), th.tensor(0.75))
        assert th.equal(z, z_scaled)
        assert th.equal(v, w * thresholds)
        total += z.sum(0)
    assert (total > 0).all()
    total.sum().backward()
    for n, v_th in enumerate(thresholds.detach()):  # each has the gradient that it would have alone
        alone, v = v_th.clone().requires_grad_(), th.zeros(8)
        spikes = []
        for current in i[:, :, n]:
            z, v = step(current, v, alone, th.tensor(0.75))
            spikes.append(z)
        th.stack(spikes).sum().backward()
        assert thresholds.grad is not None
        assert alone.grad is not None
        assert thresholds.grad[n].item() == pytest.approx(alone.grad.item(), rel=1e-4)


def test_currents_in_half_precision_leave_the_membrane_in_full(step: Step) -> None:
    i = th.tensor([0.75, 1.5], dtype=th.bfloat16, requires_grad=True)
    z, v = step(i, th.zeros(2), th.tensor(1.0), th.tensor(1.0))
    assert (z.dtype, v.dtype) == (th.bfloat16, th.float32)
    assert (z.tolist(), v.tolist()) == ([0, 1], [0.75, 0.5])
    v.sum().backward()
    assert i.grad is not None
    assert i.grad.tolist() == [1, 1]


def test_the_fast_step_is_the_definition_bit_for_bit_and_its_gradients_to_rounding() -> None:
    """Over 30 timesteps with the membrane carried, on either side of the surrogate's bounds; thresholds and decays shared by
    all neurons or by those of a channel."""
    for dtype, shape in ((th.float32, ()), (th.float32, (3, 1, 1)), (th.float64, (3, 1, 1)), (th.bfloat16, ())):
        i, weights = th.randn(30, 4, 3, 5, 5).mul(1.5).to(dtype), th.randn(30, 2, 4, 3, 5, 5)
        wide = th.float64 if dtype is th.float64 else th.float32
        results, gradients = [], []
        for step in (lif_step, fast_lif_step):
            leaves = [i.clone().requires_grad_(), th.full(shape, 0.7, dtype=wide).requires_grad_()]
            leaves.append(th.linspace(0.2, 0.9, leaves[1].numel(), dtype=wide).reshape(shape).requires_grad_())
            v, sent, loss = th.zeros(4, 3, 5, 5, dtype=wide), [], th.zeros((), dtype=wide)
            for current, (of_z, of_v) in zip(leaves[0].unbind(0), weights, strict=True):
                z, v = step(current, v, leaves[1], leaves[2])
                sent += [z.detach(), v.detach()]
                loss = loss + (of_z * z).sum() + (of_v * v).sum()
            loss.backward()
            results.append(sent)
            gradients.append([leaf.grad for leaf in leaves])
        assert all(th.equal(plain, fast) and plain.dtype == fast.dtype for plain, fast in zip(*results, strict=True))
        assert 0.1 < th.stack(results[0][::2]).float().mean() < 0.9
        for plain, fast in zip(*gradients, strict=True):
            th.testing.assert_close(fast, plain, rtol={th.float64: 1e-10, th.float32: 1e-4}[wide], atol=1e-5)
            assert plain.abs().max() > 0.1


def test_next_to_the_threshold_a_membrane_spikes_with_and_without_gradients_alike() -> None:
    v_th = th.rand(2_000, generator=th.Generator().manual_seed(0)) * 4 + 1e-3
    for current in (v_th, th.nextafter(v_th, th.tensor(9.0)), th.nextafter(v_th, th.tensor(-9.0))):
        wanted, after = lif_step(current, th.zeros_like(current), v_th, th.ones(()))
        with th.no_grad():
            found, left = fast_lif_step(current, None, v_th, th.ones(()))
        assert th.equal(found, wanted)
        assert th.equal(left, after)
        assert th.equal(found, (current > v_th).float())


def test_the_fast_step_writes_to_nothing_that_it_was_given() -> None:
    given = [th.randn(5, 6).requires_grad_(), th.randn(5, 6), th.tensor(0.5).requires_grad_(), th.tensor(0.5).requires_grad_()]
    before = [tensor.detach().clone() for tensor in given]
    z, v = fast_lif_step(*given)
    of_z, of_v = th.randn(5, 6), th.randn(5, 6)
    kept = [of_z.clone(), of_v.clone(), z.detach().clone(), v.detach().clone()]
    for _ in range(2):  # what is saved for the backward pass is still whole after it
        first = th.autograd.grad((z, v), [given[0], *given[2:]], (of_z, of_v), retain_graph=True)
        second = th.autograd.grad((z, v), [given[0], *given[2:]], (of_z, of_v), retain_graph=True)
        assert all(th.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(th.equal(a, b) for a, b in zip(before, given, strict=True))
    assert all(th.equal(a, b) for a, b in zip(kept, (of_z, of_v, z, v), strict=True))


def test_without_gradients_the_definition_is_its_three_lines_alone() -> None:
    """What an export traces: no surrogate gradient, no operation of our own."""
    given = (th.randn(2, 3), th.randn(2, 3), th.tensor(1.0), th.tensor(0.5))
    with th.no_grad():
        exported = th.export.export(_Definition(), given)
    names = {str(node.target).split(".")[1] for node in exported.graph.nodes if node.op == "call_function"}
    assert {name for name in names if name[0] != "_"} == {"mul", "add", "div", "sub", "gt", "to"}
    assert all(th.equal(a, b) for a, b in zip(exported.module()(*given), lif_step(*given), strict=True))


class _Definition(th.nn.Module):
    def forward(self, i: Tensor, v: Tensor, v_th: Tensor, decay: Tensor) -> tuple[Tensor, Tensor]:
        return lif_step(i, v, v_th, decay)


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


def unroll_by_hand(step: Step, lif: LIF, i: Tensor, v: Tensor, keep: Tensor, T: int) -> tuple[Tensor, Tensor]:
    rows = []
    for s in range(len(i)):
        v = v * keep[s].reshape(-1, *[1] * (v.dim() - 1))
        for t in range(T):
            z, v = step(i[s, t if i.shape[1] > 1 else 0], v, lif.v_th, lif.decay)
            rows.append(z)
    return th.stack(rows).unflatten(0, (len(i), T)), v


@pytest.mark.parametrize("same_current", [True, False])
def test_unroll_is_repeated_steps(step: Step, same_current: bool) -> None:
    lif = LIF(v_th=0.7, decay=0.9)
    lif.plain = step is lif_step
    i = th.randn(4, 1 if same_current else 3, 2, 5, 6)
    keep = th.tensor([[1.0, 1], [0, 1], [1, 1], [1, 0]])
    spikes, (v,) = lif.unroll(i, (th.randn(2, 5, 6),), keep, 3)
    assert spikes.shape == (4, 3, 2, 5, 6)
    th.manual_seed(0)
    th.randn(4, 1 if same_current else 3, 2, 5, 6)
    expected_spikes, expected_v = unroll_by_hand(step, lif, i, th.randn(2, 5, 6), keep, 3)
    assert th.equal(spikes, expected_spikes)
    assert th.equal(v, expected_v)
    assert 0 < spikes.mean() < 1


def test_keep_zeroes_only_the_rows_it_says() -> None:
    lif = LIF(v_th=10.0, decay=1.0)
    _, (v,) = lif.unroll(th.ones(1, 1, 3, 2), (th.full((3, 2), 5.0),), th.tensor([[1.0, 0.0, 1.0]]), 1)
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
    silent, one = th.zeros(1, 1, 2, 3, 4, 4), th.ones(2, 3, 4, 4)
    _, (v,) = lif.unroll(silent, (one,), th.ones(1, 2), 1)
    assert th.allclose(v, lif.decay.expand(2, 3, 4, 4))
    v.sum().backward()
    assert lif.raw_decay.grad.flatten().tolist() == pytest.approx([32.0] * 3)  # 2 x 4 x 4 neurons each


def test_one_decay_cannot_be_spread() -> None:
    with pytest.raises(ValueError, match="cannot be spread"):
        LIF(decay=(0.1, 0.9))
    with pytest.raises(ValueError, match="must lie in"):
        LIF(decay=(0.1, 1.5), shape=(2,))


@pytest.mark.parametrize("used", ["spikes", "membrane", "both"])
@pytest.mark.parametrize("kind", [th.float32, th.bfloat16])
def test_a_step_from_rest_is_one_from_a_membrane_of_zeros(used: str, kind: th.dtype) -> None:
    th.manual_seed(0)
    current, weights = th.randn(3, 4, 5).to(kind), th.randn(2, 3, 4, 5)
    found = []
    for v in (None, th.zeros(3, 4, 5)):
        i, v_th, decay = (one.clone().requires_grad_() for one in (current, th.tensor(0.7), th.full((4, 1), 0.9)))
        z, after = fast_lif_step(i, v, v_th, decay)
        loss = {"spikes": z.float() * weights[0], "membrane": after * weights[1]}
        loss["both"] = loss["spikes"] + loss["membrane"]
        loss[used].sum().backward()
        found.append([z, after, i.grad, v_th.grad, decay.grad])
    assert all(th.equal(*pair) for pair in zip(*found, strict=True))


@pytest.mark.parametrize("kind", [th.float32, th.bfloat16])
def test_without_the_reset_a_step_sends_the_same_and_learns_the_same(kind: th.dtype) -> None:
    current, v_th = th.randn(2, 3, 4, 5).to(kind), th.tensor(0.7)  # no bfloat16
    for v in (None, th.randn(2, 3, 4, 5)):
        found = []
        for reset in (True, False):
            i, threshold = current.clone().requires_grad_(), v_th.clone().requires_grad_()
            z, after = fast_lif_step(i, v, threshold, th.tensor(0.9), reset=reset)
            assert (after is not None) == reset
            z.float().square().sum().backward()
            found.append([z, i.grad, threshold.grad])
        assert all(th.equal(*pair) for pair in zip(*found, strict=True))


def test_a_current_in_half_precision_is_compared_with_the_threshold_in_full() -> None:
    """Thresholds on either side of a number of bfloat16, and on it."""
    near = th.linspace(0.01, 4, 300).bfloat16()
    for v_th in (near.float(), near.float() * (1 + 2**-20), near.float() * (1 - 2**-20)):
        with th.no_grad():
            for current in (near, th.nextafter(near, th.full_like(near, 9)), th.nextafter(near, th.zeros_like(near))):
                z, _ = fast_lif_step(current, None, v_th, th.ones(()), reset=False)
                assert th.equal(z, (current.float() > v_th).to(th.bfloat16))
