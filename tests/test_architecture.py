"""The map of the project held against its code: who imports whom, what a stage depends on."""

import ast
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from test_faults import WRITES
from test_recovery import WINDOWS

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
PACKAGE = SRC / "mnist_cnn"
MODULES = {path.stem: path for path in PACKAGE.glob("*.py")}
SCRIPTS = {path.stem: path for path in SRC.glob("*.py")}
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

ONLY_IMPORTERS = {
    "ruamel": {"yaml_files"},
    "torchvision": {"sources"},
    "requests": {"sources"},
    "pypi_simple": {"sources"},
    "optuna": {"search", "study_plots"},
    "sklearn": {"metrics"},
    "matplotlib": {"plots", "study_plots"},
    "PIL": {"images"},
    "gradio": {"page"},
    "mlflow": {"runs", "tracking", "registry", "records"},
}


def imported(path: Path) -> set[str]:
    """Dotted names of all that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_modules(path: Path) -> set[str]:
    """The modules of the package that a file imports."""
    inside = [name.split(".") for name in imported(path) if name.startswith("mnist_cnn.")]
    return {parts[1] for parts in inside if parts[1] in MODULES}


def reached(path: Path) -> set[str]:
    """The modules of the package that a file imports, they import, and so on."""
    found: set[str] = set()
    left = own_modules(path)
    while left:
        found |= left
        left = set().union(*(own_modules(MODULES[name]) for name in left)) - found
    return found


@pytest.mark.parametrize("library", ONLY_IMPORTERS)
def test_a_large_library_is_imported_only_where_it_is_the_subject(library):
    importers = {
        path.stem
        for path in [*MODULES.values(), *SCRIPTS.values()]
        if any(name.split(".")[0] == library for name in imported(path))
    }

    assert importers == ONLY_IMPORTERS[library]


def test_imports_run_one_way():
    for name, path in MODULES.items():
        assert name not in reached(path), f"{name} is imported by what it imports"
        roots = {imported_name.split(".")[0] for imported_name in imported(path)}
        assert not roots & SCRIPTS.keys(), f"{name} imports a script"


@pytest.mark.parametrize("name", ["metrics", "plots", "errors"])
def test_pure_modules_import_nothing_of_ours(name):
    assert own_modules(MODULES[name]) == set()


def test_every_fault_that_is_tried_has_its_place():
    """Most are tried by `make chaos` alone, which comes to each after minutes."""
    for place in {*WINDOWS, *WRITES.values()}:
        module, function, _ = place.split(":")
        if module.startswith("mnist_cnn."):
            assert callable(getattr(import_module(module), function, None)), place


def test_every_module_is_used_by_a_script():
    used = set().union(*(reached(path) for path in SCRIPTS.values()))

    assert used == MODULES.keys() - {"__init__"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_modules_that_its_script_imports(stage):
    script = SCRIPTS[stage]
    expected = {"__init__", *reached(script)}

    deps = [dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")]

    assert deps[0] == f"src/{stage}.py"
    assert deps[1:] == sorted(f"src/mnist_cnn/{name}.py" for name in expected)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_script_params_section_and_reports_folder_have_one_name(stage):
    definition = STAGES[stage]
    written = [
        next(iter(out)) if isinstance(out, dict) else out
        for out in [*definition["outs"], *definition.get("metrics", [])]
    ]

    assert definition["cmd"] == f"python src/{stage}.py"
    assert definition["params"] == [*(["compute"] if stage != "download" else []), stage]
    assert stage in yaml.safe_load((ROOT / "params.yaml").read_text())
    folders = {Path(out).parts[1:-1] for out in written if out.startswith("reports/")}
    assert folders <= {(stage,), ()}  # the model card is above its folder


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_an_out_in_the_cache(stage):
    """Without one, DVC would skip the stage in a clone that has none of its results."""
    assert any(isinstance(out, str) for out in STAGES[stage]["outs"])


def test_the_search_does_not_depend_on_the_test_set():
    for stage in ("tune", "train"):
        assert not [dep for dep in STAGES[stage]["deps"] if "t10k" in dep]
