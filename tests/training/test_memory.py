"""What training reads stays within a bound that does not grow with the rows on disk."""

import os
import subprocess
import sys

import numpy as np
import pytest
from samples import ROOT, row_arrays, store

ROWS, WIDTH = 65536, 1024  # 134 MB of float16
_CHILD = """
import resource, sys
from pathlib import Path
import numpy as np
import torch
from fast_sae.activations.split import open_folder
from fast_sae.activations.stored.source import StoredActivations
from fast_sae.chat.kinds import Kind
from fast_sae.training.batches import RowBatches
from fast_sae.training.centre import CENTRES, unit_scale

torch.set_num_threads(1)
source = StoredActivations(open_folder(Path(sys.argv[1]), 2, "train", {}))
rows = RowBatches(source, (int(Kind.CONTENT),), 4096, torch.float32, torch.device("cpu"))
next(iter(rows))
torch.ones(2, 64).half().float() @ torch.ones(64, 2)
status = Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]
limit = int(status) * 1024 + int(sys.argv[3]) * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # what is allocated beyond raises an error
if sys.argv[2] == "read":
    assert sum(len(x) for x in rows.shuffled(0, 0)) == sum(len(x) for x in rows) == rows.rows
else:
    sample = torch.from_numpy(source.sample(rows.kinds, 65536, seed=0))
    assert unit_scale(sample) == 1
    assert not any(centre(sample).any() for centre in CENTRES.values())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("stored")
    store(place, [row_arrays(np.zeros((ROWS, WIDTH), np.float16))], {})
    return place


@pytest.mark.skipif(sys.platform != "linux", reason="the limit, and what is in use, are told by Linux alone")
@pytest.mark.parametrize(("what", "bound"), [("read", 320), ("start", 512)])
def test_rows_are_read_and_their_middle_found_within_a_bound(folder, what, bound):
    """The rows are 128 MB as stored, 256 MB in float32 and 512 MB in float64."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-c", _CHILD, str(folder), what, str(bound)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
