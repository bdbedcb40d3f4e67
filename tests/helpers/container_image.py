"""The real Dockerfile, built and run by buildah where there is no Docker engine and no registry.

The base image is a stand-in: Debian's packages of the same release, under the name that the Dockerfile gives. What pip
is told on this machine (an index, a certificate) is told to the build by mounted files, so that no layer holds it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

__all__ = ["ROOT", "Buildah", "Container", "Image", "building", "programs_of", "what_is_missing"]

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
_TAG = "localhost/motherlode:tested"
_NEEDED_BYTES = 8e9
# Slim images have apt, and with it libstdc++, on which wheels rely.
_PACKAGES = ("?essential", "apt", "passwd", "python3.11", "python3.11-venv")
_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


def what_is_missing() -> str | None:
    """What keeps an image from being built here; None if nothing does."""
    missing = [name for name in ("buildah", "mmdebstrap") if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian packages of these names)"
    return None if os.geteuid() == 0 else "buildah's isolation by chroot is for root"


@dataclass(frozen=True)
class Buildah:
    """The program with a storage of its own."""

    storage: Path

    def command(self, *arguments: str) -> list[str]:
        """The command line."""
        return ["buildah", "--root", str(self.storage / "root"), "--runroot", str(self.storage / "run"), *arguments]

    def __call__(self, *arguments: str, limit_s: float = 900.0) -> str:
        """What it prints; a failure of the test if it fails."""
        done = subprocess.run(self.command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=limit_s)
        assert done.returncode == 0, f"buildah {' '.join(arguments[:2])}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout


@dataclass(frozen=True)
class Image:
    """The built image."""

    buildah: Buildah
    name: str
    said: str
    """What the build printed."""

    @property
    def configuration(self) -> dict[str, Any]:
        """Env, User, Cmd, Entrypoint, Healthcheck, ..."""
        found: dict[str, Any] = json.loads(self.buildah("inspect", "--type", "image", self.name))["Docker"]["config"]
        return found

    @property
    def variables(self) -> dict[str, str]:
        """Its environment."""
        return dict(one.split("=", 1) for one in self.configuration["Env"])

    @property
    def history(self) -> str:
        """Every layer's command."""
        return json.dumps(json.loads(self.buildah("inspect", "--type", "image", self.name))["Docker"]["history"])

    @contextmanager
    def container(self) -> Iterator[Container]:
        """A container of it; what was started in it is ended."""
        name = self.buildah("from", "--pull-never", self.name).strip()
        container = Container(self, name)
        try:
            yield container
        finally:
            container.stop_all()
            self.buildah("rm", name)


@dataclass
class Container:
    """Where the image runs, as the user it names, on the network of this machine."""

    image: Image
    name: str
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def files(self) -> Path:
        """Its file system."""
        return Path(self.image.buildah("mount", self.name).strip())

    def command(self, *command: str, env: Mapping[str, str], volumes: Mapping[Path, str]) -> list[str]:
        """The command line that runs a command in it."""
        options = [f"--env={key}={value}" for key, value in env.items()]
        options += [f"--volume={source}:{target}" for source, target in volumes.items()]
        # Docker puts the entrypoint before the command; buildah leaves that to the caller.
        return self.image.buildah.command("run", "--isolation=chroot", *options, self.name, "--", *command)

    def run(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        volumes: Mapping[Path, str] | None = None,
        limit_s: float = 300.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, as `docker exec` does: without the entrypoint."""
        line = self.command(*command, env=env or {}, volumes=volumes or {})
        return subprocess.run(line, capture_output=True, text=True, timeout=limit_s)

    def start(
        self, command: Sequence[str], env: Mapping[str, str], volumes: Mapping[Path, str], log: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start the entrypoint with a command, as `docker run` does."""
        entrypoint = self.image.configuration["Entrypoint"]
        line = self.command(*entrypoint, *command, env=env, volumes=volumes)
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        self._started.append(process)
        return process

    def stop_all(self) -> None:
        """End what was started, politely first."""
        for process in self._started:
            family = programs_of(process)
            for sign in (signal.SIGTERM, signal.SIGKILL):
                for one in family:
                    with suppress(psutil.NoSuchProcess):
                        one.send_signal(sign)
                _gone, family = psutil.wait_procs(family, timeout=30)
            process.kill()
            process.wait(60)
        self._started.clear()


def programs_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes of a container, without buildah's own."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [child for child in children if "buildah" not in child.name()]


def _base(buildah: Buildah, folder: Path) -> None:
    """A stand-in for the base image that the Dockerfile names."""
    found = re.search(r"^ARG PYTHON=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert found is not None
    name = f"docker.io/library/{found[1]}"
    if name in buildah("images", "--format", "{{.Name}}:{{.Tag}}").split():
        return
    release = name.rpartition("-")[2]
    archive = folder / "base.tar"
    done = subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=extract", "--format=tar"),
            *(f"--include={package}" for package in _PACKAGES),
            *(release, str(archive)),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"TMPDIR": str(folder)},
    )
    assert done.returncode == 0, f"mmdebstrap: {done.stderr[-4000:]}"
    container = buildah("from", "scratch").strip()
    buildah("add", container, str(archive), "/")
    archive.unlink()
    files = Path(buildah("mount", container).strip())
    # Packages were unpacked, not configured: what their scripts would have made and is needed.
    for kind in ("passwd", "group"):
        shutil.copy(files / f"usr/share/base-passwd/{kind}.master", files / "etc" / kind)
    (files / "usr/local/bin").mkdir(parents=True, exist_ok=True)
    for program in ("python", "python3", "python3.11"):
        (files / "usr/local/bin" / program).symlink_to("/usr/bin/python3.11")
    buildah("config", "--env", f"PATH={_PATH}", "--cmd", "python3", container)
    buildah("commit", "--quiet", "--rm", container, name)


def _pip_volumes(folder: Path) -> list[str]:
    """What pip is told on this machine, as files that the build sees for as long as it lasts."""
    done = subprocess.run(["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    told: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition("=")
        told.setdefault(key.rpartition(".")[2], set()).update(value.strip("'\"").replace("\\n", " ").split())
    settings = folder / "pip.conf"
    settings.write_text("[global]\n" + "".join(f"{key} = {' '.join(sorted(said))}\n" for key, said in told.items()))
    shown = set()
    for key, said in told.items():
        for place in (Path(word.removeprefix("file://")) for word in said):
            if place.is_absolute() and place.exists():
                # A certificate may be a link to one beside it; the files of an index lie beside it too.
                shown.add(place.parent if place.is_file() or key.endswith("index-url") else place)
    return [f"--volume={settings}:/etc/pip.conf:ro", *(f"--volume={place}:{place}:ro" for place in sorted(shown))]


def _roomy() -> str | None:
    """Memory, if there is enough: an image is a hundred thousand small files."""
    memory = Path("/dev/shm")
    free = min(psutil.virtual_memory().available, shutil.disk_usage(memory).free) if memory.is_dir() else 0
    return str(memory) if free > _NEEDED_BYTES else None


@contextmanager
def building() -> Iterator[Image]:
    """The image of docker/Dockerfile, built from this source tree.

    With MOTHERLODE_IMAGES in the environment its layers are kept in that folder, and what did not change is not built
    again.
    """
    kept = os.environ.get("MOTHERLODE_IMAGES")
    with tempfile.TemporaryDirectory(prefix="image-", dir=_roomy()) as temporary:
        folder = Path(temporary)
        buildah = Buildah(Path(kept) if kept else folder / "storage")
        buildah.storage.mkdir(exist_ok=True)
        try:
            _base(buildah, folder)
            # Layers of their own cost time, and gain something only if they are kept.
            layers = "--layers=true" if kept else "--layers=false"
            options = ("--pull-never", "--isolation=chroot", "--format=docker", layers, *_pip_volumes(folder))
            said = buildah("build", *options, "--file", str(DOCKERFILE), "--tag", _TAG, str(ROOT))
            yield Image(buildah, _TAG, said)
        finally:
            buildah("rm", "--all")
            if not kept:
                buildah("rmi", "--all", "--force")
