"""Runs a command under a system call filter, for tests: what systemd would do with a unit's SystemCallFilter=."""
import ctypes
import errno
import os
import re
import struct
import subprocess

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def _group(name):
    """Names in systemd's group `name`, groups inside it included."""
    told = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    names = set()
    for word in re.findall(r"^ {4}(\S+)$", told.stdout, re.M):
        names |= _group(word) if word.startswith("@") else {word}
    return names


def allowed(unit):
    """The names that the SystemCallFilter= lines of a unit's text leave: lists are added, those after ~ taken away."""
    names = set()
    for value in re.findall(r"^SystemCallFilter=(.*)$", unit, re.M):
        listed = set()
        for word in value.lstrip("~").split():
            listed |= _group(word) if word.startswith("@") else {word}
        names = names - listed if value.startswith("~") else names | listed
    return names


def numbers(names, header):
    """What the kernel header `header` calls them; names of other machines are left out."""
    with open(header) as f:
        table = dict(re.findall(r"^#define __NR_(\w+)\s+(\d+)$", f.read(), re.M))
    return sorted(int(table[name]) for name in names if name in table)


def program(calls):
    """The filter as BPF: these calls, all others answer EPERM."""
    words = [struct.pack("<HBBI", LOAD, 0, 0, 0)]
    for call in calls:
        words += [struct.pack("<HBBI", JUMP_IF_EQUAL, 0, 1, call), struct.pack("<HBBI", RETURN, 0, 0, ALLOW)]
    return b"".join(words + [struct.pack("<HBBI", RETURN, 0, 0, ERRNO | errno.EPERM)])


def enter(code):
    """From here on, this process and its children are under the filter."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(code, len(code))
    fprog = struct.pack("<HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, fprog, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    import sys
    unit, header, *command = sys.argv[1:]
    with open(unit) as f:
        code = program(numbers(allowed(f.read()), header))
    enter(code)
    os.execvp(command[0], command)
