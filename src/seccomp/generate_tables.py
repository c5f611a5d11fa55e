#!/usr/bin/env python3
"""Writes src/seccomp/tables.rs: the numbers of system calls under every ABI that a profile can name.

Usage: src/seccomp/generate_tables.py > /tmp/tables.rs && mv /tmp/tables.rs src/seccomp/tables.rs
(from the top directory; needs python3, cargo, go, and apt-get and dpkg with Debian's archive)

Reads
- the kernel's headers as Debian's packages linux-libc-dev and linux-libc-dev-ARCH-cross have them;
- golang.org/x/sys/unix of GO_SYS, which is generated from a newer kernel's headers;
- the crate linux-raw-sys as Cargo.lock has it, which is also generated from such headers.

The sources must agree where they overlap; a name with two numbers ends the script. ABIs that only Debian's headers
have get the calls that are newer than these: since Linux 5.1 a new call has the same number everywhere, and only those
are taken that all ABIs agree on. Output depends on the sources only, and names them.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

GO_SYS = "v0.49.0"
GO_SYS_KERNEL = "7.2"
INCLUDE = Path("/usr/include/x86_64-linux-gnu")
CROSS = ["s390x", "hppa", "sh4", "mips64el", "armhf"]

# The ABIs in the order of the columns: name, what its numbers start at, architecture in x/sys/unix, in linux-raw-sys,
# and header in a package of Debian's. ARM's own calls, which lie above all others, are an ABI of their own here.
ABIS = [
    ("x86_64", 0, "amd64", None, (None, "asm/unistd_64.h")),
    ("x86", 0, "386", None, (None, "asm/unistd_32.h")),
    ("x32", 0x40000000, None, "x32", (None, "asm/unistd_x32.h")),
    ("aarch64", 0, "arm64", "aarch64", None),
    ("arm", 0, "arm", "arm", None),
    ("arm_private", 0xF0000, None, None, ("armhf", "asm/unistd.h")),
    ("riscv64", 0, "riscv64", "riscv64", None),
    ("loongarch64", 0, "loong64", "loongarch64", None),
    ("ppc", 0, "ppc", "powerpc", None),
    ("ppc64", 0, "ppc64", "powerpc64", None),
    ("s390", 0, None, None, ("s390x", "asm/unistd_32.h")),
    ("s390x", 0, "s390x", "s390x", ("s390x", "asm/unistd_64.h")),
    ("mips", 4000, "mips", "mips", ("mips64el", "asm/unistd_o32.h")),
    ("mips64", 5000, "mips64", "mips64", ("mips64el", "asm/unistd_n64.h")),
    ("mips64n32", 6000, None, None, ("mips64el", "asm/unistd_n32.h")),
    ("parisc", 0, None, None, ("hppa", "asm/unistd_32.h")),
    ("m68k", 0, None, "m68k", None),
    ("sh", 0, None, None, ("sh4", "asm/unistd_32.h")),
]


def fail(message):
    sys.exit(f"generate_tables.py: {message}")


def run(*command, cwd=None):
    """The standard output of a command, which must succeed."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=cwd).stdout


def header(path, base):
    """The names and numbers of a header of the kernel, which may add a base to them."""
    text = path.read_text()
    prefix = "__ARM_NR_" if base == 0xF0000 else "__NR_"
    pairs = re.findall(rf"^#define\s+{prefix}([a-z_]\w*)\s+(?:\((\w+)\s*\+\s*(\d+)\)|(\d+))\s*$", text, re.M)
    return {name: int(offset or plain) for name, symbol, offset, plain in pairs}


def go(directory, arch, base):
    """The names and numbers in golang.org/x/sys/unix for one architecture."""
    text = (directory / "unix" / f"zsysnum_linux_{arch}.go").read_text()
    return {name.lower(): int(number) - base for name, number in re.findall(r"^\tSYS_(\w+)\s+= (\d+)$", text, re.M)}


def raw_sys(directory, arch, base):
    """The names and numbers in the crate linux-raw-sys for one architecture."""
    text = (directory / "src" / arch / "general.rs").read_text()
    pairs = re.findall(r"^pub const __NR_([a-z_]\w*): u32 = (\d+);$", text, re.M)
    return {name: int(number) - base for name, number in pairs if int(number) >= base}


def union(abi, sources):
    """All names of all sources, which must not contradict each other."""
    merged = {}
    for source in sources:
        for name, number in source.items():
            if merged.setdefault(name, number) != number:
                fail(f"{abi}: {name} is {merged[name]} and {number}")
    return merged


def complete(tables):
    """Adds to old tables the newer calls that all others have, and have the same number for."""
    fresh = [table for table, old in tables.values() if not old]
    newer = {name: number for name, number in fresh[0].items() if all(table.get(name) == number for table in fresh)}
    for name, (table, old) in tables.items():
        if old and name != "arm_private":
            last = max(table.values())
            table.update({name: number for name, number in newer.items() if number > last})


def multiplexed():
    """The calls that some architectures take by socketcall(2) and ipc(2), and their numbers there."""
    net = re.findall(r"^#define SYS_([A-Z0-9]+)\s+(\d+)", Path("/usr/include/linux/net.h").read_text(), re.M)
    ipc = re.findall(r"^#define ((?:SEM|MSG|SHM)[A-Z]+)\s+(\d+)\s*$", Path("/usr/include/linux/ipc.h").read_text(), re.M)
    for by, calls in (("Socketcall", net), ("Ipc", ipc)):
        for name, call in calls:
            yield name.lower(), by, int(call)


def rows(items):
    """The items in lines of at most 120 columns."""
    line = "   "
    for item in items:
        if len(line) + len(item) + 2 > 120:
            yield line
            line = "   "
        line += f" {item},"
    yield line


def read_all():
    """The table of each ABI, and what the sources were."""
    module = run("go", "mod", "download", "-json", f"golang.org/x/sys@{GO_SYS}")
    newer = Path(json.loads(module)["Dir"])
    if f"--branch v{GO_SYS_KERNEL} " not in (newer / "unix/linux/Dockerfile").read_text():
        fail(f"golang.org/x/sys {GO_SYS} is not generated from Linux {GO_SYS_KERNEL}")
    metadata = json.loads(run("cargo", "metadata", "--locked", "--format-version", "1"))
    crate = next(it for it in metadata["packages"] if it["name"] == "linux-raw-sys")
    debian = [run("dpkg-query", "-W", "-f", "${Package} ${Version}", "linux-libc-dev")]
    tables = {}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        includes = {None: INCLUDE}
        for arch in CROSS:
            subprocess.run(["apt-get", "download", "-q", "-q", f"linux-libc-dev-{arch}-cross"], check=True, cwd=scratch)
            package = next(scratch.glob(f"linux-libc-dev-{arch}-cross_*.deb"))
            subprocess.run(["dpkg", "-x", package, scratch / arch], check=True)
            includes[arch] = next((scratch / arch).glob("usr/*/include"))
            debian.append(f"linux-libc-dev-{arch}-cross {run('dpkg-deb', '--field', package, 'Version').strip()}")
        for name, base, go_arch, raw_arch, file in ABIS:
            sources = []
            if go_arch:
                sources.append(go(newer, go_arch, base))
            if raw_arch:
                sources.append(raw_sys(Path(crate["manifest_path"]).parent, raw_arch, base))
            if file:
                sources.append(header(includes[file[0]] / file[1], base))
            tables[name] = union(name, sources), not (go_arch or raw_arch)
    complete(tables)
    debian += [f"golang.org/x/sys {GO_SYS} (Linux {GO_SYS_KERNEL})", f"linux-raw-sys {crate['version']}"]
    return {name: table for name, (table, _) in tables.items()}, debian


def main():
    tables, sources = read_all()
    for abi, table in tables.items():
        least = 1 if abi == "arm_private" else 300
        if len(table) < least or max(table.values()) >= 0xFFFF or min(table.values()) < 0:
            fail(f"a source of {abi} was not understood: {len(table)} names")
    by_name = {name: (by, call) for name, by, call in multiplexed()}
    names = sorted(set().union(*tables.values(), by_name))
    ends = [0]
    for name in names:
        ends.append(ends[-1] + len(name))

    print("// @generated")
    print("//! System call numbers. Generated by generate_tables.py, not to be edited.")
    print("//!")
    print("//! Sources:")
    for source in sources:
        print(f"//! - {source}")
    print()
    print("/// The name does not exist under this ABI.")
    print("pub(super) const NO: u16 = u16::MAX;")
    print("/// How many names there are.")
    print(f"pub(super) const COUNT: usize = {len(names)};")
    print()
    print("/// All names, sorted, one after the other.")
    print("pub(super) static NAMES: &str = \"\\")
    line = ""
    for name in names:
        if len(line) + len(name) > 118:
            print(f"{line}\\")
            line = ""
        line += name
    print(f"{line}\";")
    print()
    print("/// Where each name starts in [`NAMES`], and where the last one ends.")
    print("#[rustfmt::skip]")
    print("pub(super) static STARTS: [u16; COUNT + 1] = [")
    print("\n".join(rows(map(str, ends))))
    print("];")
    print()
    for column, (abi, base, *_) in enumerate(ABIS):
        print(f"/// The column of {abi} in [`NUMBERS`].")
        print(f"pub(super) const {abi.upper()}: usize = {column};")
    print()
    print("/// The number of each name under each ABI, less what the ABI's numbers start at.")
    print("#[rustfmt::skip]")
    print(f"pub(super) static NUMBERS: [[u16; COUNT]; {len(ABIS)}] = [")
    for abi, *_ in ABIS:
        print("[")
        print("\n".join(rows(str(tables[abi][name]) if name in tables[abi] else "NO" for name in names)))
        print("],")
    print("];")
    print()
    print("/// The call that takes others, told by its first argument.")
    print("#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]")
    print("pub(super) enum Multiplexer {")
    print("    /// ipc(2)")
    print("    Ipc,")
    print("    /// socketcall(2)")
    print("    Socketcall,")
    print("}")
    print()
    print("/// The names of the calls that are multiplexed where there is a multiplexer, and the first argument. By name.")
    print("#[rustfmt::skip]")
    print(f"pub(super) static MULTIPLEXED: [(u16, Multiplexer, u8); {len(by_name)}] = [")
    muxed = sorted((names.index(name), by, call) for name, (by, call) in by_name.items())
    print("\n".join(rows(f"({at}, Multiplexer::{by}, {call})" for at, by, call in muxed)))
    print("];")


main()
