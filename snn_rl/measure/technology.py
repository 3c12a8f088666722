"""Price lists: what an operation costs, in picojoules, by process and number format.

One list is one TOML file with the fields of :class:`Technology`. Those that come with the package lie in ``technologies/``;
to add one is to add a file there. Torch is not needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

from snn_rl.core.errors import UserError
from snn_rl.store.bounded import toml

FOLDER = Path(__file__).with_name("technologies")
MAX_PJ = 1e30  # whatever is multiplied by it stays finite


@dataclass(frozen=True)
class Technology:
    """Energy of one operation, in picojoules.

    ``name`` says process, number format and source. ``mac_pj``: a multiply-accumulate. ``ac_pj``: an accumulate.
    ``update_pj``: the update of one neuron's membrane, which is 32 bits wide whatever the numbers of the synapses are.
    ``memory_pj``: 32 bits of membrane read or written. ``weight_pj``: a weight fetched from memory; ``sum_pj``: the sum that
    it is added to, read or written. A list that leaves these two out has the price of 32 bits of membrane for both.
    """

    name: str
    mac_pj: float
    ac_pj: float
    update_pj: float
    memory_pj: float
    weight_pj: float = math.nan
    sum_pj: float = math.nan

    def __post_init__(self) -> None:
        for name in OPTIONAL:
            if math.isnan(getattr(self, name)):
                object.__setattr__(self, name, self.memory_pj)


OPTIONAL = ("weight_pj", "sum_pj")


def names() -> list[str]:
    """The price lists that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def price_list(where: str) -> Technology:
    """A price list by its name, or that of a TOML file.

    Raises:
        UserError: if there is none, besides what :func:`load` raises.
    """
    if where in names():
        return load(FOLDER / f"{where}.toml")
    if not Path(where).is_file():
        raise UserError(f"no price list '{where}': give one of {', '.join(names())}, or a TOML file of your own")
    return load(Path(where))


def load(path: Path) -> Technology:
    """Reads a price list.

    Raises:
        UserError: if the file is not TOML, has a key too many or too few, or a price is no finite number from 0 on (a
            multiply-accumulate costs more than 0: energies are divided by each other).
    """
    try:
        found = toml(path)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the price list '{path}': {error}") from error
    known = [field.name for field in fields(Technology)]
    for key in found.keys() - set(known):
        raise UserError(f"'{path}' has the unknown key {key[:60]!r}; a price list has {', '.join(known)}")
    for key in known:
        if key not in found and key not in OPTIONAL:
            raise UserError(f"'{path}' lacks the key '{key}'; a price list has {', '.join(known)}")
    name, prices = found.pop("name"), found
    if not isinstance(name, str) or not name or not name.isprintable():
        raise UserError(f"'{path}': name must be a text that can be printed, got {repr(name)[:60]}")
    for key, price in prices.items():
        if type(price) not in (int, float) or not 0 <= price <= MAX_PJ:
            raise UserError(f"'{path}': {key} must be a finite number of picojoules from 0 on, got {repr(price)[:60]}")
    if not prices["mac_pj"]:
        raise UserError(f"'{path}': mac_pj must be above 0, got {prices['mac_pj']!r}")
    return Technology(name, **{key: float(price) for key, price in prices.items()})


FP32 = price_list("fp32")
"""The prices in which scores are stored."""
