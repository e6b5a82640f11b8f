"""The garbage collector of the program: nothing but what has to be is left to the system."""

import gc
import subprocess
import sys

from recoseg.cli.collector import collect_seldom

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


def test_garbage_is_still_collected_but_less_often():
    before = gc.get_threshold()
    try:
        collect_seldom()
        young, middle, old = gc.get_threshold()
        assert young > before[0]
        assert middle > 0
        assert old > 0
        assert gc.isenabled()
    finally:
        gc.set_threshold(*before)


def test_the_end_looks_for_no_garbage():
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines() == ["True"]
