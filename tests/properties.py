"""What holds of every file and of every network, for hypothesis to try: a strategy and a check for each.

``test_properties.py`` tries few examples, always the same; ``tools/fuzz.py`` as many as fit into some minutes, always others.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch as th
from hypothesis import strategies as st
from random_networks import random_network, random_play

from snn_rl import SpikingDQN, load_agent
from snn_rl.core.errors import UserError
from snn_rl.core.network import QNetwork
from snn_rl.engine.event import EventNetwork
from snn_rl.engine.reference import IntegerNetwork
from snn_rl.engine.rounding import quantise
from snn_rl.measure.technology import FOLDER, price_list
from snn_rl.store import bounded
from snn_rl.store.agents import CARD, EPISODES, WEIGHTS
from snn_rl.store.files import begin_run, data_folder
from snn_rl.tasks.recipe_files import read_recipe

FILES = Path(__file__).parent / "fixtures" / "files"
Strategy = st.SearchStrategy[Any]
Change = Callable[[bytes, Any], bytes]


class Property(NamedTuple):
    """What is tried, and what has to hold of it."""

    strategy: Strategy
    check: Callable[[Any], None]


# Files

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([2**63, 10**400, "..", "cuda"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=12)), min_size=1, max_size=4)
changes = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), json_values), min_size=1, max_size=3)


def edited(content: bytes, spots: list[tuple[float, int, bytes]]) -> bytes:
    """Some bytes replaced by others, at places that are parts of the whole."""
    for where, length, new in spots:
        at = int(where * len(content))
        content = content[:at] + new + content[at + length :]
    return content


def with_values(text: bytes, values: list[tuple[float, Any]]) -> bytes:
    """A JSON text with some of its values replaced."""
    whole = json.loads(text)
    for where, new in values:
        spots: list[tuple[Any, Any]] = []
        todo = [whole]
        for one in todo:
            keys = one if isinstance(one, dict) else range(len(one))
            spots += [(one, key) for key in keys]
            todo += [one[key] for key in keys if isinstance(one[key], dict | list)]
        if spots:
            inner, key = spots[int(where * len(spots))]
            inner[key] = new
    return json.dumps({key: value for key, value in whole.items() if key not in ("files", "sha256")}).encode()


def refused_or_read(read: Callable[[], object]) -> None:
    """Whatever a file holds, it is read, or refused in one short line."""
    try:
        read()
    except UserError as error:
        said = str(error)
    else:
        return
    assert "\n" not in said, said
    assert len(said) < 1000, said


def of_file(
    source: Path, name: str, change: Callable[[bytes, Any], bytes], read: Callable[[Path], object]
) -> Callable[..., None]:
    """The check of a file in a copy of its folder (or of a file alone, where ``name`` is empty)."""

    def check(spots: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / source.name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, place)
            path = place / name if name else place
            before = path.read_bytes() if path.exists() else b'{"env": "CartPole-v1", "seed": 0}'
            path.write_bytes(change(before, spots))
            refused_or_read(lambda: read(place))

    return check


def within(part: str, change: Callable[[bytes, Any], bytes]) -> Callable[[bytes, Any], bytes]:
    """Changes one part of a zip."""

    def spoil(content: bytes, spots: Any) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = {key: archive.read(key) for key in archive.namelist()}
        name = next(key for key in parts if key.endswith(part))
        parts[name] = change(parts[name], spots)
        with zipfile.ZipFile(out := io.BytesIO(), "w") as archive:
            for key, value in parts.items():
                archive.writestr(key, value)
        return out.getvalue()

    return spoil


@cache
def learner() -> SpikingDQN:
    """One that reads replay buffers."""
    return SpikingDQN("MlpPolicy", "CartPole-v1", T=2, buffer_size=64, device="cpu", policy_kwargs={"net_arch": [8]})


def loaded(path: Path) -> object:
    return SpikingDQN.load(path, device="cpu")


ZIP, BUFFER, RECIPE = FILES / "learner.zip", FILES / "buffer.pkl", data_folder("envs") / "CartPole-v1.toml"
READERS = {
    "card": Property(changes, of_file(FILES / "T2", CARD, with_values, load_agent)),
    "card, its bytes": Property(edits, of_file(FILES / "T2", CARD, edited, load_agent)),
    "weights": Property(edits, of_file(FILES / "T2", WEIGHTS, edited, load_agent)),
    "episodes": Property(edits, of_file(data_folder("agents") / "CartPole-v1" / "T1", EPISODES, edited, load_agent)),
    "card of integers": Property(changes, of_file(FILES / "T2-int8", CARD, with_values, load_agent)),
    "weights of integers": Property(edits, of_file(FILES / "T2-int8", WEIGHTS, edited, load_agent)),
    "learner, its bytes": Property(edits, of_file(ZIP, "", edited, loaded)),
    "learner, its JSON": Property(changes, of_file(ZIP, "", within("data", with_values), loaded)),
    "learner, its weights": Property(edits, of_file(ZIP, "", within("policy.pth", edited), loaded)),
    "learner, its optimizer": Property(edits, of_file(ZIP, "", within("policy.optimizer.pth", edited), loaded)),
    "zip, its JSON": Property(changes, of_file(ZIP, "", within("data", with_values), partial(load_agent, env="CartPole-v1"))),
    "zip, its instructions": Property(
        edits, of_file(ZIP, "", within("policy.pth", within("data.pkl", edited)), partial(load_agent, env="CartPole-v1"))
    ),
    "replay buffer": Property(edits, of_file(BUFFER, "", edited, lambda path: learner().load_replay_buffer(path))),
    "replay buffer, its instructions": Property(
        edits, of_file(BUFFER, "", within("data.pkl", edited), lambda path: learner().load_replay_buffer(path))
    ),
    "recipe": Property(edits, of_file(RECIPE, "", edited, read_recipe)),
    "price list": Property(edits, of_file(FOLDER / "fp32.toml", "", edited, lambda path: price_list(str(path)))),
    "settings": Property(edits, of_file(FILES / "T2", "settings.json", edited, lambda path: begin_run(path, {}, resume=True))),
}


def check_json(value: Any) -> None:
    """What Python writes is what is read; what is not JSON is a ValueError."""
    try:
        assert bounded.parse_json(json.dumps(value).encode()) == value or value != value or "nan" in repr(value)
    except ValueError:
        assert len(json.dumps(value)) > 4000  # a number of too many digits


READERS["JSON"] = Property(json_values, check_json)


# Networks


class Play(NamedTuple):
    """A network, observations ``(steps, environments, ...)`` for it, and where episodes start."""

    network: Any
    seen: th.Tensor
    starts: th.Tensor


def seeded(rng: np.random.Generator) -> tuple[QNetwork, tuple[int, ...], int | None]:
    """A random network, its weights too."""
    with th.random.fork_rng():
        th.manual_seed(int(rng.integers(2**31)))
        return random_network(rng)


def exact(rng: np.random.Generator) -> Play:
    """A random network whose sums are exact in float32, in whatever order they are added up."""
    network, shape, _ = seeded(rng)
    network.input_scale, network.T = 1 / 16, int(rng.choice([1, 2, 4]))
    with th.no_grad():
        for parameter in [*network.synapses.parameters(), *network.recurrent.parameters()]:
            parameter.copy_((parameter * 64).round() / 64)
        for lif in network.lifs:
            lif.raw_decay.copy_(th.as_tensor(rng.choice([0.5, 1.0], tuple(lif.raw_decay.shape))))
    return Play(network, *_play(rng, shape, True))


def _play(rng: np.random.Generator, shape: tuple[int, ...], pixels: bool) -> tuple[th.Tensor, th.Tensor]:
    seen = th.from_numpy(random_play(rng, shape, pixels, steps=4, batch=3))
    return seen, th.from_numpy(rng.random((4, 3)) < 0.3)


def integers(kind: Callable[..., Any]) -> Callable[[np.random.Generator], Play]:
    """A random network of integers, and its play."""

    def make(rng: np.random.Generator) -> Play:
        network, shape, observed = seeded(rng)
        rounded = quantise(network, bits=int(rng.integers(3, 9)), observed=observed)
        return Play(kind(rounded, shape), *_play(rng, shape, observed is None))

    return make


def run(play: Play, seen: th.Tensor, starts: th.Tensor, state: Any = None) -> tuple[th.Tensor, ...]:
    """Values, and the state after them, of whatever form."""
    return as_tensors(*raw(play, seen, starts, state))


def raw(play: Play, seen: th.Tensor, starts: th.Tensor, state: Any = None) -> tuple[th.Tensor, Any]:
    with th.no_grad():
        return play.network.unroll(seen, state, starts)


def same(one: tuple[th.Tensor, ...], other: tuple[th.Tensor, ...]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert th.equal(left, right)


def as_tensors(q: th.Tensor, state: Any) -> tuple[th.Tensor, ...]:
    return (q, *(th.as_tensor(np.asarray(one).astype(np.float64)) for one in state))


def batch_is_singles(play: Play) -> None:
    """Environments side by side are what they are alone."""
    together = run(play, play.seen, play.starts)
    for n in range(play.seen.shape[1]):
        alone = run(play, play.seen[:, n : n + 1], play.starts[:, n : n + 1])
        same((together[0][:, n : n + 1], *(one[n : n + 1] for one in together[1:])), alone)


def parts_are_the_whole(play: Play) -> None:
    """A sequence that is cut anywhere, its state handed on, is the whole one."""
    q, after = raw(play, play.seen, play.starts)
    for cut in range(1, len(play.seen)):
        first, state = raw(play, play.seen[:cut], play.starts[:cut])
        rest, last = raw(play, play.seen[cut:], play.starts[cut:], state)
        same(as_tensors(q, after), as_tensors(th.cat([first, rest]), last))


def order_does_not_matter(play: Play) -> None:
    """Environments in another order give the same in that order."""
    order = [2, 0, 1]
    together = run(play, play.seen, play.starts)
    permuted = run(play, play.seen[:, order], play.starts[:, order])
    same((together[0][:, order], *(one[order] for one in together[1:])), permuted)


def a_start_is_rest(play: Play) -> None:
    """What was before an episode's start does not matter."""
    _, state = raw(play, play.seen, play.starts)
    begin = play.starts.clone()
    begin[0] = True
    same(run(play, play.seen, begin, state), run(play, play.seen, begin))


def engines_agree(seed: int) -> None:
    """The event-driven engine has the values and the membranes of the reference."""
    slow, fast = (integers(kind)(np.random.default_rng(seed)) for kind in ENGINES.values())
    q, state = raw(slow, slow.seen, slow.starts)
    found, own = raw(fast, fast.seen, fast.starts)
    same((q, *state), (found, *fast.network.membranes(own)))


ENGINES: dict[str, Callable[..., Any]] = {"reference": lambda own, shape: IntegerNetwork(own), "event": EventNetwork}
MAKERS = {"float": exact, **{name: integers(kind) for name, kind in ENGINES.items()}}
seeds = st.integers(0, 2**32 - 1)


def law(make: Callable[[np.random.Generator], Play], holds: Callable[[Play], None]) -> Property:
    return Property(seeds, lambda seed: holds(make(np.random.default_rng(seed))))


LAWS = {
    f"{holds.__name__}, {name}": law(make, holds)
    for holds in (batch_is_singles, parts_are_the_whole, order_does_not_matter, a_start_is_rest)
    for name, make in MAKERS.items()
} | {"engines_agree": Property(seeds, engines_agree)}
PROPERTIES = READERS | LAWS
