"""The small language of letter templates: Jinja's values, conditions, blocks and macros, and nothing that can run away.

There are no loops, no arithmetic, no attributes and no calls inside calls: whatever stands in a template ends, is about
as long as the template, and reaches nothing but the values it is given. Nothing switches the escaping of HTML off, so
what a customer typed never becomes markup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set

from jinja2 import meta, nodes

PROBLEM_LANGUAGE = "not part of the language of letters"
PROBLEM_NAME = "an unknown name"
PROBLEM_UNSEEN = "nobody would see this"

ALLOWED = (
    nodes.Template, nodes.Extends, nodes.FromImport, nodes.Block, nodes.Macro, nodes.Call, nodes.Keyword, nodes.Assign,
    nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Tuple, nodes.List, nodes.If, nodes.CondExpr,
    nodes.Compare, nodes.Operand, nodes.Concat, nodes.And, nodes.Or, nodes.Not, nodes.Test, nodes.Filter,
)  # fmt: skip
FILTERS = frozenset({"capitalize", "default", "e", "escape", "lower", "title", "trim", "upper", "urlencode"})
TESTS = frozenset({"defined", "none", "undefined"})
MOST_VALUES = 50
"""In a macro, a call, a list or what ~ joins, each of which is written as a whole: a long text a thousand times would
fill the memory."""
MOST_FILTERS = 5
"""On one value: some write three characters for one."""
GROWS = (nodes.Call, nodes.Filter, nodes.Concat, nodes.List, nodes.Tuple)
"""What is longer than its parts: a chain of it doubles at every link."""
CALLED_FOR = {nodes.For: "a loop", nodes.Include: "an include", nodes.Getattr: "a dot", nodes.Getitem: "a bracket"}


class Refused(Exception):
    """What stands in this line cannot be used: `problem` for the log, `detail` for whoever wrote it."""

    def __init__(self, line: int, problem: str, detail: str) -> None:
        super().__init__(detail)
        self.line = line
        self.problem = problem
        self.detail = detail


def check(tree: nodes.Template, names: Set[str], files: Set[str]) -> None:
    """Raises `Refused` for the first thing that cannot be used.

    `names` are the values a letter has, `files` the templates that this one may use: of its own form, since a text
    escapes nothing, not even for a page that is made of it.
    """
    for node in _every(tree):
        _check_node(node, files)
    _check_names(tree, names)


def check_is_seen(tree: nodes.Template, blocks_above: Callable[[str], Set[str]]) -> None:
    """Raises `Refused` for what Jinja would leave out without a word.

    `blocks_above(file)` are the blocks that a file and those it extends have.
    """
    extended = tree.find(nodes.Extends)
    if extended is None or not isinstance(extended.template, nodes.Const):
        return
    known = blocks_above(extended.template.value)
    for part in tree.body:
        if isinstance(part, nodes.Block) and part.name not in known:
            there = ", ".join(sorted(known))
            raise Refused(part.lineno, PROBLEM_UNSEEN, f"the layout has no block {part.name!r}, but: {there}")
        for text in part.nodes if isinstance(part, nodes.Output) else ():
            if not isinstance(text, nodes.TemplateData) or text.data.strip():
                raise Refused(text.lineno, PROBLEM_UNSEEN, "it stands outside every block")


def _every(tree: nodes.Node) -> Iterator[nodes.Node]:
    yield tree
    yield from tree.find_all(nodes.Node)


def _check_node(node: nodes.Node, files: Set[str]) -> None:
    match node:
        case nodes.Filter(name=name) if name not in FILTERS:
            raise _not_here(node, f"the filter {name!r}; there are: {', '.join(sorted(FILTERS))}")
        case nodes.Test(name=name) if name not in TESTS:
            raise _not_here(node, f"the test {name!r}; there are: {', '.join(sorted(TESTS))}")
        case nodes.Filter() if sum(isinstance(each, nodes.Filter) for each in _every(node)) > MOST_FILTERS:
            raise _not_here(node, f"more than {MOST_FILTERS} filters on one value")
        case nodes.Extends(template=source) | nodes.FromImport(template=source):
            if not (isinstance(source, nodes.Const) and source.value in files):
                raise _not_here(node, f"another file than these: {', '.join(sorted(files))}")
        case nodes.Macro(body=body) if any(_holds(part, nodes.Call, nodes.Macro, nodes.Block) for part in body):
            raise _not_here(node, "a call, a block or a macro inside a macro")
        case nodes.Macro(defaults=defaults) if not all(isinstance(default, nodes.Const) for default in defaults):
            raise _not_here(node, "a default that is not one plain value")
        case nodes.Macro(body=body) if _count_of_values(*body) > MOST_VALUES:
            raise _not_here(node, f"more than {MOST_VALUES} values in a macro")
        case nodes.Call() | nodes.List() | nodes.Tuple() | nodes.Concat() if _count_of_values(node) > MOST_VALUES:
            raise _not_here(node, f"more than {MOST_VALUES} values at once")
        case nodes.Call(node=called):
            if not isinstance(called, nodes.Name) or node.dyn_args is not None or node.dyn_kwargs is not None:
                raise _not_here(node, "a call of anything but a macro")
            if any(_holds(part, nodes.Call) for part in (*node.args, *node.kwargs)):
                raise _not_here(node, "a call inside a call")
        case nodes.Assign(node=value) if _holds(value, *GROWS):
            raise _not_here(node, "a call, a filter, a list or a ~ in a set")
        case _ if type(node) not in ALLOWED:
            what = CALLED_FOR.get(type(node), f"this ({type(node).__name__})")
            raise _not_here(node, what)


def _check_names(tree: nodes.Template, names: Set[str]) -> None:
    own = {each.name for each in tree.find_all(nodes.Macro)}
    own |= {each.name for each in tree.find_all(nodes.Name) if each.ctx == "store"}
    for imported in tree.find_all(nodes.FromImport):
        own |= {each if isinstance(each, str) else each[1] for each in imported.names}
    unknown = meta.find_undeclared_variables(tree) - names - own
    for name in tree.find_all(nodes.Name):
        if name.name in unknown:
            raise Refused(name.lineno, PROBLEM_NAME, f"there is no {name.name!r}; docs/letters.md lists what there is")


def _holds(node: nodes.Node, *kinds: type[nodes.Node]) -> bool:
    return isinstance(node, kinds) or next(node.find_all(kinds), None) is not None


def _count_of_values(*parts: nodes.Node) -> int:
    return sum(isinstance(each, nodes.Name) for part in parts for each in _every(part))


def _not_here(node: nodes.Node, what: str) -> Refused:
    line = next((each.lineno for each in _every(node) if each.lineno), 1)
    return Refused(line, PROBLEM_LANGUAGE, f"{what} cannot be used in a letter (docs/letters.md)")
