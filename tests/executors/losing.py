"""An executor whose workers die of one task."""

from contextlib import contextmanager

from recoseg.executors import LocalExecutor, TaskFailed


class LosingExecutor(LocalExecutor):
    """Gives a `TaskFailed` for one task, counted from 0."""

    def __init__(self, lost):
        super().__init__()
        self.lost = lost

    @contextmanager
    def team(self, build):
        with super().team(build) as team:
            whole = team.run

            def run(tasks, advance):
                for number, result in enumerate(whole(tasks, advance)):
                    yield TaskFailed("it rained") if number == self.lost else result

            team.run = run
            yield team
