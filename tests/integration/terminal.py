# SPDX-License-Identifier: Apache-2.0
"""A terminal for a command: terminal.py STEP... -- COMMAND...

Steps: "text" is typed (\\xNN, \\r), "?text" is waited for, "=ROWSxCOLS" resizes, "!SIGNAL" goes to the command,
"~SECONDS" waits, "#" closes the terminal. All output goes to stdout; the exit status is the command's."""
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

at = sys.argv.index("--")
steps, command = sys.argv[1:at], sys.argv[at + 1:]
WAIT_S = 30


def size(fd, rows, cols):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


pid, master = pty.fork()
if pid == 0:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup
    size(0, 24, 80)
    os.execvp(command[0], command)
seen = b""
ended = False


def read(timeout):
    """One read: False at the end or when nothing came."""
    global seen, ended
    if ended or not select.select([master], [], [], timeout)[0]:
        return False
    try:
        data = os.read(master, 65536)
    except OSError:
        data = b""
    if not data:
        ended = True
        return False
    seen += data
    os.write(1, data)
    return True


signal.alarm(4 * WAIT_S)
for step in steps:
    if step[0] == "?":
        want, until = step[1:].encode(), time.time() + WAIT_S
        while want not in seen and not ended and time.time() < until:
            read(0.5)
        if want not in seen:
            print(f"\n[{step[1:]!r} did not come]", file=sys.stderr)
            os.kill(pid, signal.SIGKILL)
            sys.exit(99)
        seen = seen[seen.index(want) + len(want):]
    elif step[0] == "=":
        rows, cols = step[1:].split("x")
        size(master, int(rows), int(cols))
    elif step[0] == "!":
        os.kill(pid, getattr(signal, "SIG" + step[1:]))
    elif step[0] == "~":
        until = time.time() + float(step[1:])
        while time.time() < until:
            read(0.05)
    elif step[0] == "#":
        os.close(master)
        ended = True
    else:
        os.write(master, step.encode().decode("unicode_escape").encode("latin-1"))
until = time.time() + WAIT_S
while not ended and time.time() < until:
    read(0.5)
status = os.waitpid(pid, 0)[1]
sys.exit(os.waitstatus_to_exitcode(status) & 255)
