"""Every drill. Lengths in seconds: of the short form, which CI runs, and of the long one.

The last two texts are what doctor has to say, and the alert that has to fire.
"""

from __future__ import annotations

from functools import partial

from bench.drills import components, files
from bench.drills.drill import Drill, under_load
from bench.drills.watch import NONE, SWITCH, Names

at_5_mb = partial(under_load, rate=5000, size=800)  # a second
# The smallest queue for lines of 16 KiB.
QUEUE_FULL = {("limits", "queue"): "4MiB", ("limits", "line"): "16KiB"}
NO_FAULT = Names(f"{NONE}nothing is lost or late", f"{NONE}nothing is lost or late")
STOPPED = Names("victorialogs is stopped", SWITCH)
UNREAD = Names(
    f"{NONE}the agent was behind for half a second at most", f"{NONE}as doctor does not see it"
)
DRILLS = (
    Drill("engine-stopped", "the engine is stopped, at 1000 records/s",
          under_load(components.engine_stopped, 1000), 5, 180, STOPPED),
    Drill("engine-stopped-1h", "the same, for an hour",
          under_load(components.engine_stopped, 1000), None, 3600, STOPPED),
    Drill("engine-killed", "the engine is killed 5 times, at 500 records/s",
          under_load(components.engine_killed, 500), 15, 60,
          Names("victorialogs ended", "ComponentRestarting")),
    Drill("agent-killed", "the agent is killed 5 times, at 1000 records/s",
          under_load(components.agent_killed, 1000), 15, 60,
          Names("otelcol ended", "ComponentRestarting")),
    Drill("server-down", "one of two log servers is killed, and its queue is full",
          components.one_server_down, 12, 600,
          Names("wait in the queue of otelcol for logs-2", f"{NONE}no rules run in this drill")),
    Drill("queue-full", "the engine is stopped, and the agent's queue of 4 MiB is full",
          under_load(files.queue_full, 5000, 400, QUEUE_FULL), 8, 60,
          Names("wait in the queue of otelcol", "AgentQueueGrowing")),
    Drill("disk-full", "the engine's disk is full, at 500 records/s",
          files.disk_full, 8, 60, Names("accepts no records", "EngineReadOnly"),
          needs=files.without_tmpfs),
    Drill("rotation-rename", "rotated 10 times by renaming, 5 MB/s",
          at_5_mb(files.rotated(files.by_number)), 5, 60, NO_FAULT),
    Drill("rotation-date", "rotated 10 times, named by date, 5 MB/s",
          at_5_mb(files.rotated(files.by_date)), 5, 60, NO_FAULT),
    Drill("rotation-copytruncate", "copied and truncated 10 times, 5 MB/s",
          at_5_mb(files.rotated(files.copied_and_truncated)), 5, 60, UNREAD, loses=True),
    Drill("rotation-copied-away", "the same, with the copy in another folder",
          at_5_mb(files.rotated(files.copied_away_and_truncated)), 5, 60, UNREAD, loses=True),
    Drill("rotation-delete", "deleted 0.5 s after a write and made again 10 times, 5 MB/s",
          at_5_mb(files.deleted_and_made_again), 5, 60, NO_FAULT),
    Drill("rotation-delete-unread", "the same 3 times, while the agent is suspended",
          at_5_mb(files.deleted_unread), 9, 60,
          Names("went before otelcol had read them", "FileUnread"), loses=True),
    Drill("many-files", "500 files at once", files.many_files, 1, 10, NO_FAULT),
    Drill("large-file", "a file before the first start, 300 MB in the long form",
          files.large_file, 4, 60, NO_FAULT),
    Drill("clock-jump", "the application's clock jumps 3 h ahead and 2 days back",
          under_load(components.clock_jumped, 500), 6, 60,
          Names(f"{NONE}the machine's clock is right", f"{NONE}the machine's clock is right")),
    Drill("receiver-down", "the receiver of a page answers 503",
          components.receiver_down, 15, 1800,
          Names("notifications by pagerduty", "NotificationsFailing")),
)  # fmt: skip
