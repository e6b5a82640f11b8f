"""Order, steps and errors are the same wherever workers run; dead workers are replaced."""

import builtins
import time

import pytest

from recoseg.errors import MissingExtraError, RecosegError
from recoseg.executors import LocalExecutor, TaskFailed
from recoseg.executors.ray import RayExecutor
from tests.executors.echo import Chameleon, Echo, Slow


def idle(steps=1, /, *, failed=0):
    pass


@pytest.mark.parametrize("place", ["local", "ray"])
def test_contract(place, request):
    if place == "ray":
        request.getfixturevalue("cluster")
    executor = LocalExecutor() if place == "local" else RayExecutor(2)
    steps = []

    def advance(count=1, /, *, failed=0):
        steps.append((count, failed))

    with executor.team(Echo) as team:
        assert team.identity == "echo"
        assert list(team.run(range(40), advance)) == list(range(40))
        assert steps == [(2, 1)] * 40
        assert list(team.run([], advance)) == []
        with pytest.raises(RecosegError, match=r"^the task is poison$"):
            list(team.run(["a", "b", "poison", "c"], advance))


def test_a_task_that_kills_three_workers_has_failed_and_the_others_are_done(cluster):
    tasks = [0, 1, "death", 3, 4, 5]
    with RayExecutor(1).team(Echo) as team:
        found = list(team.run(tasks, idle))
    assert isinstance(found[2], TaskFailed)
    assert found[2].reason.startswith("3 workers died of it")
    assert found[:2] + found[3:] == [0, 1, 3, 4, 5]


@pytest.mark.slow
def test_a_machine_that_joins_late_gets_tasks_and_may_leave_again(machines, cluster, tmp_path):
    first = {node["NodeID"] for node in cluster.nodes() if node["Alive"]}
    added, found = None, []

    def tasks():
        while set(found) <= first:
            yield tmp_path / "mark", ""

    try:
        with RayExecutor().team(Slow) as team:
            for node in team.run(tasks(), idle):
                found.append(node)
                if len(found) == 2:
                    added = machines.add_node(num_cpus=1, object_store_memory=80 << 20)
            assert added.node_id in found
            assert len(team._slots) == 3
            # A worker that dies there is replaced, and its task is done by another one.
            deadly = [(tmp_path / "killed", added.node_id)] * 9
            assert len(list(team.run(deadly, idle))) == 9
            assert (tmp_path / "killed").exists()
            machines.remove_node(added)
            added = None
            assert set(team.run([(tmp_path / "mark", "")] * 6, idle)) <= first
            assert len(team._slots) == 3  # none is started beside the one that waits
    finally:
        if added is not None:
            machines.remove_node(added)
        while cluster.cluster_resources()["CPU"] > 2:
            time.sleep(0.1)


def test_workers_that_differ_are_refused(cluster):
    with (
        pytest.raises(RecosegError, match="Two workers differ"),
        RayExecutor(2).team(Chameleon) as team,
    ):
        list(team.run(range(2000), idle))


def test_more_than_the_cluster_has(cluster):
    with (
        pytest.raises(
            RecosegError, match=r"2 CPUs and 0 GPUs\. One worker needs 1 CPUs and 1 GPUs"
        ),
        RayExecutor(gpus=1).team(Echo),
    ):
        pass


def test_without_ray_there_is_a_hint(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.split(".")[0] == "ray":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"recoseg\[ray\]"):
        RayExecutor()
