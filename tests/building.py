"""Indexes made in this process by an encoder that is at hand."""

from recoseg.archive.build import write_index
from recoseg.archive.worker import ShardWorker
from recoseg.executors import LocalExecutor


def build_index(sources, out, encoder, *, precision="fp32", batch_size=64, workers=None, **options):
    return write_index(
        sources,
        out,
        lambda: ShardWorker(encoder, precision, batch_size, workers),
        LocalExecutor(),
        **options,
    )
