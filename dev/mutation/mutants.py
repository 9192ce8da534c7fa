"""Every small way to break a module: one changed place in its text at a time.

Not only what runs inside functions: the tables beside them too, and the SQL inside strings, where half of our rules
stand. Left alone are docstrings, annotations, imports and decorators, which say nothing about what is paid.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, pairwise

from shared import payments

COMPARISONS: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Lt: ("<", ("<=", ">")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<")),
    ast.GtE: (">=", (">", "<")),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
}
SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM)\b")
SQL_CHANGES: tuple[tuple[str, str], ...] = (
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
NEIGHBOURS = {"Status", "Outcome", "Alert", "ReviewReason", "Evidence"}
"""Enums whose members may be mistaken for each other."""


@dataclass(frozen=True)
class Mutant:
    """One changed place: the text from `start` to `end` becomes `new`."""

    path: str
    line: int
    within: str
    start: int
    end: int
    new: str
    before: str
    after: str
    """The lines it changes, for the reader; with `within` also its name across edits of the rest."""

    @property
    def name(self) -> str:
        return f"{self.path} {self.within}: {self.before} ⇒ {self.after}"

    def applied(self, text: str) -> str:
        return text[: self.start] + self.new + text[self.end :]


def mutants(path: str, text: str) -> list[Mutant]:
    """All of a module, in the order of its text, each once, and only those that still parse."""
    found: dict[str, Mutant] = {}
    finder = _Finder(path, text)
    for mutant in sorted(finder.all(), key=lambda each: (each.start, each.end, each.new)):
        applied = mutant.applied(text)
        if applied != text and _parses(applied):
            found.setdefault(applied, mutant)
    return list(found.values())


def _parses(text: str) -> bool:
    try:
        compile(text, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


class _Finder:
    def __init__(self, path: str, text: str) -> None:
        self._path, self._text = path, text
        self._tree = ast.parse(text)
        self._lines = [0]
        for line in text.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._members: dict[str, list[str]] = {
            enum: [member.name for member in getattr(payments, enum)] for enum in NEIGHBOURS
        }

    def all(self) -> Iterator[Mutant]:
        yield from self._within(self._tree.body, "module")

    def _within(self, body: list[ast.stmt], name: str) -> Iterator[Mutant]:
        for node in body:
            match node:
                case ast.FunctionDef():
                    for default in [*node.args.defaults, *(each for each in node.args.kw_defaults if each)]:
                        yield from self._node(default, node.name)
                    yield from self._within(_without_docstring(node.body), node.name)
                case ast.ClassDef():
                    is_enum = any(ast.unparse(base) in ("StrEnum", "Protocol") for base in node.bases)
                    if not is_enum:
                        yield from self._within(_without_docstring(node.body), node.name)
                case ast.Import() | ast.ImportFrom() | ast.Pass():
                    pass
                case ast.If() if ast.unparse(node.test) == "TYPE_CHECKING":
                    pass
                case ast.Expr(ast.Constant(str())):
                    pass  # the docstring of a name
                case ast.AnnAssign():
                    if node.value is not None:
                        yield from self._node(node.value, name)
                case _:
                    yield from self._statement(node, name)

    def _statement(self, node: ast.stmt, name: str) -> Iterator[Mutant]:
        match node:
            case ast.Expr() | ast.Raise() | ast.AugAssign() | ast.Delete():
                yield self._change(node, "pass", name)
            case ast.Return(value) if value is not None and not _is_none(value):
                yield self._change(value, "None", name)
            case ast.Continue():
                yield self._change(node, "break", name)
            case ast.Break():
                yield self._change(node, "continue", name)
            case ast.If(test=test) | ast.While(test=test):
                yield self._change(test, "True", name)
                yield self._change(test, "False", name)
            case ast.Match():
                for case in node.cases[:-1]:
                    yield from self._case_left_out(case, name)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                yield from self._within([child], name)
            else:
                yield from self._node(child, name)

    def _case_left_out(self, case: ast.match_case, name: str) -> Iterator[Mutant]:
        if case.guard is None:
            end = self._offset(case.pattern.end_lineno, case.pattern.end_col_offset)
            yield self._mutant(end, end, " if False", name)

    def _node(self, node: ast.AST, name: str) -> Iterator[Mutant]:
        if isinstance(node, ast.stmt):
            yield from self._within([node], name)
            return
        if isinstance(node, ast.JoinedStr):
            if SQL.search(self._of(node)):
                yield from self._sql(node, name)
            return
        if isinstance(node, ast.arg | ast.arguments):
            return
        match node:
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                for before, op, after in zip([left, *comparators], ops, comparators, strict=False):
                    yield from self._comparison(before, op, after, name)
            case ast.BoolOp(op=op, values=values):
                word, other = ("and", "or") if isinstance(op, ast.And) else ("or", "and")
                for one, two in pairwise(values):
                    yield from self._between(one, two, word, other, name)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                sign, other = ARITHMETIC[type(op)]
                yield from self._between(left, right, sign, other, name)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield self._change(node, f"({self._of(operand)})", name)
            case ast.Constant(value=value):
                yield from self._constant(node, value, name)
            case ast.Attribute(value=ast.Name(id=enum), attr=member) if member in self._members.get(enum, ()):
                yield self._change(node, f"{enum}.{self._neighbour(enum, member)}", name)
            case ast.Call(args=args, keywords=keywords):
                for arg in args:
                    if not isinstance(arg, ast.Starred | ast.GeneratorExp) and not _is_none(arg):
                        yield self._change(arg, "None", name)
                for keyword in keywords:
                    if keyword.arg is not None and not _is_none(keyword.value):
                        yield self._change(keyword.value, "None", name)
            case ast.IfExp(test=test):
                yield self._change(test, "True", name)
                yield self._change(test, "False", name)
            case ast.Starred():
                pass
        match node:
            case ast.match_case(guard=guard) if guard is not None:
                yield self._change(guard, "True", name)
                yield self._change(guard, "False", name)
        for child in ast.iter_child_nodes(node):
            yield from self._node(child, name)

    def _comparison(self, before: ast.expr, op: ast.cmpop, after: ast.expr, name: str) -> Iterator[Mutant]:
        sign, others = COMPARISONS[type(op)]
        for other in others:
            yield from self._between(before, after, sign, other, name)

    def _between(self, one: ast.expr, two: ast.expr, word: str, other: str, name: str) -> Iterator[Mutant]:
        start = self._offset(one.end_lineno, one.end_col_offset)
        end = self._offset(two.lineno, two.col_offset)
        place = self._text[start:end].find(word)
        if place >= 0:
            yield self._mutant(start + place, start + place + len(word), other, name)

    def _constant(self, node: ast.Constant, value: object, name: str) -> Iterator[Mutant]:
        match value:
            case bool():
                yield self._change(node, str(not value), name)
            case int():
                yield self._change(node, str(value + 1), name)
            case float():
                yield self._change(node, str(value + 1), name)
            case str() if SQL.search(value):
                yield from self._sql(node, name)
            case str():
                yield self._change(node, repr("other" + value) if value else repr("other"), name)
            case bytes():
                yield self._change(node, repr(b"other" + value), name)

    def _sql(self, node: ast.expr, name: str) -> Iterator[Mutant]:
        start = self._offset(node.lineno, node.col_offset)
        statement = self._of(node)
        for pattern, new in SQL_CHANGES:
            for found in re.finditer(pattern, statement):
                yield self._mutant(start + found.start(), start + found.end(), found.expand(new), name)

    def _neighbour(self, enum: str, member: str) -> str:
        following = cycle(self._members[enum])
        next(name for name in following if name == member)
        return next(following)

    def _change(self, node: ast.expr | ast.stmt, new: str, name: str) -> Mutant:
        start = self._offset(node.lineno, node.col_offset)
        return self._mutant(start, self._offset(node.end_lineno, node.end_col_offset), new, name)

    def _mutant(self, start: int, end: int, new: str, name: str) -> Mutant:
        first, last = self._text.rfind("\n", 0, start) + 1, self._text.find("\n", end)
        before = " ".join(self._text[first:last].split())
        after = " ".join((self._text[first:start] + new + self._text[end:last]).split())
        line = self._text.count("\n", 0, start) + 1
        return Mutant(self._path, line, name, start, end, new, before, after)

    def _of(self, node: ast.expr) -> str:
        start = self._offset(node.lineno, node.col_offset)
        return self._text[start : self._offset(node.end_lineno, node.end_col_offset)]

    def _offset(self, line: int | None, byte: int | None) -> int:
        """`ast` counts bytes of UTF-8 within a line."""
        assert line is not None
        assert byte is not None
        start = self._lines[line - 1]
        return start + len(self._text[start : self._lines[line]].encode()[:byte].decode())


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    return body[1:] if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) else body


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
