"""The command group `spacy rnn`."""

import typer
from spacy.cli._util import app as spacy_app

from . import (
    ablate,
    add_bilm,
    agreement,
    attention,
    dynamics,
    evaluate_lm,
    generate,
    info,
    memory,
    pretrain,
    shrink,
)

# Options such as --lm_pretraining.n_rows override settings of the config.
_OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}

app = typer.Typer(name="rnn", help="Recurrent networks (spacy-rnn).", no_args_is_help=True)
app.callback()(lambda: None)
app.command("info")(info.info_cli)
app.command("pretrain", context_settings=_OVERRIDES)(pretrain.pretrain_cli)
app.command("add-bilm")(add_bilm.add_bilm_cli)
app.command("evaluate-lm")(evaluate_lm.evaluate_lm_cli)
app.command("generate")(generate.generate_cli)
app.command("shrink")(shrink.shrink_cli)
app.command("agreement")(agreement.agreement_cli)
app.command("ablate")(ablate.ablate_cli)
app.command("dynamics")(dynamics.dynamics_cli)
app.command("memory")(memory.memory_cli)
app.command("attention")(attention.attention_cli)
spacy_app.add_typer(app)
