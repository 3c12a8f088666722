"""What the card of an integer agent says of its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from snn_rl.store.schema import Amount, Record, Within

Bits = Annotated[int, Within(0, 15)]


@dataclass(frozen=True, kw_only=True)
class Integer(Record):
    """The form of an agent's integers; docs/integers.md says what is computed with them.

    ``weight_bits``, ``readout_bits``: of a weight, its sign included. ``membrane_bits``: of a membrane, its sign included.
    ``fraction_bits``: of the membranes of each spiking layer. ``input_range``: the least and the largest integer that the
    network sees. ``input_bits``: fraction bits of that integer; 0 for pixels. ``q_scale``: what one unit of the readout's sum
    is worth as a Q-value.
    """

    weight_bits: Annotated[int, Within(2, 8)]
    readout_bits: Annotated[int, Within(2, 16)]
    membrane_bits: Annotated[int, Within(8, 31)]
    fraction_bits: list[Bits]
    input_range: tuple[Annotated[int, Within(-32767, 0)], Annotated[int, Within(1, 32767)]]
    input_bits: Bits
    q_scale: Amount
