"""The layers of the package: who may import whom, with no cycles, and no module too long."""

import ast
from pathlib import Path

import recoseg

ROOT = Path(recoseg.__file__).parent
LONGEST = 350  # lines

# Each part, and the parts that it may import; a part is a folder or a module of the package's
# own folder. `a.b` is one module only. A part may always import itself.
BOTTOM = ["errors"]
ALLOWED = {
    # The bottom.
    "errors": [],
    "memory": [],
    "onednn": [],
    "progress": [],
    "device": [*BOTTOM, "onednn"],
    "files": BOTTOM,
    "executors": [*BOTTOM, "memory"],
    "classes": BOTTOM,
    "images": [*BOTTOM, "encoders.base"],  # Frame: how a photo becomes an input
    # Pure functions.
    "cosegmentation": [*BOTTOM, "onednn"],
    "config": [*BOTTOM, "cosegmentation"],  # the names of its choices
    "presets": [*BOTTOM, "config"],
    "refinement": [*BOTTOM, "memory"],
    # The stages.
    "encoders": [*BOTTOM, "device", "files"],
    "archive": [*BOTTOM, "encoders.base", "executors", "files", "images", "progress"],
    "retrieval": [
        *BOTTOM,
        "classes",
        "executors",
        "files",
        "onednn",
    ],  # of an archive it needs a protocol only
    "concepts": [*BOTTOM, "classes", "config", "encoders.base", "files"],
    "learning": [
        *BOTTOM,
        "archive",
        "classes",
        "concepts",
        "config",
        "cosegmentation",
        "device",
        "encoders.base",
        "encoders.prompts",
        "encoders.registry",  # workers build their encoders where they run
        "executors",
        "images",
        "progress",
        "retrieval",
        "segmentation.figures",
    ],
    "segmentation": [
        *BOTTOM,
        "archive.reading",
        "classes",
        "concepts",
        "config",
        "device",
        "encoders.base",
        "encoders.registry",
        "files",
        "images",
        "progress",
        "refinement.refiner",
    ],
    # Labelled data and what is measured on them.
    "datasets": [*BOTTOM, "classes", "images", "segmentation.palette"],
    "evaluation": [
        *BOTTOM,
        "classes",
        "datasets",
        "files",
        "images",
        "progress",
        "segmentation",
    ],
    "experiments": [
        *BOTTOM,
        "archive.store",
        "classes",
        "concepts",
        "config",
        "datasets",
        "encoders.base",
        "evaluation",
        "files",
        "learning",
        "progress",
        "refinement.refiner",
        "retrieval",
        "segmentation.segmenter",
    ],
    "training": [
        *BOTTOM,
        "classes",
        "datasets",
        "device",
        "encoders.inputs",
        "encoders.lite.backbone",  # how the weights of its package are named and normalised
        "encoders.registry",
        "encoders.weights",
        "evaluation.predictions",
        "evaluation.protocols",
        "evaluation.result",
        "evaluation.runner",
        "files",
        "images",
        "progress",
        "refinement.refiner",
        "segmentation",
    ],
    # The top.
    "demo": [
        *BOTTOM,
        "archive",
        "classes",
        "concepts",
        "device",
        "encoders.registry",
        "learning",
        "presets",
        "retrieval",
        "segmentation",
    ],
    "cli": ["*"],
    "": [],
}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def statements(node: ast.AST, *, lazy: bool):
    """All nodes below, without imports for the type checker; with or without function bodies."""
    for child in ast.iter_child_nodes(node):
        if is_for_types_only(child):
            continue
        if not lazy and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield child
        yield from statements(child, lazy=lazy)


def imports(path: Path, *, lazy: bool = True) -> set[str]:
    """The modules of the package that a file imports, without the package's name."""
    found = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8")), lazy=lazy):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            inner = [f"{module}.{alias.name}" for alias in node.names]
            names = [full for full in inner if full.removeprefix("recoseg.") in MODULES] or [module]
        else:
            continue
        found |= {name.removeprefix("recoseg.") for name in names if name.startswith("recoseg.")}
    return found


def part_of(module: str) -> str:
    return module.split(".")[0]


def may_import(module: str, other: str) -> bool:
    allowed = ALLOWED[part_of(module)]
    return (
        part_of(other) == part_of(module)
        or "*" in allowed
        or other in allowed
        or part_of(other) in allowed
    )


def test_every_module_has_its_place():
    assert {part_of(module) for module in MODULES} == set(ALLOWED)


def test_layers():
    wrong = [
        f"{module} imports {other}"
        for module, path in MODULES.items()
        for other in sorted(imports(path))
        if not may_import(module, other)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_table_allows_nothing_that_is_not_used():
    used = {(part_of(m), other) for m, path in MODULES.items() for other in imports(path)}
    idle = [
        f"{part} -> {other}"
        for part, others in ALLOWED.items()
        for other in others
        if other != "*"
        and not any(p == part and (o == other or part_of(o) == other) for p, o in used)
    ]
    assert not idle, "\n".join(idle)


def test_no_module_imports_itself_by_way_of_others():
    edges = {module: imports(path, lazy=False) for module, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module in done:
            return
        for other in sorted(edges[module] - {module}):
            visit(other, (*trail, module))
        done.add(module)

    for module in MODULES:
        visit(module, ())


def test_the_command_line_is_imported_by_nothing():
    assert not [
        module
        for module, path in MODULES.items()
        if part_of(module) != "cli" and any(part_of(other) == "cli" for other in imports(path))
    ]


def test_no_module_is_too_long():
    lengths = {m: len(p.read_text(encoding="utf-8").splitlines()) for m, p in MODULES.items()}
    assert not {module: length for module, length in lengths.items() if length > LONGEST}
