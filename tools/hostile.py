"""Hostile and damaged files for ``attack.py``: sound ones, and seeded ways to spoil them."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import random
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import torch as th
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm

from snn_rl import SpikingDQN
from snn_rl.measure.technology import FOLDER, price_list
from snn_rl.sb3.zips import load_zip
from snn_rl.store import agents
from snn_rl.store.agents import CARD, EPISODES, WEIGHTS
from snn_rl.store.files import data_folder
from snn_rl.tasks.recipe_files import read_recipe

ENV = "CartPole-v1"
NUMBERS = [0, -1, 1, 2**31, 10**9, 10**12, 10**30, 1e308, -1e308, float("nan"), float("inf"), 0.5, True]
TEXTS = ["", "x", "..", "../../x", "cuda", "meta", "\0"]
VALUES: list[Any] = [*NUMBERS, *TEXTS, None, [], [0, 0], [10**9] * 3, {}, {"type": "Linear"}, [[[]]]]
FAR = b"\x80\x02}r\xff\xff\xff\xff."  # keeps a place for an object behind four billion others
ARRAY = b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\0\xe4\x0bT\x02\x85R."  # ten billion bytes


class Exploit:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mknod, (str(self.mark),)


class Case(NamedTuple):
    """What is tried: in words, and the call that reads the spoilt file."""

    name: str
    read: Callable[[], object]


class Sound(NamedTuple):
    """Where the sound files lie."""

    agent: Path
    zips: dict[str, Path]
    buffer: Path

    @classmethod
    def make(cls, folder: Path) -> Sound:
        """Makes them."""
        agent = agents.load(f"{ENV}/T1")
        agent.episodes = agent.episodes[:20]
        spiking = SpikingDQN("MlpPolicy", ENV, T=2, buffer_size=200, learning_starts=20, device="cpu", seed=0)
        spiking.learn(40)
        models: dict[str, BaseAlgorithm] = {"spiking": spiking}
        models |= {"dqn": DQN("MlpPolicy", ENV, buffer_size=10, device="cpu"), "ppo": PPO("MlpPolicy", ENV, device="cpu")}
        for name, model in models.items():
            model.save(folder / f"{name}.zip")
        spiking.save_replay_buffer(folder / "buffer.pkl")
        zips = {name: folder / f"{name}.zip" for name in models}
        return cls(agents.save(agent, folder / "agent", half=False), zips, folder / "buffer.pkl")


def cases(sound: Sound, rng: random.Random, place: Path, mark: Path) -> Case:
    """One of all, drawn at random; its files lie in ``place``."""
    kind = rng.choice([_of_agent, _of_agent, _of_zip, _of_zip, _of_zip, _of_buffer, _of_toml])
    return kind(sound, rng, place, mark)


def spoil_bytes(content: bytes, rng: random.Random) -> bytes:
    """Some bits flipped, some bytes changed, left out, doubled, or all behind a place cut off."""
    changed, way = bytearray(content), rng.randrange(5)
    for _ in range(rng.choice([1, 1, 2, 10])):
        at = rng.randrange(max(len(changed), 1))
        if way == 0 and changed:
            changed[at % len(changed)] ^= 1 << rng.randrange(8)
        elif way == 1:
            changed[at : at + rng.randrange(1, 9)] = rng.randbytes(rng.randrange(9))
        elif way == 2:
            del changed[at : at + rng.randrange(1, 1000)]
        elif way == 3:
            changed[at:at] = changed[at : at + rng.randrange(1, 1000)]
        else:
            del changed[at:]
    return bytes(changed)


def spoil_json(value: Any, rng: random.Random) -> Any:
    """One value in it replaced, wherever it lies, or one more key."""
    spots: list[tuple[Any, Any]] = []

    def walk(inner: Any) -> None:
        keys = inner if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ()
        for key in keys:
            spots.append((inner, key))
            walk(inner[key])

    walk(value)
    for _ in range(rng.choice([1, 1, 3])):
        where, key = rng.choice(spots)
        if isinstance(where, dict) and rng.random() < 0.2:
            where[rng.choice(["padding_mode", "device", "dtype", "more", "__class__", "T"])] = rng.choice(VALUES)
        else:
            where[key] = rng.choice(VALUES)
    return value


def spoil_text(text: str, rng: random.Random) -> str:
    """Text that is deep, long, wide, or not text."""
    ways = [
        lambda: "[" * rng.choice([65, 1000, 10**6]),
        lambda: '{"a":' * 10**5 + "1",
        lambda: "[" + "[]," * 5_000_000 + "[]]",
        lambda: "a = " + "[" * 30_000,
        lambda: "a." * 30_000 + "b = 1",
        lambda: text + "\n" + "x" * 300_000,
        lambda: "9" * 10**6,
        lambda: text.replace("1", rng.choice(["nan", "1e999", "-1", "9" * 5000, "true", "''"])),
        lambda: spoil_bytes(text.encode(), rng).decode("latin-1"),
    ]
    return rng.choice(ways)()


def no_file(path: Path, rng: random.Random) -> None:
    """Puts something in the place of a file that is none, or a hole of 100 GB."""
    path.unlink(missing_ok=True)
    way = rng.randrange(5)
    if way == 0:
        os.mkfifo(path)
    elif way == 1:
        path.mkdir()
    elif way == 2:
        path.symlink_to(rng.choice(["/dev/zero", "/dev/random", "/dev/tty"]))
    elif way == 3:
        path.symlink_to(path)
    else:
        with path.open("wb") as file:
            file.truncate(10**11)


def _of_agent(sound: Sound, rng: random.Random, place: Path, mark: Path) -> Case:
    folder = place / "agent"
    shutil.copytree(sound.agent if rng.random() < 0.7 else data_folder("agents") / ENV / "T1", folder)
    name = rng.choice([CARD, CARD, WEIGHTS, EPISODES])
    path, way = folder / name, rng.randrange(6)
    if way == 0:
        no_file(path, rng)
    elif way == 1 and name != WEIGHTS:
        path.write_text(spoil_text(path.read_text(encoding="utf-8"), rng), encoding="utf-8")
    elif way <= 3:
        path.write_bytes(spoil_bytes(path.read_bytes(), rng))
    else:  # with the sums of what was changed, as a stranger would send it
        card = json.loads((folder / CARD).read_bytes())
        card = {key: value for key, value in card.items() if key not in ("files", "sha256")}
        card = card if name == WEIGHTS else spoil_json(card, rng)
        (folder / CARD).write_text(json.dumps(card), encoding="utf-8")
        if name == WEIGHTS:
            path.write_bytes(_header(path.read_bytes(), rng))
    return Case(f"agent: {name}, way {way}", lambda: agents.load(folder))


def _header(content: bytes, rng: random.Random) -> bytes:
    length = struct.unpack("<Q", content[:8])[0]
    header = json.dumps(spoil_json(json.loads(content[8 : 8 + length]), rng)).encode()
    said = rng.choice([len(header), len(header), 2**63, 10**8, 0])
    return struct.pack("<Q", said) + header + content[8 + length :]


def _of_zip(sound: Sound, rng: random.Random, place: Path, mark: Path) -> Case:
    name = rng.choice([*sound.zips])
    path, way = place / "model.zip", rng.randrange(9)
    shutil.copy(sound.zips[name], path)
    if way == 0:
        no_file(path, rng)
    elif way == 1:
        path.write_bytes(spoil_bytes(path.read_bytes(), rng))
    else:
        _spoil_zip(path, way, rng, mark)
    if name == "spiking" and rng.random() < 0.6:
        return Case(f"SpikingDQN.load, way {way}", lambda: SpikingDQN.load(path, device="cpu"))
    return Case(f"zip of {name}, way {way}", lambda: load_zip(path, ENV))


def _spoil_zip(path: Path, way: int, rng: random.Random, mark: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {key: archive.read(key) for key in archive.namelist()}
    member = rng.choice(["policy.pth", "policy.optimizer.pth"])
    packing = zipfile.ZIP_STORED
    if way in (2, 3):
        parts["data"] = json.dumps(spoil_json(json.loads(parts["data"]), rng)).encode()
    elif way == 4:
        data = json.loads(parts["data"])
        bomb = {":type:": "x", ":serialized:": base64.b64encode(cloudpickle.dumps(Exploit(mark))).decode()}
        for key in rng.sample([*data, "anything"], 5):
            data[key] = bomb
        parts["data"] = json.dumps(data).encode()
    elif way == 5:
        parts[member] = _stored(rng.choice([Exploit(mark), {"a": Exploit(mark)}]), rng)
    elif way == 6:
        parts[member] = _tensors(th.load(io.BytesIO(parts[member]), weights_only=True), rng)
    elif way == 7:
        packing = rng.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
        parts[rng.choice(["data", member])] = rng.choice([b" ", b"[", b"\0"]) * rng.choice([10**6, 3 * 10**8])
    else:
        parts[member] = _inner(parts[member], rng)
    with zipfile.ZipFile(path, "w", packing) as archive:
        for key, value in parts.items():
            archive.writestr(key, value)
        if way == 7 and rng.random() < 0.2:
            for n in range(20_000):
                archive.writestr(f"{n:0200}", b"")


def _stored(value: object, rng: random.Random) -> bytes:
    out = io.BytesIO()
    if rng.random() < 0.3:
        return pickle.dumps(value, rng.choice([0, 2, 5]))
    th.save(value, out, _use_new_zipfile_serialization=rng.random() < 0.7)
    return out.getvalue()


def _tensors(state: dict[Any, Any], rng: random.Random) -> bytes:
    """Tensors that are huge views, of other types or shapes, or not finite."""
    key = rng.choice([*state])
    new = [
        th.zeros(1).expand(2_000_000_000),
        th.zeros(1).expand(50_000, 50_000),
        th.zeros(2, dtype=th.int64),
        th.zeros(2, 2, dtype=th.complex64),
        th.full((64, 4), float("nan")),
        th.zeros(0),
        th.zeros(3, 3).to_sparse(),
        "text",
        {"a": {"b": {"c": [1, 2]}}},
        th.zeros(10_000_000),
        th.nn.Parameter(th.zeros(3)),
    ]
    state[rng.choice([key, "q_net.network.more", 3])] = rng.choice(new)
    return _stored(state, random.Random(1))


def _inner(content: bytes, rng: random.Random) -> bytes:
    """A zip of tensors whose list of tensors, or whose parts, are spoilt."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {key: archive.read(key) for key in archive.namelist()}
    name = next(key for key in parts if key.endswith("data.pkl"))
    way = rng.randrange(4)
    if way == 0:
        parts[name] = spoil_bytes(parts[name], rng)
    elif way == 1:
        parts[name] = rng.choice([FAR, ARRAY])
    elif way == 2:
        parts = {key: value if key == name else b"\0" * 10**7 for key, value in parts.items()}
    else:
        parts[rng.choice([*parts])] = rng.randbytes(100)
    with zipfile.ZipFile(out := io.BytesIO(), "w", zipfile.ZIP_DEFLATED if way == 2 else zipfile.ZIP_STORED) as archive:
        for key, value in parts.items():
            archive.writestr(key, value)
    return out.getvalue()


def _of_buffer(sound: Sound, rng: random.Random, place: Path, mark: Path) -> Case:
    path, way = place / "buffer.pkl", rng.randrange(4)
    content = sound.buffer.read_bytes()
    state = th.load(io.BytesIO(content), weights_only=True)
    if way == 0:
        no_file(path, rng)
    else:
        made = {1: lambda: spoil_bytes(content, rng), 2: lambda: _stored(Exploit(mark), rng), 3: lambda: _tensors(state, rng)}
        path.write_bytes(made[way]())
    model = SpikingDQN("MlpPolicy", ENV, buffer_size=200, device="cpu")
    return Case(f"replay buffer, way {way}", lambda: model.load_replay_buffer(path))


def _of_toml(sound: Sound, rng: random.Random, place: Path, mark: Path) -> Case:
    recipe = rng.random() < 0.5
    text = (data_folder("envs") / f"{ENV}.toml" if recipe else FOLDER / "fp32.toml").read_text(encoding="utf-8")
    path = place / "x.toml"
    if rng.random() < 0.2:
        no_file(path, rng)
    else:
        path.write_text(spoil_text(text, rng), encoding="utf-8")
    read = (lambda: read_recipe(path)) if recipe else (lambda: price_list(str(path)))
    return Case("recipe" if recipe else "price list", read)
