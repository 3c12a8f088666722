"""What importers of NIR make of an agent's files: which spikes are those of the golden traces that the files hold.

    python tools/nir_conformance.py [AGENT ...]

Each importer reads the exact file and the one with NIR's own LIF, and runs the golden observations step by step. Its spikes
are compared with the agent's, and with those of the file's own definition (Euler's steps, in nirtorch). The counts go into
docs/results/exports/nir.json; ``make results`` writes the table of docs/exports.md from that file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nir
import nirtorch
import numpy as np
import torch as th
from numpy.typing import NDArray
from torch import Tensor, nn

from snn_rl import load_agent
from snn_rl.console import run
from snn_rl.exports import nir as exact
from snn_rl.exports import nir_lif
from snn_rl.store.files import write_json

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "exports" / "nir.json"
AGENTS = ("CartPole-v1/T5", "CartPole-v1/T1", "CartPoleNoVel-v1/T1", "PongNoFrameskip-v4/T1", "PongNoFrameskip-v4/T1-frames1")
DECISIONS = 60  # of the traces
Spikes = list[NDArray[np.bool_]]


class Euler(nn.Module):
    """Euler's steps of ``tau dv/dt = v_leak - v + r x``, or of ``dv/dt = r x`` where there is no ``tau``: NIR's LI and I. With
    a threshold it fires, and is set to ``v_reset``: LIF and IF."""

    def __init__(self, node: Any) -> None:
        super().__init__()
        tau = getattr(node, "tau", None)
        self.rate = exact.DT if tau is None else th.from_numpy(exact.DT / tau)
        self.leak = 0.0 if tau is None else 1.0
        self.r = th.from_numpy(node.r)
        self.v_th = th.from_numpy(node.v_threshold) if hasattr(node, "v_threshold") else None

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        v = th.zeros_like(self.r) if state is None else state
        v = v + self.rate * (self.r * x - self.leak * v)
        if self.v_th is None:
            return v, v
        z = (v > self.v_th).to(v.dtype)
        return z, v * (1 - z)


class Threshold(nn.Module):
    """NIR's step function."""

    def __init__(self, node: nir.Threshold) -> None:
        super().__init__()
        self.v_th = th.from_numpy(node.threshold)

    def forward(self, x: Tensor) -> Tensor:
        return (x > self.v_th).to(x.dtype)


class Scale(nn.Module):
    """NIR's elementwise factor."""

    def __init__(self, node: nir.Scale) -> None:
        super().__init__()
        self.scale = th.from_numpy(node.scale)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def affine(node: nir.Affine) -> nn.Linear:
    """nirtorch's own leaves the bias at random: it sets an attribute of the weight."""
    layer = nn.Linear(node.weight.shape[1], node.weight.shape[0])
    layer.weight.data, layer.bias.data = th.from_numpy(node.weight), th.from_numpy(node.bias)
    return layer


def batched(node: nir.Flatten) -> nn.Flatten:
    """nirtorch's own flattens the batch too: NIR's dimensions do not count it."""
    return nn.Flatten(node.start_dim + 1, node.end_dim)


def with_nirtorch(graph: nir.NIRGraph) -> nn.Module:
    """nirtorch executes the graph; the modules for its neurons are those above, in float64."""
    named = {nir.LI: Euler, nir.I: Euler, nir.LIF: Euler, nir.IF: Euler, nir.Threshold: Threshold, nir.Scale: Scale}
    return nirtorch.nir_to_torch(graph, {**named, nir.Affine: affine, nir.Flatten: batched}, dtype=th.float64)


def with_nirtorch_alone(graph: nir.NIRGraph) -> nn.Module:
    """nirtorch as it is installed."""
    return nirtorch.nir_to_torch(graph, {})


def with_snntorch(graph: nir.NIRGraph) -> nn.Module:
    """snnTorch's importer."""
    from snntorch.import_nir import import_from_nir

    return import_from_nir(graph)


def with_spikingjelly(graph: nir.NIRGraph) -> nn.Module:
    """SpikingJelly's importer."""
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return import_from_nir(graph, dt=exact.DT)


def with_norse(graph: nir.NIRGraph) -> nn.Module:
    """Norse's importer."""
    from norse.torch import from_nir

    return from_nir(graph, dt=exact.DT)


IMPORTERS: dict[str, Callable[[nir.NIRGraph], nn.Module]] = {
    "nirtorch": with_nirtorch,
    "nirtorch alone": with_nirtorch_alone,
    "snntorch": with_snntorch,
    "spikingjelly": with_spikingjelly,
    "norse": with_norse,
}


def spikes_of(module: nn.Module, observations: NDArray[Any], names: Sequence[str], dtype: th.dtype) -> Spikes:
    """The spikes of each named node, step by step."""
    caught: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in names}

    def catch(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: object, output: Any) -> None:
            z = output[0] if isinstance(output, tuple) else output
            caught[name].append(z.detach().numpy().reshape(-1) > 0)

        return hook

    modules = dict(module.named_modules())
    for name in names:
        modules[name].register_forward_hook(catch(name))
    state = None
    with th.no_grad():
        for observation in th.from_numpy(observations).to(dtype):
            _, state = module(observation[None], state)
    return [np.stack(own) for own in caught.values()]


def differ(found: Spikes, wanted: Spikes) -> int:
    """Spikes that only one of both has."""
    return sum(int((a != b).sum()) for a, b in zip(found, wanted, strict=True))


def compare(file: Path, T: int) -> list[dict[str, Any]]:
    """Runs a file in every importer: spikes that differ from the golden ones and from the file's definition, or the error."""
    golden, graph = nir.read_data(file).nodes, nir.read(file)
    steps = DECISIONS * T
    shape = tuple(int(size) for size in np.atleast_1d(graph.nodes["observation"].input_type["input"]))
    seen = golden["observation"].observables["observation"].data[0, :steps].reshape(-1, *shape)
    names = [name for name in golden if name.endswith("_spikes")]
    wanted = [golden[name].observables["spikes"].data[0, :steps] for name in names]
    rows, defined = list[dict[str, Any]](), Spikes()
    for importer, read in IMPORTERS.items():
        try:
            dtype = th.float64 if importer == "nirtorch" else th.float32
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of PyTorch, for what importers use
                found = spikes_of(read(nir.read(file)), seen, names, dtype)
        except Exception as error:  # whatever an importer says of a file is its answer
            rows.append({"importer": importer, "error": f"{type(error).__name__}: {error}".splitlines()[0][:300]})
            continue
        defined = defined or found
        either = sum(int((a | b).sum()) for a, b in zip(found, wanted, strict=True))
        row: dict[str, Any] = {"decisions": len(seen) // T, "spikes": either, "not_the_agents": differ(found, wanted)}
        rows.append({"importer": importer, **row, "not_as_defined": differ(found, defined)})
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the files of each agent into a temporary folder and runs them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agents", nargs="*", default=AGENTS, metavar="AGENT")
    args = parser.parse_args(argv)
    logging.disable(logging.WARNING)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.agents:
            agent = load_agent(name)
            for kind, writer in (("exact", exact), ("LIF", nir_lif)):
                file = Path(folder) / f"{agent.env}-{agent.name}-{kind}.nir"
                writer.write(agent, file)
                for row in compare(file, agent.network.T):
                    rows.append({"agent": name, "file": kind, **row})
                    print(rows[-1], flush=True)
    versions = {name: importlib.metadata.version(name.partition(" ")[0]) for name in ("nir", *IMPORTERS)}
    write_json({"versions": versions, "rows": rows}, RESULTS)
    return 0


if __name__ == "__main__":
    run(main)
