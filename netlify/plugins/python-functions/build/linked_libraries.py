"""What a Linux executable or shared library needs from the machine it is loaded on, and what of it nobody needs.

Reads ELF files (64 bit, little-endian) directly, so that no binutils are needed.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

# What every Lambda of Amazon Linux 2023 has: glibc's libraries, and the C++ runtime that its Node needs.
ON_AMAZON_LINUX = {
    "ld-linux-x86-64.so.2", "libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0",
    "libresolv.so.2", "librt.so.1", "libstdc++.so.6", "libutil.so.1",
}  # fmt: skip

PT_LOAD, PT_DYNAMIC = 1, 2
DT_NEEDED, DT_STRTAB = 1, 5


def is_elf(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(6) == b"\x7fELF\x02\x01"


def needed(file: Path) -> set[str]:
    """The names of the libraries it is linked to (DT_NEEDED); empty for what is no ELF file of that kind."""
    if not is_elf(file):
        return set()
    data = file.read_bytes()
    segments = _segments(data)
    dynamic = next((segment for segment in segments if segment[0] == PT_DYNAMIC), None)
    if dynamic is None:
        return set()
    tags = list(struct.iter_unpack("<QQ", data[dynamic[2] : dynamic[2] + dynamic[5] // 16 * 16]))
    address = next(value for tag, value in tags if tag == DT_STRTAB)
    for kind, _, offset, start, _, size in segments:
        if kind == PT_LOAD and start <= address < start + size:
            strings = offset + address - start
            return {_text(data, strings + value) for tag, value in tags if tag == DT_NEEDED}
    return set()


def newest_glibc(file: Path) -> int:
    """The newest glibc 2.N whose symbols it asks for; 0 for none."""
    return max((int(minor) for minor in re.findall(rb"\0GLIBC_2\.(\d+)", file.read_bytes())), default=0)


def strip(file: Path) -> None:
    """Cuts off what is never loaded: debug information, the symbol table, the section headers."""
    data = bytearray(file.read_bytes())
    table, entry_size, entries = *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54)
    end = max([table + entry_size * entries, *(offset + size for _, _, offset, _, _, size in _segments(data))])
    struct.pack_into("<Q", data, 40, 0)  # e_shoff
    struct.pack_into("<HH", data, 60, 0, 0)  # e_shnum, e_shstrndx
    file.write_bytes(data[:end])


def _segments(data: bytes | bytearray) -> list[tuple[int, ...]]:
    """The program headers: type, flags, offset, address, physical address, size in the file."""
    table, entry_size, entries = *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54)
    return [struct.unpack_from("<IIQQQQ", data, table + number * entry_size) for number in range(entries)]


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()
