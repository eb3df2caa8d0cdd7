# SPDX-License-Identifier: Apache-2.0
"""mkarm.py FILE: a program for arm64 that writes "ran on arm64" into /ran, whatever its arguments are."""
import struct
import sys

BASE = 0x400000
HEAD = 64 + 56


def mov(reg, value):
    return [0xD2800000 | (value & 0xFFFF) << 5 | reg, 0xF2A00000 | (value >> 16) << 5 | reg]


def code(path, text, n):
    openat = [0x92800C60, *mov(1, path), *mov(2, 0x241), *mov(3, 0o644), *mov(8, 56), 0xD4000001]
    write = [*mov(1, text), *mov(2, n), *mov(8, 64), 0xD4000001]
    leave = [*mov(0, 0), *mov(8, 93), 0xD4000001]
    return b"".join(struct.pack("<I", i) for i in openat + write + leave)


message = b"ran on arm64\n"
at = BASE + HEAD + len(code(0, 0, 0))
body = code(at, at + 5, len(message)) + b"/ran\0" + message
size = HEAD + len(body)
elf = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, BASE + HEAD, 64, 0, 0, 64, 56, 1, 0, 0, 0)
load = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 0x10000)
with open(sys.argv[1], "wb") as f:
    f.write(elf + load + body)
