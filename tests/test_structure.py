"""The rooms of the package: data flows one way, without circles, and no file is too long."""

import ast
import re
from pathlib import Path

import recoseg

ROOT = Path(recoseg.__file__).parent
LONGEST = 350  # lines

ROOMS = (
    *("errors", "storage", "progress", "control_groups", "allocator", "cores", "onednn", "device"),
    "labels",
    *("photos", "rasters"),
    *("classes", "cosegmentation", "config", "executors", "refinement", "regions"),
    *("encoders", "hub"),
    *("evidence", "decoder_prompts", "stored_concepts", "concepts"),
    "decoders",
    "archive",
    "retrieval",
    "memory",
    "drawing",
    "curation",
    *("writers", "formats"),
    *("learning", "datasets", "segmentation"),
    "video",
    *("evaluation", "training", "experiments"),
    *("publishing", "comparison"),
    "pipeline",
    "neighbours",
    "serving",
    *("demo", "cli"),
)
"""The folders and top-level modules in the order of the data: a room imports from itself and from
those before it."""

_MODULE = re.compile(r"recoseg(\.\w+)+")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def room_of(module: str) -> str:
    return "cli" if module == "__main__" else module.split(".")[0]


def docstrings(tree: ast.AST) -> set[int]:
    """The nodes of docstrings, which may name any module."""
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }


def nodes(tree: ast.AST, *, lazy: bool):
    """All nodes; without those in function bodies where `lazy` is False."""
    for child in ast.iter_child_nodes(tree):
        if not lazy and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield child
        yield from nodes(child, lazy=lazy)


def imports(path: Path, *, lazy: bool = True) -> set[str]:
    """The modules of the package that a file imports, without the package's name.

    Imports for the type checker count, and so does a module that is named in a string.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    described = docstrings(tree)
    found: set[str] = set()
    for node in nodes(tree, lazy=lazy):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            inner = [f"{module}.{alias.name}" for alias in node.names]
            names = [full for full in inner if full.removeprefix("recoseg.") in MODULES] or [module]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = _MODULE.match(node.value) if id(node) not in described else None
            if named and named[0].removeprefix("recoseg.") in MODULES:
                names = [named[0]]
        found |= {name.removeprefix("recoseg.") for name in names if name.startswith("recoseg.")}
    return found


def test_every_module_has_its_room():
    assert {room_of(module) for module in MODULES} - {""} == set(ROOMS)


def test_rooms_import_only_from_those_before_them():
    order = {room: place for place, room in enumerate(ROOMS)}
    wrong = [
        f"{module} imports {other}"
        for module, path in MODULES.items()
        if module
        for other in sorted(imports(path))
        if order[room_of(other)] > order[room_of(module)]
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_by_way_of_others():
    edges = {module: imports(path, lazy=False) for module, path in MODULES.items() if module}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module in done:
            return
        for other in sorted(edges[module] - {module}):
            visit(other, (*trail, module))
        done.add(module)

    for module in edges:
        visit(module, ())


def test_the_command_line_is_imported_by_nothing():
    assert not [
        module
        for module, path in MODULES.items()
        if room_of(module) != "cli" and any(room_of(other) == "cli" for other in imports(path))
    ]


def test_no_module_is_too_long():
    lengths = {m: len(p.read_text(encoding="utf-8").splitlines()) for m, p in MODULES.items()}
    assert not {module: length for module, length in lengths.items() if length > LONGEST}


def opens(tree: ast.Module) -> list[str]:
    """The calls that open or read a file by its path, without asking what it is."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called, first = node.func, [ast.unparse(arg) for arg in node.args[:1]]
        is_path = isinstance(called, ast.Attribute) and (
            (called.attr == "open" and first in (["'rb'"], ["'r'"]))
            or (called.attr == "read_bytes" and not first)
        )
        if is_path or (isinstance(called, ast.Name) and called.id == "open"):
            found.append(ast.unparse(node))
    return found


def test_files_are_opened_by_one_function_that_refuses_pipes_and_devices():
    found = {name: opens(ast.parse(path.read_text("utf-8"))) for name, path in MODULES.items()}
    found = {name: calls for name, calls in found.items() if calls}
    assert found == {"storage.reading": ["open(path, 'rb', opener=_open_without_waiting)"]}
