"""Settings of the service, from environment variables."""

import os

from pydantic import BaseModel, Field, model_validator

PREFIX = "SERVE_"


class Settings(BaseModel):
    """Each setting is an environment variable in capitals: SERVE_PIPELINE, SERVE_BATCH_SIZE …

    pipeline (str): Path of a pipeline, or name of an installed package.
    batch_size (int): The most texts to compute together.
    max_wait_ms (float): How long a text waits for others to share its batch, in milliseconds.
    queue_size (int): The most texts that wait. Requests get status 503 when it is full.
    max_texts (int): The most texts in a request to `/analyse_batch`.
    max_text_length (int): The most characters in a text.
    max_word_length (int): The most characters without white space. spaCy's tokenizer takes time
        quadratic in the length of a run of punctuation: 0.2 seconds for 1,000 brackets.
    max_body (int): The most bytes in a request.
    threads (Optional[int]): Threads that compute, for components of spacy-rnn and torch. By
        default, as many as the process may use, and one after a fork.
    """

    pipeline: str = Field(min_length=1)
    batch_size: int = Field(default=64, ge=1)
    max_wait_ms: float = Field(default=2.0, ge=0, le=1000)
    queue_size: int = Field(default=1024, ge=1)
    max_texts: int = Field(default=256, ge=1)
    max_text_length: int = Field(default=20_000, ge=1)
    max_word_length: int = Field(default=1_000, ge=1)
    max_body: int = Field(default=1_000_000, ge=1)
    threads: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def check_queue(self) -> "Settings":
        """A request that never fits into the queue would get status 503 forever."""
        if self.max_texts > self.queue_size:
            raise ValueError(
                f"max_texts = {self.max_texts} is larger than queue_size = {self.queue_size}: "
                f"lower {PREFIX}MAX_TEXTS or raise {PREFIX}QUEUE_SIZE"
            )
        return self


def read_settings() -> Settings:
    """RETURNS (Settings): What the environment variables say.
    RAISES (ValidationError): If SERVE_PIPELINE is missing, or a value is out of range.
    """
    names = {name: os.environ.get(PREFIX + name.upper()) for name in Settings.model_fields}
    return Settings.model_validate({name: value for name, value in names.items() if value})


def set_threads(n: int) -> None:
    """Set the number of threads of our components, or else of torch.

    n (int): The number of threads.
    """
    try:
        from spacy_rnn import set_num_threads
    except ImportError:
        try:
            from torch import set_num_threads
        except ImportError:
            return
    set_num_threads(n)
