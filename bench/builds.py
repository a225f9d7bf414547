"""Builds beside BuildKit (docker.io), buildah and podman on this machine, interleaved, in one run. As root. Prints a table in Markdown.

bench/builds.py [--rows cold,cached,…] [--peers wherry,docker,buildah,podman] [--rounds 10]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

import machine  # noqa: E402

from support.installed import install  # noqa: E402

THREE = """
FROM busybox AS one
COPY src/d0 /src/d0
RUN cat /src/d0/* | md5sum > /one
FROM busybox AS two
COPY src /src
ADD archive.tar.gz /unpacked
RUN for i in $(seq 200); do echo $i > /src/made$i; done
FROM busybox
COPY --from=one /one /one
COPY --from=two /src /src
COPY --from=two /unpacked /unpacked
CMD ["sh"]
"""
WIDE = (
    "".join(f"FROM busybox AS s{n}\nRUN sleep 0.5; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo {n} > /{n}\n" for n in range(8))
    + "FROM busybox\n"
    + "".join(f"COPY --from=s{n} /{n} /\n" for n in range(8))
)


class Builder:
    """One of those that are measured. `build(folder, flags)` gives seconds."""

    def __init__(self, name: str, words: list[str], env: dict[str, str]) -> None:
        self.name = name
        self.words = words
        self.env = {**os.environ, **env}

    def run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run([*self.words, *words], env=self.env, capture_output=True)
        if done.returncode:
            raise SystemExit(f"{self.name} {' '.join(words)}: {done.stderr.decode(errors='replace')[-2000:]}")
        return done

    def build(self, folder: Path, *flags: str) -> float:
        layers = ["--layers"] if self.name in ("buildah", "podman") and "--no-cache" not in flags else []
        verb = "bud" if self.name == "buildah" else "build"
        begun = time.monotonic()
        self.run(verb, "-q", "-t", "measured", "--network=none", *layers, *flags, str(folder))
        return time.monotonic() - begun


def contexts(base: Path) -> dict[str, Path]:
    """The folders that are built: three stages over 5,000 files (50 MB), 20 steps, eight stages, 100,000 files."""
    found = {name: base / name for name in ("three", "twenty", "wide", "many", "handover")}
    for folder in found.values():
        folder.mkdir()
    for number in range(5000):
        path = found["three"] / f"src/d{number % 50}/f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(10_000))
    with tarfile.open(found["three"] / "archive.tar.gz", "w:gz") as tar:
        tar.add(found["three"] / "src/d1", "d1")
    for number in range(100_000):
        path = found["many"] / f"d{number % 500}/f{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"%d\n" % number)
    (found["three"] / "Dockerfile").write_text(THREE)
    (found["twenty"] / "Dockerfile").write_text("FROM busybox\n" + "".join(f"RUN true {n}\n" for n in range(20)))
    (found["wide"] / "Dockerfile").write_text(WIDE)
    (found["many"] / "Dockerfile").write_text("FROM busybox\nCOPY . /all\n")
    script = "mkdir /o; i=0; while [ $i -lt 10000 ]; do echo $i > /o/$i; i=$((i+1)); done; head -c 400000000 /dev/zero > /big; echo end"
    (found["handover"] / "Dockerfile").write_text(f"FROM busybox\nRUN {script}\nRUN true\n")
    return found


def changed(builder: Builder, places: dict[str, Path]) -> float:
    (places["three"] / "src/d2/f2").write_bytes(os.urandom(10_000))
    return builder.build(places["three"])


ROWS: dict[str, tuple[str, Callable[[Builder, dict[str, Path]], float]]] = {
    "cold": ("three stages, 5,000 files, `--no-cache`", lambda b, p: b.build(p["three"], "--no-cache")),
    "cached": ("the same, fully cached", lambda b, p: b.build(p["three"])),
    "changed": ("one file of 5,000 changed", changed),
    "twenty": ("20 RUN steps of `true`, `--no-cache`", lambda b, p: b.build(p["twenty"], "--no-cache")),
    "wide": ("8 independent stages that sleep and compute", lambda b, p: b.build(p["wide"], "--no-cache")),
    "many": ("100,000 files, nothing changed", lambda b, p: b.build(p["many"])),
}


def handover(builder: Builder, places: dict[str, Path]) -> float:
    """Seconds from the last word of a RUN that wrote 400 MB and 10,000 files to the begin of the next step (wherry only)."""
    done = builder.run("build", "--no-cache", "--network=none", "--progress", "rawjson", str(places["handover"]))
    events = [json.loads(line) for line in done.stderr.splitlines()]
    said = [_at(entry["timestamp"]) for e in events for entry in e.get("logs", ())]
    begun = [_at(v["started"]) for e in events for v in e.get("vertexes", ()) if v["name"].endswith("RUN true")]
    return begun[0] - said[-1]


def _at(text: str) -> float:
    head, _, rest = text.partition(".")
    return datetime.fromisoformat(head + "+00:00").timestamp() + float("0." + rest.rstrip("Z"))


def memory(builder: Builder, places: dict[str, Path]) -> float:
    """The most that wherry's own processes have together (PSS) while the three stages are built, in MB."""
    process = subprocess.Popen(
        [*builder.words, "build", "-q", "--no-cache", "--network=none", str(places["three"])], env=builder.env, stdout=subprocess.DEVNULL
    )
    most = 0
    while process.poll() is None:
        most = max(most, sum(_pss(pid) for pid in (process.pid, *_below(process.pid))))
        time.sleep(0.02)
    return most / 1024


def _below(pid: int) -> list[int]:
    try:
        children = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return children + [p for child in children for p in _below(child)]


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--peers", default="wherry,docker,buildah,podman")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="wbb"))
    base.chmod(0o755)
    rootfs = base / "rootfs.tar"
    subprocess.run([sys.executable, str(HERE.parent / "tools/rootfs.py"), str(rootfs)], check=True)
    daemon = None
    try:
        builders, daemon = peers(base, options.peers.split(","))
        for builder in builders:
            builder.run("import", str(rootfs), "busybox") if builder.name != "buildah" else imported(builder, rootfs, base)
        places = contexts(base)
        print(machine.describe(), flush=True)
        table(builders, places, options.rows.split(","), options.rounds)
    finally:
        if daemon is not None:
            daemon.terminate()
            daemon.wait(30)
        clear(base)


def peers(base: Path, names: list[str]) -> tuple[list[Builder], subprocess.Popen[bytes] | None]:
    found: list[Builder] = []
    daemon = None
    if "wherry" in names:
        found.append(Builder("wherry", [str(install(base)), "--root", str(base / "w"), "--runroot", str(base / "wr")], {}))
    if "docker" in names and shutil.which("dockerd"):
        socket = f"unix://{base}/docker.sock"
        words = [
            f"--data-root={base}/d",
            f"--exec-root={base}/de",
            f"--pidfile={base}/dpid",
            "--iptables=false",
            "--bridge=none",
            "-H",
            socket,
        ]
        daemon = subprocess.Popen(["dockerd", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        program = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
        found.append(Builder("docker", [program], {"DOCKER_HOST": socket, "DOCKER_BUILDKIT": "1", "HOME": str(base)}))
        for _ in range(200):
            if subprocess.run([program, "version"], env=found[-1].env, capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
    storage = ["--root", str(base / "c"), "--runroot", str(base / "cr"), "--storage-driver", "overlay"]
    if "buildah" in names and shutil.which("buildah"):
        found.append(Builder("buildah", ["buildah", *storage], {"BUILDAH_ISOLATION": "oci"}))
    if "podman" in names and shutil.which("podman"):
        found.append(Builder("podman", ["podman", *storage, "--cgroup-manager=cgroupfs"], {}))
    return found, daemon


def imported(builder: Builder, rootfs: Path, base: Path) -> None:
    """buildah has no import: FROM scratch and ADD."""
    folder = base / "import"
    folder.mkdir()
    shutil.copy(rootfs, folder / "rootfs.tar")
    (folder / "Dockerfile").write_text('FROM scratch\nADD rootfs.tar /\nCMD ["sh"]\n')
    builder.run("bud", "-q", "-t", "busybox", str(folder))


def table(builders: list[Builder], places: dict[str, Path], rows: list[str], rounds: int) -> None:
    print("\n| work (median, ms) | " + " | ".join(b.name for b in builders) + " |")
    print("|---" * (len(builders) + 1) + "|")
    for key in rows:
        title, measure = ROWS[key]
        times: dict[str, list[float]] = {b.name: [] for b in builders}
        for number in range(rounds + 1):
            for builder in builders:
                took = measure(builder, places)
                if number:
                    times[builder.name].append(took)
        own = statistics.median(times[builders[0].name])
        cells = [f"{statistics.median(t) * 1000:.0f} ({own / statistics.median(t):.2f})" for t in times.values()]
        print(f"| {title} | " + " | ".join(cells) + " |", flush=True)
    if builders[0].name == "wherry":
        taken = [handover(builders[0], places) for _ in range(3)]
        print(f"\nFrom the end of a RUN that wrote 400 MB and 10,000 files to the next step: {min(taken) * 1000:.1f} ms (least of 3)")
        print(f"Most memory while building (PSS, all processes of ours): {memory(builders[0], places):.0f} MB")


def clear(base: Path) -> None:
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for path in sorted((m for m in mounts if m.startswith(str(base))), reverse=True):
        subprocess.run(["umount", "-l", path], check=False)
    shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
