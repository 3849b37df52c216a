"""A GPU that is not there: tensors say that they are on it, and are computed on the CPU.

What fails on a real one fails here: an operation on tensors of two devices, numpy of a tensor on
the GPU. On demand also asking for a value, which makes the host wait for the device.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from safetensors import safe_open
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

from atlas.lens import sae
from atlas.model import load
from ingest.train import state

GPU = torch.device("cuda", 0)


class Asked(Exception):  # noqa: N818 (what a test looks for)
    """A value of a tensor on the GPU was asked for: the host would wait."""


class There(Tensor):
    """A tensor on the GPU."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):  # noqa: ARG003
        return _call(func, args, kwargs or {}, False)


def on_gpu(tensor: Tensor) -> There:
    """A copy of a CPU tensor on the GPU."""
    return tensor.detach().clone().as_subclass(There)


def moved(module: torch.nn.Module) -> None:
    """Put a module's weights and buffers on the GPU."""
    there: dict[Tensor | None, Tensor | None] = {None: None}  # what is shared stays shared
    for part in module.modules():
        for content in (part._parameters, part._buffers):
            for name, value in content.items():
                if value not in there:
                    there[value] = on_gpu(value)
                content[name] = there[value]


@contextmanager
def pretend_gpu(*, may_ask: bool = True) -> Iterator[torch.device]:
    """Tensors can be made on the device that it gives.

    Args:
        may_ask: False to raise Asked where the host would wait for the device.
    """
    with (
        _Mode(not may_ask),
        patch.object(torch.cuda, "Event", _Done),
        patch.object(torch.cuda, "device_of", lambda _: nullcontext()),
    ):
        yield GPU


class _Done:
    """An event of a device that is never behind."""

    def record(self) -> None:
        """Nothing to wait for."""

    def query(self) -> bool:
        """Whether it has happened."""
        return True


@contextmanager
def all_on_gpu() -> Iterator[torch.device]:
    """As `pretend_gpu`, and models, SAEs and checkpoints loaded on `cuda` are there too."""
    boot = load.__globals__["_boot"]

    def booted(source: Any, device: str, dtype: torch.dtype) -> Any:
        bridge = boot(source, "cpu", dtype)
        if device != "cpu":
            moved(bridge)
        return bridge

    with (
        pretend_gpu() as gpu,
        patch.dict(load.__globals__, {"_boot": booted}),
        patch.object(torch.cuda, "is_available", lambda: True),
        patch.object(sae, "safe_open", _Opened),
        patch.object(state, "safe_open", _Opened),
    ):
        yield gpu


class _Opened:
    """safetensors' open file, whose tensors may be on the GPU."""

    def __init__(self, path: Any, framework: str, device: str) -> None:
        self._file, self._device = safe_open(path, framework, device="cpu"), device

    def __enter__(self) -> "_Opened":
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def get_tensor(self, name: str) -> Tensor:
        """On the device asked for."""
        found = self._file.get_tensor(name)
        return found if self._device == "cpu" else on_gpu(found)


class _Mode(TorchFunctionMode):
    """Also sees functions that take no tensor, such as torch.zeros."""

    def __init__(self, strict: bool) -> None:
        super().__init__()
        self._strict = strict

    def __torch_function__(self, func, types, args=(), kwargs=None):  # noqa: ARG002
        return _call(func, args, kwargs or {}, self._strict)


_ASK = {
    getattr(Tensor, name)
    for name in ("__bool__", "__float__", "__int__", "__index__", "item", "tolist", "nonzero")
} | {Tensor.cpu, torch.nonzero, torch.bincount, Tensor.bincount}
_OWN = (
    Tensor.__hash__,
    Tensor.grad.__get__,
    Tensor.grad.__set__,
    Tensor.requires_grad_,
    torch.autograd.grad,
)
"""What belongs to a tensor as an object, not to what it holds."""
_TWO_DEVICES = {Tensor.copy_}
_INDEX = {Tensor.__getitem__, Tensor.__setitem__}


def _call(func: Any, args: Any, kwargs: dict[str, Any], strict: bool) -> Any:
    given = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
    there = [one for one in given if _is_there(one)]
    if there and func in (Tensor.device.__get__, Tensor.is_cuda.__get__):
        return GPU if func == Tensor.device.__get__ else True
    if func in _OWN:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args)
    if func is Tensor.numpy and there and not kwargs.get("force"):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")
    kwargs = {name: value for name, value in kwargs.items() if name != "pin_memory"}
    to, args, kwargs = _target(func, args, kwargs, bool(there))
    if strict and there and (_asks(func, args) or to == "cpu"):
        raise Asked(f"{func.__name__}")
    _check_devices(func, args, given, there, to)
    with torch._C.DisableTorchFunctionSubclass():
        out = func(*_plain(args), **_plain(kwargs))
    if to == "cuda" or (there and to is None and func not in (Tensor.cpu, Tensor.tolist)):
        return tree_map(lambda one: _put(one) if isinstance(one, Tensor) else one, out)
    return _plain(out)


def _is_there(tensor: Tensor) -> bool:
    return isinstance(tensor, There) or hasattr(tensor, "is_there")


def _put(tensor: Tensor) -> Tensor:
    if tensor.layout == torch.strided:
        return tensor.as_subclass(There)
    tensor.is_there = True  # type: ignore[attr-defined]  # sparse ones cannot be of another class
    return tensor


def _plain(tree: Any) -> Any:
    return tree_map(lambda one: one.as_subclass(Tensor) if isinstance(one, There) else one, tree)


def _asks(func: Any, args: Any) -> bool:
    if func in _INDEX:
        keys = args[1] if isinstance(args[1], tuple) else (args[1],)
        return any(isinstance(one, Tensor) and one.dtype == torch.bool for one in keys)
    return func in _ASK


def _target(func: Any, args: Any, kwargs: dict[str, Any], there: bool) -> tuple[Any, Any, Any]:
    """Where a function that names a device puts its result, and its arguments without it."""

    def kind(one: Any) -> str | None:
        if isinstance(one, torch.device):
            return one.type
        if isinstance(one, str) and one.split(":")[0] in ("cpu", "cuda", "meta"):
            return one.split(":")[0]
        return "cuda" if isinstance(one, There) else None

    to = None
    if kwargs.get("device") is not None:
        to = kind(kwargs["device"])
        kwargs = {**kwargs, "device": "cpu"} if to == "cuda" else kwargs
    elif func is Tensor.to and len(args) > 1:
        to = kind(args[1])
        if to and not isinstance(args[1], Tensor):
            args = (args[0], "cpu", *args[2:])
    elif func is Tensor.cuda:
        to = "cuda"
    if func is Tensor.to and to is None:
        to = "cuda" if there else None
    return to, args, kwargs


def _check_devices(func: Any, args: Any, given: Any, there: Any, to: str | None) -> None:
    if func in _TWO_DEVICES or func is Tensor.to or to is not None:
        return
    if func in _INDEX and _is_there(args[0]):
        given = [args[0], *(args[2:] if func is Tensor.__setitem__ else ())]
        given = [one for one in given if isinstance(one, Tensor)]
        there = [one for one in given if _is_there(one)]
    here = [one for one in given if not _is_there(one) and one.ndim]
    if there and here:
        raise RuntimeError(f"{func.__name__}: tensors on cuda:0 and on the cpu")
