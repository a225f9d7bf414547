"""seeds.py FOLDER: what the fuzzers start from. Below FOLDER `plan` gets plans, `tar` gets archives, `dns` questions, with one of everything that the
decoders know."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from native import plans
from support import dns

VALUES = {"s": "/some/where", "b": b"\x00\x01bytes", "i": 7, "S": ["one", "two=2"], "I": [0, 1]}


def plan_seeds() -> dict[str, bytes]:
    """Every operation alone, and all of them in the order of their codes, which is that of the phases."""
    found = {"empty": plans.encode([])}
    every = []
    for name, (code, fields) in sorted(plans.CODES.items(), key=lambda item: item[1][0]):
        if name == "END":
            continue
        operation = (name, *(VALUES[kind] for kind in fields))
        found[f"{code:03}-{name.lower()}"] = plans.encode([operation])
        every.append(operation)
    found["every"] = plans.encode(every)
    return found


def tar_seeds() -> dict[str, bytes]:
    found = {}
    for name, form in (("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)):
        long = "a" * 90 + "/" + ("b" * 60 if form == tarfile.USTAR_FORMAT else "b" * 150)
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as tar:
            kinds = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
            for number, kind in enumerate(kinds):
                member = tarfile.TarInfo(f"m{number}")
                member.type, member.linkname, member.mode = kind, "m0", 0o4755
                member.size = 5 if kind == tarfile.REGTYPE else 0
                member.uid = 2_000_000 if form == tarfile.USTAR_FORMAT else 1 << 40
                if form == tarfile.PAX_FORMAT:
                    member.pax_headers = {"SCHILY.xattr.user.a": "b", "mtime": "1.5", "comment": "c"}
                tar.addfile(member, io.BytesIO(b"hello"))
            tar.addfile(tarfile.TarInfo(long))
            for marker in ("d/.wh.gone", "d/.wh..wh..opq", ".wh."):
                tar.addfile(tarfile.TarInfo(marker))
        found[name] = out.getvalue()
    return found


def dns_seeds() -> dict[str, bytes]:
    names = ("web", "shop.net", "a.b", "3.0.1.10.in-addr.arpa", ".".join("fd000000000000000000000000000002"[::-1]) + ".ip6.arpa")
    found = {f"{name[:20]}-{kind}": dns.query(name, kind, edns=kind * 40) for name in names for kind in (dns.A, dns.AAAA, dns.PTR, dns.ANY)}
    asked = dns.query("web")
    return found | {"answer": asked + dns.answer(asked, ["10.0.0.1"]), "names": asked + b"10.9.9.9 web\n"}


def write(folder: Path) -> None:
    for kind, seeds in (("plan", plan_seeds()), ("tar", tar_seeds()), ("dns", dns_seeds())):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for name, data in seeds.items():
            (folder / kind / name).write_bytes(data)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
