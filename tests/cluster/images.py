"""The images of the cluster tests, made on the spot from packages; each is cached by a hash of what goes into it.

In the cluster they are called localhost/boxoffice/NAME:dev, which nobody looks for in a registry.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from boxoffice.embedded import k6_binary, valkey_binary
from boxoffice.local import installed
from tests.cluster.alone import alone
from tests.cluster.programs import CACHE, ROOT, programs

ARCHIVES = CACHE / "images"
DOCKERFILES = Path(__file__).parent / "dockerfiles"
PACKAGES = ("python3", "python-is-python3", "ca-certificates", "tzdata")
"""Of the base, beside the few that make a Debian."""
SETTINGS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf", "/etc/apt/apt.conf.d")
"""Of this machine; a build needs them to reach what it fetches, and the image does not keep them."""

PROJECT = (
    "Dockerfile",
    ".dockerignore",
    "pyproject.toml",
    "*.lock",
    "README.md",
    "LICENSE",
    "src",
    "load",
    "manifests",
    "operator",
)


class ImageError(Exception):
    pass


@dataclass(frozen=True)
class Image:
    """`contexts`: folders that the Dockerfile copies from, by name. `files`: what else it depends on."""

    name: str
    folder: Path
    parents: Sequence[str] = ()
    arguments: Sequence[str] = ()
    contexts: dict[str, Path] = field(default_factory=dict)
    files: Sequence[Path] = ()

    @property
    def full_name(self) -> str:
        return f"localhost/boxoffice/{self.name}:dev"


def in_cluster() -> list[str]:
    """The names of those that pods use."""
    return ["pause", "base", "app", "next", "k6", "valkey", "kafka", "mysql", "prometheus", "exporter"]


def _catalogue() -> dict[str, Image]:
    valkey, k6, bin = valkey_binary(), k6_binary(), programs()
    kafka, mysql = installed("Kafka"), installed("MySQL")
    from_base = ["base"]
    images = [
        Image("base", DOCKERFILES / "base", arguments=PACKAGES),
        Image("build-base", DOCKERFILES / "build-base", from_base),
        Image("pause", DOCKERFILES / "pause", contexts={"programs": bin}, files=[bin / "pause"]),
        Image("k6-base", DOCKERFILES / "k6-base", contexts={"wheel": k6.parent}, files=[k6]),
        Image("valkey", DOCKERFILES / "valkey", from_base, contexts={"wheel": valkey.parent}, files=[valkey]),
        Image("kafka", DOCKERFILES / "kafka", from_base, contexts={"jars": kafka}, files=[kafka / "pom.xml"]),
        Image("mysql", DOCKERFILES / "mysql", from_base, contexts={"tree": mysql}, files=[mysql / "usr/sbin/mysqld"]),
        Image("prometheus", DOCKERFILES / "prometheus", from_base),
        Image("exporter", DOCKERFILES / "exporter", from_base),
        Image("k6", ROOT / "load", ["k6-base"], ["BASE=localhost/boxoffice/k6-base:dev"]),
        Image(
            "app",
            ROOT,
            ["base", "build-base"],
            ["BASE=localhost/boxoffice/base:dev", "BUILD_BASE=localhost/boxoffice/build-base:dev"],
        ),
        Image("next", DOCKERFILES / "next", ["app"]),
    ]
    return {image.name: image for image in images}


class Images:
    """`say` is told what is built, a line each."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._catalogue = _catalogue()

    def make(self, names: Sequence[str]) -> list[Path]:
        """Their archives; what is missing or out of date is built. Raises ImageError."""
        with alone("images", self.say):
            return [self._archive(self._catalogue[name]) for name in names]

    def _archive(self, image: Image) -> Path:
        archive = ARCHIVES / f"{image.name}-{self._hash(image)}.tar"
        if not archive.exists():
            _install_tools(self.say)
            self._build(image)
            self._export(image, archive)
        return archive

    def _hash(self, image: Image) -> str:
        digest = hashlib.sha256()
        for parent in image.parents:
            digest.update(self._hash(self._catalogue[parent]).encode())
        for argument in image.arguments:
            digest.update(argument.encode())
        for path in [*_tracked(image.folder), *image.files]:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()[:12]

    def _build(self, image: Image) -> None:
        """Parents first, if they are not in buildah's storage as they should be now."""
        tag = f"{image.full_name.removesuffix('dev')}{self._hash(image)}"
        if not _buildah("images", "--quiet", "--filter", f"reference={tag}"):
            for parent in image.parents:
                self._build(self._catalogue[parent])
            began = time.monotonic()
            self.say(f"building the image {image.name}")
            _build(image, tag)
            self.say(f"built the image {image.name} in {time.monotonic() - began:.0f} s")
        _buildah("tag", tag, image.full_name)
        self._forget(image, tag)

    def _forget(self, image: Image, kept: str) -> None:
        """Older ones of that name."""
        every = image.full_name.removesuffix(":dev")
        for tag in _buildah("images", "--format={{.Name}}:{{.Tag}}", f"--filter=reference={every}").split():
            if tag not in (kept, image.full_name):
                _buildah("rmi", tag)

    def _export(self, image: Image, archive: Path) -> None:
        for old in ARCHIVES.glob(f"{image.name}-{'?' * 12}.tar"):
            old.unlink()
        unfinished = archive.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        _buildah("push", "--quiet", image.full_name, f"oci-archive:{unfinished}:{image.full_name}")
        unfinished.rename(archive)


def _build(image: Image, tag: str) -> None:
    if image.name == "base":
        with tempfile.TemporaryDirectory(dir=ARCHIVES) as folder:
            shutil.copy(image.folder / "Dockerfile", folder)
            _debian(Path(folder) / "root.tar", image.arguments)
            _buildah("build", "--quiet", f"--tag={tag}", folder)
        return
    arguments = [f"--build-arg={argument}" for argument in image.arguments]
    contexts = [f"--build-context={name}={path}" for name, path in image.contexts.items()]
    mounts = [f"--volume={path}:{path}:ro" for path in SETTINGS if Path(path).exists()]
    _buildah("build", "--layers", "--pull-never", *arguments, *contexts, *mounts, f"--tag={tag}", str(image.folder))


def _debian(archive: Path, packages: Sequence[str]) -> None:
    """From the archive that this machine's own apt uses."""
    leave_out = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"]
    options = [f"--dpkgopt=path-exclude={path}" for path in leave_out]
    release = _os_release("VERSION_CODENAME")
    listed = _run(["apt-get", "indextargets", "--format", SOURCE, "Created-By: Packages"])
    sources = "\n".join(line.partition("|")[2] for line in listed.splitlines() if line.startswith("Debian"))
    if not sources:
        raise ImageError("the images are made from Debian's packages, and apt knows no Debian archive here")
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", *options]
    _run([*command, release, str(archive), "-"], sources)


SOURCE = "$(LABEL)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)"


def _os_release(name: str) -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)[name].strip('"')


def _tracked(folder: Path) -> Iterator[Path]:
    """What git knows or would take in, so no bytecode and nothing that was built; of the project, what is copied."""
    wanted = PROJECT if folder == ROOT else ["."]
    listed = _run(["git", "-C", str(folder), "ls-files", "-z", "-co", "--exclude-standard", *wanted])
    for name in sorted(set(listed.split("\0")) - {""}):
        if (folder / name).is_file():
            yield folder / name


def _install_tools(say: Callable[[str], None]) -> None:
    missing = [tool for tool in ("buildah", "mmdebstrap") if not shutil.which(tool)]
    if not missing:
        return
    if os.getuid() or not shutil.which("apt-get"):
        raise ImageError(f"{' and '.join(missing)} is missing; as root: apt-get install {' '.join(missing)}")
    say(f"installing {' and '.join(missing)} (Debian packages)")
    _run(["apt-get", "update", "-qq"])
    _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing])


def _buildah(*arguments: str) -> str:
    ARCHIVES.mkdir(parents=True, exist_ok=True)
    storage = [f"--root={ARCHIVES}/storage", f"--runroot={ARCHIVES}/run", "--storage-driver=overlay"]
    return _run(["buildah", *storage, *arguments])


def _run(command: Sequence[str], input: str = "") -> str:
    """What it said. Raises ImageError."""
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, input=input, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ImageError(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout
