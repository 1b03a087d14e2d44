"""The command as a person runs it: exit codes, reports, files, the base."""

import json
import os
import pickle
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer import Exit

from preview import __main__ as cli
from preview import worker
from preview.attempt import Failure
from preview.base import BaseError, checkout
from preview.record import record
from preview.worker import attempts
from tests.preview.conftest import AWS_STACK

ROOT = Path(__file__).parents[2]
MAIN = """
    import pulumi
    if pulumi.get_stack().endswith("gcp"):
        import pulumi_gcp as gcp
        given = gcp.Provider("gcp", project="acme-ai-dev", region="us-central1")
        gcp.pubsub.Topic("alerts", opts=pulumi.ResourceOptions(provider=given))
    else:
        import pulumi_aws as aws
        given = aws.Provider("aws", region="us-west-2", allowed_account_ids=["111111111111"])
        aws.s3.Bucket("raw", bucket="acme-raw", opts=pulumi.ResourceOptions(provider=given))
"""
CLEAN = "import pulumi\npulumi.export('nothing', 'here')\n"


def preview(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "preview", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The command in this process: its exit code, its stdout, its stderr."""

    def call(root: Path, *stacks: str, **options: object) -> tuple[int, str, str]:
        monkeypatch.chdir(root)
        monkeypatch.setattr(cli.gc, "disable", lambda: None)
        code = 0
        try:
            cli.main(list(stacks), **options)  # type: ignore[arg-type]
        except Exit as end:
            code = end.exit_code
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def without_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preview.result.evaluate", lambda *_: [])


# Exit codes, as a process


def test_mandatory_findings_end_with_3_and_a_report(project) -> None:
    done = preview(project(MAIN), "dev")
    assert done.returncode == 3
    assert done.stdout.startswith("== dev: 1 resource, ")
    assert "AWS account 111111111111" in done.stdout
    assert done.stderr == ""


def test_bad_input_ends_with_1_and_every_report(project, tmp_path: Path) -> None:
    root = project(MAIN, **{"stacks/Pulumi.dev.yaml": AWS_STACK.replace("111111111111", "12")})
    done = preview(root, "dev", "nope", "dev-gcp", "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Stack dev: 1 problem" in done.stderr
    assert "there is no stack nope" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_wrong_options_end_with_2(project) -> None:
    assert preview(project(MAIN)).returncode == 2
    assert preview(project(MAIN), "dev", "--format", "xml").returncode == 2


# Reports of one stack


def test_nothing_against_it_ends_with_0(project, in_process, monkeypatch: pytest.MonkeyPatch) -> None:
    without_rules(monkeypatch)
    code, out, err = in_process(project(CLEAN), "dev")
    assert (code, err) == (0, "")
    assert out.startswith("== dev: 0 resources, no findings ==")


def test_the_program_reports_bad_input_itself(project, in_process) -> None:
    code, out, err = in_process(project("import pulumi\nraise pulumi.RunError('stacks/x.yaml:3 wrong')\n"), "dev")
    assert (code, out, err) == (1, "", "stacks/x.yaml:3 wrong\n")


def test_what_the_engine_refuses_is_one_report(project, in_process) -> None:
    code, out, err = in_process(project("import pulumi_aws as aws\naws.s3.Bucket('a')\naws.s3.Bucket('b')\n"), "dev")
    assert (code, out) == (1, "")
    assert err.startswith("Stack dev: the program has 2 problems; nothing was built.\n  __main__.py:2  a (")


def test_a_defect_of_the_program_shows_its_own_lines(project, in_process) -> None:
    code, _, err = in_process(project("def f():\n    return 1 / 0\n\nf()\n"), "dev")
    assert code == 1
    assert err.startswith("Stack dev: the program failed.\n\nTraceback (most recent call last):\n")
    assert "ZeroDivisionError" in err
    assert '__main__.py", line 4' in err
    assert "asyncio" not in err


def test_a_defect_outside_of_the_program_shows_everything(project, in_process) -> None:
    code, _, err = in_process(project("syntax error\n"), "dev")
    assert code == 1
    assert "SyntaxError" in err


def test_the_project_is_found_from_a_folder_below(project, in_process, tmp_path: Path) -> None:
    below = project(MAIN) / "stacks"
    code, out, _ = in_process(below, "dev", "dev", form=cli.Format.JSON)
    assert code == 3
    assert [json.loads(line)["stack"] for line in out.splitlines()] == ["dev"]
    code, _, err = in_process(tmp_path, "dev")
    assert code == 1
    assert "no Pulumi.yaml" in err
    assert str(tmp_path) not in err


def test_out_gets_every_form_and_stdout_the_one_that_was_asked_for(project, in_process, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    code, said, _ = in_process(project(MAIN), "dev", form=cli.Format.MARKDOWN, out=out)
    assert code == 3
    assert sorted(p.name for p in out.iterdir()) == ["dev.json", "dev.md", "dev.txt"]
    assert (out / "dev.md").read_text() == said
    assert said.startswith("<!-- ai-platform-preview -->\n")
    assert json.loads((out / "dev.json").read_text())["stack"] == "dev"
    assert (out / "dev.json").read_text().startswith('{\n  "findings": [')
    assert (out / "dev.txt").read_text().startswith("== dev: ")


def test_every_bad_stack_is_reported(project, in_process) -> None:
    code, out, err = in_process(project(MAIN), "nope", "dev", "none", base="HEAD")
    assert (code, out) == (1, "")
    assert err.count("1 problem in its description; nothing was built.") == 2


# Several stacks, and a base


def test_several_stacks_in_two_processes_are_what_each_is_alone(project) -> None:
    root = project(MAIN)
    together = preview(root, "dev", "dev-gcp", "--format", "json", PYTHONHASHSEED="1").stdout.splitlines()
    apart = [preview(root, s, "--format", "json", PYTHONHASHSEED="2").stdout.strip() for s in ("dev", "dev-gcp")]
    assert together == apart
    assert [len(json.loads(line)["resources"]) for line in together] == [2, 2]


def test_difference_against_a_commit(project) -> None:
    root = project(MAIN)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "base")
    git(root, "rm", "-q", "--cached", "stacks/Pulumi.dev-gcp.yaml")
    git(root, "commit", "-qm", "only dev")
    main = root / "__main__.py"
    main.write_text(main.read_text().replace("acme-raw", "acme-new"))
    status = subprocess.check_output(["git", "status", "--porcelain"], cwd=root)
    done = preview(root, "dev", "dev-gcp", "--base", "HEAD", "--format", "json")
    assert done.returncode == 3
    dev, gcp = (json.loads(line)["difference"] for line in done.stdout.splitlines())
    assert dev["changed"] == [
        {
            "urn": "urn:pulumi:dev::ai-platform::aws:s3/bucket:Bucket::raw",
            "replaced": True,
            "because": ["bucket"],
            "changes": [{"path": "bucket", "old": "acme-raw", "new": "acme-new"}],
        }
    ]
    assert (dev["created"], dev["removed"], dev["note"], dev["base"]) == ([], [], "", "HEAD")
    assert [d["fate"] for d in dev["data"]] == ["lost"]
    # This program does not look at its stack's file, so the stack builds at the base too, where it has none.
    assert gcp["created"] == gcp["removed"] == []
    assert subprocess.check_output(["git", "status", "--porcelain"], cwd=root) == status


def test_a_base_that_does_not_build_is_a_note(project, in_process) -> None:
    root = project("import pulumi\nraise pulumi.RunError('Stack dev: 1 problem\\nmore')\n")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "base")
    (root / "__main__.py").write_text(CLEAN)
    (root / "__main__.py").write_text(project(MAIN).joinpath("__main__.py").read_text())
    code, out, err = in_process(root, "dev", base="HEAD")
    assert (code, err) == (3, "")
    assert "Change against HEAD (+2 ~0 ±0 -0):" in out
    assert "HEAD does not build this stack, so everything counts as created. Stack dev: 1" in out


def test_an_unknown_base_is_one_report(project, in_process) -> None:
    root = project(MAIN)
    for prepare in (lambda: None, lambda: git(root, "init", "-q")):
        prepare()
        code, out, err = in_process(root, "dev", base="--help")
        assert (code, out) == (1, "")
        assert err.startswith("Base --help: git knows no such commit here; nothing was built.")


def test_without_git_there_is_no_base(project, monkeypatch: pytest.MonkeyPatch) -> None:
    root = project(MAIN)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BaseError), checkout(root, "HEAD"):
        pass


def test_a_process_that_ends_badly_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preview.worker.sys.executable", "false")
    assert attempts(tmp_path, ["a", "b"])["b"].report == "The process that records ended with code 1."  # type: ignore[union-attr]


def test_what_a_program_prints_stays_out_of_the_report(project) -> None:
    root = project(f"print('noise')\n{CLEAN}")
    for stacks in (["dev"], ["dev", "dev-gcp"]):
        done = preview(root, *stacks, "--format", "json")
        assert done.stderr.count("noise") == len(stacks)
        assert [json.loads(line)["outputs"] for line in done.stdout.splitlines()] == [{"nothing": "here"}] * len(stacks)


def test_a_process_leaves_graphs_and_failures(project, tmp_path: Path) -> None:
    main = "import pulumi\nif pulumi.get_stack() == 'bad':\n    raise pulumi.RunError('wrong')\npulumi.export('a', 1)\n"
    root, out = project(main), tmp_path / "out"
    worker.main(str(out), str(root), "dev", "bad")
    assert pickle.loads(out.read_bytes()) == {"dev": record(root, "dev"), "bad": Failure("wrong")}  # noqa: S301


@pytest.mark.parametrize(
    ("stacks", "groups"),
    [
        ({"dev": "aws", "prod": "aws", "dev-gcp": "gcp"}, [["dev", "prod"], ["dev-gcp"]]),
        ({"a": "aws", "b": "aws", "c": "aws"}, [["a", "b"], ["c"]]),
        ({"a": "gcp"}, [["a"]]),
    ],
)
def test_a_process_gets_the_stacks_of_one_cloud(stacks: dict[str, str], groups: list[list[str]]) -> None:
    class Fake:
        def __init__(self, cloud: str) -> None:
            self.cloud = self
            self.names = (cloud,)

    assert cli._groups({s: Fake(c) for s, c in stacks.items()}) == groups  # type: ignore[misc]


# A terminal


def test_a_terminal_gets_colours_and_a_progress_line_and_a_pipe_neither(project) -> None:
    root = project(MAIN)
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-m", "preview", "dev"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "100"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:
            break
        if not chunk:
            break
        said += chunk
    os.close(ours)
    assert running.wait() == 3
    assert b"recording dev" in said
    assert b"\x1b[1m" in said
    plain = preview(root, "dev")
    assert "\x1b" not in plain.stdout
    assert plain.stderr == ""


def test_on_a_terminal_the_words_are_the_same(project, in_process, monkeypatch: pytest.MonkeyPatch) -> None:
    root = project(MAIN)
    monkeypatch.setenv("COLUMNS", "80")
    _, plain, _ = in_process(root, "dev")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    code, out, _ = in_process(root, "dev")
    assert code == 3
    assert out == f"{plain}\n"
