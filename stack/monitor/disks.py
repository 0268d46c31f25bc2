"""Free space of the file systems that the programs store on, and when they will be full."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stack.monitor.model import Observation, Problem, Value
from stack.monitor.view import View

LEAST_FREE = 0.02  # of inodes, and of a disk for logs, as a share
# Free space is remembered at this interval and for so long. A forecast looks no further ahead than
# SPANS times as far as it looked back: an hour of a restore says nothing of the week.
EVERY_S, KEPT_S, SPANS = 300.0, 86_400.0, 12
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class FileSystem:
    """One file system: its number, sizes in bytes, and the programs that store on it."""

    device: int
    free: float
    total: float
    inodes: float
    all_inodes: float


def file_system(folder: Path) -> FileSystem:
    """That of a folder, or of the nearest one above that exists. Raises OSError."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    found = os.statvfs(existing)
    return FileSystem(
        existing.stat().st_dev,
        float(found.f_bavail * found.f_frsize),
        float(found.f_blocks * found.f_frsize),
        float(found.f_favail),
        float(found.f_files),
    )


def look(view: View) -> Iterator[Observation]:
    """One observation per program that stores something; a problem once per file system."""
    known: dict[str, Points] = view.history.notes.setdefault("disks", {})
    reported: set[int] = set()
    for program in view.plan.programs:
        try:
            found = file_system(Path(program.folder)) if program.folder else None
        except OSError:
            continue
        if found is None:
            continue
        points = known.setdefault(str(found.device), [])
        remember(points, view.now, found.free)
        left = full_in([*points, (view.now, found.free)])
        values: dict[str, Value] = {
            "disk_free_bytes": round(found.free),
            "inodes_free": round(found.inodes),
            **({"disk_full_in_s": round(left)} if left is not None else {}),
        }
        first = found.device not in reported
        reported.add(found.device)
        problem = _problem(view, program.folder, found, left) if first else None
        yield Observation(program.name, values=values, problems=(problem,) if problem else ())
    yield from _logs(view, reported)


def _logs(view: View, reported: set[int]) -> Iterator[Observation]:
    """One observation per full file system that others write logs to, and no program stores on."""
    for folder in view.plan.logs:
        try:
            found = file_system(Path(folder))
        except OSError:
            continue
        least = min(LEAST_FREE * found.total, float(view.plan.limits.free_disk_bytes))
        if found.free >= least or found.device in reported:
            continue
        reported.add(found.device)
        problem = Problem(
            "disk_full",
            f"the disk of {folder} is full: what is logged there may be lost",
            f"{size(found.free)} of {size(found.total)} are free",
            f"df -h '{folder}'",
        )
        yield Observation("logs", folder, problems=(problem,))


def _problem(view: View, folder: str, found: FileSystem, left: float | None) -> Problem | None:
    evidence = f"{size(found.free)} of {size(found.total)} are free in {folder}"
    show = f"df -h '{folder}'"
    if found.free < view.plan.limits.free_disk_bytes:
        return Problem(
            "disk_full", "the disk is full: less than limits.free_disk is free", evidence, show
        )
    if found.all_inodes and found.inodes < LEAST_FREE * found.all_inodes:
        evidence = f"{found.inodes:.0f} of {found.all_inodes:.0f} inodes are free in {folder}"
        return Problem("disk_full", "no more files fit on the disk", evidence, f"df -i '{folder}'")
    if left is not None and left < view.plan.limits.disk_s:
        return Problem("disk_filling", f"the disk will be full in {span(left)}", evidence, show)
    return None


def remember(points: Points, now: float, free: float) -> None:
    """Add a point if the last one is old enough, and forget the oldest."""
    if not points or now - points[-1][0] >= EVERY_S:
        points.append((now, free))
    while points and points[0][0] < now - KEPT_S:
        del points[0]


def full_in(points: Points) -> float | None:
    """After how many seconds nothing is free, if it goes on as it did; None if it does not fill."""
    (began, before), (now, after) = points[0], points[-1]
    if now <= began or before <= after:
        return None
    left = after / (before - after) * (now - began)
    return left if left <= SPANS * (now - began) else None


def size(number: float) -> str:
    """A size for people."""
    return f"{number / 1024**3:.1f} GiB" if number >= 1024**3 else f"{number / 1024**2:.0f} MiB"


def span(seconds: float) -> str:
    """A duration for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 172_800 else f"{seconds / 86400:.0f} days"
