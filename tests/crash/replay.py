# SPDX-License-Identifier: Apache-2.0
"""replay.py LOG DISK POINTS COMMAND...: applies a dm-log-writes log to DISK; at POINTS of its flushes (spread evenly, or all), and at the
last, runs COMMAND... DISK POINT. A record is one sector (sector, sectors, flags, length of a mark) and, unless it discards, its data."""
import struct
import subprocess
import sys

MAGIC, FLUSH, FUA, DISCARD, MARK = 0x6A736677736872, 1, 2, 4, 8


def records(log):
    log.seek(0)
    magic, version, count, size = struct.unpack("<QQQI", log.read(28))
    if magic != MAGIC or version != 1:
        raise SystemExit("no log of version 1")
    at = size
    for _ in range(count):
        log.seek(at)
        sector, n, flags, _ = struct.unpack("<QQQQ", log.read(32))
        at += size
        yield sector * size, n * size, flags, at
        if not flags & DISCARD:
            at += n * size


def is_flush(flags):
    return flags & (FLUSH | FUA) != 0


def apply(log, disk, record):
    to, n, flags, at = record
    if flags & MARK:
        return
    disk.seek(to)
    if flags & DISCARD:
        while n:
            n -= disk.write(bytes(min(n, 1 << 20)))
        return
    log.seek(at)
    while n:
        n -= disk.write(log.read(min(n, 1 << 20)))


def main(log_name, disk_name, points, *command):
    with open(log_name, "rb") as log, open(disk_name, "r+b") as disk:
        total = sum(is_flush(r[2]) for r in records(log))
        step = 1 if points == "all" else max(1, total // int(points))
        print("FLUSHES", total, flush=True)
        flushes = 0
        for record in records(log):
            apply(log, disk, record)
            if not is_flush(record[2]):
                continue
            flushes += 1
            if flushes % step == 0 or flushes == total:
                disk.flush()
                subprocess.run([*command, disk_name, str(flushes)], check=True)


main(*sys.argv[1:])
