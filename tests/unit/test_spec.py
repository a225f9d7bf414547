"""From docker-shaped config to OCI spec: a table for each rule, and the specification's own schema over all of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from support.place import SHARED
from wherry.errors import InvalidArgument, Unsupported, WherryError
from wherry.kernel import lsm
from wherry.model import devices as device_words
from wherry.model import mounts as mount_words
from wherry.model import ulimit
from wherry.model.mounts import MountSpec
from wherry.runtime import defaults, devices, spec, sysctls

Document = dict[str, Any]
MAP = ((0, 700000, 65536),)


def context(**changes: Any) -> spec.SpecContext:
    usual = spec.SpecContext(
        id="f" * 64,
        hostname="box",
        domainname="",
        args=("sh", "-c", "true"),
        env=("PATH=/bin", "A=b"),
        cwd="/",
        rootless=False,
        uid_map=MAP,
        gid_map=MAP,
        hosts_path="/store/c/hosts",
        hostname_path="/store/c/hostname",
        resolv_path="/store/c/resolv.conf",
        joins={},
    )
    return usual.replace(**changes)


def made(
    config: Document | None = None, mounts: tuple[MountSpec, ...] = (), joins: dict[str, tuple[int, int]] | None = None, **host: Any
) -> Document:
    return spec.make_spec(config or {}, host, mounts, context(joins=joins or {}))


def mount_at(document: Document, destination: str) -> Document:
    (found,) = [m for m in document["mounts"] if m["destination"] == destination]
    return dict(found)


def kinds(document: Document) -> set[str]:
    return {n["type"] for n in document["linux"]["namespaces"]}


# -- the specification's schema ------------------------------------------------------------------------------------------

VARIED: list[tuple[str, Document, Document, tuple[MountSpec, ...]]] = [
    ("plain", {}, {}, ()),
    ("terminal", {"Tty": True, "User": "1000:50"}, {}, ()),
    ("privileged", {}, {"Privileged": True}, ()),
    (
        "limits",
        {},
        {
            "Ulimits": [ulimit.parse("nofile=64:128"), ulimit.parse("core=-1")],
            "OomScoreAdj": -500,
            "Sysctls": {"net.core.somaxconn": "9"},
            "Devices": [device_words.parse("/dev/null:/dev/other:rw")],
        },
        (),
    ),
    (
        "mounts",
        {},
        {"ReadonlyRootfs": True},
        (
            mount_words.parse_volume("/etc:/data:ro,rslave"),
            mount_words.parse_volume("/srv:/a/b:O,U"),
            mount_words.parse_tmpfs("/run:size=1m,exec"),
            mount_words.parse_mount("type=tmpfs,dst=/t,tmpfs-size=64k,tmpfs-mode=700"),
        ),
    ),
    (
        "security",
        {},
        {"SecurityOpt": ["no-new-privileges", "seccomp=unconfined", "mask=/proc/foo", "unmask=/proc/*", "label=a:b:c:s0"]},
        (),
    ),
]


@pytest.mark.parametrize(("config", "host", "mounts"), [v[1:] for v in VARIED], ids=[v[0] for v in VARIED])
def test_it_is_what_the_specification_s_schema_wants(config: Document, host: Document, mounts: tuple[MountSpec, ...]) -> None:
    folder = SHARED / "data/oci/runtime-spec"
    if not folder.is_dir():
        pytest.skip(f"no schema at {folder} (WHERRY_SHARED names the place of the reference data)")
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    specification = pytest.importorskip("referencing.jsonschema")
    resources = []
    for path in folder.glob("*.json"):
        resource = referencing.Resource.from_contents(json.loads(path.read_text()), default_specification=specification.DRAFT4)
        resources += [(path.name, resource), (f"https://opencontainers.org/schema/{path.name}", resource)]
    schema = json.loads((folder / "config-schema.json").read_text())
    validator = jsonschema.Draft4Validator(
        {k: v for k, v in schema.items() if k != "id"}, registry=referencing.Registry().with_resources(resources)
    )
    document = spec.make_spec(config, host, mounts, context())
    assert [f"{list(e.absolute_path)}: {e.message}" for e in validator.iter_errors(json.loads(json.dumps(document)))] == []


def test_the_same_words_make_the_same_spec() -> None:
    assert made() == made()


# -- the process ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "uid", "gid"), [("", 0, 0), ("1000", 1000, 0), ("1000:50", 1000, 50), ("alice", 0, 0), ("alice:50", 0, 50), ("7:staff", 7, 0)]
)
def test_user_travels_as_text_and_as_numbers_where_it_has_some(user: str, uid: int, gid: int) -> None:
    document = made({"User": user})
    assert document["annotations"]["io.wherry.user"] == user
    assert document["process"]["user"] == {"uid": uid, "gid": gid, "umask": 0o022}


@pytest.mark.parametrize(("given", "expected"), [("/", "/"), ("/a//b/", "/a/b"), ("a/b", "/a/b"), ("/a/../b", "/b")])
def test_working_directory_is_absolute_and_clean(given: str, expected: str) -> None:
    assert spec.make_spec({}, {}, (), context(cwd=given))["process"]["cwd"] == expected


@pytest.mark.parametrize(
    ("add", "drop", "privileged", "has", "lacks"),
    [
        ((), (), False, "CHOWN KILL", "SYS_ADMIN NET_ADMIN"),
        (("SYS_ADMIN",), (), False, "SYS_ADMIN CHOWN", "NET_ADMIN"),
        (("cap_net_admin",), ("CAP_CHOWN",), False, "NET_ADMIN", "CHOWN"),
        (("ALL",), ("SYS_ADMIN",), False, "NET_ADMIN BPF", "SYS_ADMIN"),
        (("CHOWN",), ("ALL",), False, "CHOWN", "KILL"),
        ((), ("ALL",), False, "", "CHOWN KILL"),
        ((), ("ALL",), True, "SYS_ADMIN CHOWN", ""),
    ],
)
def test_capabilities(add: tuple[str, ...], drop: tuple[str, ...], privileged: bool, has: str, lacks: str) -> None:
    sets = made(CapAdd=add, CapDrop=drop, Privileged=privileged)["process"]["capabilities"]
    # CVE-2022-24769: nothing is inheritable or ambient.
    assert set(sets) == {"bounding", "effective", "permitted"}
    for names in sets.values():
        plain = {n.removeprefix("CAP_") for n in names}
        assert plain >= set(has.split()) and not plain & set(lacks.split())


def test_limits_without_end_are_the_largest_number() -> None:
    (limit,) = made(Ulimits=[{"Name": "nofile", "Soft": 5, "Hard": -1}])["process"]["rlimits"]
    assert limit == {"type": "RLIMIT_NOFILE", "soft": 5, "hard": (1 << 64) - 1}


# -- security options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "privileged", "expected"),
    [
        ((), False, ""),
        ((), True, "unconfined"),
        (("seccomp=unconfined",), False, "unconfined"),
        (("seccomp:unconfined",), False, "unconfined"),
        (("seccomp=/p.json",), True, "/p.json"),
        (("seccomp=builtin",), True, "builtin"),
        (('seccomp={"defaultAction": "SCMP_ACT_ALLOW"}',), False, '{"defaultAction": "SCMP_ACT_ALLOW"}'),
    ],
)
def test_profile_of_system_calls(options: tuple[str, ...], privileged: bool, expected: str) -> None:
    document = made(SecurityOpt=options, Privileged=privileged)
    assert document["annotations"]["io.wherry.seccomp"] == expected


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("no-new-privileges", True),
        ("no-new-privileges=true", True),
        ("no-new-privileges:true", True),
        ("no-new-privileges=false", False),
    ],
)
def test_no_new_privileges(option: str, expected: bool) -> None:
    assert made(SecurityOpt=[option])["process"]["noNewPrivileges"] is expected


@pytest.mark.parametrize(
    ("options", "masked", "bare"),
    [
        ((), "/proc/kcore /sys/firmware", ""),
        (("unmask=ALL",), "", "/proc/kcore /proc/sys"),
        (("systempaths=unconfined",), "", "/proc/kcore /proc/sys"),
        (("unmask=/proc/kcore",), "/sys/firmware /proc/keys /proc/sys", "/proc/kcore"),
        (("unmask=/proc/kcore:/proc/sys",), "/proc/keys", "/proc/kcore /proc/sys"),
        (("unmask=/proc/*",), "/sys/firmware", "/proc/kcore /proc/keys /proc/sys"),
        (("mask=/opt/x:/opt/y",), "/opt/x /opt/y /proc/kcore", ""),
        (("unmask=ALL", "mask=/opt/x"), "/opt/x", "/proc/kcore"),
    ],
)
def test_masked_and_read_only_paths(options: tuple[str, ...], masked: str, bare: str) -> None:
    linux = made(SecurityOpt=options)["linux"]
    covered = {*linux["maskedPaths"], *linux["readonlyPaths"]}
    assert covered >= set(masked.split()) and not covered & set(bare.split())


def test_privileged_takes_covers_and_read_only_mounts_away() -> None:
    document = made(Privileged=True)
    assert document["linux"]["maskedPaths"] == document["linux"]["readonlyPaths"] == []
    for path in ("/sys", "/sys/fs/cgroup"):
        assert "rw" in mount_at(document, path)["options"] and "ro" not in mount_at(document, path)["options"]


def test_paths_that_the_api_gives_win() -> None:
    linux = made(MaskedPaths=["/a"], ReadonlyPaths=[])["linux"]
    assert linux["maskedPaths"] == ["/a"] and linux["readonlyPaths"] == []


@pytest.mark.parametrize("option", ["nonsense", "foo=bar", "no-new-privileges=perhaps", "systempaths=confined"])
def test_unknown_security_options_are_refused(option: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid --security-opt"):
        made(SecurityOpt=[option])


@pytest.mark.parametrize("there", [True, False])
def test_security_modules_that_the_machine_has_not_got_are_said(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsm, "apparmor_enabled", lambda: there)
    monkeypatch.setattr(lsm, "selinux_enabled", lambda: there)
    host = {"SecurityOpt": ["apparmor=mine", "label=a:b:c:s0"]}
    process = made(**host)["process"]
    assert (process.get("apparmorProfile"), process.get("selinuxLabel")) == (("mine", "a:b:c:s0") if there else (None, None))
    assert len(spec.not_in_force(host)) == (0 if there else 2)
    bare = {"SecurityOpt": ["apparmor=unconfined", "label=disable", "label:disable"]}
    assert not {"apparmorProfile", "selinuxLabel"} & set(made(**bare)["process"]) and spec.not_in_force(bare) == []


def test_parts_of_a_label_are_refused_where_labels_mean_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsm, "selinux_enabled", lambda: True)
    with pytest.raises(Unsupported):
        made(SecurityOpt=["label=type:foo_t"])


# -- namespaces -----------------------------------------------------------------------------------------------------------

ALL = {"mount", "user", "network", "pid", "ipc", "uts", "cgroup"}


@pytest.mark.parametrize(
    ("host", "missing"),
    [
        ({}, set()),
        ({"NetworkMode": "none", "IpcMode": "shareable", "PidMode": ""}, set()),
        ({"NetworkMode": "host"}, {"network"}),
        ({"PidMode": "host"}, {"pid"}),
        ({"IpcMode": "host"}, {"ipc"}),
        ({"UTSMode": "host"}, {"uts"}),
        ({"CgroupnsMode": "host"}, {"cgroup"}),
    ],
)
def test_namespaces(host: Document, missing: set[str]) -> None:
    assert kinds(made(**host)) == ALL - missing


def test_without_a_map_there_is_no_user_namespace() -> None:
    document = spec.make_spec({}, {}, (), context(uid_map=None, gid_map=None))
    assert "user" not in kinds(document) and "uidMappings" not in document["linux"]


def test_joined_namespaces_are_named_by_their_files() -> None:
    found = made(joins={"network": (77, 5), "user": (77, 5)}, NetworkMode="container:x")
    paths = {n["type"]: n.get("path") for n in found["linux"]["namespaces"]}
    assert paths["network"] == "/proc/77/ns/net" and paths["user"] == "/proc/77/ns/user" and paths["pid"] is None
    # The settings of another one's network are not ours to make.
    assert found["linux"]["sysctl"] == {}


@pytest.mark.parametrize("mode", ["none", "host"])
def test_modes_of_ipc_and_their_mounts(mode: str) -> None:
    targets = [m["destination"] for m in made(IpcMode=mode)["mounts"]]
    if mode == "none":
        assert "/dev/shm" not in targets and "/dev/mqueue" in targets
    elif os.path.isdir("/dev/shm"):
        assert mount_at(made(IpcMode=mode), "/dev/shm")["type"] == "bind"


# -- mounts ---------------------------------------------------------------------------------------------------------------


def test_default_mounts_are_docker_s() -> None:
    assert [(m["destination"], m["type"]) for m in made()["mounts"]] == [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/sys", "sysfs"),
        ("/sys/fs/cgroup", "cgroup"),
        ("/dev/mqueue", "mqueue"),
        ("/dev/shm", "tmpfs"),
        ("/etc/resolv.conf", "bind"),
        ("/etc/hostname", "bind"),
        ("/etc/hosts", "bind"),
    ]
    assert mount_at(made(), "/dev")["options"] == ["nosuid", "strictatime", "mode=755", "size=65536k"]
    assert mount_at(made(), "/dev/pts")["options"][-2:] == ["mode=0620", "gid=5"]
    assert "size=67108864" in mount_at(made(), "/dev/shm")["options"]
    assert "size=4096" in mount_at(made(ShmSize=4096), "/dev/shm")["options"]


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("/s:/d", ["rbind", "rprivate"]),
        ("/s:/d:ro", ["rbind", "rro", "rprivate"]),
        ("/s:/d:rw,rshared", ["rbind", "rshared"]),
        ("/s:/d:slave", ["rbind", "slave"]),
        ("/s:/d:noexec,nosuid", ["rbind", "rprivate", "noexec", "nosuid"]),
    ],
)
def test_binds(words: str, options: list[str]) -> None:
    assert mount_at(made(mounts=(mount_words.parse_volume(words),)), "/d")["options"] == options


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("readonly", ["rbind", "rro", "rprivate"]),
        ("bind-recursive=disabled", ["bind", "rprivate"]),
        ("bind-recursive=disabled,readonly", ["bind", "ro", "rprivate"]),
        ("bind-recursive=writable,readonly", ["rbind", "ro", "rprivate"]),
        ("bind-recursive=readonly,readonly,bind-propagation=rprivate", ["rbind", "rro", "rprivate"]),
        ("bind-propagation=rslave", ["rbind", "rslave"]),
    ],
)
def test_recursion_of_read_only(words: str, options: list[str]) -> None:
    mount = mount_words.parse_mount(f"type=bind,src=/s,dst=/d,{words}")
    assert mount_at(made(mounts=(mount,)), "/d")["options"] == options


@pytest.mark.parametrize(("words", "expected"), [("/s:/d", "slave"), ("/s:/d:rslave", "slave"), ("/s:/d:shared", "shared")])
def test_a_shared_bind_needs_a_shared_root(words: str, expected: str) -> None:
    assert made(mounts=(mount_words.parse_volume(words),))["linux"]["rootfsPropagation"] == expected


@pytest.mark.parametrize(
    ("words", "has", "lacks"),
    [
        ("/t", "noexec nosuid nodev mode=1777", "size=1"),
        ("/t:size=64m,mode=700", "noexec size=67108864 mode=700", "mode=1777"),
        ("/t:size=50%", "size=50%", ""),
        ("/t:exec,suid,dev", "mode=1777", "noexec nosuid nodev exec"),
        ("/t:ro,uid=5,gid=6", "ro uid=5 gid=6", ""),
    ],
)
def test_tmpfs(words: str, has: str, lacks: str) -> None:
    options = mount_at(made(mounts=(mount_words.parse_tmpfs(words),)), "/t")["options"]
    assert set(has.split()) <= set(options) and not set(lacks.split()) & set(options)


@pytest.mark.parametrize("words", ["/t:nonsense", "/t:lowerdir=/etc", "/t:bind"])
def test_odd_options_of_a_tmpfs_are_refused(words: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid tmpfs option"):
        made(mounts=(mount_words.parse_tmpfs(words),))


def test_mounts_come_in_the_order_of_their_depth() -> None:
    words = ("/s:/a/b/c", "/s:/a", "/s:/a/b")
    targets = [m["destination"] for m in made(mounts=tuple(mount_words.parse_volume(w) for w in words))["mounts"]]
    assert targets[-3:] == ["/a", "/a/b", "/a/b/c"]


@pytest.mark.parametrize("target", ["/dev/shm", "/etc/hosts", "/proc", "/sys/fs/cgroup"])
def test_a_mount_of_the_user_s_replaces_a_default(target: str) -> None:
    assert mount_at(made(mounts=(mount_words.parse_volume(f"/s:{target}"),)), target)["source"] == "/s"


def test_what_a_mount_needs_beyond_oci_is_noted_under_its_number() -> None:
    document = made(mounts=(mount_words.parse_volume("/s:/d:O"), mount_words.parse_volume("/s:/e:U")))
    first, second = len(document["mounts"]) - 2, len(document["mounts"]) - 1
    notes = document["annotations"]
    assert notes[f"io.wherry.mount.{first}.overlay"] == f"/store/c/overlays/{first}"
    assert notes[f"io.wherry.mount.{second}.chown"] == "/e"
    assert notes[f"io.wherry.mount.{first}.create"] == "dir"


def test_a_dev_shm_that_is_joined_keeps_its_number() -> None:
    """A user's mount over a default moves the ones behind it up."""
    for extra in ((), (mount_words.parse_volume("/s:/proc"),)):
        document = made(mounts=extra, joins={"ipc": (5, 5), "user": (5, 5)}, IpcMode="container:x")
        (note,) = [k for k, v in document["annotations"].items() if v == "joined"]
        assert document["mounts"][int(note.split(".")[3])]["destination"] == "/dev/shm"


# -- sysctls --------------------------------------------------------------------------------------------------------------


def test_sysctls_that_docker_sets_by_itself() -> None:
    assert made()["linux"]["sysctl"] == {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 65535"}
    assert made(NetworkMode="host")["linux"]["sysctl"] == {}
    assert made(Privileged=True)["linux"]["sysctl"] == {}


@pytest.mark.parametrize("name", [*defaults.IPC_SYSCTLS, "fs.mqueue.msg_max", "net.ipv4.ip_forward", "net/ipv4/ip_forward"])
def test_namespaced_sysctls_are_allowed(name: str) -> None:
    assert sysctls.allowed({"Sysctls": {name: "1"}}, {"ipc", "network"}, None, own_ids=True)[name.replace("/", ".")] == "1"


@pytest.mark.parametrize(
    "name", ["kernel.core_pattern", "vm.swappiness", "kernel.hostname", "kernel.domainname", "fs.file-max", "net", "../net.x", "kernel.shm"]
)
def test_sysctls_of_the_machine_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="is not allowed"):
        sysctls.allowed({"Sysctls": {name: "1"}}, {"ipc", "network", "uts"}, None, own_ids=True)


@pytest.mark.parametrize(("name", "own"), [("net.core.somaxconn", {"ipc"}), ("kernel.shmmax", {"network"}), ("fs.mqueue.x", set())])
def test_sysctls_of_a_namespace_that_is_not_ours_are_refused(name: str, own: set[str]) -> None:
    with pytest.raises(InvalidArgument, match="namespace is not the container's own"):
        sysctls.allowed({"Sysctls": {name: "1"}}, own, None, own_ids=True)


# -- devices --------------------------------------------------------------------------------------------------------------


def asked_for(*words: str, privileged: bool = False) -> tuple[list[Document], dict[str, str]]:
    notes: dict[str, str] = {}
    return devices.devices({"Devices": [device_words.parse(w) for w in words]}, notes, privileged=privileged), notes


def test_a_device_under_another_name() -> None:
    found, notes = asked_for("/dev/full:/dev/lots")
    assert [(d["path"], d["type"], d["major"], d["minor"]) for d in found] == [("/dev/lots", "c", 1, 7)]
    assert notes == {"io.wherry.device./dev/lots": "/dev/full"}


def test_a_folder_of_devices(tmp_path: Path) -> None:
    (tmp_path / "by-name").mkdir()
    (tmp_path / "by-name/one").symlink_to("/dev/full")
    (tmp_path / "by-name/two").symlink_to("/etc/passwd")
    (tmp_path / "plain").write_text("")
    found, notes = asked_for(f"{tmp_path}:/dev/d")
    assert [d["path"] for d in found] == ["/dev/d/by-name/one"]
    assert notes == {"io.wherry.device./dev/d/by-name/one": "/dev/full"}


@pytest.mark.parametrize("path", ["/dev/there-is-none", "/etc/passwd", "/etc"])
def test_what_is_no_device_is_refused(path: str) -> None:
    with pytest.raises(InvalidArgument, match="error gathering device information"):
        asked_for(path)


def test_a_link_out_of_dev_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(InvalidArgument, match="not a device node"):
        asked_for(str(tmp_path / "link"))


def test_privileged_gets_what_the_host_has() -> None:
    found, _notes = asked_for(privileged=True)
    paths = [d["path"] for d in found]
    assert len(paths) == len(set(paths)) and not {"/dev/null", "/dev/pts/0", "/dev/ptmx/x"} & set(paths)
    assert all(d["type"] in "cb" for d in found)


# -- nothing crashes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["", "=", ":", "label=", "seccomp=", "apparmor=", "unmask=", "mask=", "label"])
def test_empty_security_options_are_answered(option: str) -> None:
    try:
        made(SecurityOpt=[option])
    except WherryError as error:
        assert error.message
