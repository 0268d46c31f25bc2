"""The lock of a run on this host, and the folder of its agent."""

from __future__ import annotations

import json
import os
import shutil
import time

from provisioning.agent.base import Json, read_json
from provisioning.agent.changes import finish_run, last_run, unfinished_run

LOCK = "/run/logstack-deploy.json"  # removed by a reboot, which also ends the run that holds it
AGENTS = "/run/logstack-agent"


def lock(request: Json) -> Json:
    """Lock this host for one run. If it is locked: `who` holds it, for how many `seconds`.

    `replace`: the run whose lock may be taken over, because its process has ended; its agent is
    removed. Otherwise the answer says what earlier runs did: the `newest` one that changed this
    host, and the one that is `unfinished`.
    """
    mine = {key: request[key] for key in ("run", "who", "process")}
    mine["since"] = time.time()
    held = read_json(LOCK) if os.path.exists(LOCK) else {}
    if held and held.get("run") == request.get("replace"):
        os.unlink(LOCK)
        _remove_agent(held["run"])
    try:
        handle = os.open(LOCK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        held = {"run": "", "who": "unknown", "since": time.time(), **read_json(LOCK)}
        return {"held": True, **held, "seconds": time.time() - held["since"]}
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(mine, file)
    return {"held": False, "newest": last_run({})["run"], "unfinished": unfinished_run()}


def unlock(request: Json) -> Json:
    """Release a run's lock; with an empty run, any lock, and remove what killed runs left."""
    held = read_json(LOCK)
    if held and request["run"] in ("", held["run"]):
        os.unlink(LOCK)
    if not request["run"]:
        for name in os.listdir(AGENTS):
            if name != request["own"]:
                _remove_agent(name)
    return {"who": held.get("who", "")}


def leave(request: Json) -> Json:
    """The end of a run: release its lock and remove its agent."""
    if request["complete"]:
        finish_run()
    unlock(request)
    _remove_agent(request["own"])
    if os.path.isdir(AGENTS) and not os.listdir(AGENTS):
        os.rmdir(AGENTS)
    return {}


def _remove_agent(run: str) -> None:
    shutil.rmtree(os.path.join(AGENTS, run), ignore_errors=True)
