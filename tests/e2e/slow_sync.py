"""A disk whose syncs last as long as a test wants: fdatasync and fsync of a program wait for leave.

As a command it puts itself under a filter that asks a supervisor about these calls, hands the supervisor its end over
a socket, and becomes the program: slow_sync.py SOCKET CALLS COMMAND...
"""
import array
import ctypes
import fcntl
import os
import platform
import select
import socket
import struct
import sys
import threading

PWRITE, FSYNC, FDATASYNC, PWRITEV, SECCOMP = 18, 74, 75, 296, 317  # x86-64
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ASK = 0x7FFF0000, 0x7FC00000
SET_MODE_FILTER, NEW_LISTENER, PR_SET_NO_NEW_PRIVS = 1, 8, 38
RECEIVE, SEND, GO_ON = 0xC0502100, 0xC0182101, 1


def possible():
    return sys.platform == "linux" and platform.machine() == "x86_64"


class SlowSync:
    """The supervisor: `prefix` goes before the command; gate.clear() holds every sync, gate.set() lets them go."""
    CALLS = (FSYNC, FDATASYNC)

    def __init__(self, path):
        self.gate, self.seconds, self.held = threading.Event(), 0, 0
        self.gate.set()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.prefix = [sys.executable, os.path.abspath(__file__), path, ",".join(map(str, self.CALLS))]
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        s, _ = self.listener.accept()
        with s:
            _, ancillary, _, _ = s.recvmsg(1, socket.CMSG_SPACE(4))
            fd = array.array("i", ancillary[0][2])[0]
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        while not self.over.is_set():
            events = poll.poll(100)
            if events and events[0][1] & select.POLLIN:
                self._one(fd)
            elif events:
                break
        os.close(fd)

    def _one(self, fd):
        call = bytearray(80)
        try:
            fcntl.ioctl(fd, RECEIVE, call)
        except OSError:  # whoever asked is gone
            return
        if not self.may(call):
            return
        answer = struct.pack("=QqiI", struct.unpack_from("=Q", call)[0], 0, 0, GO_ON)
        try:
            fcntl.ioctl(fd, SEND, answer)
        except OSError:
            pass

    def may(self, call):
        self.held += 1
        self.over.wait(self.seconds)
        while not self.gate.wait(0.1) and not self.over.is_set():
            pass
        return True

    def close(self):
        self.gate.set()
        self.over.set()
        self.thread.join(10)
        self.listener.close()


class DeadlyWrites(SlowSync):
    """Kills the program in front of its n-th write into a file whose path has `part`, as kill -9 does."""
    CALLS = (PWRITE, PWRITEV)

    def __init__(self, path, part, n):
        self.part, self.left, self.seen, self.struck = part, n, 0, False
        super().__init__(path)

    def may(self, call):
        # struct seccomp_notif: u64 id, u32 pid, u32 flags, then i32 nr, u32 arch, u64 ip, u64 args[6]
        pid, fd = struct.unpack_from("=I", call, 8)[0], struct.unpack_from("=Q", call, 32)[0]
        try:
            name = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            return False
        if self.part not in name:
            return True
        self.seen += 1
        if self.seen != self.left:
            return True
        self.struck = True
        os.kill(pid, 9)
        return False


def main(path, calls, *command):
    calls = [int(c) for c in calls.split(",")]
    words = [(LOAD, 0, 0, 0)] + [(JUMP_IF_EQUAL, len(calls) - 1 - i, 0 if i + 1 < len(calls) else 1, c)
                                 for i, c in enumerate(calls)] + [(RETURN, 0, 0, ASK), (RETURN, 0, 0, ALLOW)]
    code = b"".join(struct.pack("=HBBI", *w) for w in words)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("=HxxxxxxQ", len(words), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    fd = libc.syscall(SECCOMP, SET_MODE_FILTER, NEW_LISTENER, program)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
    os.close(fd)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
