"""ADDRESS PORT: an HTTP server that tells each client the address it is seen by. Runs on the test's other host, without any look-up of names."""

from __future__ import annotations

import socket
import sys
import threading


def serve(connection: socket.socket, peer: str) -> None:
    with connection:
        connection.recv(65536)
        connection.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {len(peer)}\r\n\r\n{peer}".encode())


def main() -> None:
    family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((sys.argv[1], int(sys.argv[2])))
        listener.listen(64)
        while True:
            connection, peer = listener.accept()
            threading.Thread(target=serve, args=(connection, str(peer[0])), daemon=True).start()


if __name__ == "__main__":
    main()
