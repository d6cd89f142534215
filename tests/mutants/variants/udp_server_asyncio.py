# Before Python 3.13 the sendto() of a transport of asyncio sends no empty datagram, so this has a socket of its own.
import asyncio
import socket
import sys


async def main():
    loop = asyncio.get_running_loop()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setblocking(False)
    server.bind(("127.0.0.1", int(sys.argv[1])))
    while True:
        data, client = await loop.sock_recvfrom(server, 65535)
        try:
            reply = data.decode()[10:].encode()
        except UnicodeDecodeError:
            continue
        await loop.sock_sendto(server, reply, client)


asyncio.run(main())
