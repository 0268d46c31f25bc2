"""Local images for machines that reach no registry: what this project builds itself, and the app.

`logstack images build` and the container tests call `build_all`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from stack import artifacts
from stack.artifacts import OnProgress
from stack.artifacts.lockfile import locked_packages
from stack.common import last_lines
from stack.components.catalogue import CATALOGUE
from stack.components.component import IMAGE_USER, Container
from stack.render.templates import render_template
from stack.runtimes.docker.engine import DockerError, ask, run
from stack.runtimes.docker.runtime import DockerRuntime
from stack.settings import ROOT, Settings, variable_name

SUITE = "bookworm"
BASE_IMAGE = f"logstack/base:{SUITE}"
# What the sample app and its traffic need; requirements.lock pins them.
APP_PACKAGES = (
    *("asgiref", "django", "gunicorn", "packaging", "sqlparse"),
    *("certifi", "charset-normalizer", "idna", "requests", "urllib3"),  # for its traffic
)
APP_FOLDERS = ("sample_app", "traffic", "monitor", "common")


def build_all(settings: Settings, on_progress: OnProgress, base: str = "") -> list[str]:
    """Make every local image and return their names. Raises DockerError and ArtifactError."""
    runtime = DockerRuntime(settings)
    parts = artifacts.list_for_images(settings)
    folders = artifacts.ensure_all(settings, on_progress, parts)
    built = []
    for component in CATALOGUE:
        if not component.container.is_built:
            continue
        on_progress(component.name, "packing")
        binary = folders[component.name] / parts[component.name].binaries[0]
        built.append(_build_static(runtime.image(component.name), binary, component.container))
    built.append(build_sample_app(settings, on_progress, base))
    return built


def build_sample_app(settings: Settings, on_progress: OnProgress, base: str = "") -> str:
    """Make the image of the sample app; nothing in the build itself needs a network."""
    base = base or settings.images.base
    if base == "debootstrap":
        base = _debootstrap(on_progress)
    on_progress("sample_app", "packing")
    with TemporaryDirectory(prefix="logstack-image-") as scratch:
        context = Path(scratch)
        _fill_wheelhouse(context / "wheelhouse", _python_version(base))
        for name in APP_FOLDERS:
            shutil.copytree(
                ROOT / "stack" / name,
                context / "stack" / name,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        shutil.copy(ROOT / "stack" / "__init__.py", context / "stack")
        _write_dockerfile(context, "app", base=base, user=IMAGE_USER)
        return _build(DockerRuntime(settings).image("sample_app"), context)


def _build_static(image: str, binary: Path, container: Container) -> str:
    with TemporaryDirectory(prefix="logstack-image-") as scratch:
        context = Path(scratch)
        (context / "data").mkdir()
        shutil.copy(binary, context / binary.name)
        storage = container.storage or "/data"
        _write_dockerfile(
            context, "static", binary=binary.name, storage=storage, user=container.user
        )
        return _build(image, context)


def _write_dockerfile(context: Path, kind: str, **values: str) -> None:
    text = render_template(f"docker/Dockerfile.{kind}.j2", **values)
    (context / "Dockerfile").write_text(text, encoding="utf-8")


def _build(image: str, context: Path) -> str:
    result = run("build", "--quiet", "--network=none", "--tag", image, str(context), timeout=900)
    if result.returncode != 0:
        tail = last_lines(result.stdout + result.stderr, 15)
        raise DockerError(f"cannot build {image}:\n{tail}")
    return image


def _python_version(base: str) -> str:
    """The version of Python in an image, as `3.11`. Raises DockerError for an image without it."""
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    result = run("run", "--rm", "--network=none", base, "python3", "-c", program, timeout=600)
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[0]
        raise DockerError(
            f"images.base: expected an image with python3, got {base}: {reason}\n"
            "Where nothing can be pulled, run: ./logstack images build --base debootstrap, or name "
            f"another one: {variable_name('images', 'base')}=NAME"
        )
    return result.stdout.strip()


def _fill_wheelhouse(folder: Path, version: str) -> None:
    """The app's packages as wheels, checked against requirements.lock. Raises DockerError."""
    folder.mkdir()
    pinned = locked_packages(APP_PACKAGES)
    (folder / "requirements.txt").write_text("".join(pinned), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    tags = ["--only-binary=:all:", f"--python-version={version}", "--implementation=cp"]
    _pip([*pip, "download", "--require-hashes", *tags, "-r", str(folder / "requirements.txt"),
          "--no-deps", "--dest", str(folder)])  # fmt: skip
    _pip([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder),
          str(ROOT / "logstack_django")])  # fmt: skip
    names = "".join(f"{entry.split()[0]}\n" for entry in pinned)
    (folder / "requirements.txt").write_text(names, encoding="utf-8")


def _pip(argv: list[str]) -> None:
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        tail = last_lines(result.stderr, 5)
        raise DockerError(f"cannot get the wheels of the sample app:\n{tail}")


def debootstrap(image: str, packages: Sequence[str], changes: Sequence[str] = ()) -> None:
    """Make an image from the distribution's packages. Raises DockerError.

    `changes`: instructions of a Dockerfile that need no build, such as `CMD ["/sbin/init"]`.
    """
    if shutil.which("debootstrap") is None:
        raise DockerError(
            "cannot make a base image: debootstrap is not on PATH. Run: apt-get install debootstrap"
        )
    with TemporaryDirectory(prefix="logstack-base-") as scratch:
        root, archive = Path(scratch) / "root", Path(scratch) / "root.tar"
        steps = (
            ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", SUITE,
             str(root)],
            ["tar", "--create", f"--file={archive}", f"--directory={root}",
             "--exclude=./var/cache/apt/*", "--exclude=./proc/*", "--exclude=./sys/*", "."],
        )  # fmt: skip
        for argv in steps:
            result = subprocess.run(argv, capture_output=True, text=True, check=False)
            if result.returncode != 0:
                tail = last_lines(result.stdout + result.stderr, 5)
                raise DockerError(f"`{argv[0]}` ended with {result.returncode} (root?):\n{tail}")
        options = [f"--change={change}" for change in changes]
        ask("import", *options, str(archive), image)


def _debootstrap(on_progress: OnProgress) -> str:
    """The base image, made once. Raises DockerError."""
    if run("image", "inspect", BASE_IMAGE).returncode != 0:
        on_progress("base", "debootstrap")
        debootstrap(BASE_IMAGE, ("python3", "python3-venv"))
    return BASE_IMAGE
