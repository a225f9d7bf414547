"""The images that are measured: a small busybox, and one of 60 layers with 100,000 files."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

LAYERS, FILES = 60, 100_000


def many_layers(target: Path, rootfs: Path) -> None:
    """Write a docker archive: `rootfs` (a tar) below LAYERS - 1 layers that hold FILES small files, a hundred to a folder."""
    layers = [rootfs.read_bytes()]
    each = FILES // (LAYERS - 1)
    for number in range(1, LAYERS):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for i in range(each):
                if i % 100 == 0:
                    folder = tarfile.TarInfo(f"data/{i // 100:03}-{number:02}")
                    folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(folder)
                member = tarfile.TarInfo(f"data/{i // 100:03}-{number:02}/{i:05}")
                member.size, member.mode = 5, 0o644
                tar.addfile(member, io.BytesIO(b"bench"))
        layers.append(out.getvalue())
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(x).hexdigest()}" for x in layers]},
        "history": [{"created": "2025-01-01T00:00:00Z", "created_by": f"layer {n}"} for n in range(len(layers))],
        "created": "2025-01-01T00:00:00Z",
    }
    encoded = json.dumps(config).encode()
    name = f"{hashlib.sha256(encoded).hexdigest()}.json"
    names = [f"{n:02}/layer.tar" for n in range(len(layers))]
    manifest = json.dumps([{"Config": name, "RepoTags": ["bench-many:latest"], "Layers": names}]).encode()
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path, data in [(name, encoded), *zip(names, layers), ("manifest.json", manifest)]:
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
