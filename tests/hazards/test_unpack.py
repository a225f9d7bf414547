"""Layers that want to write elsewhere: the unpacker on hostile tar streams. Each test's name is what must hold."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import tars
from support.tars import CHARACTER, FIFO, FOLDER, LINK, SYMLINK, Unpacker, member, stream

KINDS = ("shipped", "sanitized", "without-openat2")


@pytest.fixture(scope="module")
def unpackers(command: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Unpacker | None]:
    plain = tars.shipped(command)
    return {
        "shipped": plain,
        "sanitized": tars.sanitized(tmp_path_factory.mktemp("sanitized")),
        "without-openat2": tars.without_openat2(plain),
    }


@pytest.fixture(params=KINDS)
def unpack(request: pytest.FixtureRequest, unpackers: dict[str, Unpacker | None]) -> Unpacker:
    found = unpackers[request.param]
    if found is None:
        pytest.skip(f"{request.param} can't be had here")
    return found


class Place:
    """A folder to unpack into, in a house whose other rooms must stay as they are."""

    def __init__(self, house: Path) -> None:
        self.root = house / "root"
        self.outside = house / "outside"
        self.root.mkdir()
        self.outside.mkdir()
        (self.outside / "secret").write_text("secret")
        self.house = house
        self.before = self._seen()

    def _seen(self) -> list[tuple[str, int, int, int, bytes]]:
        found = []
        for top, folders, files in os.walk(self.house):
            if Path(top) == self.house:
                folders[:] = [f for f in folders if f != "root"]
            for name in (*folders, *files):
                path = Path(top) / name
                status = path.lstat()
                data = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
                found.append((str(path), status.st_mode, status.st_uid, status.st_nlink, data))
        return sorted(found)

    def untouched(self) -> bool:
        return self._seen() == self.before

    def is_whiteout(self, name: str) -> bool:
        status = (self.root / name).lstat()
        return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0

    def is_opaque(self, name: str) -> bool:
        try:
            return os.getxattr(self.root / name, "user.overlay.opaque") == b"y"
        except OSError:
            return False


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    # pytest's own removal of old folders stumbles over what is made here.
    subprocess.run(["rm", "-rf", str(found.root)], check=True)
    assert found.untouched(), "something outside was changed"


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/../x", "..", "a/..", "./../x", "a/../b", "../../../../../../../../tmp/wherry-climbed"]
)
@pytest.mark.parametrize("kind", [tars.FILE, FOLDER, SYMLINK, LINK, FIFO])
def test_name_with_dots_is_refused(unpack: Unpacker, place: Place, name: str, kind: bytes) -> None:
    done = unpack(stream(member("ok", data=b"1"), member(name, kind, link="ok")), place.root)
    assert done.code == 1 and "leads out of the archive" in done.err
    assert not Path("/tmp/wherry-climbed").exists()


def test_absolute_name_lands_inside(unpack: Unpacker, place: Place) -> None:
    assert unpack(stream(member(f"{place.outside}/secret", data=b"mine"), member("//a//./b/", FOLDER)), place.root).code == 0
    assert (place.root / str(place.outside)[1:] / "secret").read_bytes() == b"mine"
    assert (place.root / "a/b").is_dir()


@pytest.mark.parametrize(
    "target", ["{outside}", "../outside", "../../../../../../../../../..{outside}", "./.././../outside", "/proc/self/cwd/../..{outside}"]
)
def test_link_cannot_carry_a_write_outside(unpack: Unpacker, place: Place, target: str) -> None:
    link = target.format(outside=place.outside)
    done = unpack(stream(member("l", SYMLINK, link=link), member("l/secret", data=b"mine")), place.root)
    assert done.code == 1 or (place.root / "l").is_symlink()


@pytest.mark.parametrize("first", [member("l", SYMLINK, link="/"), member("l", SYMLINK, link="../../.."), member("l", SYMLINK, link=".")])
def test_link_to_the_root_means_the_layers_root(unpack: Unpacker, place: Place, first: bytes) -> None:
    assert unpack(stream(first, member("l/new", data=b"1"), member("l/l/l/d/e", data=b"2")), place.root).code == 0
    assert (place.root / "new").read_bytes() == b"1" and (place.root / "d/e").read_bytes() == b"2"


@pytest.mark.parametrize("kind", [tars.FILE, FOLDER, SYMLINK, FIFO])
def test_link_at_the_end_of_a_name_is_replaced_not_followed(unpack: Unpacker, place: Place, kind: bytes) -> None:
    first = member("x", SYMLINK, link=f"{place.outside}/secret")
    assert unpack(stream(first, member("x", kind, data=b"mine" if kind == tars.FILE else b"", link="y")), place.root).code == 0
    assert stat.S_IFMT((place.root / "x").lstat().st_mode) != stat.S_IFLNK or kind == SYMLINK
    if kind == SYMLINK:
        assert os.readlink(place.root / "x") == "y"


def test_folder_over_a_link_to_a_folder_replaces_it(unpack: Unpacker, place: Place) -> None:
    members = [member("x", SYMLINK, link=str(place.outside)), member("x", FOLDER, mode=0o700), member("x/secret", data=b"mine")]
    assert unpack(stream(*members), place.root).code == 0
    assert (place.root / "x").is_dir() and not (place.root / "x").is_symlink()


def test_modes_and_owners_do_not_pass_through_a_link(unpack: Unpacker, place: Place) -> None:
    members = [member("x", SYMLINK, link=f"{place.outside}/secret", mode=0o777, uid=os.geteuid(), gid=os.getegid())]
    assert unpack(stream(*members, member("y", LINK, link="x", mode=0o4777)), place.root).code == 0
    assert os.readlink(place.root / "y") == f"{place.outside}/secret"


@pytest.mark.parametrize(
    "target", ["../outside/secret", "{outside}/secret", "l/secret", "l/../../outside/secret", "m/secret", "", "/", ".", "nosuch", "d"]
)
def test_hard_link_cannot_reach_outside(unpack: Unpacker, place: Place, target: str) -> None:
    members = [
        member("l", SYMLINK, link=str(place.outside)),
        member("m", SYMLINK, link="../outside"),
        member("d", FOLDER),
        member("hard", LINK, link=target.format(outside=place.outside)),
    ]
    done = unpack(stream(*members), place.root)
    assert done.code == 1
    assert not (place.root / "hard").exists()


def test_hard_link_to_itself_or_through_a_link_inside(unpack: Unpacker, place: Place) -> None:
    members = [
        member("d/f", data=b"1"),
        member("l", SYMLINK, link="/d"),
        member("d/f", LINK, link="d/f"),
        member("l/g", LINK, link="/l/f"),
        member("s", LINK, link="l"),
    ]
    assert unpack(stream(*members), place.root).code == 0
    assert (place.root / "d/g").read_bytes() == b"1" and (place.root / "d/f").lstat().st_nlink == 2
    assert os.readlink(place.root / "s") == "/d"


def test_hard_link_does_not_make_a_deletion(unpack: Unpacker, place: Place) -> None:
    done = unpack(stream(member(".wh.a"), member("b", LINK, link="a")), place.root)
    assert done.code == 1 and not (place.root / "b").exists()


def test_a_second_write_does_not_reach_the_hard_linked_first(unpack: Unpacker, place: Place) -> None:
    assert unpack(stream(member("a", data=b"1"), member("b", LINK, link="a"), member("a", data=b"2")), place.root).code == 0
    assert (place.root / "a").read_bytes() == b"2" and (place.root / "b").read_bytes() == b"1"


def test_links_in_a_ring_are_an_error(unpack: Unpacker, place: Place) -> None:
    done = unpack(stream(member("a", SYMLINK, link="b"), member("b", SYMLINK, link="a"), member("a/x", data=b"1")), place.root)
    assert done.code == 1
    assert unpack(stream(member("a", SYMLINK, link="nowhere"), member("a/x", data=b"1")), place.root).code == 1
    assert unpack(stream(member("f", data=b"1"), member("f/x", data=b"1")), place.root).code == 1


def test_folder_and_link_change_places_again_and_again(unpack: Unpacker, place: Place) -> None:
    members = []
    for _ in range(20):
        members += [
            member("d", FOLDER),
            member("d/e/f", data=b"in"),
            member("d", SYMLINK, link=str(place.outside)),
            member("d/e/f", data=b"in"),
        ]
        members += [member("d", data=b"file"), member("d", SYMLINK, link="/o"), member("d/secret", data=b"o"), member("o", FOLDER)]
    done = unpack(stream(member("o", FOLDER), *members), place.root)
    assert done.code in (0, 1)


def test_cached_parent_is_not_the_folder_that_was_replaced(unpack: Unpacker, place: Place) -> None:
    members = [
        member("a/b/one", data=b"1"),
        member("a", SYMLINK, link="/c"),
        member("c/b", FOLDER),
        member("a/b/two", data=b"2"),
        member("a/b/three", data=b"3"),
    ]
    assert unpack(stream(*members), place.root).code == 0
    assert sorted(os.listdir(place.root / "c/b")) == ["three", "two"]


@pytest.mark.parametrize("name", [b"a\nb", b"\xff\xfe", b"\x1b[31mred", b"tab\tbell\a", b" ", b"-rf", b"\xc3\xa9", b"a" * 255])
def test_odd_names_are_kept(unpack: Unpacker, place: Place, name: bytes) -> None:
    assert unpack(stream(member(name, data=b"1"), member(name + b".d", FOLDER) if len(name) < 200 else b""), place.root).code == 0
    assert name in os.listdir(os.fsencode(place.root))


def test_names_in_complaints_cannot_drive_a_terminal(unpack: Unpacker, place: Place) -> None:
    done = unpack(stream(member("../\x1b[2J\nunpack: all is well\\")), place.root)
    assert done.code == 1
    assert "\x1b" not in done.err and done.err.count("\n") == 1
    assert "\\033[2J\\012unpack: all is well\\134" in done.err


@pytest.mark.parametrize("length", [256, 4097, 70_000])
def test_names_that_are_too_long_are_an_error(unpack: Unpacker, place: Place, length: int) -> None:
    done = unpack(stream(member("a" * length, data=b"1")), place.root)
    assert done.code == 1 and ("too long" in done.err.lower())


def test_everything_is_a_member_of_the_root_only_as_a_folder(unpack: Unpacker, place: Place) -> None:
    assert unpack(stream(member("./", FOLDER, mode=0o711)), place.root).code == 0
    assert stat.S_IMODE(place.root.stat().st_mode) == 0o711
    for kind in (tars.FILE, SYMLINK, LINK, FIFO, CHARACTER):
        assert unpack(stream(member("x", data=b"1"), member(".", kind, link="x")), place.root).code == 1
    assert place.root.is_dir()


def test_member_of_unknown_kind_is_refused(unpack: Unpacker, place: Place) -> None:
    for kind in (b"V", b"M", b"Z"):
        assert unpack(stream(member("x", kind)), place.root).code == 1


# -- deletions -------------------------------------------------------------------------------------------------------------


def test_whiteouts_in_any_order(unpack: Unpacker, place: Place) -> None:
    members = [
        member("d/.wh.gone"),
        member("d/kept", data=b"1"),
        member("d/.wh.kept"),
        member("e/new/f", data=b"1"),
        member("e/.wh.new"),
        member("g/.wh.again"),
        member("g/again", FOLDER),
        member("h/.wh.implied"),
        member("h/implied/f", data=b"1"),
        member("o/f", data=b"1"),
        member("o/.wh..wh..opq"),
        member("p/.wh..wh..opq"),
        member("p/f", data=b"1"),
        member(".wh..wh.aufs"),
        member(".wh..wh.plnk", FOLDER),
        member("d/.wh.gone"),
    ]
    done = unpack(stream(*members), place.root)
    assert done.code == 0, done.err
    assert place.is_whiteout("d/gone")
    assert (place.root / "d/kept").read_bytes() == b"1"
    for name in ("e/new", "g/again", "h/implied", "o", "p"):
        assert place.is_opaque(name), name
    assert not place.is_opaque("e") and not place.is_opaque("d")
    assert (place.root / "h/implied/f").exists() and (place.root / "o/f").exists() and (place.root / "p/f").exists()
    assert not [n for _top, folders, files in os.walk(place.root) for n in (*folders, *files) if n.startswith(".wh.")]


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh...", ".wh./x/../.."])
def test_whiteout_of_nothing_or_of_a_parent_is_refused(unpack: Unpacker, place: Place, name: str) -> None:
    assert unpack(stream(member("d/f", data=b"1"), member(name)), place.root).code == 1
    assert (place.root / "d/f").exists()


def test_whiteout_through_a_link_stays_inside(unpack: Unpacker, place: Place) -> None:
    first = member("l", SYMLINK, link=str(place.outside))
    unpack(stream(first, member("l/.wh.secret"), member("l/.wh..wh..opq")), place.root)
    assert unpack(stream(member("in", FOLDER), member("m", SYMLINK, link="in"), member("m/.wh.x")), place.root).code == 0
    assert place.is_whiteout("in/x")


def test_whiteouts_are_names_like_others_when_ignored(unpack: Unpacker, place: Place) -> None:
    assert unpack(stream(member(".wh.x", data=b"1")), place.root, "--whiteouts=ignore").code == 0
    assert (place.root / ".wh.x").read_bytes() == b"1"


def test_an_image_cannot_forge_what_only_its_engine_may_say(unpack: Unpacker, place: Place) -> None:
    forged = {
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.user.overlay.redirect": "/etc",
        "SCHILY.xattr.user.overlay.metacopy": "",
        "SCHILY.xattr.user.wherry.owner": "0:0",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.security.selinux": "x",
        "SCHILY.xattr.user.mine": "kept",
    }
    done = unpack(stream(member("d", FOLDER, pax=forged), member("f", data=b"1", pax=forged)), place.root)
    assert done.code == 0, done.err
    for name in ("d", "f"):
        found = [x for x in os.listxattr(place.root / name) if x != "security.selinux"]
        assert found == ["user.mine"], found
    assert unpack(stream(member("z", CHARACTER, devmajor=0, devminor=0)), place.root).code == 1


# -- what else a tree may hold -----------------------------------------------------------------------------------------------


def test_devices_are_made_by_root_and_left_out_by_others(unpack: Unpacker, place: Place) -> None:
    data = stream(*(member(f"null{i}", CHARACTER, devmajor=1, devminor=3, mode=0o666) for i in range(3000)), member("f", data=b"1"))
    if os.geteuid() == 0:
        done = unpack(data, place.root)
        assert done.code == 0, done.err
        assert (place.root / "null7").stat().st_rdev == os.makedev(1, 3)
    other = place.root / "other"
    other.mkdir()
    done = unpack(data, other, prefix=tars.NAMESPACE)
    assert done.code == 0 and "left-out=3000" in done.out and not done.err
    assert os.listdir(other) == ["f"]


def test_deletions_work_in_a_user_namespace(unpack: Unpacker, place: Place) -> None:
    assert unpack(stream(member("d/.wh.x"), member("d/y/.wh..wh..opq")), place.root, prefix=tars.NAMESPACE).code == 0
    assert place.is_whiteout("d/x") and place.is_opaque("d/y")


def test_modes_times_owners_and_capabilities_are_kept(unpack: Unpacker, place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("other owners need root")
    capability = bytes.fromhex("0100000200040000000000000000000000000000").decode("latin-1")
    members = [
        member("d", FOLDER, mode=0o2775, uid=7, gid=8, mtime=1_000_000_000),
        member("d/setuid", data=b"1", mode=0o6755, uid=5, gid=6, pax={"mtime": "1600000000.123456789"}),
        member("d/none", data=b"1", mode=0o000),
        member("d/mine", data=b"1", mode=0o640),
        member("d/capable", data=b"1", mode=0o755, uid=5, pax={"SCHILY.xattr.security.capability": capability}),
        member("d/pipe", FIFO, mode=0o622, uid=9, mtime=5),
        member("d/link", SYMLINK, link="x", uid=5, gid=6, mtime=77),
        member("d/old", data=b"1", mtime=-5),
    ]
    done = unpack(stream(*members), place.root)
    assert done.code == 0, done.err
    seen = {n: (place.root / "d" / n).lstat() for n in os.listdir(place.root / "d")}
    assert (stat.S_IMODE(seen["setuid"].st_mode), seen["setuid"].st_uid, seen["setuid"].st_gid) == (0o6755, 5, 6)
    assert seen["setuid"].st_mtime_ns == 1600000000123456789
    assert stat.S_IMODE(seen["none"].st_mode) == 0
    # In a folder that gives its group away.
    assert (stat.S_IMODE(seen["mine"].st_mode), seen["mine"].st_uid, seen["mine"].st_gid) == (0o640, 0, 0)
    assert os.getxattr(place.root / "d/capable", "security.capability") == capability.encode("latin-1")
    assert stat.S_ISFIFO(seen["pipe"].st_mode) and stat.S_IMODE(seen["pipe"].st_mode) == 0o622 and seen["pipe"].st_uid == 9
    assert (seen["link"].st_uid, seen["link"].st_gid, seen["link"].st_mtime) == (5, 6, 77)
    assert seen["old"].st_mtime == -5
    folder = (place.root / "d").stat()
    assert (stat.S_IMODE(folder.st_mode), folder.st_uid, folder.st_gid, folder.st_mtime) == (0o2775, 7, 8, 1_000_000_000)


def test_with_one_id_the_wanted_owner_is_noted(unpack: Unpacker, place: Place) -> None:
    data = stream(
        member("f", data=b"1", uid=42, gid=7), member("d", FOLDER, uid=3), member("r", data=b"1"), member("l", SYMLINK, link="f", uid=9)
    )
    assert unpack(data, place.root, "--owners=single", prefix=tars.NAMESPACE).code == 0
    assert os.getxattr(place.root / "f", "user.wherry.owner") == b"42:7"
    assert os.getxattr(place.root / "d", "user.wherry.owner") == b"3:0"
    assert not os.listxattr(place.root / "r") or "user.wherry.owner" not in os.listxattr(place.root / "r")
    assert unpack(data, place.root, prefix=tars.NAMESPACE).code == 1


@pytest.mark.parametrize("option", ["--max-bytes=1000", "--max-entries=5"])
def test_limits_hold(unpack: Unpacker, place: Place, option: str) -> None:
    small = stream(member("a", data=b"x" * 1000))
    assert unpack(small, place.root, option).code == 0
    done = unpack(stream(*(member(f"f{i}", data=b"x" * 300) for i in range(10))), place.root, option)
    assert done.code == 1 and option.partition("=")[0] in done.err


def test_sparse_file_claims_no_space(unpack: Unpacker, place: Place) -> None:
    header = {"GNU.sparse.map": "0,1,1099511627775,1", "GNU.sparse.size": str(1 << 40)}
    done = unpack(stream(member("huge", data=b"ab", pax=header)), place.root)
    assert done.code == 0, done.err
    status = (place.root / "huge").stat()
    assert status.st_size == 1 << 40 and status.st_blocks < 1000


# -- removal -----------------------------------------------------------------------------------------------------------------


def test_tree_deeper_than_descriptors_and_names_is_made_and_removed(unpack: Unpacker, place: Place) -> None:
    level = "/".join(["d"] * 2000)
    members = [member(f"t/{level}", FOLDER)]
    # A link to the deepest folder is where the next 2000 levels begin.
    for number in range(1):
        start = "t" if number == 0 else f"t/l{number - 1}"
        members += [member(f"t/l{number}", SYMLINK, link=f"{start.removeprefix('t').lstrip('/') or '.'}/{level}")]
        members += [member(f"t/l{number}/{level}", FOLDER)]
    done = unpack(stream(*members), place.root)
    assert done.code == 0, done.err
    assert unpack.run("rmtree", str(place.root / "t")).code == 0
    assert not (place.root / "t").exists()
    # And as a member that a file replaces.
    assert unpack(stream(member(f"t/{level}", FOLDER), member("t", data=b"file")), place.root).code == 0
    assert (place.root / "t").is_file()


def test_removal_follows_no_link_and_needs_no_rights(unpack: Unpacker, place: Place) -> None:
    tree = place.root / "t"
    tree.mkdir()
    (tree / "link").symlink_to(place.outside)
    (tree / "closed/inner").mkdir(parents=True)
    (tree / "closed/inner/f").write_text("1")
    (tree / "closed/inner").chmod(0)
    (tree / "closed").chmod(0)
    os.mkfifo(tree / "pipe")
    (place.root / "top-link").symlink_to(place.outside)
    done = unpack.run("rmtree", str(tree), str(place.root / "top-link"), str(place.root / "nosuch"))
    assert done.code == 0, done.err
    assert os.listdir(place.root) == []


def test_removal_enters_no_mount(unpack: Unpacker, place: Place) -> None:
    (place.root / "t/home").mkdir(parents=True)
    (place.root / "t/f").write_text("1")
    script = f'mount --bind {place.outside} {place.root}/t/home; exec "$@"'
    done = unpack.run("rmtree", str(place.root / "t"), prefix=("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"))
    assert done.code == 1 and "can't be removed" in done.err
    assert os.listdir(place.root / "t") == ["home"]
