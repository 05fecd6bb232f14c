"""
The commands `gatepost rules`: reads the rules as the daemon does, and runs the examples that stand beside them.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatepost.cli.invocation import invocation

if TYPE_CHECKING:
    from gatepost.decision.example import Outcome

app = typer.Typer(help="Check the rules.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Check the rules that decide how mail is protected."""


@app.command()
def check(
    ctx: typer.Context,
    directory: Annotated[
        Path | None, typer.Argument(help="Where the *.toml files lie; default: the site's rules.")
    ] = None,
) -> None:
    """Read the rules and run their examples; exit status 1 if a rule is wrong or an example fails."""
    from gatepost.decision.example import read_examples, run
    from gatepost.decision.reader import read_rules

    call = invocation(ctx)
    place = directory or call.settings.rules.directory
    rules = read_rules(place, frozenset())
    outcomes = [run(example, rules) for example in read_examples(place)]
    failed = sum(not outcome.passed for outcome in outcomes)
    summary = f"{len(rules.rules)} rules, {len(outcomes)} examples, {failed} failed"
    call.emit(
        {
            "directory": str(place),
            "rules": [rule.name for rule in rules.rules],
            "examples": [_as_json(outcome) for outcome in outcomes],
            "failed": failed,
        },
        "\n".join([*map(_as_line, outcomes), summary]),
    )
    if failed:
        raise typer.Exit(1)


def _as_json(outcome: "Outcome") -> dict[str, object]:
    example = outcome.example
    return {
        "file": example.file,
        "name": example.name,
        "passed": outcome.passed,
        "expected": dict(example.expected),
        "actual": dict(outcome.actual),
    }


def _as_line(outcome: "Outcome") -> str:
    example = outcome.example
    title = f"{example.file}: {example.name}"
    if outcome.passed:
        return f"ok    {title}"
    wrong = [
        f"{key} expected {wanted!r}, actual {outcome.actual[key]!r}"
        for key, wanted in example.expected.items()
        if outcome.actual[key] != wanted
    ]
    return f"FAIL  {title}: {'; '.join(wrong)}"
