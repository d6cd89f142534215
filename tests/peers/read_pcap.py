"""Reads a capture with nothing but struct, and checks every field that a reader relies on.

    read_pcap.py FILE          for each direction of each connection: number of bytes, first and last letter, how it ended
    read_pcap.py FILE --hex    for each connection: the addresses, and for each direction its bytes and how it ended
"""

import socket
import struct
import sys

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


class Connection:
    def __init__(self, client, server):
        self.client, self.server = client, server
        self.following, self.ends, self.flags = {}, {}, []
        self.streams = {"up": [], "down": []}

    def add(self, way, flags, sequence, acknowledged, payload):
        back = "down" if way == "up" else "up"
        assert "rst" not in self.ends.values(), "a packet after a reset"
        assert not (payload and way in self.ends), "bytes after the end"
        if flags & SYN:
            self.following[way] = sequence
        assert sequence == self.following.get(way, 0), (way, sequence, self.following)
        assert not flags & ACK or acknowledged == self.following.get(back, acknowledged)
        self.following[way] = (sequence + len(payload) + bool(flags & (SYN | FIN))) % 2**32
        self.streams[way].append(payload)
        if flags & FIN:
            assert way not in self.ends
            self.ends[way] = "fin"
        if flags & RST:
            self.ends[way] = "rst"
        self.flags.append(flags)


data = memoryview(open(sys.argv[1], "rb").read())
magic, major, minor, zone, accuracy, limit, link = struct.unpack("<IHHiIII", data[:24])
assert (magic, major, minor, zone, accuracy, link) == (0xA1B23C4D, 2, 4, 0, 0, 101)
at = 24
last_time = (0, 0)
opened, connections = {}, []
while at < len(data):
    seconds, nanos, size, original = struct.unpack("<IIII", data[at:at + 16])
    packet = bytes(data[at + 16:at + 16 + size])
    at += 16 + size
    assert size == original == len(packet) <= min(limit, 1500)
    assert (seconds, nanos) >= last_time and nanos < 10**9
    last_time = (seconds, nanos)
    if packet[0] >> 4 == 4:
        assert packet[0] == 0x45 and packet[9] == 6 and checksum(packet[:20]) == 0
        assert struct.unpack(">H", packet[2:4])[0] == len(packet)
        family, addresses, segment = socket.AF_INET, packet[12:20], packet[20:]
    else:
        assert packet[0] >> 4 == 6 and packet[6] == 6
        assert struct.unpack(">H", packet[4:6])[0] == len(packet) - 40
        family, addresses, segment = socket.AF_INET6, packet[8:40], packet[40:]
    pseudo = addresses + struct.pack(">II", len(segment), 6)
    assert checksum(pseudo + segment) == 0
    source_port, destination_port, sequence, acknowledged, offset, flags, window, _, _ = struct.unpack(
        ">HHIIBBHHH", segment[:20])
    half = len(addresses) // 2
    source = (socket.inet_ntop(family, addresses[:half]), source_port)
    destination = (socket.inet_ntop(family, addresses[half:]), destination_port)
    if flags == SYN:
        connection = opened[source, destination] = Connection(source, destination)
        connections.append(connection)
        way = "up"
    elif (source, destination) in opened:
        connection, way = opened[source, destination], "up"
    else:
        connection, way = opened[destination, source], "down"
    connection.add(way, flags, sequence, acknowledged, segment[(offset >> 4) * 4:])

for connection in connections:
    if len(connection.flags) > 2:
        assert connection.flags[:3] == [SYN, SYN | ACK, ACK]
    if "--hex" in sys.argv:
        print("%s:%d %s:%d" % (connection.client + connection.server))
    for way in ["up", "down"]:
        content, end = b"".join(connection.streams[way]), connection.ends.get(way, "")
        if "--hex" in sys.argv:
            print(way, content.hex(), end)
        else:
            letters = (content[:1] + content[-1:]).decode()
            print(way, len(content), "".join(dict.fromkeys(letters)), end)
