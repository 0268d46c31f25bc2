"""Brings older files into the running engine: `logstack import`.

Each file is read twice. First to a copy without compression, whose hash says what of it was
imported before (files.py). Then the agent reads the copy, and the batches that it would send are
kept on disk, without the records that the engine would not accept (batches.py, plan.py). Only then
is anything sent, one batch after the other, with a note on disk before and after each
(delivery.py): whatever ends the command, the next one continues, and nothing is sent twice.
"""

from __future__ import annotations


class HistoryError(Exception):
    """A file cannot be imported; the text says why and what to do."""
