"""The lock of a run on this host, and the folder of its agent."""

from __future__ import annotations

import json
import os
import shutil
import time

from provisioning.agent.base import Json, read_json

LOCK = "/run/logstack-deploy.json"  # removed by a reboot, which also ends the run that holds it
AGENTS = "/run/logstack-agent"


def lock(request: Json) -> Json:
    """Lock this host for one run. If it is locked: `who` holds it, for how many `seconds`.

    `replace`: the run whose lock may be taken over, because its process has ended.
    """
    mine = {key: request[key] for key in ("run", "who", "process")}
    mine["since"] = time.time()
    held = read_json(LOCK) if os.path.exists(LOCK) else {}
    if held and held.get("run") == request.get("replace"):
        os.unlink(LOCK)
    try:
        handle = os.open(LOCK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        held = {"run": "", "who": "unknown", "since": time.time(), **read_json(LOCK)}
        return {"held": True, **held, "seconds": time.time() - held["since"]}
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(mine, file)
    return {"held": False}


def unlock(request: Json) -> Json:
    """Release a run's lock; with an empty run, any lock, and remove what killed runs left."""
    held = read_json(LOCK)
    if held and request["run"] in ("", held["run"]):
        os.unlink(LOCK)
    if not request["run"]:
        for name in os.listdir(AGENTS):
            if name != request["own"]:
                shutil.rmtree(os.path.join(AGENTS, name), ignore_errors=True)
    return {"who": held.get("who", "")}


def leave(request: Json) -> Json:
    """The end of a run: release its lock and remove its agent."""
    unlock(request)
    shutil.rmtree(os.path.join(AGENTS, request["own"]), ignore_errors=True)
    if os.path.isdir(AGENTS) and not os.listdir(AGENTS):
        os.rmdir(AGENTS)
    return {}
