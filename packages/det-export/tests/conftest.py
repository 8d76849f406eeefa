"""Helper modules of this folder are importable by name; one file that several modules test."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory):
    """The tiny model, traced once for all modules: its exporter, and the file of torch.export."""
    import tiny_model
    from det_export.formats.torch_export import TorchExporter

    exporter = TorchExporter()
    return exporter, tiny_model.exported(exporter, tmp_path_factory.mktemp("tiny"))
