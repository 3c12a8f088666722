"""What an operation costs: energy in picojoules, by process and number format.

Energies are for 45 nm CMOS: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Technology:
    """Energy of one operation, in picojoules."""

    name: str
    mac_pj: float
    ac_pj: float
    update_pj: float  # of a membrane, which is 32 bits wide: a MAC of that width
    memory_pj: float = 5.0  # 32 bits from or to an 8 kB SRAM: 10 pJ per 64 bits (Horowitz 2014)


FP32 = Technology("45 nm FP32 (Horowitz 2014): MAC 4.6 pJ, AC 0.9 pJ, 32-bit SRAM access 5 pJ", 4.6, 0.9, 4.6)
INT32 = Technology("45 nm INT32 (Horowitz 2014): MAC 3.2 pJ, AC 0.1 pJ, 32-bit SRAM access 5 pJ", 3.2, 0.1, 3.2)
INT8 = Technology(
    "45 nm INT8 (Horowitz 2014): MAC 0.23 pJ, AC 0.03 pJ, membrane update in INT32 3.2 pJ, 32-bit SRAM access 5 pJ",
    0.23,
    0.03,
    3.2,
)
TECHNOLOGIES = {"fp32": FP32, "int32": INT32, "int8": INT8}
