"""The tables of docs/corpus.md: what the corpus has, and what an agent cannot do. Pure."""

from __future__ import annotations

import tomllib
from collections import Counter, defaultdict
from pathlib import Path

from tests.corpus.cases import FOLDER, cannot, load

DOCUMENT = Path(__file__).parents[2] / "docs" / "corpus.md"
AGENTS = ("otelcol", "promtail")
START, END = "<!-- tables: python -m tests.corpus table -->", "<!-- end of the tables -->"


def updated(document: str) -> str:
    """The document with the tables of now."""
    before, _, rest = document.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{tables()}\n\n{END}{after}"


def tables() -> str:
    return "\n\n".join([kinds(), *filter(None, map(of_agent, AGENTS))])


def kinds() -> str:
    counts = Counter(case.file for case in load())
    abouts = {
        path.stem: tomllib.loads(path.read_text(encoding="utf-8"))["about"]
        for path in FOLDER.glob("*.toml")
    }
    rows = [f"| `{name}` | {counts[name]} | {abouts[name]} |" for name in sorted(counts)]
    total = f"| | {sum(counts.values())} | |"
    return "\n".join(["| file | cases | lines |", "|---|---|---|", *rows, total])


def of_agent(agent: str) -> str:
    """What an agent cannot do, or nothing."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, reason in cannot(agent).items():
        by_reason[reason].append(name)
    if not by_reason:
        return ""
    head = [f"### What `{agent}` cannot", "", "| what | cases | for example |", "|---|---|---|"]
    rows = [
        f"| {reason} | {len(names)} | {', '.join(f'`{name}`' for name in names[:3])} |"
        for reason, names in by_reason.items()
    ]
    return "\n".join([*head, *rows])
