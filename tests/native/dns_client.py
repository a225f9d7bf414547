"""Executed inside a container's network namespace: each line of the input is `udp|tcp SECONDS HEX`, each line of the output the
answer in hex, `-` for none, and the milliseconds it took. `bind 0 00` takes port 53 of all addresses, as a server of the
container's own would."""

from __future__ import annotations

import socket
import sys
import time


def ask(kind: str, seconds: float, query: bytes) -> bytes | None:
    try:
        if kind == "udp":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(seconds)
                s.connect(("127.0.0.11", 53))
                s.send(query)
                return s.recv(65536)
        with socket.create_connection(("127.0.0.11", 53), seconds) as s:
            s.sendall(len(query).to_bytes(2, "big") + query)
            data = b""
            while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
                more = s.recv(65536)
                if not more:
                    return None
                data += more
            return data[2:]
    except (TimeoutError, ConnectionError):
        return None


own: list[socket.socket] = []
for line in sys.stdin:
    how, seconds, text = line.split()
    begin = time.monotonic()
    if how == "bind":
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            own.append(socket.socket(socket.AF_INET, kind))
            own[-1].bind(("0.0.0.0", 53))
        own[-1].listen()
    answer = ask(how, float(seconds), bytes.fromhex(text)) if how != "bind" else b"ok"
    print(answer.hex() if answer is not None else "-", round(1000 * (time.monotonic() - begin)), flush=True)
