"""Changes a host: binaries, configuration, units, host files; and rolls back."""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from typing import Iterator

from provisioning.agent.base import (
    ETC,
    PREVIOUS,
    SHARED,
    Json,
    json_text,
    mode_of,
    pending_file,
    point_link,
    read_file,
    read_json,
    run_as,
    set_owner,
    sha256,
    systemctl,
    unit_file,
    unit_of,
    write_file,
)

OPT = "/opt/logstack"
STAGED = ETC + "/.staged"
HOST_FILES = "host-files"  # in PREVIOUS, beside the components
UNFINISHED = "unfinished"  # there, too: the id of a run, until one has ended well


def stage(request: Json) -> Json:
    """Write a component's configuration beside the one in use, and let its program check it.

    The check is run as the component's user; its text is shown without lines of secret files.
    """
    folder = os.path.join(STAGED, request["name"])
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(STAGED, exist_ok=True)
    os.chmod(STAGED, 0o711)
    os.mkdir(folder, 0o750)
    set_owner(folder, "root", request["user"])
    for item in request["files"]:
        path = os.path.join(folder, item["path"])
        parent = os.path.dirname(path)
        while parent != folder:
            os.makedirs(parent, exist_ok=True)
            os.chmod(parent, 0o755)
            parent = os.path.dirname(parent)
        write_file(path, item)
    if not request["check"]:
        return {"ok": True, "text": ""}
    known = {"binary": request["binary"], "folder": request["folder"], "config": folder}
    argv = [argument.format(**known) for argument in request["check"]]
    ok, text = run_as(request["user"], argv)
    return {"ok": ok, "text": "" if ok else _redact(text[-2000:], request["files"])}


def _redact(text: str, files: list[Json]) -> str:
    """The end of a checker's output, without lines that quote a secret file."""
    lines = [line.strip() for item in files if item["secret"] for line in item["text"].splitlines()]
    quoted = {line for line in lines if len(line) > 3}
    kept = [line for line in text.strip().splitlines() if not any(q in line for q in quoted)]
    return "\n".join("    " + line for line in kept[-15:])


def install_binary(request: Json) -> Json:
    """Move an uploaded binary into its versioned folder if its checksum matches."""
    found = sha256(request["upload"])
    if found != request["sha256"]:
        os.unlink(request["upload"])
        return {"ok": False, "text": "expected sha256 %s, got %s" % (request["sha256"], found)}
    os.makedirs(os.path.dirname(request["path"]), exist_ok=True)
    os.chmod(request["upload"], 0o755)
    os.chown(request["upload"], 0, 0)
    if request["path"].endswith(".tar.gz"):
        _unpack(request["upload"], os.path.dirname(request["path"]))
    os.replace(request["upload"], request["path"])
    return {"ok": True, "text": ""}


def _unpack(bundle: str, folder: str) -> None:
    """Unpack a bundle built by this project (checksum verified); compile its Python once."""
    scratch = tempfile.mkdtemp(prefix=".unpacking-", dir=folder)
    with tarfile.open(bundle) as tar:
        safe: Json = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        tar.extractall(scratch, **safe)  # noqa: S202
    lib = os.path.join(folder, "lib")
    shutil.rmtree(lib, ignore_errors=True)
    os.rename(os.path.join(scratch, "lib"), lib)
    os.rmdir(scratch)
    for parent, _, _ in os.walk(lib):
        os.chmod(parent, 0o755)
    if os.path.isfile(os.path.join(lib, "__main__.py")):
        compileall.compile_dir(lib, quiet=2)


def swap(request: Json) -> Json:
    """Put the staged configuration, the unit and the binary's link in place; keep the old ones."""
    name = request["name"]
    kept = os.path.join(PREVIOUS, name)
    _begin_run(request["run"])
    saved = _state_of(name)
    if saved.get("run") != request["run"] or saved.get("removed"):  # not by a part of this run
        _save_previous(name, kept, request)
    with open(pending_file(name), "w", encoding="utf-8"):
        pass  # removed once it is healthy; if this run is cut off, the next one finishes the job
    config, staged = os.path.join(ETC, name), os.path.join(STAGED, name)
    restrict_modes(kept + "/config", staged)
    if os.path.isdir(config):
        shutil.rmtree(config)
    os.rename(staged, config)
    write_file(unit_file(name), request["unit"])
    if request["link"]:
        point_link(request["link"], request["target"])
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    return {}


def restrict_modes(kept: str, planned: str) -> None:
    """Reduce the modes of kept files to the new ones, so that a rollback does not expose a key."""
    for folder, _, names in os.walk(planned):
        for path in (os.path.join(folder, name) for name in names):
            twin = os.path.join(kept, os.path.relpath(path, planned))
            if os.path.isfile(twin):
                os.chmod(twin, int(mode_of(twin), 8) & int(mode_of(path), 8))


def _save_previous(name: str, kept: str, request: Json) -> None:
    shutil.rmtree(kept, ignore_errors=True)
    os.makedirs(kept, mode=0o700)
    os.chmod(PREVIOUS, 0o700)
    config, unit, link = os.path.join(ETC, name), unit_file(name), request["link"]
    state = {
        "run": request["run"],
        "existed": os.path.isfile(unit),
        "link": link,
        "target": os.readlink(link) if link and os.path.islink(link) else "",
    }
    if os.path.isdir(config):
        subprocess.run(["cp", "-a", config, kept + "/config"], check=True)
    if state["existed"]:
        shutil.copy2(unit, kept + "/unit")
    _save_state(name, state)


def restore(request: Json) -> Json:
    """Restore what the last swap replaced. `existed`: the component was installed before it.

    `keep`: keep what is replaced now, so that it can be restored in turn.
    """
    name = request["name"]
    kept = os.path.join(PREVIOUS, name)
    state = _state_of(name)
    if not state:
        return {"existed": False}
    old = kept + ".old"
    shutil.rmtree(old, ignore_errors=True)
    os.rename(kept, old)
    _save_previous(name, kept, {"run": request["run"], "link": state["link"]})
    config = os.path.join(ETC, name)
    shutil.rmtree(config, ignore_errors=True)
    if os.path.isdir(old + "/config"):
        os.rename(old + "/config", config)
    if state["existed"]:
        shutil.copy2(old + "/unit", unit_file(name))
        if state["link"] and state["target"]:
            point_link(state["link"], state["target"])
    else:
        systemctl("disable", "--now", unit_of(name))
        os.unlink(unit_file(name))
    shutil.rmtree(old)
    if not request["keep"]:
        shutil.rmtree(kept)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    return {"existed": state["existed"]}


def last_run(request: Json) -> Json:
    """The components and host files changed by the last run that changed anything."""
    states = {name: _state_of(name) for name in _kept_names()}
    states = {name: state for name, state in states.items() if state}
    newest = max((state["run"] for state in states.values()), default="")
    changed = {name: state for name, state in states.items() if state["run"] == newest}
    files = changed.pop(HOST_FILES, {}).get("files", [])
    removed = [name for name, state in changed.items() if state.get("removed")]
    return {
        "run": newest,
        "components": [name for name in changed if name not in removed],
        "removed": removed,
        "files": [item["path"] for item in files],
    }


def _kept_names() -> list[str]:
    return sorted(os.listdir(PREVIOUS)) if os.path.isdir(PREVIOUS) else []


def _state_of(name: str) -> Json:
    """What was saved of a component or of the host files; empty if nothing was."""
    try:
        return read_json(os.path.join(PREVIOUS, name, "state.json"))
    except (OSError, SystemExit):
        return {}


def _save_state(name: str, state: Json) -> None:
    with open(os.path.join(PREVIOUS, name, "state.json"), "w", encoding="utf-8") as file:
        json.dump(state, file)


def _begin_run(run: str) -> None:
    """Mark a run as unfinished, before its first change."""
    os.makedirs(PREVIOUS, mode=0o700, exist_ok=True)
    with open(os.path.join(PREVIOUS, UNFINISHED), "w", encoding="utf-8") as file:
        file.write(run)


def unfinished_run() -> str:
    """The run that changed this host and did not end well; empty if there is none."""
    try:
        with open(os.path.join(PREVIOUS, UNFINISHED), encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def finish_run() -> None:
    if unfinished_run():
        os.unlink(os.path.join(PREVIOUS, UNFINISHED))


def remove(request: Json) -> Json:
    """Stop a component that is not in the plan any more; remove its unit and configuration."""
    name = request["name"]
    systemctl("disable", "--now", unit_of(name))
    if os.path.isfile(unit_file(name)):
        os.unlink(unit_file(name))
    shutil.rmtree(os.path.join(ETC, name), ignore_errors=True)
    shutil.rmtree(os.path.join(PREVIOUS, name), ignore_errors=True)
    os.makedirs(os.path.join(PREVIOUS, name), mode=0o700)
    _save_state(name, {"run": request["run"], "removed": True})
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    systemctl("reset-failed", unit_of(name))
    return {}


def put_files(request: Json) -> Json:
    """Write and remove host files. If a check or a command fails, restore all of them."""
    written, removed = request["files"], request["removed"]
    now = [_merge_shared(item) if item["path"] in SHARED else item for item in written]
    now += [{"path": path, "text": None} for path in removed]
    before = [read_file(item["path"]) for item in now]
    run = request["run"]
    if run:
        _begin_run(run)
        saved = _state_of(HOST_FILES)
        earlier = saved["files"] if saved.get("run") == run else []  # by a part of this run
        _save_files(list({item["path"]: item for item in [*before, *earlier]}.values()), run)
    hooks = request["hooks"]
    effects = _write_and_remove(now, hooks)
    checks = [hooks[item["path"]]["check"] for item in written]
    failure = next(_run_commands([argv for argv in checks if argv] + effects), "")
    if failure:
        list(_run_commands(_write_and_remove(before, hooks)))
    return {"ok": not failure, "text": failure}


def _write_and_remove(items: list[Json], hooks: Json) -> list[list[str]]:
    """Write items, remove those without text; returns the commands that apply the change."""
    here = [item for item in items if item["text"] is not None]
    gone = [i["path"] for i in items if i["text"] is None and os.path.isfile(i["path"])]
    list(_run_commands([argv for path in gone for argv in hooks[path]["leaving"]]))
    for path in gone:
        os.unlink(path)
    for item in here:
        os.makedirs(os.path.dirname(item["path"]), exist_ok=True)
        write_file(item["path"], item)
    effects = [argv for item in here for argv in hooks[item["path"]]["written"]]
    effects += [argv for path in gone for argv in hooks[path]["removed"]]
    return [argv for n, argv in enumerate(effects) if argv not in effects[:n]]


def _run_commands(commands: list[list[str]]) -> Iterator[str]:
    """Run commands one by one; yields those that fail, with their output."""
    for argv in commands:
        try:
            result = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except OSError as error:  # the program is missing or not executable
            yield "`%s`: %s" % (" ".join(argv), error.strerror)
            continue
        if result.returncode != 0:
            text = result.stdout.decode("utf-8", "replace")[-1000:]
            yield "`%s`: %s" % (" ".join(argv), text)


def _merge_shared(item: Json) -> Json:
    """A shared file with our keys added; its mode and owner are kept."""
    path = item["path"]
    found = read_file(path)
    text = json_text({**read_json(path), **json.loads(item["text"])})
    return {**(item if found["text"] is None else found), "text": text}


def _save_files(files: list[Json], run: str) -> None:
    """Save the current host files, for a rollback of the run."""
    kept = os.path.join(PREVIOUS, HOST_FILES)
    shutil.rmtree(kept, ignore_errors=True)
    os.makedirs(kept, mode=0o700)
    os.chmod(PREVIOUS, 0o700)
    _save_state(HOST_FILES, {"run": run, "files": files})


def restore_files(request: Json) -> Json:
    """Restore the host files that the last run replaced; keep those that are replaced now."""
    files = _state_of(HOST_FILES)["files"]
    _save_files([read_file(item["path"]) for item in files], request["run"])
    restored = [_restore_shared(item) if item["path"] in SHARED else item for item in files]
    failures = "; ".join(_run_commands(_write_and_remove(restored, request["hooks"])))
    done = "restored " + ", ".join(item["path"] for item in files)
    text = "%s, but cannot apply them: %s" % (done, failures) if failures else done
    return {"ok": not failures, "text": text}


def _restore_shared(item: Json) -> Json:
    """A shared file with our keys as before the run, and the rest as it is now."""
    path = item["path"]
    before = json.loads(item["text"]) if item["text"] else {}
    values = {k: v for k, v in read_json(path).items() if k not in SHARED[path]}
    values.update({key: before[key] for key in SHARED[path] if key in before})
    found = read_file(path)
    if not values and item["text"] is None:
        return item  # it did not exist before and holds only our keys
    return {**(item if found["text"] is None else found), "text": json_text(values)}


def prune(request: Json) -> Json:
    """Remove old versions of artifacts, except those in use or needed for a rollback."""
    needed = {_state_of(name).get("target", "") for name in _kept_names()}
    removed = []
    for artifact in request["artifacts"]:
        home = os.path.join(OPT, artifact)
        link = os.path.join(home, "current")
        if os.path.islink(link):
            needed.add(os.readlink(link))
        found = [os.path.join(home, name) for name in os.listdir(home) if name != "current"]
        versions = sorted(filter(os.path.isdir, found), key=os.path.getmtime, reverse=True)
        for path in versions[request["keep"] :]:
            if path not in needed:
                shutil.rmtree(path)
                removed.append(path)
    return {"removed": removed}
