"""Writes the dashboards to dashboards/generated/<engine>/<uid>.json (`make dashboards`)."""

from __future__ import annotations

from pathlib import Path

from dashboards.grafana import build, encode
from dashboards.grafana_sources import SOURCES
from dashboards.pages import PAGES
from stack.components.grafana_files import GENERATED
from stack.components.grafana_links import uid


def render() -> dict[str, str]:
    """The text of every file, by its name below GENERATED."""
    return {
        f"{engine}/{uid(page.name, engine)}.json": encode(build(page, engine))
        for engine in SOURCES
        for page in PAGES
    }


def write(folder: Path = GENERATED) -> list[str]:
    """Write what differs and remove what is no longer generated. Returns the changed names."""
    files = render()
    changed = []
    for name, text in files.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(name)
    for path in folder.glob("*/*.json"):
        if str(path.relative_to(folder)) not in files:
            path.unlink()
            changed.append(str(path.relative_to(folder)))
    return sorted(changed)


if __name__ == "__main__":
    for name in write():
        print(f"changed: dashboards/generated/{name}")  # noqa: T201
