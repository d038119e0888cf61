"""A virtual board's memory and registers as pynq sees them: buffers with caches, live words.

A cacheable buffer has a copy for the processor and one for the programmable logic, so that a
forgotten flush or invalidate is noticed as what it is and not as odd results.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from pynq.buffer import PynqBuffer

from deploy.virtual_blocks import BoardFault

BASE = 0x10000000
NEVER = "nothing has invalidated it since, so that nothing can have read the output"
PAGE = 4096


class Block:
    """One allocation: where it lies, and its two copies."""

    def __init__(self, address: int, n_bytes: int, cacheable: bool) -> None:
        self.address = address
        self.logic = np.zeros(n_bytes, np.uint8)
        self.host = np.zeros(n_bytes, np.uint8) if cacheable else self.logic
        self.written = False  # by the logic, and the processor has not invalidated it since

    @property
    def is_stale(self) -> bool:
        """Whether the processor would see what was there before the logic wrote."""
        return self.written and self.host is not self.logic

    def check_fresh(self, doing: str) -> None:
        """BoardFault if it is stale; only invalidating it changes that."""
        if self.is_stale:
            raise BoardFault(
                "missing invalidate: the processor's cache holds what was there before the DMA",
                where=f"buffer at {self.address:#x}, {len(self.logic)} bytes",
                found=doing,
                fix="call buffer.invalidate() after the transfer",
            )


class VirtualBuffer(PynqBuffer):
    """pynq's buffer on a virtual board: reading what is stale in the cache is a fault.

    Reads are seen where numpy shows them: indexing, its functions, operators and methods. What it
    hides (np.asarray, memoryview) shows at the end, when nothing ever invalidated the buffer.
    """

    # numpy 2 gave arrays a read-only attribute of this name; pynq's is a plain one.
    device = None

    def _check(self, doing: str) -> None:
        block = getattr(self, "bo", None)
        # numpy hands the attributes on to copies and empty arrays of this kind, too.
        if isinstance(block, Block) and np.may_share_memory(np.asarray(self), block.host):
            block.check_fresh(doing)

    def freebuffer(self) -> None:
        """Frees it once; BoardFault if an output was never invalidated, thus never read."""
        block = getattr(self, "pointer", 0)
        if block:
            super().freebuffer()
            if sys.exc_info()[0] is None:  # whatever is under way is the better error
                block.check_fresh(NEVER)

    def __del__(self) -> None:
        block = getattr(self, "pointer", 0)
        if block:
            self.memory.lost += [block] * block.is_stale  # an error from here would go unseen
            super().freebuffer()

    def __getitem__(self, index: Any) -> Any:
        self._check("it was indexed")
        return super().__getitem__(index)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        for operand in inputs:
            if isinstance(operand, VirtualBuffer):
                operand._check(f"it was read by {ufunc.__name__}")
        outs = tuple(_plain(out) for out in options.get("out", ()))
        more = {**options, "out": outs} if outs else options
        return getattr(ufunc, method)(*(_plain(operand) for operand in inputs), **more)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        self._check(f"it was read by {function.__name__}")
        return super().__array_function__(function, types, args, options)

    # numpy below 1.25 swallows what is raised inside its own comparison.
    def __eq__(self, other: Any) -> Any:
        self._check("it was compared")
        return np.asarray(self) == _plain(other)

    def __ne__(self, other: Any) -> Any:
        self._check("it was compared")
        return np.asarray(self) != _plain(other)

    __hash__ = None


def _checked(name: str) -> Any:
    method = getattr(np.ndarray, name)

    @wraps(method)
    def read(self: VirtualBuffer, *args: Any, **options: Any) -> Any:
        self._check(f"its {name} was called")
        return method(self, *args, **options)

    return read


for _name in (
    *("argmax", "argmin", "argsort", "astype", "byteswap", "choose", "copy", "diagonal", "dot"),
    *("flatten", "item", "nonzero", "ravel", "repeat", "reshape", "searchsorted", "squeeze"),
    *("swapaxes", "take", "tobytes", "tofile", "tolist", "transpose", "view"),
    *("__bool__", "__complex__", "__contains__", "__copy__", "__deepcopy__", "__float__"),
    *("__index__", "__int__", "__iter__", "__reduce__", "__repr__", "__str__"),
):
    setattr(VirtualBuffer, _name, _checked(_name))


def _plain(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, VirtualBuffer) else value


class VirtualMemory:
    """Contiguous memory of a board: first fit, pages of 4 KiB.

    Args:
        device: the pynq device that buffers belong to.
        n_bytes: all of it.
    """

    def __init__(self, device: Any, n_bytes: int) -> None:
        self._device, self.size = device, n_bytes
        self.base_address = BASE
        self.blocks: dict[int, Block] = {}
        self.lost: list[Block] = []  # freed as garbage with an output that nobody invalidated

    def check_read(self) -> None:
        """BoardFault if an output was never invalidated, in a buffer that lives or was lost."""
        for block in (*self.blocks.values(), *self.lost):
            block.check_fresh(NEVER)

    def forget(self, address: int) -> None:
        """A DMA was reset: nobody will read what it may have written there."""
        for block in self.blocks.values():
            if 0 <= address - block.address < len(block.logic):
                block.written = False

    def allocate(self, shape: Any, dtype: Any = "u4", cacheable: Any = 0, **_: Any) -> Any:
        """As `pynq.allocate`; RuntimeError where there is no room, as pynq's own."""
        dtype = np.dtype(dtype)
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        block = Block(self._find(n_bytes), n_bytes, bool(cacheable))
        buffer = VirtualBuffer(
            shape,
            dtype,
            buffer=block.host.data,
            device=self._device,
            device_address=block.address,
            bo=block,
            coherent=not cacheable,
        )
        self.blocks[block.address] = block
        buffer.memory, buffer.return_to, buffer.pointer = self, self, block
        return buffer

    def return_pointer(self, block: Block) -> None:
        """Frees an allocation."""
        self.blocks.pop(block.address, None)

    def read(self, address: int, n_bytes: int, who: str) -> np.ndarray:
        """What the logic reads; BoardFault for a stray address or a missing flush."""
        block, offset = self._at(address, n_bytes, who)
        rows = slice(offset, offset + n_bytes)
        if not np.array_equal(block.host[rows], block.logic[rows]):
            raise BoardFault(
                "missing flush: the DMA would read what was in memory before the processor wrote",
                where=f"{who}, buffer at {block.address:#x}",
                found=f"{int((block.host[rows] != block.logic[rows]).sum())} bytes only in cache",
                fix="call buffer.flush() before the transfer",
            )
        return block.logic[rows].copy()

    def write(self, address: int, data: np.ndarray, who: str) -> None:
        """What the logic writes; BoardFault for a stray address."""
        block, offset = self._at(address, len(data), who)
        block.check_fresh("the next transfer overwrites it")
        block.logic[offset : offset + len(data)] = data
        block.written = True

    def _at(self, address: int, n_bytes: int, who: str) -> tuple[Block, int]:
        for block in self.blocks.values():
            offset = address - block.address
            if offset >= 0 and offset + n_bytes <= len(block.logic):
                return block, offset
        live = ", ".join(f"{b.address:#x}: {len(b.logic)}" for b in self.blocks.values())
        raise BoardFault(
            "stray address: a DMA would leave every buffer",
            where=who,
            found=f"{n_bytes} bytes at {address:#x}",
            expected=f"inside one of the live buffers ({live or 'none'})",
        )

    def _find(self, n_bytes: int) -> int:
        """The lowest address with room."""
        room = -(-max(n_bytes, 1) // PAGE) * PAGE
        at = BASE
        for address in sorted(self.blocks):
            if address - at >= room:
                break
            at = address + -(-max(len(self.blocks[address].logic), 1) // PAGE) * PAGE
        if at + room > BASE + self.size:
            used = sum(len(block.logic) for block in self.blocks.values())
            raise RuntimeError(
                f"Allocation failed: {n_bytes} bytes wanted, {used} of {self.size} in use"
            )
        return at


class LiveWords(np.ndarray):
    """A window of 32-bit registers: reading or writing one element reaches the block behind it.

    Views stay live, which pynq's register maps need.
    """

    read_hook: Callable[[int], int] | None
    write_hook: Callable[[int, int], None] | None

    def __new__(cls, n_words: int, base: int, read: Any, write: Any) -> LiveWords:
        self = np.zeros(n_words, np.uint32).view(cls)
        self.origin = self.__array_interface__["data"][0]
        self.base_address, self.read_hook, self.write_hook = base, read, write
        return self

    def __array_finalize__(self, source: Any) -> None:
        for name in ("origin", "base_address", "read_hook", "write_hook"):
            setattr(self, name, getattr(source, name, None))

    def _address(self, index: int) -> int:
        first = self.__array_interface__["data"][0] - self.origin
        return self.base_address + first + 4 * (index + len(self) if index < 0 else index)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, (int, np.integer)) and self.read_hook is not None:
            return np.uint32(self.read_hook(self._address(int(index))))
        return super().__getitem__(index)

    def __setitem__(self, index: Any, value: Any) -> None:
        if self.write_hook is None:
            super().__setitem__(index, value)
        elif isinstance(index, (int, np.integer)):
            self.write_hook(self._address(int(index)), int(value) & 0xFFFFFFFF)
        else:
            places = range(*index.indices(len(self)))
            values = np.broadcast_to(np.asarray(value), (len(places),))
            for i, place in enumerate(places):
                self[place] = values[i]
