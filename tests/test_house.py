"""The house keeps its own rules: where names of kinds and tasks may stand, and what is drawn of it."""

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


@pytest.mark.parametrize("folder", ["audit/methods", "checks"])
def test_nothing_is_written_into_a_subject(folder):
    """What is made of it is kept by `subject.derived`."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}"
        for path in sources(folder)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, ast.Store)
        if "subject" in ast.unparse(node.value).split("[")[0].split(".")
    ]
    assert not found
