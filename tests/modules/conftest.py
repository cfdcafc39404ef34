import pytest

from spacy_rnn.kernels import HAS_BFLOAT16, INSTRUCTIONS


@pytest.fixture(scope="module", params=["compiled", "torch"])
def kernels(request):
    """Run a module's tests with the compiled kernels, where there are some, and without."""
    if request.param == "compiled" and INSTRUCTIONS is None:
        pytest.skip("the kernels were not built, or are turned off")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "torch":
            patch.setattr("spacy_rnn.kernels.INSTRUCTIONS", None)
        # Tested wherever it runs, not only where it is faster.
        patch.setattr("spacy_rnn.kernels.PREFERS_BFLOAT16", HAS_BFLOAT16)
        yield request.param
