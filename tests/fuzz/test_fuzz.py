"""Half a minute of fuzzing for each decoder of what may be hostile, from the kept corpus on (`make fuzz` is the long form)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from support.place import CHECKOUT, SOAK
from support.turns import turn

from . import seeds

SECONDS = 3600 if SOAK else 30


@pytest.fixture(scope="module")
def targets() -> Path:
    """The folder of the fuzzers, built."""
    if not shutil.which("clang"):
        pytest.skip("no clang here (Debian: apt-get install clang)")
    with turn("build"):
        done = subprocess.run(["make", "-s", "-C", CHECKOUT / "native", "fuzz"], capture_output=True, text=True)
    if done.returncode and "cannot find" in done.stderr and "fuzzer" in done.stderr:
        pytest.skip("this clang comes without libFuzzer (Debian: apt-get install libclang-rt-dev)")
    assert done.returncode == 0, done.stderr
    return CHECKOUT / "native/build"


@pytest.mark.parametrize("name", ["plan", "tar", "dns"])
def test_no_bytes_break_the_decoder(targets: Path, name: str, tmp_path: Path) -> None:
    seeds.write(tmp_path)
    corpus = [tmp_path / name, *(p for p in [CHECKOUT / "tests/fuzz/corpus" / name] if p.is_dir())]
    words = [
        targets / f"fuzz-{name}",
        f"-max_total_time={SECONDS}",
        "-max_len=65536",
        "-timeout=10",
        f"-artifact_prefix={tmp_path}/",
        *corpus,
    ]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]


def test_seeds_of_plans_are_accepted_and_refused_as_the_launcher_would(targets: Path, tmp_path: Path) -> None:
    """The sanitized decoder takes the plan of nothing but an end, and no plan that is cut short."""
    with turn("build"):
        subprocess.run(["make", "-s", "-C", CHECKOUT / "native", "sanitize"], check=True, capture_output=True)
    whole = seeds.plan_seeds()["empty"]
    for size in range(len(whole)):
        part = tmp_path / "part"
        part.write_bytes(whole[:size])
        assert subprocess.run([CHECKOUT / "native/build/plan-check", part], capture_output=True).returncode == 1
    part.write_bytes(whole)
    assert subprocess.run([CHECKOUT / "native/build/plan-check", part], capture_output=True).returncode == 0
