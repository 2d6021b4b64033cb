"""What two ranks send of a model's buffers."""

import subprocess
import sys
from pathlib import Path

RANK = """
import os, types
import torch, torch.distributed as dist
from torch import nn
from a2a_accelerate.replicas import Replicas

dist.init_process_group("gloo")
rank = dist.get_rank()

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("packed", torch.zeros(5, dtype=torch.uint8))
        self.register_buffer("passing", torch.zeros(2), persistent=False)

    def forward(self, given):
        self.passing += 1
        return self.norm(given).square().sum()

def trained(broadcast, steps=3):
    torch.manual_seed(0)
    model = Model()
    wrapped = nn.parallel.DistributedDataParallel(model)
    holding = Replicas(model, types.SimpleNamespace(device=torch.device("cpu")))
    if not broadcast:
        holding.begin(wrapped, None)
        assert not wrapped.forward_sync_buffers
    for step in range(steps):
        torch.manual_seed(10 * step + rank)
        wrapped(torch.randn(4, 3) + rank).backward()
        if not broadcast:
            holding.norms({"": list(model.parameters())})
    return model, holding

stock, _ = trained(True)
for buffer in (stock.norm.running_mean, stock.norm.running_var):
    dist.broadcast(buffer, 0)
sent = []
plain = dist.broadcast
dist.broadcast = lambda tensor, source: sent.append(tensor.shape) or plain(tensor, source)
model, holding = trained(False)
assert holding.buffers.changing == ["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"], holding.buffers.changing
assert len(sent) == 3 * 3
for name in ("running_mean", "running_var", "num_batches_tracked"):
    assert torch.equal(getattr(model.norm, name), getattr(stock.norm, name)), name
dist.destroy_process_group()
"""


def test_buffers_that_change_are_the_first_ranks(tmp_path: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
