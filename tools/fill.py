"""Puts the tables that tools/doc_tables.py makes into README.md and docs/*.md, between marks; run by ``make results``.

A page asks for a table by its marks; what stands between them is replaced::

    <!-- NAME: made by `make results`, do not edit -->
    <!-- end of NAME -->
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import doc_tables
import export_tables
import figures
import integer_tables
import opponent_tables
import vision_tables
import zip_tables
from doc_tables import Row

from snn_rl.speed import page as speed

DOCS = Path(__file__).parents[1] / "docs"
RESULTS = DOCS / "results"
PAGES = (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md")))
BEGIN, END = "<!-- {}: made by `make results`, do not edit -->", "<!-- end of {} -->"
PONG, FLICKER = "PongNoFrameskip-v4", "PongFlickerNoFrameskip-v4"
HALF = "1 frame, hidden with probability 0.5"
HEADLINE = (  # environment, agent, protocol, and the words for who plays and what it sees
    (PONG, "ann", "greedy", "Pong, ANN", "4 frames"),
    (PONG, "ann-frames1-distill", "greedy", "Pong, ANN", "1 frame"),
    (PONG, "T1-frames1", "greedy", "Pong, spiking, T=1", "1 frame"),
    (FLICKER, "T1", "greedy", "Pong that flickers, spiking, T=1", HALF),
    (FLICKER, "T1", doc_tables.ZEROED, "the same weights, membranes zeroed", HALF),
)
SHORT = (  # environment, spiking agent, ANN that sees as much, and the words for the task
    ("CartPole-v1", "T1", "ann", "CartPole"),
    ("CartPoleNoVel-v1", "T1", "ann", "CartPole without velocities"),
    ("CartPoleFlicker-v1", "T1", "ann", "CartPole that flickers"),
    (PONG, "T1", "ann", "Pong, four frames"),
    (PONG, "T1-frames1", "ann-frames1-distill", "Pong, one frame"),
    (FLICKER, "T1", "", "Pong that flickers, one frame"),
    ("FreewayNoFrameskip-v4", "T1", "ann", "Freeway, four frames"),
)


def summaries() -> dict[str, list[Row]]:
    """The rows of each environment, as the report has them."""
    each = [json.loads(path.read_bytes()) for path in sorted(RESULTS.glob("*/summary.json"))]
    return {rows[0]["env"]: rows for rows in each}


def records(name: str) -> list[Row]:
    """What ``docs/results/*/<name>.json`` hold."""
    return [json.loads(path.read_bytes()) for path in sorted(RESULTS.glob(f"*/{name}.json"))]


def environments(found: dict[str, list[Row]]) -> Iterator[tuple[str, str]]:
    """The table of each environment, with the LSTM control where there is one; it is called after the environment."""
    for env, rows in found.items():
        control = RESULTS / env / "recurrent_ppo.json"
        yield env, doc_tables.section(([doc_tables.lstm(control)] if control.exists() else []) + rows)


def experiments() -> Iterator[tuple[str, str]]:
    """The table of each experiment, called after it; its figure is drawn into its folder."""
    for path in sorted(RESULTS.glob("*/*.json")):
        record = json.loads(path.read_bytes())
        if "experiment" in record:
            image = path.with_suffix(".png")
            figures.draw(record).savefig(image)
            link = f"![Mean return of each training]({image.relative_to(DOCS)})"
            yield path.stem, f"{doc_tables.experiment(record)}\n\n{link}"


def of_pong(rows: list[Row]) -> Iterator[tuple[str, str]]:
    """The tables of docs/claims.md and docs/energy.md."""
    trained = [row for row in rows if row["T"] and row["protocol"] == "greedy" and row["series"] in ("", "frames1")]
    anns = [row for row in rows if not row["T"] and row["protocol"] == "greedy" and not row["agent"].endswith("-sparse")]
    yield "spike-rates", doc_tables.spike_rates(trained)
    yield "energy", doc_tables.savings(trained, {row["frames"]: row["energy"]["ann_effective_uj"] for row in anns})
    yield "technologies", doc_tables.technologies([row for row in trained if row["T"] in (1, 5)])


def tables() -> Iterator[tuple[str, str]]:
    """All tables by their names."""
    found = summaries()
    every = [row for rows in found.values() for row in rows]
    yield "headline", doc_tables.headline(every, HEADLINE)
    against = opponent_tables.measured(RESULTS)
    yield "short", doc_tables.short(every, SHORT, against)
    yield "opponents", opponent_tables.table(against)
    yield "baselines", opponent_tables.baselines(RESULTS, every)
    yield from environments(found)
    yield from of_pong(found[PONG])
    yield "probes", doc_tables.probes(records("memory"))
    yield "settling", doc_tables.settling(records("memory"))
    swapped = {path.parent.name: json.loads(path.read_bytes()) for path in sorted(RESULTS.glob("*/swaps.json"))}
    yield "swaps", doc_tables.swaps(swapped)
    yield "speed", speed.tables(json.loads((RESULTS / "speed.json").read_text(encoding="utf-8")))
    yield from zip_tables.tables(RESULTS / "any-zip.json")
    yield from experiments()
    yield from export_tables.tables()
    yield from vision_tables.tables()
    yield from integer_tables.tables()


def fill(text: str, name: str, table: str) -> str:
    """The text with a table between its marks."""
    begin, end = BEGIN.format(name), END.format(name)
    before, rest = text.split(begin)
    return before + "\n\n".join([begin, table, end]) + rest.split(end)[1]


def main() -> None:
    """Fills every page. A table that no page asks for is an error: it was made for one."""
    pages = {page: page.read_text(encoding="utf-8") for page in PAGES}
    for name, table in tables():
        asking = [page for page, text in pages.items() if BEGIN.format(name) in text]
        if not asking:
            raise SystemExit(f"no page asks for the table '{name}': put its marks where it belongs")
        for page in asking:
            pages[page] = fill(pages[page], name, table)
    for page, text in pages.items():
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
