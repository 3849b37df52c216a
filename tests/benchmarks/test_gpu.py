"""The GPU benchmark runs from end to end at tiny sizes on the CPU."""

import pytest
import torch

from tests.benchmarks import gpu, gpu_check
from tests.ingest.train import gathered


def test_a_dry_run_goes_through_every_part(capsys):
    rows = gpu.main(["--dry"])
    for name in gpu.PARTS:
        mine = [row for row in rows if row["part"] == name]
        assert any("what" in row for row in mine), name
        assert not any("failed" in row for row in mine), mine
    paths = {row["what"].split()[-1] for row in rows if row.get("what", "").startswith("train dry")}
    assert {"dense", "sparse", "layered"} <= paths
    assert all(row["tok/s"] > 0 for row in rows if "tok/s" in row)
    assert "roofline" in capsys.readouterr().out


def test_a_wrong_kernel_ends_the_run_before_anything_is_timed(monkeypatch, capsys):
    class Wrong:
        by_feature = staticmethod(gathered.by_feature)

        @staticmethod
        def by_token(x, params, w_dec, starts, columns):
            found = gathered.by_token(x, params, w_dec, starts, columns)
            return found._replace(residual=found.residual * (1 + torch.eye(x.shape[2])[0] / 50))

    monkeypatch.setattr(gpu_check, "sparse_kernels", lambda _: (Wrong, ""))
    with pytest.raises(SystemExit):
        gpu.main(["--dry"])
    told = capsys.readouterr().out
    assert "kernels and plain torch differ by" in told
    assert "tok/s" not in told
