"""Who may import whom (docs/architecture.md): deployments -> flows -> tasks; the rest meet at a URL."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"flows", "tasks", "node_task", "deployments", "emulator", "benchmarks", "tests"}
MAY_IMPORT = {
    "tasks": {"tasks"},
    "flows": {"flows", "tasks"},
    "deployments": {"deployments", "flows", "tasks"},
    "emulator": {"emulator"},
    "node_task": set[str](),
}


def imported_by(path: Path) -> set[str]:
    """The top-level names that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            names.add(str(node.module).split(".")[0])
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    modules = list((ROOT / package).rglob("*.py"))
    assert modules, f"{package}/ has no modules"
    for module in modules:
        if "node_modules" in module.parts:
            continue
        wrong = (imported_by(module) & PACKAGES) - MAY_IMPORT[package]
        assert not wrong, f"{module.relative_to(ROOT)} imports {wrong}"


def test_the_node_task_imports_the_standard_library_and_its_siblings_only() -> None:
    siblings = {module.stem for module in (ROOT / "node_task").glob("*.py")}
    assert not siblings & (sys.stdlib_module_names | PACKAGES), "one would hide the other"
    for module in (ROOT / "node_task").rglob("*.py"):
        assert imported_by(module) <= sys.stdlib_module_names | siblings


def test_the_emulator_does_not_know_prefect() -> None:
    for module in (ROOT / "emulator").rglob("*.py"):
        assert "prefect" not in imported_by(module)


def test_only_clients_builds_clients() -> None:
    for module in [*(ROOT / "flows").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")]:
        if module.name == "clients.py":
            continue
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(module.read_text("utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"BatchClient", "BlobServiceClient", "DefaultAzureCredential"}, module
