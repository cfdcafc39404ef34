"""What clients send and get. `make_requests` takes the limits from the settings."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from .settings import Settings


class Token(BaseModel):
    """A token. Tag and lemma are there if the pipeline sets them."""

    text: str
    tag: str | None = None
    lemma: str | None = None


class Entity(BaseModel):
    """An entity: where it starts and ends in the text, in characters, its label, and its
    probability if the component gives one."""

    start_char: int
    end_char: int
    label: str
    probability: float | None = None


class Analysis(BaseModel):
    """What the pipeline predicts for a text."""

    tokens: list[Token]
    ents: list[Entity]
    cats: dict[str, float]


class Failure(BaseModel):
    """In a batch, what stands in place of a text on which the pipeline failed."""

    error: str


def make_requests(settings: Settings) -> tuple[type[BaseModel], type[BaseModel]]:
    """Make the models of requests.

    settings (Settings): The settings, with the limits.
    RETURNS (Tuple[Type[BaseModel], Type[BaseModel]]): For one text, and for a batch.
    """

    def check_words(text: str) -> str:
        if max(map(len, text.split()), default=0) > settings.max_word_length:
            raise ValueError(f"more than {settings.max_word_length} characters without white space")
        return text

    length = Field(min_length=1, max_length=settings.max_text_length)
    text = Annotated[str, length, AfterValidator(check_words)]
    texts = Annotated[list[text], Field(min_length=1, max_length=settings.max_texts)]  # type: ignore[valid-type]
    config = ConfigDict(extra="forbid")
    one = create_model("TextRequest", __config__=config, text=(text, ...))
    return one, create_model("BatchRequest", __config__=config, texts=(texts, ...))
