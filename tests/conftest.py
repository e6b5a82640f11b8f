"""Fixtures that tests of several rooms share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from recoseg.photos.filesystems import SCHEMES

SCHEMES.add("memory")  # fsspec's file system in memory stands for one on another machine

# A slow machine is no failure.
settings.register_profile("recoseg", deadline=None)
settings.load_profile("recoseg")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def machines():
    """A Ray cluster of two nodes on this machine, each with room for one worker; its control."""
    ray = pytest.importorskip("ray")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "src")]))
        patch.setenv("OMP_NUM_THREADS", "1")
        cluster = cluster_utils.Cluster()
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=1, object_store_memory=80 << 20, include_dashboard=False)
            ray.init(address=cluster.address, log_to_driver=False)
            cluster.wait_for_nodes()
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


@pytest.fixture(scope="session")
def cluster(machines):
    """Ray, connected to the cluster of `machines`."""
    return pytest.importorskip("ray")


@pytest.fixture(scope="session")
def bucket():
    """An empty bucket of an S3 server on this machine, `s3://bucket`; its file system."""
    server_module = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = server_module.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "any")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "any")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        # Another instance than the one that the tests go through, as another process is.
        fs = s3fs.S3FileSystem(skip_instance_cache=True)
        try:
            fs.mkdir("bucket")
            yield fs
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            server.stop()
