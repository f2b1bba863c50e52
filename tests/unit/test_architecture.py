"""The structure of the project, compared with its code: imports, dependencies of stages, names."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from clone import ROOT
from points import FULL_DISK, KILLS

SRC = ROOT / "src"
PACKAGE = SRC / "mnist_cnn"
MODULES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
    if path.parent != PACKAGE or path.stem != "__init__"
}
SCRIPTS = {path.stem: path for path in SRC.glob("*.py")}
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

# A module imports from its own layer and those before it.
LAYERS = [
    {"errors", "faults", "figures", "files", "interrupts", "loopback", "console", "yaml_files"}
    | {"stores"},
    {"datasets", "networks"},
    {"learning"},
    {"search", "evaluation"},
    {"params", "tracking"},
    {"inference", "reproduce"},
]
# What can change a result. Stages depend on it.
DECISIVE = {"datasets", "networks", "learning", "search", "evaluation", "figures", "files"}
NETWORK = Path("src/mnist_cnn/networks/${model.network}.py")
# The sections of `params.yaml` that several stages depend on.
SHARED = {
    "download": [],
    "tune": ["compute", "model"],
    "train": ["compute", "model"],
    "evaluate": ["compute"],
}
# The values of other stages' sections that a stage depends on.
SINGLE = {"download": [], "tune": ["train.epochs"], "train": [], "evaluate": ["tune.search_space"]}

ONLY_IN = {
    "gradio": {"inference.demo_page"},
    "matplotlib": {
        "evaluation.out_of_distribution",
        "evaluation.parts",
        "evaluation.plots",
        "evaluation.training_plots",
        "figures",
        "search.plots",
    },
    "mlflow": {
        "tracking.experiment",
        "tracking.registry",
        "tracking.resume",
        "tracking.run",
        "tracking.views",
        "reproduce.run_record",
    },
    "optuna": {
        *(f"search.{name}" for name in ("algorithms", "finalists", "plots", "proposals")),
        *(f"search.{name}" for name in ("space", "study", "trial")),
    },
    "PIL": {
        *("datasets.image_files", "evaluation.out_of_distribution"),
        *("inference.demo_page", "inference.preprocessing"),
    },
    "pypi_simple": {"datasets.idx_sources"},
    "ray": {"search.cluster", "search.node"},
    "requests": {"datasets.idx_sources"},
    "ruamel": {"yaml_files"},
    "skimage": {"evaluation.corruptions", "inference.marks", "inference.preprocessing"},
    "sklearn": {"evaluation.metrics"},
    "torchvision": {"datasets.idx_sources", "datasets.torchvision_sets"},
}


@cache
def imports(path: Path) -> set[str]:
    """The dotted names of all that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_imports(path: Path) -> set[str]:
    """The modules of the package that a file imports, or imports something from."""
    modules = {name if name in MODULES else name.rpartition(".")[0] for name in imports(path)}
    return modules & MODULES.keys()


def room(module: str) -> str:
    """The sub-package of a module, or the module itself if it is in none."""
    return module.split(".")[1]


def layer(module: str) -> int:
    return next(i for i, rooms in enumerate(LAYERS) if room(module) in rooms)


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module):
    imported = own_imports(MODULES[module])
    assert not [name for name in imported if layer(name) > layer(module)]
    roots = {name.split(".")[0] for name in imports(MODULES[module])}
    assert not roots & SCRIPTS.keys(), "a module imports a script"


def test_no_module_imports_itself_through_others():
    for module, path in MODULES.items():
        reached, left = set(), own_imports(path)
        while left:
            reached |= left
            left = set().union(*(own_imports(MODULES[name]) for name in left)) - reached
        assert module not in reached


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_large_library_is_imported_only_where_it_belongs(library):
    paths = MODULES | SCRIPTS
    importers = {
        name.removeprefix("mnist_cnn.")
        for name, path in paths.items()
        if any(imported.split(".")[0] == library for imported in imports(path))
    }

    assert importers == ONLY_IN[library]


def decisive_modules(script: Path) -> set[Path]:
    """The modules that a script imports, directly or not, and that can change a result."""
    found: set[str] = set()
    left = {name for name in own_imports(script) if room(name) in DECISIVE}
    while left:
        found |= left
        imported = set().union(*(own_imports(MODULES[name]) for name in left))
        left = {name for name in imported if room(name) in DECISIVE} - found
    return {MODULES[name].relative_to(ROOT) for name in found}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_code_that_can_change_its_result(stage):
    script, *deps = [Path(dep) for dep in STAGES[stage]["deps"] if dep.startswith("src/")]
    needed = decisive_modules(ROOT / script)
    if Path("src/mnist_cnn/networks/__init__.py") in needed:
        needed |= {NETWORK}  # imported by its name

    assert script == Path("src", f"{stage}.py")
    assert deps == sorted(deps)
    assert not [module for module in needed if not any(map(module.is_relative_to, deps))]
    for dep in deps:
        assert any(module.is_relative_to(dep) for module in needed), f"{dep} is not needed"


def test_a_stage_depends_on_the_versions_of_the_libraries_that_can_change_its_result():
    locks = {
        stage: {Path(dep).stem for dep in STAGES[stage]["deps"] if dep.endswith(".lock")}
        for stage in STAGES
    }

    assert locks == {
        "download": {"learning", "plots"},
        "tune": {"learning", "plots", "search", "statistics"},
        "train": {"learning", "plots"},
        "evaluate": {"learning", "plots", "statistics"},
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_its_script_its_parameters_and_its_reports_have_one_name(stage):
    definition = STAGES[stage]
    outs = [
        next(iter(out)) if isinstance(out, dict) else out
        for out in [*definition["outs"], *definition.get("metrics", [])]
    ]

    assert definition["cmd"] == f"python src/{stage}.py"
    assert definition["params"] == [*SHARED[stage], stage, *SINGLE[stage]]
    folders = {Path(out).parts[1] for out in outs if out.startswith("reports/")}
    assert folders <= {stage, "model_card.md"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_an_out_in_the_cache(stage):
    """Otherwise DVC would skip it in a clone without results."""
    assert any(isinstance(out, str) for out in STAGES[stage]["outs"])


@pytest.mark.parametrize("stage", ["tune", "train"])
def test_no_stage_before_the_evaluation_depends_on_the_test_set(stage):
    names = {Path(dep).name for dep in STAGES[stage]["deps"] if dep.startswith("data/")}
    assert "train" in names
    assert names <= {"train", "dataset.json"}


@pytest.mark.parametrize("path", [*(PACKAGE / "networks").glob("[!_]*.py")])
def test_a_network_imports_no_other_network(path):
    """A stage depends on one of them, so it would not see a change of the other."""
    assert {name for name in own_imports(path) if room(name) == "networks"} <= {
        "mnist_cnn.networks"
    }


UNPORTABLE = {"sqrt", "acos", "arccos", "asin", "arcsin", "atan", "arctan", "cdist"}


def unportable(tree):
    """What calls one of `UNPORTABLE`, but not that of `math` or NumPy, and powers of one half."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func.attr.removeprefix("_foreach_").rstrip("_")
            if name in UNPORTABLE and ast.unparse(node.func.value) not in {"math", "np"}:
                yield name
            halves = [each for each in node.args if ast.unparse(each) == "0.5"]
            if name == "pow" and halves:
                yield name
        power = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)
        if power and ast.unparse(node.right) == "0.5":
            yield ast.unparse(node)


def test_no_module_calls_what_portable_arithmetic_cannot_fix():
    """MKL begins these with an approximation of the CPU, and each maker of CPUs has another."""
    for call in ("x.sqrt()", "torch.acos(x)", "x.sqrt_()", "torch._foreach_sqrt(x)", "x**0.5"):
        assert list(unportable(ast.parse(call)))
    assert list(unportable(ast.parse("torch.pow(x, 0.5)")))
    for path in SRC.rglob("*.py"):
        if any(name.split(".")[0] == "torch" for name in imports(path)):
            assert not list(unportable(ast.parse(path.read_text()))), path


def test_every_package_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(SRC) for path in PACKAGE.rglob("__init__.py")}
    assert sorted(listed) == sorted(".".join(folder.parts) for folder in folders)


def test_every_point_of_a_fault_is_in_the_code():
    text = "\n".join(path.read_text() for path in SRC.rglob("*.py"))
    points = set(re.findall(r'faults\.point\(\s*"([^"]+)"', text)) | {"dvc records a stage"}

    assert {point.partition(":")[0] for point in [*KILLS, *FULL_DISK.values()]} <= points
