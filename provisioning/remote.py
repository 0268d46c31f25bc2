"""Runs on a host as root: reads its state and moves files. Needs Python 3.7 and nothing else.

fleet.py sends this text and a request as JSON on standard input, so that no secret is ever an
argument or lies in a temporary file; one line of JSON comes back.
"""

from __future__ import annotations

import compileall
import grp
import hashlib
import json
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from typing import Any, Callable, Dict

Json = Dict[str, Any]
ETC = "/etc/logstack"
OPT = "/opt/logstack"
UNITS = "/etc/systemd/system"
LOCK = "/run/logstack-deploy.json"  # gone with a restart of the machine, like who holds it
HOST_FILES = "host-files"  # in PREVIOUS, beside the components
SETTLED_SECONDS = 3
STAGED = ETC + "/.staged"
PREVIOUS = ETC + "/.previous"
# Files that the host's owner has too: only these keys of the JSON are compared and written.
SHARED = {"/etc/docker/daemon.json": ("log-driver", "log-opts")}


def inspect(request: Json) -> Json:
    """Everything that changes.py compares, in one answer."""
    names = sorted(set(request["components"]) | set(_installed()))
    files = {}
    for name in names:
        files.update(_tree(os.path.join(ETC, name)))
        unit = _unit_file(name)
        if os.path.isfile(unit):
            files[unit] = _describe(unit)
    for path in request["files"]:
        if os.path.isfile(path):
            files[path] = _describe(path)
    return {
        "files": files,
        "binaries": {p: _sha256(p) for p in request["binaries"] if os.path.isfile(p)},
        "links": {p: os.readlink(p) for p in request["links"] if os.path.islink(p)},
        "directories": {
            p: {"mode": _mode(p), "owner": _owner(p)}
            for p in request["directories"]
            if os.path.isdir(p)
        },
        "users": [name for name in request["users"] if _has_user(name)],
        "services": {name: _service(name) for name in names},
        "installed": _installed(),
        "pending": [name for name in names if os.path.exists(_pending(name))],
        "programs": [name for name in ("docker", "nft", "logrotate") if shutil.which(name)],
    }


def facts(request: Json) -> Json:
    """What preflight judges."""
    release = {}
    with open("/etc/os-release", encoding="utf-8") as file:
        for line in file:
            key, _, value = line.strip().partition("=")
            release[key] = value.strip('"')
    place = "/var/lib"
    memory = 0
    with open("/proc/meminfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("MemTotal:"):
                memory = int(line.split()[1]) * 1024
    return {
        "user": os.geteuid(),
        "os": release.get("ID", ""),
        "os_name": release.get("PRETTY_NAME", ""),
        "machine": os.uname().machine,
        "memory": memory,
        "disk": shutil.disk_usage(place).free,
        "time": time.time(),
        "python": "%d.%d" % sys.version_info[:2],
        "systemd": os.path.isdir("/run/systemd/system"),
        "listening": _listening(),
    }


def stage(request: Json) -> Json:
    """Write a component's configuration beside the one in use."""
    folder = os.path.join(STAGED, request["name"])
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(STAGED, exist_ok=True)
    os.chmod(STAGED, 0o711)
    os.mkdir(folder, 0o750)
    _own(folder, "root", request["user"])
    for item in request["files"]:
        path = os.path.join(folder, item["path"])
        parent = os.path.dirname(path)
        while parent != folder:
            os.makedirs(parent, exist_ok=True)
            os.chmod(parent, 0o755)
            parent = os.path.dirname(parent)
        _write(path, item)
    return {"folder": folder}


def check(request: Json) -> Json:
    """Run the program's own checker as the component's user."""
    argv = ["runuser", "-u", request["user"], "--", *request["argv"]]
    try:
        result = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, cwd="/"
        )
    except subprocess.TimeoutExpired:
        return {"ok": False, "text": "the checker did not end within 60 s"}
    text = result.stdout.decode("utf-8", "replace")
    return {"ok": result.returncode == 0, "text": text[-request.get("most", 2000) :]}


def install_binary(request: Json) -> Json:
    """Move an uploaded binary into its versioned folder once its checksum is right."""
    found = _sha256(request["upload"])
    if found != request["sha256"]:
        os.unlink(request["upload"])
        return {"ok": False, "text": "wanted sha256 %s, found %s" % (request["sha256"], found)}
    os.makedirs(os.path.dirname(request["path"]), exist_ok=True)
    os.chmod(request["upload"], 0o755)
    os.chown(request["upload"], 0, 0)
    if request["path"].endswith(".tar.gz"):
        _unpack(request["upload"], os.path.dirname(request["path"]))
    os.replace(request["upload"], request["path"])
    return {"ok": True, "text": ""}


def _unpack(bundle: str, folder: str) -> None:
    """Unpack a bundle that this project made, whose sum was checked; compile its Python once."""
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
    _keep(name, kept, request)
    with open(_pending(name), "w", encoding="utf-8"):
        pass  # until it was healthy: a run that is cut off here is finished by the next one
    config, staged = os.path.join(ETC, name), os.path.join(STAGED, name)
    if os.path.isdir(config):
        shutil.rmtree(config)
    os.rename(staged, config)
    _write(_unit_file(name), request["unit"])
    if request["link"]:
        _link(request["link"], request["target"])
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    return {}


def _keep(name: str, kept: str, request: Json) -> None:
    shutil.rmtree(kept, ignore_errors=True)
    os.makedirs(kept, mode=0o700)
    os.chmod(PREVIOUS, 0o700)
    config, unit, link = os.path.join(ETC, name), _unit_file(name), request["link"]
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
    with open(kept + "/state.json", "w", encoding="utf-8") as file:
        json.dump(state, file)


def restore(request: Json) -> Json:
    """Put back what the last swap replaced. `existed`: there was something.

    With `keep` what is replaced now is kept in turn.
    """
    name = request["name"]
    kept = os.path.join(PREVIOUS, name)
    try:
        with open(kept + "/state.json", encoding="utf-8") as file:
            state = json.load(file)
    except OSError:
        return {"existed": False, "found": False}
    old = kept + ".old"
    shutil.rmtree(old, ignore_errors=True)
    os.rename(kept, old)
    _keep(name, kept, {"run": request["run"], "link": state["link"]})
    config = os.path.join(ETC, name)
    shutil.rmtree(config, ignore_errors=True)
    if os.path.isdir(old + "/config"):
        os.rename(old + "/config", config)
    if state["existed"]:
        shutil.copy2(old + "/unit", _unit_file(name))
        if state["link"] and state["target"]:
            _link(state["link"], state["target"])
    else:
        _systemctl("disable", "--now", _unit(name))
        os.unlink(_unit_file(name))
    shutil.rmtree(old)
    if not request["keep"]:
        shutil.rmtree(kept)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    return {"existed": state["existed"], "found": True}


def last_run(request: Json) -> Json:
    """The components and the files of the host that the last run which changed any has changed."""
    states = {}
    for name in sorted(os.listdir(PREVIOUS)) if os.path.isdir(PREVIOUS) else []:
        try:
            with open(os.path.join(PREVIOUS, name, "state.json"), encoding="utf-8") as file:
                states[name] = json.load(file)
        except (OSError, ValueError):
            continue
    newest = max((state["run"] for state in states.values()), default="")
    changed = {name: state for name, state in states.items() if state["run"] == newest}
    files = changed.pop(HOST_FILES, {}).get("files", [])
    return {
        "run": newest,
        "components": list(changed),
        "files": [item["path"] for item in files],
    }


def remove(request: Json) -> Json:
    """Stop a component that the host has no longer, and remove its unit and configuration."""
    name = request["name"]
    _systemctl("disable", "--now", _unit(name))
    if os.path.isfile(_unit_file(name)):
        os.unlink(_unit_file(name))
    shutil.rmtree(os.path.join(ETC, name), ignore_errors=True)
    shutil.rmtree(os.path.join(PREVIOUS, name), ignore_errors=True)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    _systemctl("reset-failed", _unit(name))
    return {}


def put_files(request: Json) -> Json:
    """Write files that belong to no component, each after a check; the old ones come back."""
    kept: dict[str, bytes | None] = {}
    if request.get("run"):
        _keep_files([item["path"] for item in request["files"]], request["run"])
    for item in request["files"]:
        path = item["path"]
        kept[path] = None
        if os.path.isfile(path):
            with open(path, "rb") as file:
                kept[path] = file.read()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if path in SHARED:
            item["text"] = _json_text({**_read_json(path), **json.loads(item["text"])})
        _write(path, item)
    for argv in request["checks"] + request["reloads"]:
        result = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if result.returncode != 0:
            for path, content in kept.items():
                if content is None:
                    os.unlink(path)
                else:
                    with open(path, "wb") as file:
                        file.write(content)
            text = result.stdout.decode("utf-8", "replace")[-1000:]
            return {"ok": False, "text": "`%s`: %s" % (" ".join(argv), text)}
    return {"ok": True, "text": ""}


def _keep_files(paths: list[str], run: str) -> None:
    """Copies of files of the host, for a rollback of the run."""
    kept = os.path.join(PREVIOUS, HOST_FILES)
    shutil.rmtree(kept, ignore_errors=True)
    os.makedirs(kept, mode=0o700)
    os.chmod(PREVIOUS, 0o700)
    files = []
    for path in paths:
        item: Json = {"path": path, "text": None}
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                item = {"path": path, "text": file.read(), "mode": _mode(path)}
            item["owner"] = _owner(path)
        files.append(item)
    with open(kept + "/state.json", "w", encoding="utf-8") as file:
        json.dump({"run": run, "files": files}, file)


def restore_files(request: Json) -> Json:
    """Put back the files of the host that the last run replaced; what is replaced now is kept."""
    with open(os.path.join(PREVIOUS, HOST_FILES, "state.json"), encoding="utf-8") as file:
        files = json.load(file)["files"]
    _keep_files([item["path"] for item in files], request["run"])
    for item in files:
        path = item["path"]
        if path in SHARED:
            before = json.loads(item["text"]) if item["text"] else {}
            others = {k: v for k, v in _read_json(path).items() if k not in SHARED[path]}
            ours = {key: before[key] for key in SHARED[path] if key in before}
            item = {"mode": _mode(path), "owner": "root", "text": _json_text({**others, **ours})}
        if item["text"] is not None:
            _write(path, item)
        elif os.path.isfile(path):
            os.unlink(path)
    for argv in request["reloads"]:
        subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return {}


def lock(request: Json) -> Json:
    """Let one run work on this host; who does already, since when, and for how many seconds."""
    mine = {"run": request["run"], "who": request["who"], "since": time.time()}
    try:
        handle = os.open(LOCK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        try:
            with open(LOCK, encoding="utf-8") as file:
                held = json.load(file)
        except (OSError, ValueError):
            held = {"who": "somebody", "since": time.time()}
        return {"held": True, "who": held["who"], "seconds": time.time() - held["since"]}
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(mine, file)
    return {"held": False}


def unlock(request: Json) -> Json:
    """Give a run's lock back; without a run that of whoever has it."""
    held = _read_json(LOCK)
    if held and request["run"] in ("", held["run"]):
        os.unlink(LOCK)
    return {"who": held.get("who", "")}


def prune(request: Json) -> Json:
    """Remove versions of artifacts but the newest; those in use or to go back to always stay."""
    needed = set()
    for name in os.listdir(PREVIOUS) if os.path.isdir(PREVIOUS) else []:
        try:
            with open(os.path.join(PREVIOUS, name, "state.json"), encoding="utf-8") as file:
                needed.add(json.load(file).get("target", ""))
        except (OSError, ValueError):
            continue
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


def probe(request: Json) -> Json:
    """Wait until a service is active and its address answers 200, or, where it has none, until it
    has been running for some seconds."""
    deadline = time.monotonic() + request["timeout"]
    while True:
        found = _answer_of(request["url"]) if request["url"] else ""
        service = _service(request["name"])
        if not (found or request["url"]) and service["seconds"] < SETTLED_SECONDS:
            found = "it has not been running for %d s" % SETTLED_SECONDS
        if not found and service["active"]:
            if os.path.exists(_pending(request["name"])):
                os.unlink(_pending(request["name"]))
            return {"ok": True, "text": ""}
        state = service["state"]
        if time.monotonic() > deadline or state == "failed":
            return {"ok": False, "text": "%s; the service is %s" % (found, state)}
        time.sleep(0.2)


def _answer_of(url: str) -> str:
    """What is wrong with the answer of an address; nothing when it is 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=3) as answer:
            return "" if answer.status == 200 else "HTTP %d" % answer.status
    except (OSError, ValueError) as error:
        return str(error)


def fetch(request: Json) -> Json:
    """The body of an address on the host's loopback."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    asked = urllib.request.Request(request["url"], headers=request.get("headers", {}))
    try:
        with opener.open(asked, timeout=20) as answer:
            return {"ok": True, "text": answer.read().decode("utf-8", "replace")}
    except (OSError, ValueError) as error:
        return {"ok": False, "text": str(error)}


def certificate(request: Json) -> Json:
    """The certificate that this host shows at the address where others reach it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # judged by verify.py; it is only fetched here
    context.verify_mode = ssl.CERT_NONE
    try:
        plain = socket.create_connection((request["name"], request["port"]), timeout=10)
        with context.wrap_socket(plain, server_hostname=request["name"]) as secured:
            data = secured.getpeercert(binary_form=True) or b""
            return {"ok": True, "text": ssl.DER_cert_to_PEM_cert(data)}
    except OSError as error:
        return {"ok": False, "text": str(error)}


def append(request: Json) -> Json:
    """Append a line to a log file as the application's user would."""
    os.makedirs(os.path.dirname(request["path"]), exist_ok=True)
    new = not os.path.exists(request["path"])
    with open(request["path"], "a", encoding="utf-8") as file:
        file.write(request["line"] + "\n")
    if new:
        folder = os.stat(os.path.dirname(request["path"]))
        os.chown(request["path"], folder.st_uid, folder.st_gid)
        os.chmod(request["path"], 0o640)
    return {"time": time.time()}


def journal(request: Json) -> Json:
    """The last lines of a service's journal."""
    argv = ["journalctl", "--no-pager", "-o", "cat", "-n", str(request["lines"]), "-u"]
    result = subprocess.run(
        [*argv, _unit(request["name"])], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return {"text": result.stdout.decode("utf-8", "replace")}


def _unit(name: str) -> str:
    return "logstack-%s.service" % name


def _unit_file(name: str) -> str:
    return os.path.join(UNITS, _unit(name))


def _pending(name: str) -> str:
    return os.path.join(PREVIOUS, name, "pending")


def _installed() -> list[str]:
    names = os.listdir(UNITS) if os.path.isdir(UNITS) else []
    own = [n for n in names if n.startswith("logstack-") and n.endswith(".service")]
    return sorted(n[len("logstack-") : -len(".service")] for n in own)


def _service(name: str) -> Json:
    wanted = "ActiveState,UnitFileState,ActiveEnterTimestampMonotonic"
    argv = ["systemctl", "show", "-p", wanted, _unit(name)]
    text = subprocess.run(argv, stdout=subprocess.PIPE).stdout.decode()
    values = dict(line.partition("=")[::2] for line in text.splitlines())
    state = values.get("ActiveState", "")
    enabled = values.get("UnitFileState") == "enabled"
    active = state == "active"
    since = int(values.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    seconds = time.monotonic() - since if active else 0.0
    return {"active": active, "enabled": enabled, "state": state, "seconds": seconds}


def _systemctl(*arguments: str) -> None:
    subprocess.run(["systemctl", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _tree(folder: str) -> Json:
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            found[path] = _describe(path)
    return found


def _describe(path: str) -> Json:
    digest = _sha256(path)
    if path in SHARED:
        values = _read_json(path)
        own = {key: values[key] for key in SHARED[path] if key in values}
        digest = hashlib.sha256(_json_text(own).encode()).hexdigest()
    return {"sha256": digest, "mode": _mode(path), "owner": _owner(path)}


def _read_json(path: str) -> Json:
    """The object in a file of the host's owner; one that is none is not ours to replace."""
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SystemExit("%s: wanted JSON, found: %s. Mend it there" % (path, error)) from None
    if not isinstance(values, dict):
        raise SystemExit("%s: wanted a JSON object. Mend it there" % path)
    return values


def _json_text(values: Json) -> str:
    return json.dumps(values, indent=2) + "\n"


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _mode(path: str) -> str:
    return "%04o" % (os.stat(path).st_mode & 0o7777)


def _owner(path: str) -> str:
    return _user(os.stat(path).st_uid)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _own(path: str, user: str, group: str) -> None:
    os.chown(path, pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid)


def _write(path: str, item: Json) -> None:
    """Write by rename; the file never has a wider mode than it ends with."""
    scratch = path + ".new"
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(item["text"])
        os.fchown(file.fileno(), pwd.getpwnam(item["owner"]).pw_uid, _group(item["owner"]))
        os.fchmod(file.fileno(), int(item["mode"], 8))
    os.replace(scratch, path)


def _group(user: str) -> int:
    return pwd.getpwnam(user).pw_gid


def _link(path: str, target: str) -> None:
    scratch = path + ".new"
    if os.path.islink(scratch):
        os.unlink(scratch)
    os.symlink(target, scratch)
    os.replace(scratch, path)


def _listening() -> Json:
    """Every TCP port that is listened on, with the user of the process that does."""
    ports = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except OSError:
            continue
        for row in rows:
            if row[3] == "0A":  # TCP_LISTEN
                ports[str(int(row[1].rpartition(":")[2], 16))] = _user(int(row[7]))
    return ports


ACTIONS: dict[str, Callable[[Json], Json]] = {
    action.__name__: action
    for action in (
        *(append, certificate, check, facts, fetch, inspect, install_binary, journal, last_run),
        *(lock, probe, prune, put_files, remove, restore, restore_files, stage, swap, unlock),
    )
}


def main(request: Json) -> None:
    os.umask(0o022)
    socket.setdefaulttimeout(30)
    print(json.dumps(ACTIONS[request["action"]](request)))


if "request" in globals():  # executed by fleet.py; imported by nobody but tests
    main(globals()["request"])
    sys.stdout.flush()
