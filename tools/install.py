"""Build wherry's wheel from this checkout and install it into the environment whose Python runs this.

With pip when it is there; where it is not, or where it can't fetch the two libraries (a machine without a network), the wheel is
unpacked here: it holds Python files, one static program and one script, and needs nothing more.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "_build"))

import wherry_build  # noqa: E402


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(folder, wherry_build.build_wheel(folder))
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "-q",
            "--force-reinstall",
            "--root-user-action=ignore",
        ]
        for words in ([*pip, str(wheel)], [*pip, "--no-deps", str(wheel)]):
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode == 0:
                return
        unpack(wheel)


def unpack(wheel: Path) -> None:
    site, scripts = Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("scripts"))
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            data = archive.read(info)
            top, _, rest = info.filename.partition("/")
            if top.endswith(".data"):
                target = scripts / rest.removeprefix("scripts/")
                data = data.replace(b"#!python", f"#!{sys.executable}".encode(), 1)
            else:
                target = site / info.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)  # the program may be running
            target.write_bytes(data)
            target.chmod(info.external_attr >> 16 & 0o777)


main()
