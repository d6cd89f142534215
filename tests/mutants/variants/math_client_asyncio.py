"""Math client with asyncio."""

import asyncio
import sys


async def main(host, port):
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        print("cannot connect:", error, file=sys.stderr)
        return 1
    try:
        while True:
            tag = await reader.readexactly(1)
            if tag == b"S":
                secret = await reader.readexactly(8)
                sys.stdout.buffer.write(secret + b"\n")
                return 0
            if tag != b"Q":
                print("bad tag", tag, file=sys.stderr)
                return 1
            body = await reader.readexactly(8)
            total = int.from_bytes(body[:4], "big") + int.from_bytes(body[4:], "big")
            writer.write((total % (1 << 32)).to_bytes(4, "big"))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        print("the server closed too early", file=sys.stderr)
        return 1
    finally:
        writer.close()


sys.exit(asyncio.run(main(sys.argv[1], int(sys.argv[2]))))
