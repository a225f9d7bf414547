"""The unpacker's reading of tar itself: every form that tools write, damage of every kind, and what must not be read differently."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import tars
from support.tars import FOLDER, LINK, SYMLINK, Unpacker, member, stream


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Unpacker | None:
    return tars.sanitized(tmp_path_factory.mktemp("sanitized"))


@pytest.fixture
def unpack(command: Path, sanitized: Unpacker | None) -> Unpacker:
    return sanitized or tars.shipped(command)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "root"
    folder.mkdir()
    yield folder
    subprocess.run(["chmod", "-R", "u+rwx", str(folder)], check=False, capture_output=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of all lengths around a block, long and odd names, holes."""
    found = tmp_path / "tree"
    deep = found / ("long-" * 30) / ("name-" * 30) / "\N{LATIN SMALL LETTER E WITH ACUTE}"
    deep.mkdir(parents=True)
    for size in (0, 1, 511, 512, 513, 70_000):
        (deep / f"f{size}").write_bytes(bytes(i % 251 for i in range(size)))
    (found / ("link-" * 25)).symlink_to("x" * 300)
    os.link(deep / "f513", found / "hard")
    with open(found / "holes", "wb") as file:
        for at in (0, 1 << 20, 3 << 20, (5 << 20) - 7):
            file.seek(at)
            file.write(b"data" * 1000)
        file.truncate(9 << 20)
    with open(found / "hole-only", "wb") as file:
        file.truncate(1 << 20)
    with open(found / "many-holes", "wb") as file:
        for number in range(200):
            file.seek(number * 16384)
            file.write(b"%d" % number)
    return found


def content(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for top, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(top) / name
            key = str(path.relative_to(folder))
            if path.is_symlink():
                found[key] = os.readlink(path)
            elif path.is_dir():
                found[key] = None
            else:
                found[key] = (path.read_bytes(), path.stat().st_mode, int(path.stat().st_mtime))
    return found


@pytest.mark.parametrize("form", ["--format=gnu", "--format=posix", "--format=oldgnu"])
@pytest.mark.parametrize("sparse", ["", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"])
def test_what_gnu_tar_writes(unpack: Unpacker, tree: Path, root: Path, form: str, sparse: str) -> None:
    if sparse and form != "--format=posix":
        form, sparse = form, "--sparse"
    words = [form, *([sparse] if sparse else []), *(["--sparse"] if sparse else []), "."]
    try:
        data = tars.gnu(tree, "--numeric-owner", "--owner=0", "--group=0", *words)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no GNU tar here: {error}")
    done = unpack(data, root)
    assert done.code == 0, done.err
    assert content(root) == content(tree)
    if sparse:
        assert (root / "holes").stat().st_blocks * 512 < 1 << 20


def of_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_python_writes(unpack: Unpacker, tmp_path: Path, root: Path, form: int) -> None:
    source = tmp_path / "source"
    (source / ("d" * 90)).mkdir(parents=True)
    (source / ("d" * 90) / ("f" * 90)).write_text("1")
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=form) as archive:
        archive.add(source, "s", filter=of_root)
    assert unpack(path.read_bytes(), root).code == 0
    assert content(root / "s") == content(source)


def test_numbers_beyond_octal(unpack: Unpacker, root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("owners need root")
    assert unpack(stream(member("f", data=b"1", uid=4_000_000, gid=3_000_000, mtime=1 << 34)), root).code == 0
    status = (root / "f").stat()
    assert (status.st_uid, status.st_gid) == (4_000_000, 3_000_000)


def test_links_and_folders_have_no_data_whatever_they_say(unpack: Unpacker, root: Path) -> None:
    """Else a scanner that reads as GNU's or Go's reader does sees other members than we make."""
    hidden = member("hidden", data=b"evil")
    for kind in (LINK, SYMLINK, FOLDER, tars.FIFO):
        data = stream(member("f", data=b"1"), member("x", kind, link="f", size=len(hidden)), hidden)
        assert unpack(data, root).code == 0
        assert (root / "hidden").exists(), kind
        subprocess.run(["rm", "-rf", *map(str, root.iterdir())], check=True)


def test_global_headers_hold_for_all_that_follows(unpack: Unpacker, root: Path) -> None:
    body = b"24 mtime=1234567890.25\n"
    body = b"%d mtime=1234567890.25\n" % (len(b"mtime=1234567890.25\n") + 3)
    header = member("pax_global_header", b"g", data=body)
    assert unpack(stream(header, member("a", data=b"1"), member("b", data=b"1", pax={"mtime": "5"})), root).code == 0
    assert (root / "a").stat().st_mtime == 1234567890.25 and (root / "b").stat().st_mtime == 5


def test_end_is_two_blocks_of_zeros_and_what_follows_is_ignored(unpack: Unpacker, root: Path) -> None:
    one = member("a", data=b"1")
    assert unpack(one + b"\0" * 1024 + member("b", data=b"2") + b"garbage" * 3, root).code == 0
    assert os.listdir(root) == ["a"]
    assert unpack(one + b"\0" * 512 + member("b", data=b"2"), root).code == 0
    assert sorted(os.listdir(root)) == ["a", "b"]
    assert unpack(b"", root).code == 0
    assert unpack(b"\0" * 10240, root).code == 0


def samples() -> bytes:
    return stream(
        member("d", FOLDER),
        member("d/f", data=b"x" * 700),
        member("d/" + "n" * 200, data=b"1"),
        member("p", data=b"2", pax={"mtime": "1.5", "SCHILY.xattr.user.a": "b", "path": "q" * 150}),
        member("l", SYMLINK, link="t" * 150),
        member("h", LINK, link="d/f"),
        member("d/.wh.gone"),
        member("s", data=b"ab", pax={"GNU.sparse.map": "0,1,5000,1", "GNU.sparse.size": "9000"}),
    )


def test_truncated_anywhere_it_is_an_error_or_a_shorter_archive(unpack: Unpacker, root: Path) -> None:
    data = samples()
    end = len(data.rstrip(b"\0"))
    for cut in range(0, end, 149):
        done = unpack(data[:cut], root)
        if cut % 512:
            assert done.code == 1 and "cut short" in done.err, cut
        subprocess.run(["rm", "-rf", *map(str, root.iterdir())], check=True)


def test_damaged_anywhere_it_is_an_error_or_another_archive(unpack: Unpacker, root: Path) -> None:
    """Bytes changed by chance, checksums put right so that the damage gets past them. The sanitizers watch."""
    chance = random.Random(2026)
    data = samples()
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(chance.randint(1, 6)):
            broken[chance.randrange(len(broken))] = chance.choice(
                (0, 0x20, 0x2F, 0x2E, 0x30, 0x37, 0x39, 0x80, 0xFF, chance.randrange(256))
            )
        for at in range(0, len(broken) - 511, 512):
            if broken[at + 257 : at + 262] == b"ustar":
                header = broken[at : at + 512]
                total = sum(header[:148]) + 256 + sum(header[156:])
                broken[at + 148 : at + 156] = b"%06o\0 " % total
        unpack(bytes(broken), root, "--max-bytes=1000000")
        subprocess.run(["rm", "-rf", *map(str, root.iterdir())], check=True)


@pytest.mark.parametrize(
    "pax",
    [
        {"size": "-1"},
        {"size": "99999999999999999999"},
        {"size": "x"},
        {"uid": "-5"},
        {"uid": "4294967295"},
        {"GNU.sparse.map": "0,1,5"},
        {"GNU.sparse.map": "5,1,0,1", "GNU.sparse.size": "9"},
        {"GNU.sparse.map": "0,9223372036854775807", "GNU.sparse.size": "9223372036854775807"},
        {"GNU.sparse.map": "9223372036854775807,9223372036854775807", "GNU.sparse.size": "9"},
        {"GNU.sparse.numbytes": "5"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "10"},
        {"linkpath": "x" * 5000},
        {"path": "x" * 5000},
        {"path": "a\0b"},
    ],
)
def test_impossible_headers_are_refused(unpack: Unpacker, root: Path, pax: dict[str, str]) -> None:
    assert unpack(stream(member("f", data=b"12345", pax=pax)), root).code == 1


def test_header_larger_than_any_name_needs_is_refused(unpack: Unpacker, root: Path) -> None:
    huge = member("f", b"x", data=b"", size=1 << 40)
    for data in (
        huge,
        member("f", b"x", data=b"1" * (2 << 20)),
        member("f", b"L", data=b"1" * 9000),
        member("f", b"x", data=b"999999999999 a=b\n"),
    ):
        assert unpack(data + member("f", data=b"1"), root).code == 1


def test_more_attributes_than_a_file_can_have_are_refused(unpack: Unpacker, root: Path) -> None:
    pax = {f"SCHILY.xattr.user.a{i}": "v" for i in range(100)}
    assert unpack(stream(member("f", data=b"1", pax=pax)), root).code == 1


def test_recipe_and_tree_make_the_same_bytes(unpack: Unpacker, tree: Path, root: Path, tmp_path: Path) -> None:
    if shutil.which("tar") is None:
        pytest.skip("no tar here")
    every = [samples(), tars.gnu(tree, "--numeric-owner", "--owner=0", "--group=0", "--sparse", "."), b"\0" * 1024, b""]
    for number, data in enumerate(every):
        folder, recipe = root / str(number), tmp_path / f"recipe{number}"
        folder.mkdir()
        done = unpack(data, folder, f"--recipe={recipe}")
        assert done.code == 0, done.err
        assert unpack.packed(folder, recipe) == data, number
