"""The garbage collector of the program: nothing but what has to be is left to the system."""

import subprocess
import sys

SCRIPT = """
import gc, weakref
from recoseg.cli.collector import end_without_collecting

class Node: pass

node = Node()
node.itself = node
weakref.finalize(node, print, "finalised").atexit = False
del node
end_without_collecting()
print(gc.get_freeze_count() > 1000)
"""


IMPORTS = """
import gc, sys, types, weakref
from recoseg.cli.collector import collect_after_imports

class Node: pass

def in_a_cycle(name):
    node = Node()
    node.itself = node
    weakref.finalize(node, seen.append, name)

usual, seen, kept = gc.get_threshold(), [], []
collect_after_imports()
full = gc.get_stats()[2]["collections"]
for number in range(1000):  # as imports do: objects that stay, and modules
    sys.modules[f"made_up_{number}"] = types.ModuleType("made_up")
    kept += [[] for _ in range(1000)]
print(gc.get_stats()[2]["collections"] - full, gc.get_threshold() != usual, gc.get_freeze_count())
in_a_cycle("young")
kept += [[] for _ in range(120_000)]
print(gc.get_threshold() == usual, gc.get_freeze_count() > 1_000_000, seen)
in_a_cycle("later")
kept += [[] for _ in range(2_000)]
print(seen)
"""


def test_garbage_is_collected_as_usual_when_no_more_modules_come():
    command = [sys.executable, "-c", IMPORTS]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == [
        "0 True 0",
        "True True ['young']",
        "['young', 'later']",
    ]


def test_the_end_looks_for_no_garbage():
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines() == ["True"]
