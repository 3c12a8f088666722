"""An integer network as C99: its constants and functions, from the tables that the event-driven engine runs."""

from __future__ import annotations

from string import Template
from typing import Any

import numpy as np

from snn_rl.engine.program import Program
from snn_rl.engine.semantics import Array, Integers
from snn_rl.engine.tables import Layer, Stage
from snn_rl.exports import c_templates as templates

BYTES = {"uint8_t": 1, "int8_t": 1, "uint16_t": 2, "int16_t": 2, "uint32_t": 4, "int32_t": 4, "uint64_t": 8}
ROWS = 16  # of weights that an output adds up: beyond it, it pays to go output by output
BLOCK = 64  # inputs that are compared at once
Axis = tuple[Array, Array, Array]


class Source:
    """The C of a network.

    Attributes:
        flash: bytes of constants.
        ram: bytes of ``agent_state``.
        macs, acs, updates: multiply-accumulates, additions and updates of neurons in one decision, at most.
    """

    def __init__(self, program: Program) -> None:
        assert isinstance(program.integers, Integers)
        self.program, self.integers = program, program.integers
        self.flash, self.tables = 0, ""
        self.number = "int16_t" if program.wide else "uint8_t"
        stages, layers = program.stages, program.layers
        self.index = "uint16_t" if max(one.inputs for one in stages) < 2**16 else "uint32_t"
        self._pools = [n for n, one in enumerate(stages) if one.weights < 0]
        self._gathers = {n: self._crossover(one) for n, one in enumerate(stages) if self._can_gather(n, one)}
        first = stages[: layers[0].end]
        counted = [(n, _products(one)) for n, one in enumerate(stages) if one.weights >= 0]
        self.macs = next(count for n, count in counted if n < layers[0].end)
        own = sum(layer.neurons**2 for layer in layers if layer.recurrent >= 0)
        self.acs = self.integers.T * (sum(count for n, count in counted if n >= len(first)) + own)
        self.updates = self.integers.T * program.neurons
        functions = self._functions()
        self.fields, self.ram = self._fields()
        self._source = self._filled(templates.SOURCE, functions=functions, first=layers[0].neurons, **self._steps())

    def text(self) -> str:
        """Of ``agent.c``; ``$title`` is left in it."""
        return self._source

    def header(self, **more: str) -> str:
        """The text of ``agent.h``.

        Args:
            more: what its template asks for beside the network's own numbers.
        """
        least, most = self.integers.form.input_range
        return self._filled(
            templates.HEADER, **self.fields, **more, least=least, most=most, number=self.number, index=self.index,
            ram=self.ram, flash=self.flash, macs=self.macs, acs=self.acs, updates=self.updates, inputs=self.program.numbers,
            actions=len(self.integers.synapses[-1].bias), neurons=self.program.neurons, T=self.integers.T,
            scale=2**self.integers.form.input_bits, q_scale=f"{self.integers.form.q_scale:.9g}",
        )  # fmt: skip

    def _can_gather(self, n: int, stage: Stage) -> bool:
        """Whether it is a convolution of 8-bit weights that spikes reach."""
        fed = 0 < n < self.program.readout and n - 1 not in self._pools
        return fed and stage.weights >= 0 and stage.groups == 1 and not _is_dense(stage)

    @staticmethod
    def _crossover(stage: Stage) -> int:
        """Beyond how many spikes it is faster to go output by output."""
        (_, high, _), (_, wide, _) = _axes(stage)
        return ROWS * stage.out_high * stage.out_wide * stage.high * stage.wide // (len(high) * len(wide))

    def _filled(self, template: str, **values: Any) -> str:
        return Template(template).safe_substitute(values | {"tables": self.tables})

    def _constants(self, name: str, values: Array, kind: str | None = None) -> None:
        kind = kind or _smallest(values)
        flat = [str(value) for value in values.ravel().tolist()] or ["0"]
        self.flash += BYTES[kind] * len(flat)
        lines = ",\n".join(", ".join(flat[n : n + 24]) for n in range(0, len(flat), 24))
        self.tables += f"static const {kind} {name}[{len(flat)}] = {{\n{lines}\n}};\n"

    def _functions(self) -> str:
        """All functions but those of the header; their constants go to the tables."""
        program, (least, most) = self.program, self.integers.form.input_range
        every = (-(2**15), 2**15 - 1) if program.wide else (0, 255)
        low = f"observation[i] < {least} ? {least} : " if least > every[0] else ""
        high = f"observation[i] > {most} ? {most} : " if most < every[1] else ""
        skip = templates.SKIP if program.numbers >= 4 * BLOCK else ""
        end = f"begin + {BLOCK}u" + (f" < AGENT_INPUTS ? begin + {BLOCK}u : AGENT_INPUTS" if program.numbers % BLOCK else "")
        text = Template(templates.CHANGES).substitute(now=f"{low}{high}observation[i]", end=end, skip=skip, block=BLOCK)
        text += templates.NONZERO if self._pools else ""
        for n, stage in enumerate(program.stages):
            text += self._reach(n, stage, valued=n == 0 or n - 1 in self._pools)
        if program.share < 1:
            text += self._filled(templates.WHOLE, n=0, weight="int8_t", **_numbers(program.stages[0]))
        text += templates.FIRED
        for n, layer in enumerate(program.layers):
            text += self._neurons(n, layer)
        self._constants("readout_bias", self.integers.synapses[-1].bias, "int32_t")
        return text

    def _reach(self, n: int, stage: Stage, valued: bool) -> str:
        kind = "int16_t" if n >= self.program.readout else "int8_t"
        times = "s->value[e] * " if valued else ""
        numbers = {**_numbers(stage), "n": n, "weight": kind, "times": times, "inputs": stage.inputs, "outputs": stage.outputs}
        if stage.weights >= 0:
            weights = self.program.weights(n >= self.program.readout)
            self._constants(f"weight_{n}", weights[stage.weights : stage.weights + stage.weight_count], kind)
        if _is_dense(stage):
            many = "" if valued else "".join(self._many(rows, numbers) for rows in (8, 4))
            return self._filled(templates.DENSE, **numbers, many=many)
        for letter, (starts, out, taps) in zip("yx", _axes(stage), strict=True):
            self._constants(f"from_{letter}_{n}", starts)
            self._constants(f"out_{letter}_{n}", out)
            if stage.weights >= 0:
                self._constants(f"tap_{letter}_{n}", taps)
        channels, image, pool = stage.channels, stage.high * stage.wide, stage.weights < 0
        found = f"position = i / {channels}u, c = i - position * {channels}u"
        if stage.first:
            found = f"c = i / {image}u, position = i - c * {image}u"
        inner = f"                *sums += {'s->value[e]' if valued else '1'};\n" if pool else templates.SPATIAL_WEIGHTS
        group = f" + c / {numbers['per_in']}u * {numbers['per_out']}u" if stage.groups > 1 or pool else ""
        text = self._filled(
            templates.SPATIAL, **numbers, kind="pool" if pool else "convolution", found=found, group=group, inner=inner
        )
        text = self._filled(text, **numbers)
        return text + (self._filled(templates.GATHER, **numbers | {"positions": image}) if n in self._gathers else "")

    def _many(self, many: int, numbers: dict[str, Any]) -> str:
        """Adds so many rows of weights at a time."""
        partial = "int32_t" if numbers["weight"] == "int16_t" else "int16_t"
        lines = Template("        const $weight *const row_$e = weight_$n + (uint32_t)s->index[e + ${e}u] * ${per_out}u;\n")
        rows = "".join(lines.substitute(numbers, e=e) for e in range(many))
        added = " + ".join(f"row_{e}[k]" for e in range(many))
        return self._filled(templates.MANY, **numbers, many=many, rows=rows, partial=partial, added=added)

    def _neurons(self, n: int, layer: Layer) -> str:
        own, begin = self.integers.neurons[n], layer.spikes
        self._constants(f"bias_{n}", self.integers.synapses[n].bias, "int32_t")
        self._constants(f"threshold_{n}", own.threshold, "int32_t")
        self._constants(f"decay_{n}", own.decay, "uint16_t" if own.decay.max() > 255 else "uint8_t")
        numbers = {
            **layer._asdict(),
            "n": n,
            "fraction": 1 << layer.fraction,
            "words": _words(layer),
            "limit": self.integers.limit,
        }
        saturate = templates.SATURATE if self.integers.saturates(n) else templates.WITHIN
        numbers["saturate"] = self._filled(saturate, **numbers)
        if own.recurrent is None or own.shift is None:
            return self._filled(templates.FIRE, **numbers, keep="")
        self._constants(f"recurrent_{n}", own.recurrent.T, "int8_t")
        self._constants(f"shift_{n}", own.shift)
        keep = f"    for (k = 0; k < {layer.neurons}u; k++)\n        s->last[{begin}u + k] = spikes[k];\n"
        join = self._filled(templates.JOIN, **numbers)
        return join + self._filled(templates.FIRE, **{**numbers, "fraction": 1}, keep=keep)

    def _arrive(self, begin: int, end: int, target: str, indent: str) -> str:
        """Sends the list through stages, the last of which adds to ``target``."""
        text = ""
        for n in range(begin, end - 1):
            size = self.program.stages[n].outputs
            text += f"zero(s->pooled, {size}u);\nreach_{n}(s, count, s->pooled);\ncount = nonzero(s, {size}u);\n"
        last = f"reach_{end - 1}(s, count, {target});\n"
        if end - 1 in self._gathers:
            last = (
                f"if (count > {self._gathers[end - 1]}u) {{\n    gather_{end - 1}(s, count, {target});\n}} else {{\n"
                f"    {last}}}\n"
            )
        text += last
        return "".join(f"{indent}{line}\n" for line in text.splitlines())

    def _steps(self) -> dict[str, str]:
        """What ``agent_decide`` and ``agent_reset`` do beside what is always the same."""
        program, layers = self.program, self.program.layers
        arrival = "    count = changes(s, observation);\n"
        once = self._arrive(0, layers[0].end, "s->current", "    " if program.share == 1 else "        ")
        if program.share < 1:
            least = int(program.share * program.numbers)
            arrival += f"    if (count > {least}u) {{\n        whole(s);\n    }} else {{\n{once}    }}\n"
        else:
            arrival += once
        steps = ""
        for n, layer in enumerate(layers):
            current, pad = "s->current" if n == 0 else "s->sums", " " * 8
            if n > 0:
                steps += f"{pad}zero(s->sums, {layer.neurons}u);\n" + self._arrive(layer.begin, layer.end, current, pad)
            if layer.recurrent >= 0:
                steps += f"{pad}join_{n}(s, {current});\n"
                current = "s->joined"
            steps += f"{pad}count = fire_{n}(s, {current}, t);\n"
        steps += self._arrive(program.readout, len(program.stages), "s->q", " " * 8)
        last = sum(program.recurrent)
        rest = f"    for (n = 0; n < {last}u; n++)\n        STATE->last[n] = 0;\n" if last else ""
        fresh = "" if self.integers.carry else "    zero(s->membrane, AGENT_NEURONS);\n" + rest.replace("STATE", "s")
        return {"arrival": arrival, "steps": steps, "fresh": fresh, "reset": rest.replace("STATE", "state")}

    def _fields(self) -> tuple[dict[str, Any], int]:
        """Of ``agent_state``, and its bytes: the widest come first, so that there are no gaps but at its end."""
        program, layers = self.program, self.program.layers
        words = max(_words(layer) for layer in layers)
        values = max([program.numbers, *(program.stages[n].outputs for n in self._pools)])
        work = {
            "sums": max([0, *(layer.neurons for layer in layers[1:])]),
            "pooled": max([0, *(program.stages[n].outputs for n in self._pools)]),
            "joined": max([0, *program.recurrent]),
            "value": values,
        }
        largest = max([8 * words, *(one.inputs for one in program.stages)])
        last = sum(program.recurrent)
        gathered = [program.stages[n] for n in self._gathers]
        rows = max([0, *(one.kernel_high * one.kernel_wide * one.channels for one in gathered)])
        begin = max([0, *(one.high * one.wide + 1 for one in gathered)])
        text = "".join(f"    int32_t {name}[{size}];\n" for name, size in work.items() if size)
        fields = {
            "words": f"    uint64_t spikes[{words}]; /* of one layer, a byte each */\n",
            "work": text,
            "gathered": (f"    uint32_t row[{rows}];\n    agent_index begin[{begin}];\n" if rows else ""),
            "recurrent": f"    uint8_t last[{last}]; /* spikes of the recurrent layers */\n" if last else "",
            "largest": largest,
            "first": layers[0].neurons,
        }
        actions = len(self.integers.synapses[-1].bias)
        ram = (
            8 * words + 4 * (actions + program.neurons + layers[0].neurons + sum(work.values())) + BYTES[self.index] * largest
        )
        ram += 4 * rows + BYTES[self.index] * begin
        ram += BYTES[self.number] * program.numbers + last
        return fields, -(-ram // 8) * 8


def _words(layer: Layer) -> int:
    return -(-layer.neurons // 8)


def _smallest(values: Array) -> str:
    """The smallest C type of numbers from 0 on."""
    most = int(values.max(initial=0))
    return "uint8_t" if most < 2**8 else "uint16_t" if most < 2**16 else "uint32_t"


def _axis(size: int, out: int, kernel: int, stride: int, padding: int, gap: int) -> Axis:
    """What each place along one axis of a stage's input reaches: where its list begins (and, last, ends), and of what is
    listed the place along the output and that in the kernel."""
    o, k = (one.ravel() for one in np.indices((out, kernel)))
    place = o * stride - padding + k * gap
    inside = (place >= 0) & (place < size)
    order = np.argsort(place[inside], kind="stable")
    starts = np.searchsorted(place[inside][order], np.arange(size + 1))
    return starts, o[inside][order], k[inside][order]


def _axes(stage: Stage) -> tuple[Axis, Axis]:
    """:func:`_axis` of the height and of the width."""
    high = (stage.high, stage.out_high, stage.kernel_high, stage.stride_high, stage.pad_high, stage.gap_high)
    wide = (stage.wide, stage.out_wide, stage.kernel_wide, stage.stride_wide, stage.pad_wide, stage.gap_wide)
    return _axis(*high), _axis(*wide)


def _is_dense(stage: Stage) -> bool:
    """Whether it is a dense layer: every input reaches every output."""
    return stage.high == stage.wide == stage.out_high == stage.out_wide == 1 and stage.groups == 1 and stage.weights >= 0


def _products(stage: Stage) -> int:
    """Pairs of an input and an output that it reaches."""
    (_, high, _), (_, wide, _) = _axes(stage)
    return len(high) * len(wide) * stage.channels * (stage.out_channels // stage.groups)


def _numbers(stage: Stage) -> dict[str, int]:
    return {
        **stage._asdict(),
        "per_out": stage.out_channels // stage.groups,
        "per_in": stage.channels // stage.groups,
    }
