"""The sample app's image, which the monitor runs in as well: its sources are complete."""

from __future__ import annotations

import ast

from stack.runtimes.docker.images import APP_FOLDERS
from stack.settings import ROOT


def test_the_image_has_every_module_that_its_sources_import() -> None:
    """Nothing else of the package `stack` is in it."""
    imported = set()
    for folder in APP_FOLDERS:
        for path in (ROOT / "stack" / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module:
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
                imported |= {name.split(".")[1] for name in names if name.startswith("stack.")}
    assert imported <= set(APP_FOLDERS)
