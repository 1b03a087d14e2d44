"""`python -m preview STACK [STACK…]`: what an `up` would build, without an account and without a network.

Exit codes: 0 nothing stands against a deployment, 1 the input is bad, 3 there are mandatory findings.
"""

import gc
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Never

import typer

from components.spec.environment import Environment
from components.spec.load import load
from components.spec.problems import SpecError
from policies.model import Graph
from preview.attempt import Failure, attempt
from preview.base import BaseError, checkout
from preview.report import json, markdown, text
from preview.result import Preview, look
from preview.worker import attempts

BAD_INPUT = 1
MANDATORY_FINDINGS = 3

Outcome = Graph | Failure


class Format(StrEnum):
    """Who reads it: a person, a program, a pull request."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def main(
    stacks: Annotated[list[str], typer.Argument(help="Stacks, as their files are called: Pulumi.STACK.yaml.")],
    base: Annotated[str, typer.Option(help="Branch, tag or commit to compare with.", metavar="GIT_REF")] = "",
    form: Annotated[Format, typer.Option("--format", help="Form of the report on stdout.")] = Format.TEXT,
    out: Annotated[Path | None, typer.Option(help="Folder for the full reports of each stack, in every form.")] = None,
) -> None:
    """Show what an `up` of these stacks would build, without an account and without a network."""
    gc.disable()  # a short run that keeps nearly all it makes: to look for garbage costs more than it frees
    stacks = list(dict.fromkeys(stacks))
    root = _root()
    environments = _environments(root, stacks)
    with _progress(f"recording {', '.join(stacks)}"):
        heads, bases = _record(root, environments, base)
    failures = [outcome.report for outcome in heads.values() if isinstance(outcome, Failure)]
    if failures:
        _give_up(failures)
    previews = [_look(heads[stack], environments[stack], base, bases.get(stack)) for stack in stacks]
    if out:
        _write(previews, out)
    _print(previews, form)
    if any(preview.mandatory for preview in previews):
        raise typer.Exit(MANDATORY_FINDINGS)


def _root() -> Path:
    """The nearest folder with a `Pulumi.yaml`, from the working directory upwards, as Pulumi itself looks for it."""
    here = Path.cwd()
    found = next((folder for folder in (here, *here.parents) if (folder / "Pulumi.yaml").is_file()), None)
    if found is None:
        _give_up(
            [f"There is no Pulumi.yaml in {here.name} or above it; nothing was built.\n    right: a project's folder"]
        )
    return found


def _environments(root: Path, stacks: Sequence[str]) -> dict[str, Environment]:
    """The descriptions of all stacks, or the reports of all that are bad."""
    found: dict[str, Environment] = {}
    reports: list[str] = []
    for stack in stacks:
        try:
            found[stack] = load(root, stack)
        except SpecError as error:
            reports.append(error.report())
    if reports:
        _give_up(reports)
    return found


def _record(
    root: Path, environments: dict[str, Environment], base: str
) -> tuple[dict[str, Outcome], dict[str, Outcome]]:
    """The outcomes of all stacks, and those of their base where one is asked for."""
    if not base and len(environments) == 1:
        return {stack: attempt(root, stack) for stack in environments}, {}
    groups = _groups(environments)
    heads: dict[str, Outcome] = {}
    bases: dict[str, Outcome] = {}
    try:
        # Two at a time: a process works one core to its full.
        with _checkout(root, base) as before, ThreadPoolExecutor(2) as pool:
            running = [(heads, pool.submit(attempts, root, group)) for group in groups]
            if before:
                running += [(bases, pool.submit(attempts, before, group)) for group in groups]
            for found, future in running:
                found.update(future.result())
    except BaseError as error:
        _give_up([str(error)])
    return heads, bases


@contextmanager
def _checkout(root: Path, base: str) -> Generator[Path | None]:
    if not base:
        yield None
        return
    with checkout(root, base) as folder:
        yield folder


def _groups(environments: dict[str, Environment]) -> list[list[str]]:
    """Stacks that one process records: those of one cloud, so that it imports one SDK; halves where there is one cloud."""
    found: dict[str, list[str]] = {}
    for stack, environment in environments.items():
        found.setdefault(environment.cloud.names[0], []).append(stack)
    groups = list(found.values())
    if len(groups) == 1 and len(groups[0]) > 1:
        half = (len(groups[0]) + 1) // 2
        return [groups[0][:half], groups[0][half:]]
    return groups


def _look(head: Outcome, environment: Environment, base: str, before: Outcome | None) -> Preview:
    assert isinstance(head, Graph)  # noqa: S101  failures have ended the run before
    note = ""
    if isinstance(before, Failure):
        reason = before.report.strip().partition("\n")[0]
        note = f"{base} does not build this stack, so everything counts as created. {reason}"
    graph = before if isinstance(before, Graph) else None
    return look(head, environment.waivers, base=base, before=graph, note=note)


def _write(previews: Sequence[Preview], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for preview in previews:
        for ending, content in (
            ("json", f"{json.render(preview, indent=2)}\n"),
            ("md", markdown.render([preview])),
            ("txt", text.render([preview])),
        ):
            (out / f"{preview.stack}.{ending}").write_text(content, encoding="utf-8")


def _print(previews: Sequence[Preview], form: Format) -> None:
    if form is Format.JSON:
        typer.echo("\n".join(json.render(preview) for preview in previews))
    elif form is Format.MARKDOWN:
        typer.echo(markdown.render(previews), nl=False)
    elif sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415  only a terminal has colours
        from rich.text import Text  # noqa: PLC0415

        console = Console(highlight=False)
        coloured = Text(text.render(previews, console.width))
        for pattern, style in text.STYLES:
            coloured.highlight_regex(f"(?m){pattern}", style)
        console.print(coloured, soft_wrap=True)
    else:
        typer.echo(text.render(previews), nl=False)


@contextmanager
def _progress(what: str) -> Generator[None]:
    """A line on a terminal for as long as it takes; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415

    with Console(stderr=True).status(what):
        yield


def _give_up(reports: Sequence[str]) -> Never:
    typer.echo("\n\n".join(reports), err=True)
    raise typer.Exit(BAD_INPUT)


if __name__ == "__main__":
    # A defect shows Python's own trace: a prettier one would print the values of variables, secrets among them.
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app(prog_name="python -m preview")
