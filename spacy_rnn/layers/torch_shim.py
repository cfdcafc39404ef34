"""The bridge between Thinc's models and our torch modules."""

import contextlib
import copy
from collections.abc import Callable, Iterator
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
from .storage import StoredModule

ParamKey = tuple[int, str]


def get_shim(model: Model) -> "TorchShim":
    """RETURNS (TorchShim): The shim of one of our layers."""
    # Every layer asks for its shim before it asks torch for anything.
    settle_after_fork()
    return cast(TorchShim, model.shims[0])


class TorchShim(Shim):
    """Hold a torch module for a Thinc layer: run it, train it with Thinc's optimizer, move it,
    copy it and store it.

    Unlike Thinc's own PyTorchShim it uses averaged parameters, never switches the module between
    training and evaluation (so threads may share it), gives copies an ID of their own, predicts
    in inference mode, updates parameters where they lie, stores no pickles, and unscales each
    gradient once however many batches were accumulated.

    layer (str): The name of the layer, for error messages.
    build (Callable[..., nn.Module]): Makes the module, from the settings and what is inferred
        at initialisation. Must be importable, so that the shim can be pickled.
    settings (Dict[str, Any]): The arguments for `build` that are known from the config.
    layer_settings (Optional[Dict[str, Any]]): Settings of the layer around the module. Both kinds
        are stored with the weights, and weights of other settings are refused.
    grad_clip_norm (float): Scale the gradients down where the norm of all of them together is
        above this. 0 turns it off.
    grad_clip_value (float): Clip each element of the gradients to this size. 0 turns it off.
    mixed_precision (bool): Compute in half precision where torch thinks it safe: float16 with
        scaled gradients on a GPU, bfloat16 on a CPU that has instructions for it.
    """

    def __init__(
        self,
        layer: str,
        build: Callable[..., nn.Module],
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
        self._device = get_torch_default_device()
        self._scaler = self._make_scaler()

    def require_module(self) -> None:
        """Raise a ValueError if there is no module yet."""
        if self._model is None:
            raise ValueError(
                f"Layer {self.layer!r} has no weights yet: initialize the pipeline "
                "(nlp.initialize) or load a trained one before using it."
            )

    @property
    def module(self) -> nn.Module | None:
        """RETURNS (Optional[nn.Module]): The torch module, None before initialisation."""
        return self._model

    @property
    def device(self) -> torch.device:
        """RETURNS (torch.device): Where the module is."""
        return self._device

    def initialize(self, **inferred: Any) -> None:
        """Make the module, with new weights.

        inferred (Any): The arguments for `build` that were inferred from data.
        """
        with torch.inference_mode(False):
            self._set_module(self.build(**self._module_settings, **inferred), inferred)

    def predict(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Run the module without gradients.

        args, kwargs (Any): Its arguments, tensors on its device.
        RETURNS (Tensor): What it returns, in float32.
        """
        assert self._model is not None
        with torch.inference_mode(), self.autocast():
            return self._model(*args, **kwargs).float()

    @one_torch_thread()
    def begin_update(  # type: ignore[override]
        self, X: torch.Tensor | None, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor | None]]:
        """Run the module with gradients.

        X (Optional[Tensor]): The first argument, whose gradient is asked for if it is one.
        args, kwargs (Any): Its other arguments.
        RETURNS (Tuple[Tensor, Callable]): What it returns, in float32, and a callback that takes
            the gradient of that, adds to the parameters' gradients and returns that of X.
        """
        assert self._model is not None
        with torch.inference_mode(False), torch.enable_grad(), self.autocast():
            if X is not None:
                X = (X.clone() if X.is_inference() else X.detach()).requires_grad_()
                args = (X, *args)
            Y = self._model(*args, **kwargs).float()

        @one_torch_thread()
        def backprop(dY: torch.Tensor) -> torch.Tensor | None:
            # Scaled by hand, as the loss is not torch's. What comes out for the parameters
            # stays scaled until the update, when the sum over all batches is unscaled at once.
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
        """Use other values for the parameters for a while, such as the optimizer's averages.

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
        self._device = torch.device("cpu" if device_type == "cpu" else f"cuda:{device_id}")
        self._scaler = self._make_scaler()
        if self._model is not None:
            self._model.to(self._device)

    def to_bytes(self) -> bytes:
        """RETURNS (bytes): The settings, and the weights in the safetensors format."""
        state = self._model.state_dict() if self._model is not None else {}
        tensors = {name: tensor.cpu().contiguous() for name, tensor in state.items()}
        inferred = self.inferred if self._model is not None else None
        return StoredModule(self.settings, inferred, tensors).to_bytes()

    def from_bytes(self, bytes_data: bytes) -> "TorchShim":
        """Load what `to_bytes` returned. Where this fails, nothing is changed.

        bytes_data (bytes): The stored module.
        RETURNS (TorchShim): The shim itself.
        RAISES (ValueError): If the bytes are damaged, or another layer's.
        """
        try:
            stored = StoredModule.from_bytes(bytes_data)
            stored.check_settings(self.settings)
            if stored.inferred is None:
                self._model, self.inferred = None, {}
                return self
            with torch.inference_mode(False):
                module = self.build(**self._module_settings, **stored.inferred)
                stored.load_into(module)
                self._set_module(module, stored.inferred)
        except (ValueError, TypeError) as err:
            raise ValueError(f"Can't load the weights of layer {self.layer!r}: {err}.") from err
        return self

    def _set_module(self, module: nn.Module, inferred: dict[str, Any]) -> None:
        self._model = module.to(self._device)
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
        scaler = PyTorchGradScaler(self.mixed_precision and self._device.type == "cuda")
        scaler.to_(self._device)
        return scaler

    def autocast(self) -> contextlib.AbstractContextManager:
        """RETURNS (AbstractContextManager): In it, torch has the precision of the setting."""
        is_cpu = self._device.type == "cpu"
        # Without instructions it would be emulated.
        if not self.mixed_precision or (is_cpu and not has_bfloat16()):
            return contextlib.nullcontext()
        dtype = torch.float16 if self._device.type == "cuda" else torch.bfloat16
        return torch.autocast(self._device.type, dtype=dtype)
