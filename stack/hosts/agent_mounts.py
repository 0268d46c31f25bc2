"""Runs on a host as root around the agent: the folders of log files as the agent sees them.

`mount VIEWS USER links:FOLDER... owned:FOLDER...` mounts each folder below VIEWS, read-only:

links   symbolic links in it and in mounts below it are not followed: an application's user could
        plant one to a file that only the agent may read
owned   files of root appear as files of USER, so that the agent needs no right to other files

The unit binds the mounts to the folders' own paths. `unmount VIEWS` removes all of them. Needs
Python 3.7 and Linux 5.14 (mount_setattr(2): MOUNT_ATTR_IDMAP from 5.12, MOUNT_ATTR_NOSYMFOLLOW from
5.14).
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys
from pathlib import Path

# From linux/mount.h and asm-generic/unistd.h, the same on amd64 and arm64.
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442
OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH, MNT_DETACH = 1, 4, 2
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
RDONLY, NOSUID, NODEV, NOEXEC, IDMAP, NOSYMFOLLOW = 1, 2, 4, 8, 0x100000, 0x200000
MS_SLAVE = 1 << 19
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
LIBC = ctypes.CDLL(None, use_errno=True)


class Attributes(ctypes.Structure):
    """struct mount_attr."""

    _fields_ = [
        (name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")
    ]


def mount(kind: str, source: Path, views: Path, user: str) -> None:
    """Mount `source` below `views`. Raises OSError."""
    views.mkdir(mode=0o755, parents=True, exist_ok=True)
    views.chmod(0o700)
    target = Path(f"{views}{source}")
    target.mkdir(parents=True, exist_ok=True)
    # Without the mounts of containers in Docker's folder: they would stay busy.
    recursive = AT_RECURSIVE if kind == "links" else 0
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | recursive
    tree = _call(OPEN_TREE, AT_FDCWD, os.fsencode(source), flags)
    # Later mounts of the host appear here too, but not the other way round.
    wanted = Attributes(RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW, 0, MS_SLAVE, 0)
    if kind == "owned":
        wanted.attr_set |= IDMAP
        wanted.userns_fd = _root_as(pwd.getpwnam(user))
    size = ctypes.sizeof(wanted)
    _call(MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH | recursive, ctypes.byref(wanted), size)
    _call(MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH)


def unmount(views: Path) -> None:
    """Remove every mount below `views`; files that the agent has open stay readable."""
    mounts = Path("/proc/self/mountinfo").read_bytes().splitlines()
    points = [line.split()[4].decode("unicode_escape") for line in mounts]
    for point in reversed(points):
        if Path(point) != views and views in Path(point).parents:
            LIBC.umount2(os.fsencode(point), MNT_DETACH)


def enter_host() -> None:
    """Enter the host's mount namespace: a unit's commands run in another one."""
    host = os.open("/proc/1/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    if LIBC.setns(host, CLONE_NEWNS):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _root_as(user: pwd.struct_passwd) -> int:
    """The descriptor of a user namespace that maps root to `user` and no other id."""
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        failed = LIBC.unshare(CLONE_NEWUSER)
        os.write(ready[1], b"%d" % (ctypes.get_errno() if failed else 0))
        os.close(done[1])
        os.read(done[0], 1)
        os._exit(0)
    try:
        error = int(os.read(ready[0], 8))
        if error:
            raise OSError(error, f"cannot create a user namespace: {os.strerror(error)}")
        for name, number in (("uid_map", user.pw_uid), ("gid_map", user.pw_gid)):
            Path(f"/proc/{child}/{name}").write_text(f"0 {number} 1\n", encoding="ascii")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(done[1])
        os.waitpid(child, 0)


def _call(number: int, *arguments: object) -> int:
    """A system call. Raises OSError."""
    words = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    result = int(LIBC.syscall(ctypes.c_long(number), *words))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def main(arguments: list[str]) -> int:
    """Run the command line above; 1 if the agent must not start."""
    action, views, *rest = arguments
    enter_host()
    unmount(Path(views))
    if action == "unmount":
        return 0
    user, *folders = rest
    for kind, _, folder in (item.partition(":") for item in folders):
        if kind == "owned":  # Docker creates it at its first start
            Path(folder).mkdir(mode=0o710, parents=True, exist_ok=True)
        elif not Path(folder).is_dir():
            continue
        try:
            mount(kind, Path(folder), Path(views), user)
        except OSError as error:
            sys.stderr.write(
                f"cannot mount {folder} for the agent: {error.strerror}. It needs Linux 5.14 and a "
                "file system that supports such mounts, for example ext4 or xfs. Run: uname -r; "
                f"stat -fc %T {folder}\n"
            )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
