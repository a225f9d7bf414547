"""The build backend (PEP 517, 660): makes the sdist and the one wheel `py3-none-<platform>`.

Why our own: the wheel has a native *program* in it (no extension module), and the command must be a plain script, as the one
that pip generates for an entry point imports `re` before it does anything. Both are a few lines here and a fight with any
general backend; and with no requirements of its own it builds offline.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import subprocess
import tarfile
import time
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NATIVE = "wherry/_bin/wherry-native"
SCRIPT = b"#!python\nfrom wherry.cli.main import main\n\nmain()\n"
SDIST_TREES = ("_build", "bench", "docs", "native", "src", "tests", "tools")
SDIST_FILES = ("pyproject.toml", "Makefile", "README.md", "LICENSE", "CHANGELOG.md", "SECURITY.md", ".gitignore", ".ci/run")
JUNK = re.compile(r"(^|/)(__pycache__|[^/]*\.pyc|native/build|_bin)(/|$)")


# ---- what pip calls ------------------------------------------------------------------------------------------------------


def get_requires_for_build_wheel(config_settings: object = None) -> list[str]:
    return []


get_requires_for_build_sdist = get_requires_for_build_editable = get_requires_for_build_wheel


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: object = None) -> str:
    name = f"{_stem()}.dist-info"
    folder = Path(metadata_directory, name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "METADATA").write_bytes(_metadata())
    return name


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def build_wheel(wheel_directory: str, config_settings: object = None, metadata_directory: str | None = None) -> str:
    binary = _native()
    files = {NATIVE: binary}
    for path in _tree(ROOT / "src" / "wherry"):
        files[path.relative_to(ROOT / "src").as_posix()] = path
    return _write_wheel(wheel_directory, _platform(binary), files, {})


def build_editable(wheel_directory: str, config_settings: object = None, metadata_directory: str | None = None) -> str:
    binary = _native()
    return _write_wheel(wheel_directory, _platform(binary), {}, {"wherry-editable.pth": f"{ROOT / 'src'}\n".encode()})


def build_sdist(sdist_directory: str, config_settings: object = None) -> str:
    stem = _stem()
    name = f"{stem}.tar.gz"
    paths = [ROOT / f for f in SDIST_FILES if (ROOT / f).is_file()]
    for tree in SDIST_TREES:
        paths += _tree(ROOT / tree)
    with tarfile.open(Path(sdist_directory, name), "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(paths):
            member = tarfile.TarInfo(f"{stem}/{path.relative_to(ROOT).as_posix()}")
            data = path.read_bytes()
            member.size, member.mtime, member.mode = len(data), _now(), 0o755 if os.access(path, os.X_OK) else 0o644
            tar.addfile(member, io.BytesIO(data))
        member = tarfile.TarInfo(f"{stem}/PKG-INFO")
        member.size, member.mtime = len(_metadata()), _now()
        tar.addfile(member, io.BytesIO(_metadata()))
    return name


# ---- the parts -----------------------------------------------------------------------------------------------------------


def _native() -> Path:
    """Build the native program with `make -C native` and return the path of it."""
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    try:
        done = subprocess.run(
            ["make", "-C", str(ROOT / "native")], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    except FileNotFoundError:
        raise SystemExit(
            "wherry needs make and a C compiler to be built from source (Debian: apt-get install make gcc libc6-dev, better with musl-tools)"
        ) from None
    if done.returncode:
        raise SystemExit(f"building wherry's native program failed:\n{done.stdout}")
    return ROOT / "src" / NATIVE


def _platform(binary: Path) -> str:
    """The platform tag. A static program runs under any libc, so it takes the oldest tags of both that pip knows."""
    with open(binary, "rb") as f:
        head = f.read(64)
        if head[:4] != b"\x7fELF":
            raise SystemExit(f"{binary} is not a Linux program")
        wide, order = head[4] == 2, "little" if head[5] == 1 else "big"
        machine = int.from_bytes(head[18:20], order)
        offset = int.from_bytes(head[32:40] if wide else head[28:32], order)
        size, count = (int.from_bytes(head[a : a + 2], order) for a in ((54, 56) if wide else (42, 44)))
        f.seek(offset)
        headers = f.read(size * count)
    static = all(int.from_bytes(headers[i * size : i * size + 4], order) != 3 for i in range(count))  # no PT_INTERP
    arch = {3: "i686", 21: "ppc64le", 22: "s390x", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}.get(
        machine, os.uname().machine
    )
    if not static or arch not in ("x86_64", "aarch64", "i686", "ppc64le", "s390x", "armv7l"):
        return f"linux_{arch}"
    return f"manylinux_2_17_{arch}.musllinux_1_1_{arch}"


def _write_wheel(directory: str, platform: str, files: dict[str, Path], texts: dict[str, bytes]) -> str:
    stem = _stem()
    tag = f"py3-none-{platform}"
    # the WHEEL file lists each simple tag of the compressed set on its own line
    tags = "".join(f"Tag: py3-none-{p}\n" for p in platform.split("."))
    contents: list[tuple[str, bytes, int]] = []
    for name in sorted(files):
        contents.append((name, files[name].read_bytes(), 0o755 if name == NATIVE else 0o644))
    contents += [(name, data, 0o644) for name, data in sorted(texts.items())]
    contents.append((f"{stem}.data/scripts/wherry", SCRIPT, 0o755))
    contents.append((f"{stem}.dist-info/METADATA", _metadata(), 0o644))
    contents.append((f"{stem}.dist-info/licenses/LICENSE", (ROOT / "LICENSE").read_bytes(), 0o644))
    contents.append(
        (f"{stem}.dist-info/WHEEL", f"Wheel-Version: 1.0\nGenerator: wherry_build\nRoot-Is-Purelib: false\n{tags}".encode(), 0o644)
    )
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data, _ in contents)
    contents.append((f"{stem}.dist-info/RECORD", f"{record}{stem}.dist-info/RECORD,,\n".encode(), 0o644))
    file_name = f"{stem}-{tag}.whl"
    with zipfile.ZipFile(Path(directory, file_name), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data, mode in contents:
            info = zipfile.ZipInfo(name, time.gmtime(max(_now(), 315532800))[:6])
            info.external_attr = (0o100000 | mode) << 16  # a regular file: pip takes the mode from here
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return file_name


def _metadata() -> bytes:
    project = _project()
    lines = ["Metadata-Version: 2.4", f"Name: {project['name']}", f"Version: {_version()}", f"Summary: {project['description']}"]
    lines += [f"Keywords: {','.join(project['keywords'])}", f"Requires-Python: {project['requires-python']}"]
    lines += [f"License-Expression: {project['license']}", "License-File: LICENSE"]
    lines += [f"Classifier: {c}" for c in project["classifiers"]]
    lines += [f"Requires-Dist: {d}" for d in project["dependencies"]]
    for extra, wanted in project["optional-dependencies"].items():
        lines += [f"Provides-Extra: {extra}", *(f'Requires-Dist: {d}; extra == "{extra}"' for d in wanted)]
    lines += ["Description-Content-Type: text/markdown", "", (ROOT / "README.md").read_text(encoding="utf-8")]
    return "\n".join(lines).encode()


def _project() -> dict[str, object]:
    with open(ROOT / "pyproject.toml", "rb") as f:
        return tomllib.load(f)["project"]  # type: ignore[no-any-return]


def _version() -> str:
    text = (ROOT / "src/wherry/version.py").read_text(encoding="utf-8")
    found = re.search(r'^VERSION = "([^"]+)"', text, re.MULTILINE)
    if not found:
        raise SystemExit("src/wherry/version.py does not say VERSION")
    return found[1]


def _stem() -> str:
    return f"wherry-{_version()}"


def _tree(top: Path) -> list[Path]:
    return sorted(p for p in top.rglob("*") if p.is_file() and not JUNK.search(p.relative_to(ROOT).as_posix()))


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _now() -> int:
    return int(os.environ.get("SOURCE_DATE_EPOCH") or 1735689600)  # a fixed date keeps builds reproducible
