#!/usr/bin/python3
"""Makes a page of a namespace reachable at the machine's own loopback, without touching the machine's network.

Usage: forward.py NAMESPACE_PATH PORT WANTED_PORT READY_DESCRIPTOR. Listens at 127.0.0.1:WANTED_PORT, or any free port when that
is taken, writes the number to the descriptor, and only then enters the namespace: what listens stays, what connects goes in."""
import asyncio
import os
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from lab_lib.shell import enter  # noqa: E402  (needs the line above)

CHUNK = 65536


async def copy(reader, writer):
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(listener, port):
    async def handle(reader, writer):
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    async with await asyncio.start_server(handle, sock=listener) as server:
        await server.serve_forever()


def main():
    path, port, wanted, ready = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", wanted))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    os.write(ready, b"%d\n" % listener.getsockname()[1])
    os.close(ready)
    enter(path)
    asyncio.run(serve(listener, port))


if __name__ == "__main__":
    main()
