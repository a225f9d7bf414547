"""`image tree` and `image mount`."""

from __future__ import annotations

import re
from pathlib import Path

from support.engine import Wherry


def test_tree_shows_layers_and_who_shares_them(w: Wherry) -> None:
    w.ok("create", "--network", "none", "--name", "box", "busybox")
    w.ok("commit", "-m", "x", "box", "above:1")
    below = w.ok("image", "tree", "busybox")
    above = w.ok("image", "tree", "above:1").splitlines()
    assert re.search(r"Shared with: \d+ Top Layer of: \[busybox:latest\]", below) and "(0B its own)" in below
    assert above[1] == "Tags:     [above:1]" and above[3] == "Image Layers" and len(above) == 6
    assert above[4].startswith("├── ID: ") and above[5].endswith("Top Layer of: [above:1]")
    assert w("image", "tree", "nothing").returncode == 1
    w.ok("rmi", "above:1")


def test_image_mount_shows_its_files_read_only(w: Wherry) -> None:
    if not w.is_root:
        done = w("image", "mount", "busybox")
        assert done.returncode == 1 and "wherry unshare" in done.stderr
        inner = " ".join(w.words("image", "mount", "busybox"))
        text = f'm=$({inner}) && ls "$m/bin/busybox" && ! touch "$m/x" 2>/dev/null'
        assert w.ok("unshare", "sh", "-c", text).endswith("/bin/busybox")
        return
    path = w.ok("image", "mount", "busybox")
    try:
        assert (Path(path) / "bin/busybox").exists()
        assert w.ok("image", "mount").endswith(" " + path)
        assert w.host("touch", f"{path}/x").returncode != 0
    finally:
        w.ok("image", "unmount", "-a")
    assert w("image", "unmount", "busybox").returncode == 1 and w.ok("image", "mount") == ""
