"""Reads a capture of one connection with nothing but struct, and checks every field that a reader relies on.

Prints for each direction: number of bytes, the distinct letters in order, and how it ended.
"""

import itertools
import struct
import sys

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


data = open(sys.argv[1], "rb").read()
magic, major, minor, zone, accuracy, limit, link = struct.unpack("<IHHiIII", data[:24])
assert (magic, major, minor, zone, accuracy, link) == (0xA1B23C4D, 2, 4, 0, 0, 101)
at = 24
last_time = (0, 0)
client = None
following = {}
streams = {}
ends = {}
flags_seen = []
while at < len(data):
    seconds, nanos, size, original = struct.unpack("<IIII", data[at:at + 16])
    packet = data[at + 16:at + 16 + size]
    at += 16 + size
    assert size == original == len(packet) <= min(limit, 1500)
    assert (seconds, nanos) >= last_time and nanos < 10**9
    last_time = (seconds, nanos)
    if packet[0] >> 4 == 4:
        assert packet[0] == 0x45 and packet[9] == 6 and checksum(packet[:20]) == 0
        assert struct.unpack(">H", packet[2:4])[0] == len(packet)
        addresses, segment = packet[12:20], packet[20:]
    else:
        assert packet[0] >> 4 == 6 and packet[6] == 6
        assert struct.unpack(">H", packet[4:6])[0] == len(packet) - 40
        addresses, segment = packet[8:40], packet[40:]
    pseudo = addresses + struct.pack(">II", len(segment), 6)
    assert checksum(pseudo + segment) == 0
    source, destination, sequence, acknowledged, offset, flags, window, _, _ = struct.unpack(
        ">HHIIBBHHH", segment[:20])
    payload = segment[(offset >> 4) * 4:]
    if client is None:
        assert flags == SYN
        client = source
    way = "up" if source == client else "down"
    back = "down" if way == "up" else "up"
    if flags & SYN:
        following[way] = sequence
    assert sequence == following[way], (way, sequence, following)
    assert not flags & ACK or acknowledged == following.get(back, acknowledged)
    following[way] = (sequence + len(payload) + bool(flags & (SYN | FIN))) % 2**32
    streams[way] = streams.get(way, b"") + payload
    if flags & FIN:
        ends[way] = "fin"
    if flags & RST:
        ends[way] = "rst"
    flags_seen.append(flags)
assert flags_seen[:3] == [SYN, SYN | ACK, ACK]
for way in ["up", "down"]:
    letters = "".join(key for key, _ in itertools.groupby(streams[way].decode()))
    letters = "".join(dict.fromkeys(letters[:1] + letters[-1:]))
    print(way, len(streams[way]), letters, ends.get(way, ""))
