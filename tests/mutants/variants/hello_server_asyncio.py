"""Hello server with asyncio."""

import asyncio
import sys


async def hello(reader, writer):
    print("hello,", writer.get_extra_info("peername"))
    try:
        for character in "Hello from server\n":
            writer.write(character.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    except ConnectionError:
        print("gone")


async def main():
    server = await asyncio.start_server(hello, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
