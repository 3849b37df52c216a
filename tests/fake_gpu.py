"""Tensors on a CUDA device that is not there: shapes, types and devices are checked, nothing runs.

Asking such a tensor for a value raises `Asked`; operations on tensors of two devices raise as they
do on a GPU. PyTorch's CPU builds lack what some methods want of CUDA: those are done by operators.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode


class Asked(Exception):  # noqa: N818 (what a test looks for)
    """A value of a tensor on the GPU was asked for: the host would wait."""


aten = torch.ops.aten
_ASKS = {
    getattr(Tensor, name)
    for name in ("__bool__", "__float__", "__int__", "__index__", "item", "tolist", "nonzero")
}
_OTHERWISE = {
    Tensor.copy_: lambda to, source, non_blocking=False: aten.copy_.default(to, source),  # noqa: ARG005
    Tensor.__invert__: aten.bitwise_not.default,
    Tensor.contiguous: lambda tensor: aten.clone.default(
        tensor, memory_format=torch.contiguous_format
    ),
}
"""Methods whose bindings want CUDA itself, in terms of operators."""


class _Methods(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):  # noqa: ARG002
        if func is Tensor.__getitem__:
            return _get(*args)
        if func is Tensor.__setitem__:
            target = _get(args[0], args[1])
            fill = torch.as_tensor(args[2], device=target.device, dtype=target.dtype)
            return aten.copy_.default(target, fill)
        if func in _ASKS and args[0].is_cuda:
            raise Asked(func.__name__)
        return _OTHERWISE.get(func, func)(*args, **(kwargs or {}))


def _get(tensor: Tensor, key) -> Tensor:
    keys = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in [one for one in keys if not isinstance(one, Tensor)]:
        at = next(n for n, one in enumerate(keys) if one is Ellipsis)
        named = sum(one is not None for one in keys) - 1
        keys[at : at + 1] = [slice(None)] * (tensor.ndim - named)
    dim, indices = 0, {}
    for one in keys:
        if one is None:
            tensor = tensor.unsqueeze(dim)
        elif isinstance(one, int):
            tensor = tensor.select(dim, one)
            continue
        elif isinstance(one, slice):
            first, last, step = one.indices(tensor.shape[dim])
            tensor = torch.ops.aten.slice.Tensor(tensor, dim, first, last, step)
        else:
            if one.dtype == torch.bool and one.is_cuda:
                raise Asked("a mask as an index")
            indices[dim] = one
        dim += 1
    if not indices:
        return tensor
    return torch.ops.aten.index.Tensor(tensor, [indices.get(n) for n in range(max(indices) + 1)])


@contextmanager
def fake_gpu() -> Iterator[torch.device]:
    """Tensors that are made on the device that it gives have no content."""
    with FakeTensorMode(allow_non_fake_inputs=False), _Methods():
        yield torch.device("cuda", 0)


def like(tensor: Tensor, device: torch.device) -> Tensor:
    """A fake tensor of the same shape and type."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
