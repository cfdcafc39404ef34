"""Networks in Thinc layers: run, trained, moved and stored."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy
from thinc.api import Model, Optimizer, PyTorchGradScaler, Shim, torch2xp, xp2torch
from thinc.compat import cupy, has_torch
from thinc.types import FloatsXd
from thinc.util import get_torch_default_device

from .. import kernels
from ..checks import check_limit
from ..kernels.missing import warn_if_missing
from ..modules.backend import has_bfloat16
from ..modules.cache import mark_changed
from ..modules.networks import Network
from ..modules.weights import Weights
from ..modules.workers import one_torch_thread, settle_after_fork
from .storage import check_shapes, dump_weights, load_weights
from .torch_arrays import require_torch, to_torch, to_xp

if TYPE_CHECKING:
    import torch
    from torch import nn

ParamKey = tuple[int, str]


def get_shim(model: Model) -> "TorchShim":
    """RETURNS (TorchShim): The shim of one of our layers."""
    # Every layer asks for its shim before it asks torch for anything.
    settle_after_fork()
    return cast(TorchShim, model.shims[0])


def find_layers(model: Model, *networks: Network) -> list[Model]:
    """Find layers by their network.

    model (Model): A layer with layers inside.
    networks (Network): The networks.
    RETURNS (List[Model]): The layers in breadth-first order, initialised or not.
    """
    layers = [(layer, shim) for layer in model.walk() for shim in layer.shims]
    return [
        layer for layer, shim in layers if isinstance(shim, TorchShim) and shim.network in networks
    ]


class TorchShim(Shim):
    """Hold a network for a Thinc layer: its weights, and where torch is installed its torch module
    over the same memory. It is called with arrays and returns arrays. On a CPU with compiled
    kernels it predicts without torch.

    Unlike Thinc's own PyTorchShim it uses averaged parameters, never switches the module between
    training and evaluation (so threads may share it), gives copies an ID of their own, predicts
    in inference mode, updates parameters in place, stores no pickles, and unscales each gradient
    once however many batches were accumulated.

    layer (str): The name of the layer, for error messages.
    network (Network): The network.
    settings (Dict[str, Any]): The settings of the network that the config gives.
    layer_settings (Optional[Dict[str, Any]]): Settings of the layer around the network. Both kinds
        are stored with the weights, and weights of other settings are refused.
    grad_clip_norm (float): The largest norm of all gradients together. 0 turns it off.
    grad_clip_value (float): The largest size of a gradient's element. 0 turns it off.
    mixed_precision (bool): Compute in half precision where torch thinks it safe: float16 with
        scaled gradients on a GPU, in training bfloat16 on a CPU that has instructions for it.
    int8 (bool): Predict with 8-bit integers, on a CPU that has instructions for it.
    """

    def __init__(
        self,
        layer: str,
        network: Network,
        settings: dict[str, Any],
        *,
        layer_settings: dict[str, Any] | None = None,
        grad_clip_norm: float = 0.0,
        grad_clip_value: float = 0.0,
        mixed_precision: bool = False,
        int8: bool = False,
    ):
        check_limit("grad_clip_norm", grad_clip_norm)
        check_limit("grad_clip_value", grad_clip_value)
        super().__init__(None)
        self.layer = layer
        self.network = network
        self.settings = {**(layer_settings or {}), **settings}
        self._network_settings = settings
        self.inferred: dict[str, Any] = {}
        self.grad_clip_norm = grad_clip_norm
        self.grad_clip_value = grad_clip_value
        self.mixed_precision = mixed_precision
        self.int8 = int8
        self.stores_half = False
        self.weights: Weights | None = None
        self.device = get_torch_default_device() if has_torch else None
        self._scaler = self._make_scaler()

    @property
    def module(self) -> "nn.Module | None":
        """RETURNS (Optional[nn.Module]): The torch module, None before initialisation."""
        return self._model

    @property
    def device_type(self) -> str:
        """RETURNS (str): "cpu" or "cuda"."""
        return "cpu" if self.device is None else self.device.type

    @property
    def network_settings(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): The settings of the network, those inferred from data too."""
        return {**self._network_settings, **self.inferred}

    def require_weights(self) -> Weights:
        """RETURNS (Weights): The weights. A ValueError is raised if there are none yet."""
        if self.weights is None:
            raise ValueError(
                f"Layer {self.layer!r} has no weights yet: initialize the pipeline "
                "(nlp.initialize) or load a trained one before using it."
            )
        return self.weights

    def require_module(self) -> Any:
        """RETURNS (nn.Module): The torch module. A ValueError is raised if there is none yet."""
        self.require_weights()
        require_torch(f"Layer {self.layer!r}")
        return self._model

    def initialize(self, **inferred: Any) -> None:
        """Make new weights.

        inferred (Any): The settings of the network that are inferred from data.
        """
        require_torch("A new model")
        import torch

        build = self.network.get_module_class()
        with torch.inference_mode(False):
            self._set_module(build(**self._network_settings, **inferred), inferred)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Run the network without gradients: on arrays and compiled kernels, or by torch.

        args, kwargs (Any): The arguments of the module. Tensors are passed as arrays.
        RETURNS (FloatsXd): Its output in float32.
        """
        weights, settings = self.require_weights(), self.network_settings
        run = self.network.choose_predict(self.device_type, settings)
        if run is not None:
            int8 = self.int8 and kernels.HAS_INT8
            return run(weights, settings, *args, int8=int8, **kwargs)
        if self.device_type == "cpu":
            warn_if_missing()
        module = self.require_module()
        import torch

        with torch.inference_mode(), self.autocast():
            args, kwargs = self._to_tensors(args, kwargs)
            return to_xp(module(*args, **kwargs).float())

    def begin_update(  # type: ignore[override]
        self, X: Any, *args: Any, **kwargs: Any
    ) -> tuple[Any, Callable[[Any], Any]]:
        """Run the module with gradients.

        X (Optional[ArrayXd]): The first argument, if it has a gradient.
        args, kwargs (Any): Its other arguments. Tensors are passed as arrays.
        RETURNS (Tuple[FloatsXd, Callable]): Its output in float32, and a callback that takes the
            output's gradient, adds to the parameters' gradients and returns that of X, None
            without X.
        """
        module = self.require_module()
        import torch

        with one_torch_thread(), torch.inference_mode(False), torch.enable_grad(), self.autocast():
            args, kwargs = self._to_tensors(args, kwargs)
            if X is not None:
                X = to_torch(X, self.device)
                X = (X.clone() if X.is_inference() else X.detach()).requires_grad_()
                args = (X, *args)
            Y = module(*args, **kwargs).float()

        @one_torch_thread()
        def backprop(dY: Any) -> Any:
            # Scaled by hand, as the loss is not torch's. The parameters' gradients stay scaled
            # until the update, which unscales the sum over all batches at once.
            scaled = self._scaler.scale(to_torch(dY, self.device))
            torch.autograd.backward(Y, cast("torch.Tensor", scaled))
            self._separate_gradients()
            if X is None:
                return None
            dX = X.grad if X.grad is not None else torch.zeros_like(X)
            return to_xp(dX.zero_() if self._scaler.unscale([dX]) else dX)

        return to_xp(Y.detach()), backprop

    @one_torch_thread()
    def finish_update(self, optimizer: Optimizer) -> None:
        """Update the parameters with their gradients, and clear those.

        optimizer (Optimizer): Thinc's optimizer.
        """
        params = {n: p for n, p in self._parameters() if p.grad is not None}
        grads = [param.grad for param in params.values() if param.grad is not None]
        if grads and not self._scaler.unscale(grads):
            from torch import nn

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
        # With a module, the weights are made of its parameters again.
        left_out = {"id"} if self._model is None else {"id", "weights"}
        return {key: value for key, value in self.__dict__.items() if key not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # IDs are the optimizer's keys: two shims must never share one.
        with Shim.global_id_lock:
            Shim.global_id += 1
            self.id = Shim.global_id
        self.__dict__.update(state)
        if self._model is not None:
            from torch import nn

            self._set_module(self._model, self.inferred)
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
        if device_type == "cpu" and self.device is None:
            return
        require_torch("A GPU")
        import torch

        self.device = torch.device("cpu" if device_type == "cpu" else f"cuda:{device_id}")
        self._scaler = self._make_scaler()
        if self._model is not None:
            self._set_module(self._model, self.inferred)

    def to_bytes(self) -> bytes:
        """RETURNS (bytes): The settings, and the weights in the safetensors format: in half
        precision if `stores_half` is set.
        """
        arrays = None if self.weights is None else self._get_arrays()
        return dump_weights(self.settings, self.inferred, arrays, half=self.stores_half)

    def from_bytes(self, bytes_data: bytes) -> "TorchShim":
        """Load what `to_bytes` returned. Where this fails, nothing is changed.

        bytes_data (bytes): The stored weights.
        RETURNS (TorchShim): The shim itself.
        RAISES (ValueError): If the bytes are damaged, or another layer's.
        """
        try:
            arrays, inferred = load_weights(bytes_data, self.settings)
            if arrays is None:
                self._set_module(None, {})
            elif has_torch:
                self._set_module(self._build_over(arrays, inferred), inferred)
            else:
                self.weights, self.inferred = Weights(arrays), inferred
        except (ValueError, TypeError) as err:
            raise ValueError(f"Can't load the weights of layer {self.layer!r}: {err}.") from err
        return self

    def _build_over(self, arrays: dict[str, Any], inferred: dict[str, Any]) -> "nn.Module":
        """Make a module whose parameters share the memory of arrays."""
        import torch

        build = self.network.get_module_class()
        with torch.inference_mode(False):
            module: nn.Module = build(**self._network_settings, **inferred)
            check_shapes(module.state_dict(), arrays)
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            module.load_state_dict(tensors, assign=True)
        return module

    def _get_arrays(self) -> dict[str, Any]:
        if self._model is None:
            return self.require_weights().to_dict()
        return {name: t.detach().cpu().numpy() for name, t in self._model.state_dict().items()}

    def _set_module(self, module: "nn.Module | None", inferred: dict[str, Any]) -> None:
        self._model = None if module is None else module.to(self.device)
        self.inferred = inferred
        self.weights = None if module is None else Weights(dict(module.named_parameters()))

    def _to_tensors(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Make tensors of the arrays among some arguments."""
        arrays = (numpy.ndarray,) if self.device_type == "cpu" else (numpy.ndarray, cupy.ndarray)

        def convert(value: Any) -> Any:
            return to_torch(value, self.device) if isinstance(value, arrays) else value

        return tuple(map(convert, args)), {key: convert(value) for key, value in kwargs.items()}

    def _parameters(self) -> "list[tuple[str, nn.Parameter]]":
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

    def _make_scaler(self) -> Any:
        if self.device is None:
            return None
        scaler = PyTorchGradScaler(self.mixed_precision and self.device.type == "cuda")
        scaler.to_(self.device)
        return scaler

    def autocast(self) -> contextlib.AbstractContextManager:
        """RETURNS (AbstractContextManager): A context with the precision of the setting."""
        import torch

        is_cpu = self.device_type == "cpu"
        # Without instructions it would be emulated.
        if not self.mixed_precision or (is_cpu and not has_bfloat16()):
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if is_cpu else torch.float16
        return torch.autocast(self.device_type, dtype=dtype)
