"""What Python's struct module does, for tests/tests/pack.rs.

Each line of stdin is a question, each line of stdout its answer. Words are separated by spaces. A format is its
hexadecimal digits after an x, a value a letter and a text: i13, b1, f and the digits of a double, s and digits.

    size FORMAT             the size
    pack FORMAT VALUE...    the bytes, as digits after an x
    unpack FORMAT BYTES     the values

The answer is "error" if the module refuses. The first line says whether the machine is like x86-64.
"""

import struct
import sys


def value(word):
    kind, text = word[0], word[1:]
    if kind == "i":
        return int(text)
    if kind == "b":
        return text == "1"
    if kind == "f":
        return struct.unpack(">d", bytes.fromhex(text))[0]
    return bytes.fromhex(text)


def word(value):
    if isinstance(value, bool):
        return f"b{value:d}"
    if isinstance(value, int):
        return f"i{value}"
    if isinstance(value, float):
        return "f" + struct.pack(">d", value).hex()
    return "s" + value.hex()


def answer(action, form, *rest):
    form = bytes.fromhex(form[1:])
    if action == "size":
        return str(struct.calcsize(form))
    if action == "pack":
        return "x" + struct.pack(form, *map(value, rest)).hex()
    return " ".join(map(word, struct.unpack(form, bytes.fromhex(rest[0][1:]))))


print(sys.byteorder == "little" and struct.calcsize("lPn") == 24)
for line in sys.stdin:
    try:
        print(answer(*line.split()))
    except (struct.error, OverflowError):
        print("error")
