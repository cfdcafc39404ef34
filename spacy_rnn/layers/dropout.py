"""How a layer's dropout rate is set: by its config, or by the training loop."""

from thinc.api import Model


def dropout_attrs(dropout: float | None) -> dict[str, float]:
    """Get the attribute that holds a layer's dropout rate.

    dropout (Optional[float]): A rate that stays, or None to follow `[training] dropout`, which
        spaCy sets on all layers that have an attribute `dropout_rate`.
    RETURNS (Dict[str, float]): The attribute.
    """
    return {"dropout_rate": 0.0} if dropout is None else {"fixed_dropout_rate": dropout}


def get_dropout(model: Model, is_train: bool) -> float:
    """Get the dropout rate that holds now.

    model (Model): A layer with the attribute of `dropout_attrs`.
    is_train (bool): Whether the layer is being trained; it drops nothing otherwise.
    RETURNS (float): The rate.
    """
    if not is_train:
        return 0.0
    return model.attrs.get("fixed_dropout_rate", model.attrs.get("dropout_rate", 0.0))
