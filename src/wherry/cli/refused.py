"""Flags of docker and podman that are understood and refused, each with the reason or the way round. Loaded when one is used.

A flag that is to come leaves its table when it lands. Keys are command names as in cli/commands; single letters are short flags.
"""

from __future__ import annotations

_NAMES = "give the names"
_LIMITS = "limits of a build's steps are not enforced yet, so it is refused rather than ignored"
_NETWORKS = "bind a file of your own over /etc/hosts, or set the address in the container"
_VOLUMES = "an image's VOLUMEs become anonymous volumes; mount something else there with -v or --tmpfs"
_REGISTRY = "`pull` the image with it first"
_PODS = "pods are not there yet"
_WINDOWS = "it is for Windows containers"
_OWN_IDS = "each container has a range of its own; --userns=host shares the host's"
_LATEST = "use $(wherry ps -lq)"
_COLUMNS = "use --format"


def _all(words: str, reason: str) -> dict[str, str]:
    return dict.fromkeys(words.split(), reason)


_RUN: dict[str, str] = {
    **_all("cgroup-parent cgroups", "all containers live below one group, which leaves the host its reserve (see `host_reserve`)"),
    **_all(
        "cpu-rt-period cpu-rt-runtime rdt-class",
        "kernels of distributions share out no real-time or cache quota; use --cpus or --cpuset-cpus",
    ),
    "cgroup-conf": "each limit has a flag of its own",
    "device-cgroup-rule": "name the device nodes with --device",
    "kernel-memory": "the kernel counts it as --memory since Linux 5.11",
    "storage-opt": "the writable layer has no quota; give large data a --tmpfs with a size or a file system of its own",
    **_all(
        "link-local-ip hosts-file",
        _NETWORKS,
    ),
    **_all("image-volume chrootdirs", _VOLUMES),
    **_all("health-log-destination health-max-log-count health-max-log-size", "the last five results are kept, 4096 bytes of each"),
    **_all(
        "health-startup-cmd health-startup-interval health-startup-retries health-startup-success health-startup-timeout",
        "use --health-start-period and --health-start-interval",
    ),
    **_all("tls-verify creds authfile retry retry-delay cert-dir arch os variant decryption-key", _REGISTRY),
    **_all("pod pod-id-file infra", _PODS),
    **_all("uidmap gidmap subuidname subgidname hostuser", _OWN_IDS),
    **_all("cpu-count cpu-percent io-maxbandwidth io-maxiops", _WINDOWS),
    "conmon-pidfile": "`inspect -f {{.State.Pid}}` has the container's",
    "env-merge": "write the whole value with -e",
    "http-proxy": "the caller's proxies never reach a container; name them with -e",
    "init-ctr": _PODS,
    "init-path": "there is one built-in init",
    "no-hostname": "bind an /etc/hostname of your own",
    "passwd": "bind an /etc/passwd of your own",
    "permissive": "use --security-opt label=disable",
    "personality": "use setarch in the container's command",
    "preserve-fd": "only standard input, output and error reach a container",
    "preserve-fds": "only standard input, output and error reach a container",
    "read-only-tmpfs": "name the folders with --tmpfs",
    "requires": "start the containers in order",
    "rmi": "use `rmi` afterwards",
    "runtime": "the built-in runtime is the only one yet",
    "sdnotify": "systemd can watch the attached command",
    "seccomp-policy": "use --security-opt seccomp=FILE",
    "shm-size-systemd": "use --tmpfs with a size",
    "systemd": "use --tmpfs /run --tmpfs /tmp --stop-signal RTMIN+3",
    "use-api-socket": "there is no API socket yet",
}

_EXEC = {
    "cidfile": "use $(cat FILE)",
    "latest": _LATEST,
    "l": _LATEST,
    "no-session": "each command records itself for `inspect`",
    "preserve-fd": "only standard input, output and error reach a container",
    "preserve-fds": "only standard input, output and error reach a container",
}

_PS = {
    "namespace": "`inspect` shows a container's namespaces",
    "ns": "`inspect` shows a container's namespaces",
    "pod": _PODS,
    "p": _PODS,
    "sync": "the states are always the actual ones",
    "watch": "use `watch wherry ps`",
    "w": "use `watch wherry ps`",
}

_TABLES: dict[str, dict[str, str]] = {
    "run": _RUN,
    "create": _RUN,
    "exec": _EXEC,
    "ps": _PS,
    "start": _all("checkpoint checkpoint-dir", "checkpoints are not there yet"),
    "rm": _all("link", "links are not there yet") | {"depend": "remove the others by name"},
    "wait": {
        "exit-first-match": "wait for one container at a time",
    },
    "attach": {"latest": _LATEST, "l": _LATEST},
    "logs": {
        "color": "name the containers in a loop of your own",
        "names": "name the containers in a loop of your own",
        "latest": _LATEST,
        "l": _LATEST,
    },
    "inspect": {"latest": _LATEST, "l": _LATEST, "mode": "docker's form is the only one"},
    "container_inspect": {"latest": _LATEST, "l": _LATEST},
    "images": {
        "history": "`history` has it",
        "json": "use --format json",
        "names": _COLUMNS,
        "noheading": _COLUMNS,
        "n": _COLUMNS,
        "sort": "pipe it through `sort`",
        "tree": "images of several platforms are not kept yet",
    },
    "history": {"platform": "an image here has one platform"},
    "image_inspect": {"platform": "an image here has one platform"},
    "rmi": {
        "all": "use `image prune -a`",
        "a": "use `image prune -a`",
        "async": "",
        "ignore": "a missing image is an error without -f",
        "i": "a missing image is an error without -f",
        "platform": "an image here has one platform",
        "prune": "use `image prune`",
    },
    "build": {
        **_all("device", "devices of RUN steps are named in the Dockerfile, as RUN --device=VENDOR/CLASS=NAME"),
        **_all("cpus", "docker's build has --cpu-quota and --cpu-period"),
        **_all("policy source-policy-file", "source policies are not there; pin images by digest in the Dockerfile"),
        **_all("cw cpp-flag sign-by decryption-key ipfs", "it is not there"),
        **_all("mount", "write RUN --mount into the Dockerfile"),
        **_all("group-add ipc pid uts runtime runtime-flag hooks-dir no-hostname no-hosts dns dns-search dns-option", "it is not there for builds"),
        **_all("layer-label stage-labels save-stages os-feature os-version unsetannotation", "it is not there"),
        **_all("userns userns-uid-map userns-gid-map userns-uid-map-user userns-gid-map-group", _OWN_IDS),
    },
    "import_": _all("arch os variant", "use --platform os/arch/variant"),
    "load": {"all-platforms": "name one with --platform"},
    "image_prune": {"build-cache": "use `builder prune`", "external": "there are no containers but wherry's own"},
    "system_prune": {
        "build": "use `builder prune`",
        "external": "there are no containers but wherry's own",
    },
    "secret_create": {**_all("driver-opts", "the one driver has no options"), "template-driver": "clusters are not there", "ignore": "use --replace"},
    "secret_inspect": _all("showsecret pretty", "the data of a secret are only ever shown to containers that are given it"),
    "secret_ls": {"noheading": _COLUMNS, "n": _COLUMNS},
    "volume_create": {
        **_all("availability group limit-bytes required-bytes scope secret sharing topology-preferred topology-required type", "clusters are not there"),
        **_all("uid gid", "a new volume takes owner and mode of the image's folder; or mount it with :U"),
        "ignore": "one that is there already is no error",
    },
    "volume_inspect": _all("all a", "give the names: $(wherry volume ls -q)"),
    "volume_ls": {"cluster": "clusters are not there", "noheading": _COLUMNS, "n": _COLUMNS},
    "volume_prune": {"dry-run": "use `volume ls -f dangling=true`"},
    "volume_rm": {**_all("all a", "give the names: $(wherry volume ls -q)"), **_all("time t", "stop the containers first")},
    "info": {"mode": "docker's form is the only one"},
    "version": {"json": "use --format json"},
}  # fmt: skip


def reasons(command: str) -> dict[str, str]:
    """The flags that the command (a module of cli/commands) refuses, and why."""
    return _TABLES.get(command, {})
