import pytest

from ..learning.fakes import make_archive, make_encoders


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), make_encoders().retrieval)
