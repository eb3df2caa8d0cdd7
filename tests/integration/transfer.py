# SPDX-License-Identifier: Apache-2.0
"""Speaks the protocol of include/shale/registry.h with a shale-transfer that it starts as nobody."""
import array
import json
import os
import socket
import subprocess
import threading
import time

NOBODY = 65534


class Failed(Exception):
    def __init__(self, answer):
        super().__init__(answer.get("msg"))
        self.answer = answer
        self.code = answer["code"]
        self.status = answer["status"]
        self.msg = answer["msg"]


class Transfer:
    def __init__(self, program, env=None, uid=NOBODY):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock = ours
        self.last = 0
        self.answers, self.events, self.cond = {}, [], threading.Condition()

        def child():
            if theirs.fileno() != 3:
                os.dup2(theirs.fileno(), 3)
            os.set_inheritable(3, True)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)

        self.errors = os.memfd_create("stderr")
        self.proc = subprocess.Popen([program], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=self.errors, preexec_fn=child, pass_fds=(3,), close_fds=True,
                                     env={"PATH": "/usr/bin:/bin", **(env or {})})
        theirs.close()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while True:
            try:
                packet = self.sock.recv(1 << 17)
            except OSError:
                packet = b""
            with self.cond:
                if packet:
                    a = json.loads(packet)
                    if "event" in a:
                        self.events.append(a)
                    else:
                        assert a["id"] not in self.answers, "two answers to one request"
                        self.answers[a["id"]] = a
                else:
                    self.answers[None] = None
                self.cond.notify_all()
            if not packet:
                return

    def send(self, op, fd=None, **args):
        self.last += 1
        packet = json.dumps({"id": self.last, "op": op, **args}).encode()
        extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd is not None else []
        self.sock.sendmsg([packet], extra)
        return self.last

    def wait(self, of, timeout=60):
        with self.cond:
            end = time.monotonic() + timeout
            while of not in self.answers:
                if None in self.answers:
                    raise EOFError("shale-transfer is gone: " + self.stderr())
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"no answer to {of}")
                self.cond.wait(left)
            a = self.answers.pop(of)
        if not a["ok"]:
            raise Failed(a)
        return a

    def ask(self, op, fd=None, timeout=60, **args):
        return self.wait(self.send(op, fd, **args), timeout)

    def open(self, registry, repo="a/b", **args):
        args.setdefault("backoff_ms", 20)
        return self.ask("open", registry=registry, repo=repo, **args)["handle"]

    def manifest(self, handle, ref, **args):
        fd = os.memfd_create("manifest")
        try:
            a = self.ask("manifest", fd, handle=handle, ref=ref, **args)
            return a, os.pread(fd, 8 << 20, 0)
        finally:
            os.close(fd)

    def blob_start(self, handle, digest, size, offset=0):
        """The request's id and the end to read from."""
        r, w = os.pipe()
        of = self.send("blob", w, handle=handle, digest=digest, size=size, offset=offset)
        os.close(w)
        return of, r

    def blob(self, handle, digest, size, offset=0, timeout=60, chunk=1 << 16):
        """The answer (or failure) and what came before it."""
        of, r = self.blob_start(handle, digest, size, offset)
        got = []
        with os.fdopen(r, "rb", 0) as f:
            while True:
                b = f.read(chunk)
                if not b:
                    break
                got.append(b)
        try:
            return self.wait(of, timeout), b"".join(got)
        except Failed as e:
            e.got = b"".join(got)
            raise

    def with_bytes(self, op, data, **args):
        fd = os.memfd_create("data")
        try:
            os.write(fd, data)
            return self.ask(op, fd, **args)
        finally:
            os.close(fd)

    def stderr(self):
        return os.pread(self.errors, 65536, 0).decode(errors="replace")

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        try:
            return self.proc.wait(10)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            return None
