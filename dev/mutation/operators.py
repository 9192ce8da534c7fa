"""The changes that cosmic-ray does not make: in SQL, in enum members, in `match`, in statements, results and arguments.

cosmic-ray reads Python with parso, which knows no `match` statement and finds parse errors there. So each change here
looks at single tokens or at small nodes, which parso gets right inside a `match` too.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, TypeAlias

from parso.python.tree import Keyword

from shared import payments

Position: TypeAlias = tuple[tuple[int, int], tuple[int, int]]

SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|WHERE|RETURNING|FOR UPDATE|ON CONFLICT)\b")
SQL_CHANGES = (
    (r"\bAND\b", "OR"),
    (r"\bOR\b", "AND"),
    (r"(\b(?:WHERE|AND|OR|ON|WHEN|NOT) \(?[\w.:]+(?:\([^()]*\))?) =(?= )", r"\1 <>"),
    (r"<>", "="),
    (r"(?<= )>(?= )", "<="),
    (r"(?<= )<(?= )", ">="),
    (r"(?<= )<=(?= )", ">"),
    (r"(?<= )>=(?= )", "<"),
    (r"\bNOT EXISTS\b", "EXISTS"),
    (r"(?<!NOT )\bEXISTS\b", "NOT EXISTS"),
    (r"\bIS NOT NULL\b", "IS NULL"),
    (r"\bIS NULL\b", "IS NOT NULL"),
    (r"\bNOT IN\b", "IN"),
    (r"(?<!NOT )\bIN\b", "NOT IN"),
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
    (r"\bFOR UPDATE( OF \w+)?( SKIP LOCKED)?", ""),
    (r"\bSKIP LOCKED", ""),
    (r"\bLEFT JOIN\b", "JOIN"),
    (r"\bWHERE\b", "WHERE false AND"),
    (r"\bWHEN\b", "WHEN NOT"),
    (r"\bcoalesce\((\w+), ([^()]+|\w+\(\))\)", r"\1"),
    (r"\bcoalesce\((\w+), ([^()]+|\w+\(\))\)", r"\2"),
    (r"\bpg_advisory_xact_lock\(", "abs("),
    (r"(?<=interval ')\d+", "0"),
    (r"(?<=interval ')\d+", "999"),
    (r"\bON CONFLICT .*DO NOTHING", ""),
    (r"(?<![\w'])\d+(?![\w'])", "7"),
)
MEMBERS = {
    name: [member.name for member in enum]
    for name, enum in vars(payments).items()
    if isinstance(enum, type) and issubclass(enum, StrEnum) and enum is not StrEnum
}


class Change(ABC):
    """One kind of change, as cosmic-ray's operators are: where it is possible, and how it is made there."""

    @classmethod
    def arguments(cls) -> Sequence[object]:
        return ()

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        for _ in self.made(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        made = list(self.made(node))[index]
        if not isinstance(made, str):
            return made
        node.value = made
        return node

    @abstractmethod
    def made(self, node: Any) -> Iterator[Any]:
        """What the node may become: another node, or another text where it is one token."""


class Sql(Change):
    """One condition, lock, limit or default less, or another one."""

    def made(self, node: Any) -> Iterator[str]:
        is_text = node.type in ("string", "fstring_string") and node.parent.type != "simple_stmt"
        if is_text and SQL.search(node.value):
            for pattern, new in SQL_CHANGES:
                for found in re.finditer(pattern, node.value):
                    yield node.value[: found.start()] + found.expand(new) + node.value[found.end() :]


class Member(Change):
    """Another member of the same enum: `Status.PAID` becomes `Status.FAILED`."""

    def made(self, node: Any) -> Iterator[str]:
        dot = node.get_previous_leaf() if node.type == "name" else None
        if dot is not None and dot.value == ".":
            members = MEMBERS.get(dot.get_previous_leaf().value, [])
            if node.value in members:
                yield members[(members.index(node.value) + 1) % len(members)]


class Case(Change):
    """A case that never fits; a guard that says the opposite."""

    def made(self, node: Any) -> Iterator[str]:
        if node.type not in ("operator", "keyword") or node.value not in (":", "if"):
            return
        words, before = [], node.get_previous_leaf()
        while before is not None and before.line == node.line:
            words += [before.value] if before.value else []  # indentation is an empty token here
            before = before.get_previous_leaf()
        if words[-1:] == ["case"] and node.value == "if":
            yield "if not"
        elif words[-1:] == ["case"] and "if" not in words and node.get_next_leaf().type == "newline":
            yield " if False:"


class Statement(Change):
    """A statement left out. An assignment stays: without it the next line fails anyway."""

    def made(self, node: Any) -> Iterator[Any]:
        is_whole = node.parent is not None and node.parent.type == "simple_stmt"
        adds = node.type == "expr_stmt" and node.children[1].type == "operator" and node.children[1].value != "="
        if is_whole and (adds or node.type in ("atom_expr", "raise_stmt", "del_stmt")):
            yield Keyword("pass", node.start_pos, node.get_first_leaf().prefix)


class Nothing(Change):
    """None in place of a result or of an argument."""

    def made(self, node: Any) -> Iterator[Any]:
        if self._is_value(node) and node.get_code().strip() != "None":
            yield Keyword("None", node.start_pos, node.get_first_leaf().prefix)

    def _is_value(self, node: Any) -> bool:
        parent = node.parent
        if parent is None or (node.type in ("operator", "keyword") and node.value in ("(", ")", ",", "return")):
            return False
        if parent.type == "argument":
            return bool(node is parent.children[-1] and parent.children[1].get_code().strip() == "=")
        if parent.type == "arglist":
            return bool(parent.parent.type == "trailer" and node.type != "argument")
        is_call = parent.type == "trailer" and parent.children[0].value == "("
        return bool(parent.type == "return_stmt" or (is_call and node.type not in ("arglist", "argument")))


ALL: dict[str, type[Change]] = {each.__name__: each for each in (Sql, Member, Case, Statement, Nothing)}


class Operators:
    """What cosmic-ray asks for the changes of this file."""

    def __iter__(self) -> Iterator[str]:
        return iter(ALL)

    def __getitem__(self, name: str) -> type[Change]:
        return ALL[name]
