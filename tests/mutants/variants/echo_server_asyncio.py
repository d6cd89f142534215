"""Echo server with asyncio."""

import asyncio
import sys


async def serve(reader, writer):
    try:
        while True:
            header = await reader.readexactly(4)
            payload = await reader.readexactly(int.from_bytes(header, "big"))
            reply = payload.decode("utf-8")[10:].encode("utf-8")
            writer.write(len(reply).to_bytes(4, "big") + reply)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, UnicodeDecodeError) as e:
        print(type(e).__name__)
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), reuse_address=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
