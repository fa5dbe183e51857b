"""The house keeps its own rules: who may know whom, and where names of kinds and tasks may stand."""

import ast
from pathlib import Path

import pytest

from audit.rooms import INPUTS, TASKS, rooms

ROOT = Path(__file__).parent.parent
NAMES = {*rooms(INPUTS), *rooms(TASKS)}
# Where something is told by its form before there is a kind or a task to ask.
ELSEWHERE = {"checks", "reports", "audit/methods", "audit/judge", "audit/statistics"}


def sources(folder):
    return sorted((ROOT / folder).rglob("*.py"))


def branches(tree):
    """Comparisons with, look-ups by and tables over the name of a kind or a task."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            looked_at = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            looked_at = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.MatchValue):
            looked_at = [node.value]
        else:
            continue
        for part in looked_at:
            for leaf in ast.walk(part):
                if isinstance(leaf, ast.Constant) and leaf.value in NAMES:
                    yield node.lineno, leaf.value


@pytest.mark.parametrize("folder", sorted(ELSEWHERE))
def test_no_branch_on_the_name_of_a_kind_or_a_task_outside_their_rooms(folder):
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in sources(folder)
        for line, name in branches(ast.parse(path.read_text()))
    ]
    assert not found


def imported(path):
    """Modules of the project that a file imports when it is imported itself."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("audit"):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("audit"))


# Who may not know whom: arrows point down only.
FORBIDDEN = {
    "audit": ("audit.checks", "audit.reports"),
    "audit/tasks": (
        "audit.methods",
        "audit.evidence",
        "audit.subject",
        "audit.judge",
        "audit.runner",
    ),
    "audit/inputs": (
        "audit.methods",
        "audit.evidence",
        "audit.subject",
        "audit.judge",
        "audit.runner",
    ),
    "audit/statistics": ("audit.subject", "audit.evidence", "audit.methods", "audit.judge"),
    "audit/methods": (
        "audit.judge",
        "audit.runner",
        "audit.plan",
        "audit.cli",
        "audit.producers",
        "audit.threats",
    ),
    # Pure functions: a notebook calls them with tensors.
    "audit/methods/attacks": ("audit.subject", "audit.evidence"),
    "audit/producers": ("audit.judge", "audit.runner", "audit.plan", "audit.threats"),
    "audit/threats": ("audit.judge", "audit.runner", "audit.plan"),
    "audit/judge": ("audit.methods", "audit.evidence", "audit.subject", "audit.runner"),
    "checks": ("audit.reports", "audit.judge", "audit.runner", "audit.cli"),
    "reports": ("audit.checks", "audit.methods", "audit.evidence", "audit.subject"),
}


@pytest.mark.parametrize("folder", sorted(FORBIDDEN))
def test_arrows_point_down_only(folder):
    found = [
        f"{path.relative_to(ROOT)} → {module}"
        for path in sources(folder)
        for module in imported(path)
        if any(module == other or module.startswith(f"{other}.") for other in FORBIDDEN[folder])
    ]
    assert not found


def test_the_tree_that_is_drawn_is_the_tree():
    drawn = (ROOT / "ARCHITECTURE.md").read_text()
    for folder in ("audit", "checks", "reports", "benchmarks"):
        for path in (ROOT / folder).iterdir():
            if path.is_dir() and any(path.glob("*.py")):
                assert f"{path.name}/" in drawn, f"{path.relative_to(ROOT)} is not drawn"


def test_a_check_has_at_most_two_classes_between_itself_and_what_a_check_is():
    from audit.checking import Check
    from audit.registry import registry

    deep = {}
    for check_id, check in registry().checks.items():
        between = check.__mro__[1 : check.__mro__.index(Check)]
        if len(between) > 2:
            deep[check_id] = [cls.__name__ for cls in between]
    assert not deep


def test_our_own_rooms_need_no_entry_point(monkeypatch):
    """An installation from before there were any goes on after its sources were updated."""
    import audit.rooms

    monkeypatch.setattr(audit.rooms, "entry_points", lambda group: ())
    found = audit.rooms.rooms.__wrapped__(INPUTS)
    assert set(found) == {p.stem for p in (ROOT / "audit/inputs").iterdir() if p.stem[0] != "_"}
