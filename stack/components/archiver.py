"""The archiver: exports every hour, verifies, and deletes days from the engine."""

from __future__ import annotations

from stack.components.component import HOST_PYTHON, Component
from stack.settings.targets import Target


def arguments(target: Target) -> list[str]:
    return ["-P", "-m", "stack.cli.main", "archive", "run", "--every-interval"]


def archiver_env(target: Target) -> dict[str, str]:
    """So that the archiver reads the settings in the run folder that the stack was started with."""
    return {
        "LOGSTACK_PATHS__RUN": str(target.run_dir.parent),
        "LOGSTACK_PATHS__DATA": str(target.data_dir.parent),
    }


COMPONENTS = (
    Component(
        "archiver",
        90,
        arguments,
        env=archiver_env,
        is_selected=lambda settings, containers: not containers,
        # On a host it is a program of its own, which reads what it would start with.
        check=(HOST_PYTHON, "-I", "{folder}/lib", "check", "{config}"),
    ),
)
