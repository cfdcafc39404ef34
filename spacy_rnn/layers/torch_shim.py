"""Torch modules in Thinc layers: run, trained, moved and stored."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import torch
from thinc.api import Model, Optimizer, PyTorchGradScaler, Shim, torch2xp, xp2torch
from thinc.types import FloatsXd
from thinc.util import get_torch_default_device
from torch import nn

from ..checks import check_limit
from ..modules.backend import has_bfloat16
from ..modules.cache import mark_changed
from ..modules.workers import one_torch_thread, settle_after_fork
from .storage import dump_module, load_module

ParamKey = tuple[int, str]


def get_shim(model: Model) -> "TorchShim":
    """RETURNS (TorchShim): The shim of one of our layers."""
    # Every layer asks for its shim before it asks torch for anything.
    settle_after_fork()
    return cast(TorchShim, model.shims[0])


def find_layers(model: Model, *kinds: type[nn.Module]) -> list[Model]:
    """Find layers by the type of their torch module.

    model (Model): A layer with layers inside.
    kinds (Type[nn.Module]): The types.
    RETURNS (List[Model]): The layers in breadth-first order, initialised or not.
    """
    layers = [(layer, shim) for layer in model.walk() for shim in layer.shims]
    return [
        layer
        for layer, shim in layers
        if isinstance(shim, TorchShim) and issubclass(shim.build, kinds)
    ]


class TorchShim(Shim):
    """Hold a torch module for a Thinc layer.

    Unlike Thinc's own PyTorchShim it uses averaged parameters, never switches the module between
    training and evaluation (so threads may share it), gives copies an ID of their own, predicts
    in inference mode, updates parameters in place, stores no pickles, and unscales each gradient
    once however many batches were accumulated.

    layer (str): The name of the layer, for error messages.
    build (Type[nn.Module]): The module's class, importable, so that the shim can be pickled.
    settings (Dict[str, Any]): The arguments for `build` that the config gives.
    layer_settings (Optional[Dict[str, Any]]): Settings of the layer around the module. Both kinds
        are stored with the weights, and weights of other settings are refused.
    grad_clip_norm (float): The largest norm of all gradients together. 0 turns it off.
    grad_clip_value (float): The largest size of a gradient's element. 0 turns it off.
    mixed_precision (bool): Compute in half precision where torch thinks it safe: float16 with
        scaled gradients on a GPU, bfloat16 on a CPU that has instructions for it.
    """

    def __init__(
        self,
        layer: str,
        build: type[nn.Module],
        settings: dict[str, Any],
        *,
        layer_settings: dict[str, Any] | None = None,
        grad_clip_norm: float = 0.0,
        grad_clip_value: float = 0.0,
        mixed_precision: bool = False,
    ):
        check_limit("grad_clip_norm", grad_clip_norm)
        check_limit("grad_clip_value", grad_clip_value)
        super().__init__(None)
        self.layer = layer
        self.build = build
        self.settings = {**(layer_settings or {}), **settings}
        self._module_settings = settings
        self.inferred: dict[str, Any] = {}
        self.grad_clip_norm = grad_clip_norm
        self.grad_clip_value = grad_clip_value
        self.mixed_precision = mixed_precision
        self.device = get_torch_default_device()
        self._scaler = self._make_scaler()

    @property
    def module(self) -> nn.Module | None:
        """RETURNS (Optional[nn.Module]): The torch module, None before initialisation."""
        return self._model

    def require_module(self) -> Any:
        """RETURNS (nn.Module): The torch module. A ValueError is raised if there is none yet."""
        if self._model is None:
            raise ValueError(
                f"Layer {self.layer!r} has no weights yet: initialize the pipeline "
                "(nlp.initialize) or load a trained one before using it."
            )
        return self._model

    def initialize(self, **inferred: Any) -> None:
        """Make the module with new weights.

        inferred (Any): The arguments for `build` that are inferred from data.
        """
        with torch.inference_mode(False):
            self._set_module(self.build(**self._module_settings, **inferred), inferred)

    def predict(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Run the module without gradients.

        args, kwargs (Any): Its arguments, with tensors on its device.
        RETURNS (Tensor): Its output in float32.
        """
        with torch.inference_mode(), self.autocast():
            return self.require_module()(*args, **kwargs).float()

    @one_torch_thread()
    def begin_update(  # type: ignore[override]
        self, X: torch.Tensor | None, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor | None]]:
        """Run the module with gradients.

        X (Optional[Tensor]): The first argument, if it has a gradient.
        args, kwargs (Any): Its other arguments.
        RETURNS (Tuple[Tensor, Callable]): Its output in float32, and a callback that takes the
            output's gradient, adds to the parameters' gradients and returns that of X.
        """
        with torch.inference_mode(False), torch.enable_grad(), self.autocast():
            if X is not None:
                X = (X.clone() if X.is_inference() else X.detach()).requires_grad_()
                args = (X, *args)
            Y = self.require_module()(*args, **kwargs).float()

        @one_torch_thread()
        def backprop(dY: torch.Tensor) -> torch.Tensor | None:
            # Scaled by hand, as the loss is not torch's. The parameters' gradients stay scaled
            # until the update, which unscales the sum over all batches at once.
            torch.autograd.backward(Y, cast(torch.Tensor, self._scaler.scale(dY)))
            self._separate_gradients()
            if X is None:
                return None
            dX = X.grad if X.grad is not None else torch.zeros_like(X)
            return dX.zero_() if self._scaler.unscale([dX]) else dX

        return Y.detach(), backprop

    @one_torch_thread()
    def finish_update(self, optimizer: Optimizer) -> None:
        """Update the parameters with their gradients, and clear those.

        optimizer (Optimizer): Thinc's optimizer.
        """
        params = {n: p for n, p in self._parameters() if p.grad is not None}
        grads = [param.grad for param in params.values() if param.grad is not None]
        if grads and not self._scaler.unscale(grads):
            if self.grad_clip_norm:
                nn.utils.clip_grad_norm_(params.values(), self.grad_clip_norm)
            if self.grad_clip_value:
                nn.utils.clip_grad_value_(params.values(), self.grad_clip_value)
            for (name, param), grad in zip(params.items(), grads, strict=True):
                weights = cast(FloatsXd, torch2xp(param.data))
                updated, _ = optimizer(self._key(name), weights, cast(FloatsXd, torch2xp(grad)))
                if updated is not weights:
                    param.data.copy_(xp2torch(updated, device=param.device))
            mark_changed(params.values())
        for param in params.values():
            param.grad = None
        self._scaler.update()

    @contextlib.contextmanager
    def use_params(self, params: dict[ParamKey, Any]) -> Iterator[None]:
        """Use other values for the parameters inside a context, such as the optimizer's averages.

        params (Dict[Tuple[int, str], ArrayXd]): The values, by the optimizer's keys.
        """
        backup = {}
        try:
            for name, param in self._parameters():
                value = params.get(self._key(name))
                if value is not None:
                    backup[param] = param.detach().clone()
                    param.data.copy_(xp2torch(value, device=param.device))
            mark_changed(backup)
            yield
        finally:
            for param, weights in backup.items():
                param.data.copy_(weights)
            mark_changed(backup)

    def copy(self) -> "TorchShim":
        """RETURNS (TorchShim): A copy of everything, with an ID of its own."""
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "id"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # IDs are the optimizer's keys: two shims must never share one.
        with Shim.global_id_lock:
            Shim.global_id += 1
            self.id = Shim.global_id
        self.__dict__.update(state)
        if self._model is not None:
            for module in self._model.modules():
                # Copied one by one, but cuDNN wants the weights of a layer in one piece.
                if isinstance(module, nn.RNNBase):
                    module.flatten_parameters()

    def to_device(self, device_type: str, device_id: int) -> None:
        """Move the module.

        device_type (str): "cpu" or "gpu".
        device_id (int): The number of the GPU.
        """
        if device_type not in ("cpu", "gpu"):
            raise ValueError(f"Can't move a model to device {device_type!r}: use 'cpu' or 'gpu'.")
        self.device = torch.device("cpu" if device_type == "cpu" else f"cuda:{device_id}")
        self._scaler = self._make_scaler()
        if self._model is not None:
            self._model.to(self.device)

    def to_bytes(self) -> bytes:
        """RETURNS (bytes): The settings, and the weights in the safetensors format."""
        return dump_module(self.settings, self.inferred, self._model)

    def from_bytes(self, bytes_data: bytes) -> "TorchShim":
        """Load what `to_bytes` returned. Where this fails, nothing is changed.

        bytes_data (bytes): The stored module.
        RETURNS (TorchShim): The shim itself.
        RAISES (ValueError): If the bytes are damaged, or another layer's.
        """
        try:
            with torch.inference_mode(False):
                build = partial(self.build, **self._module_settings)
                self._set_module(*load_module(bytes_data, self.settings, build))
        except (ValueError, TypeError) as err:
            raise ValueError(f"Can't load the weights of layer {self.layer!r}: {err}.") from err
        return self

    def _set_module(self, module: nn.Module | None, inferred: dict[str, Any]) -> None:
        self._model = None if module is None else module.to(self.device)
        self.inferred = inferred

    def _parameters(self) -> list[tuple[str, nn.Parameter]]:
        return list(self._model.named_parameters()) if self._model is not None else []

    def _separate_gradients(self) -> None:
        # Torch gives parameters that were only added up one gradient to share. Scaling it or
        # adding to it for one would do so for the other as well.
        seen = set()
        for _, param in self._parameters():
            if param.grad is not None:
                if param.grad.data_ptr() in seen:
                    param.grad = param.grad.clone()
                seen.add(param.grad.data_ptr())

    def _key(self, name: str) -> ParamKey:
        # Thinc's layers count their IDs separately: the prefix keeps the two apart.
        return (self.id, f"torch.{name}")

    def _make_scaler(self) -> PyTorchGradScaler:
        scaler = PyTorchGradScaler(self.mixed_precision and self.device.type == "cuda")
        scaler.to_(self.device)
        return scaler

    def autocast(self) -> contextlib.AbstractContextManager:
        """RETURNS (AbstractContextManager): A context with the precision of the setting."""
        is_cpu = self.device.type == "cpu"
        # Without instructions it would be emulated.
        if not self.mixed_precision or (is_cpu and not has_bfloat16()):
            return contextlib.nullcontext()
        dtype = torch.float16 if self.device.type == "cuda" else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype)
