"""Executes the instructions of a pickle within this module and within a budget.

Python's unpickler calls whatever a file names, and half a kilobyte can keep it busy forever even without any call:
the hashes of tuples that share tuples take years. This machine has plain values, containers and a given table of
names. Keys are small, and small input stays small.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from det_safeload.budget import Budget

__all__ = ["Name", "Readable", "RefusedError", "Stateful", "execute", "require_small"]

_MARK = object()
_LARGEST_KEY, _DEEPEST_KEY, _TUPLE_KEYS = 64, 8, 1000
_WORD = 2**64


class RefusedError(Exception):
    """A pickle asks for something not allowed; the text is the end of a sentence, such as "it asks for os.system"."""


@runtime_checkable
class Stateful(Protocol):
    """A part that a pickle completes after it was made."""

    def set_state(self, state: Any) -> None:
        """Complete the part; RefusedError if that is no state of it."""


class Readable(Protocol):
    """A file, or the memory of one, open for reading bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """The next `size` bytes, or those that are left."""

    def readline(self) -> bytes:
        """What is left of the line."""


class Name:
    """The meaning of a name in a pickle: a function to call with the arguments of the pickle, or a value."""

    __slots__ = ("make", "value")

    def __init__(self, make: Callable[..., Any] | None = None, value: Any = None) -> None:
        self.make, self.value = make, value


def execute(
    stream: "Readable",
    names: Mapping[tuple[str, str], Name],
    budget: Budget,
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """The value of the pickle at the current position of the stream, which is left behind it.

    Args:
        stream: binary file, open for reading.
        names: meaning of each (module, name).
        budget: one part is spent for each instruction, bytes for copies.
        persistent: resolves references to objects outside of the pickle; None refuses them.

    Raises:
        RefusedError: it asks for an unknown name, or for something that no file of arrays needs.
        OverBudgetError: it asks for too much.
        Exception: it is damaged; the classes are not bounded.
    """
    return _Machine(names, budget, persistent).run(stream)


def require_small(value: Any, budget: Budget) -> None:
    """Raise OverBudgetError if a traversal of a value would be too long or too deep.

    A container that occurs twice counts twice, as a traversal visits it twice.
    """
    below = [(value, 0)]
    while below:
        part, depth = below.pop()
        budget.spend_parts()
        if isinstance(part, dict):
            budget.require_depth(depth)
            budget.spend_parts(len(part))
            below.extend((each, depth + 1) for each in part.values())
        elif isinstance(part, list | tuple | set | frozenset):
            budget.require_depth(depth)
            budget.spend_parts(len(part))
            below.extend((each, depth + 1) for each in part if isinstance(each, _CONTAINERS))


_CONTAINERS = (dict, list, tuple, set, frozenset)


class _Machine:
    def __init__(
        self, names: Mapping[tuple[str, str], Name], budget: Budget, persistent: Callable[[Any], Any] | None
    ) -> None:
        self.names, self.budget, self.persistent = names, budget, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        # The (parts, depth) of each tuple and frozenset by its id, and the tuples themselves, so that no id is reused.
        self.extents: dict[int, tuple[int, int]] = {}
        self.kept: list[Any] = []
        self.tuple_keys = self.steps = 0

    def run(self, stream: "Readable") -> Any:
        constants, steps = _CONSTANTS, _STEPS
        for opcode, argument, _ in pickletools.genops(stream):  # type: ignore[arg-type]  # these two methods suffice
            self.budget.spend_parts()
            self.steps += 1
            name = opcode.name
            if name in _LITERALS:
                self.stack.append(argument)
            elif name in constants:
                self.stack.append(constants[name])
            elif name in steps:
                steps[name](self, argument)
            elif name == "STOP":
                if len(self.stack) != 1:
                    raise ValueError("it leaves more than one value, or none")
                return self._value(self.stack[0])
            elif name not in ("PROTO", "FRAME"):
                raise RefusedError(f"it has the instruction {name}")
        raise ValueError("it ends too early")

    def pop(self) -> Any:
        return self._value(self.stack.pop())

    @staticmethod
    def _value(value: Any) -> Any:
        if value is _MARK:
            raise ValueError("it takes more values than it has")
        return value

    def above_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise ValueError("it takes more values than it has")
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values

    def push_fixed(self, value: Any) -> None:
        """Push a tuple or a frozenset."""
        parts, depth = 1, 0
        for each in value:
            extent = self.extents.get(id(each)) if isinstance(each, tuple | frozenset) else None
            parts += extent[0] if extent else 1
            depth = max(depth, extent[1] if extent else 0)
        self.extents[id(value)] = (min(parts, _WORD), depth + 1)
        self.kept.append(value)
        self.stack.append(value)

    def require_key(self, key: Any) -> None:
        """Refuse keys that are slow to hash or to compare, or that collide with many others."""
        if isinstance(key, tuple | frozenset):
            parts, depth = self.extents.get(id(key), (_WORD, _WORD))
            self.tuple_keys += 1
            if parts > _LARGEST_KEY or depth > _DEEPEST_KEY or self.tuple_keys > _TUPLE_KEYS:
                raise RefusedError("it has large tuples, or too many, as keys")
            for each in key:
                if not isinstance(each, tuple | frozenset):
                    self.require_key(each)
        elif type(key) is int:
            if not -_WORD < key < _WORD:
                raise RefusedError("it has a key of too many digits")
        elif type(key).__module__ != "numpy" and not isinstance(key, str | bytes | float | bool | None):
            raise RefusedError(f"it has a {type(key).__name__} as a key")

    def set_items(self, target: Any, items: list[Any]) -> None:
        if not isinstance(target, dict) or len(items) % 2:
            raise RefusedError("it sets items of an object that is no dictionary")
        for key in items[::2]:
            self.require_key(key)
        target.update(zip(items[::2], items[1::2], strict=True))

    def add_items(self, target: Any, items: list[Any]) -> None:
        if not isinstance(target, set):
            raise RefusedError("it adds items to an object that is no set")
        for key in items:
            self.require_key(key)
        target.update(items)

    def append_items(self, target: Any, items: list[Any]) -> None:
        if type(target) is not list:
            raise RefusedError("it appends to an object that is no list")
        target.extend(items)

    def name(self, module: Any, name: Any) -> None:
        meaning = self.names.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if meaning is None:
            raise RefusedError(f"it asks for {module!s:.100}.{name!s:.100}")
        self.stack.append(meaning if meaning.make is not None else meaning.value)

    def reduce(self, _: Any) -> None:
        arguments, target = self.pop(), self.pop()
        if not isinstance(target, Name) or target.make is None or not isinstance(arguments, tuple):
            raise RefusedError("it calls something other than a name")
        if target is SET:
            self.stack.append(self.made_set(arguments))
        elif target is LIST or target is DICT:
            self.stack.append(self.copied(target.make, arguments))
        else:
            self.stack.append(target.make(*arguments))

    def made_set(self, arguments: tuple[Any, ...]) -> set[Any]:
        items: set[Any] = set()
        self.add_items(items, self.copied(list, arguments))
        return items

    def copied(self, make: Any, arguments: tuple[Any, ...]) -> Any:
        """A list, or a dictionary of pairs, from the items of another container."""
        source = arguments[0] if arguments else ()
        if len(arguments) > 1 or not isinstance(source, _CONTAINERS):
            raise RefusedError("it makes a container of something other than a container")
        self.budget.spend_parts(len(source))
        if make is list:
            return list(source)
        copy = _Ordered()
        if isinstance(source, dict):
            copy.update(source)
            return copy
        for pair in source:
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise RefusedError("it makes a dictionary of something other than pairs")
            self.set_items(copy, list(pair))
        return copy

    def build(self, _: Any) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Name) or not isinstance(target, Stateful):
            raise RefusedError("it changes a part of the reader, or an immutable object")
        target.set_state(state)

    def put(self, place: Any) -> None:
        place = len(self.memo) if place is None else int(place)
        if not 0 <= place <= self.steps:
            raise RefusedError("it numbers more parts than it has")
        self.memo[place] = self._value(self.stack[-1])

    def get(self, place: Any) -> None:
        self.stack.append(self.memo[int(place)])

    def refer(self, reference: Any) -> None:
        if self.persistent is None:
            raise RefusedError("it refers to something outside of itself")
        self.stack.append(self.persistent(reference))

    def tuple_of(self, count: int) -> None:
        if len(self.stack) < count:
            raise ValueError("it takes more values than it has")
        values = tuple(map(self._value, self.stack[len(self.stack) - count :]))
        del self.stack[len(self.stack) - count :]
        self.push_fixed(values)

    def make_dict(self, _: Any) -> None:
        items: dict[Any, Any] = {}
        self.set_items(items, self.above_mark())
        self.stack.append(items)

    def make_frozenset(self, _: Any) -> None:
        items: set[Any] = set()
        self.add_items(items, self.above_mark())
        self.push_fixed(frozenset(items))

    def pop_top(self, _: Any) -> None:
        self.stack.pop()

    def set_one(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self.set_items(self.stack[-1], [key, value])

    def append_one(self, _: Any) -> None:
        value = self.pop()
        self.append_items(self.stack[-1], [value])

    def stack_name(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        self.name(module, name)

    def many(self, act: Callable[[Any, list[Any]], None]) -> None:
        values = self.above_mark()
        act(self.stack[-1], values)


class _Ordered(dict[Any, Any]):
    """A dictionary read from an OrderedDict, without its attributes, such as the versions of modules."""

    def set_state(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise RefusedError("it changes a dictionary in an unknown form")


SET, LIST, DICT = Name(set), Name(list), Name(dict)
"""The names of containers that are built from the items of another."""

_LITERALS = frozenset(
    [
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    ]
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "MARK": _MARK}
_STEPS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "BYTEARRAY8": lambda self, argument: self.stack.append(bytes(argument)),
    "EMPTY_LIST": lambda self, _: self.stack.append([]),
    "EMPTY_DICT": lambda self, _: self.stack.append({}),
    "EMPTY_SET": lambda self, _: self.stack.append(set()),
    "EMPTY_TUPLE": lambda self, _: self.push_fixed(()),
    "LIST": lambda self, _: self.stack.append(self.above_mark()),
    "DICT": _Machine.make_dict,
    "FROZENSET": _Machine.make_frozenset,
    "TUPLE": lambda self, _: self.push_fixed(tuple(self.above_mark())),
    "TUPLE1": lambda self, _: self.tuple_of(1),
    "TUPLE2": lambda self, _: self.tuple_of(2),
    "TUPLE3": lambda self, _: self.tuple_of(3),
    "APPEND": _Machine.append_one,
    "APPENDS": lambda self, _: self.many(self.append_items),
    "SETITEM": _Machine.set_one,
    "SETITEMS": lambda self, _: self.many(self.set_items),
    "ADDITEMS": lambda self, _: self.many(self.add_items),
    "POP": _Machine.pop_top,
    "POP_MARK": lambda self, _: self.above_mark().clear(),
    "DUP": lambda self, _: self.stack.append(self._value(self.stack[-1])),
    "GLOBAL": lambda self, argument: self.name(*argument.split(" ", 1)),
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "PERSID": _Machine.refer,
    "BINPERSID": lambda self, _: self.refer(self.pop()),
}
