"""File server with asyncio. A file that does not exist resets the connection."""

import asyncio
import sys


async def get_name(reader):
    name = await reader.read(1024)
    while name and b"\n" not in name:
        try:
            more = await asyncio.wait_for(reader.read(1024), 0.35)
        except asyncio.TimeoutError:
            break
        if not more:
            break
        name += more
    return name.partition(b"\n")[0].decode()


async def handle(reader, writer):
    try:
        name = await get_name(reader)
        with open(name, "rb") as file:
            while True:
                block = file.read(1024)
                if not block:
                    break
                writer.write(block)
                await writer.drain()
        writer.write_eof()
        await asyncio.wait_for(reader.read(), 5)
        writer.close()
    except (OSError, ValueError, asyncio.TimeoutError) as e:
        print("failed:", e)
        writer.transport.abort()


async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", int(sys.argv[1]))
    print("ready")
    async with server:
        await server.serve_forever()


asyncio.run(main())
