"""
Mutants: small changes to a module's source that its tests must notice.

Changed are comparisons, `and` and `or`, conditions, truth values, numbers, words that are compared or looked up,
arithmetic, what is returned, and statements that do something (left out). Annotations, docstrings, decorators
and the texts of errors stay as they are.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_OPPOSITES = {"any": "all", "all": "any", "max": "min", "min": "max"}
_UNCHANGED = frozenset({"annotation", "returns", "decorator_list"})
_LOOKUPS = frozenset({"startswith", "endswith", "get", "partition", "rpartition", "replace", "split", "strip"})
_WIDTH = 70  # characters of a description's halves


@dataclass(frozen=True, slots=True)
class Mutant:
    """
    One change: its place in words, the lines whose execution may notice it, and how to make it.

    `function` is the first line and the name of the outermost function whose code changes; None outside of any.
    """

    words: str
    lines: frozenset[int]
    function: tuple[int, str] | None
    tree: ast.Module
    path: tuple[tuple[str, int | None], ...]
    node: ast.AST

    def code(self, filename: str) -> CodeType:
        """Compile the changed module."""
        tree = copy.deepcopy(self.tree)
        parent: ast.AST = tree
        for field, index in self.path[:-1]:
            child = getattr(parent, field)
            parent = child if index is None else child[index]
        field, index = self.path[-1]
        if index is None:
            setattr(parent, field, self.node)
        else:
            getattr(parent, field)[index] = self.node
        code: CodeType = compile(ast.fix_missing_locations(tree), filename, "exec", dont_inherit=True)
        return code


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    lines: frozenset[int]
    function: tuple[int, str] | None
    path: tuple[tuple[str, int | None], ...]


def mutants_of(source: str) -> Iterator[Mutant]:
    """Give every mutant of a module's source."""
    tree = ast.parse(source)
    for parent, field, node, place in _walk(tree, _Place("", frozenset(), None, ())):
        for changed in _changes(parent, field, node):
            new = ast.copy_location(changed, node)
            words = f"{place.name}: {_text(node)} -> {_text(new)}"
            yield Mutant(words, place.lines, place.function, tree, place.path, new)


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Pass):
        return "(left out)"
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."


def _walk(parent: ast.AST, place: _Place) -> Iterator[tuple[ast.AST, str, ast.AST, _Place]]:
    for field, value in ast.iter_fields(parent):
        if field in _UNCHANGED or isinstance(parent, ast.Raise | ast.JoinedStr):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else ((None, value),):
            if isinstance(child, ast.AST) and not _is_docstring(child):
                inner = _enter(place, parent, field, index, child)
                yield parent, field, child, inner
                yield from _walk(child, inner)


def _enter(place: _Place, parent: ast.AST, field: str, index: int | None, child: ast.AST) -> _Place:
    name, lines, function = place.name, place.lines, place.function
    if isinstance(child, ast.FunctionDef | ast.ClassDef):
        name = f"{name}.{child.name}".lstrip(".")
    if function is None and field == "body" and isinstance(parent, ast.FunctionDef):
        first = min([parent.lineno, *(one.lineno for one in parent.decorator_list)])
        function = (first, place.name)
    if isinstance(child, ast.stmt):
        body = getattr(child, "body", None)
        last = body[0].lineno - 1 if isinstance(body, list) else child.end_lineno or child.lineno
        lines = frozenset(range(child.lineno, max(last, child.lineno) + 1))
    elif isinstance(child, ast.match_case):
        lines = frozenset({child.pattern.lineno})
    return _Place(name, lines, function, (*place.path, (field, index)))


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _changes(parent: ast.AST, field: str, node: ast.AST) -> Iterator[ast.AST]:
    yield from _changed_statement(node)
    match node:
        case ast.Compare(left, ops, comparators):
            for index, one in enumerate(ops):
                yield ast.Compare(left, [*ops[:index], _COMPARISONS[type(one)](), *ops[index + 1 :]], comparators)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC and not _is_type(op, right):
            yield ast.BinOp(left, _ARITHMETIC[type(op)](), right)
        case ast.Constant(value):
            yield from _changed_constant(parent, value)
        case ast.Name(name) if name in _OPPOSITES and isinstance(parent, ast.Call) and field == "func":
            yield ast.Name(_OPPOSITES[name], ast.Load())
    conditional = isinstance(parent, ast.If | ast.IfExp | ast.While) and field == "test"
    filtering = isinstance(parent, ast.comprehension) and field == "ifs"
    plain = not isinstance(node, ast.Compare | ast.BoolOp | ast.UnaryOp)
    if isinstance(node, ast.expr) and plain and (conditional or filtering):
        yield ast.UnaryOp(ast.Not(), node)


def _changed_statement(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Return(value) if value is not None and not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Assign(targets) if any(isinstance(one, ast.Attribute | ast.Subscript) for one in targets):
            yield ast.Pass()


def _changed_constant(parent: ast.AST, value: object) -> Iterator[ast.AST]:
    compared = isinstance(parent, ast.Compare | ast.Set | ast.Dict | ast.MatchValue) or (
        isinstance(parent, ast.Call) and isinstance(parent.func, ast.Attribute) and parent.func.attr in _LOOKUPS
    )
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
    elif isinstance(value, bytes) and compared:
        yield ast.Constant(value + b"?")
    elif isinstance(value, str) and compared:
        yield ast.Constant(value + "?")


def _is_type(op: ast.operator, right: ast.expr) -> bool:
    """Tell whether it looks like a union of types."""
    return isinstance(op, ast.BitOr) and isinstance(right, ast.Name | ast.Attribute | ast.Constant)
