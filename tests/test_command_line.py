"""The commands as people and programs meet them: help, JSON, terminals and pipes, completion."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from argparse import ArgumentParser, _SubParsersAction
from functools import partial
from pathlib import Path

import onnx
import pytest
from qonnx_zoo import ZOO
from report_runs import Run, cross_check, image_run
from test_deploy_records import record

from deploy import commands
from deploy.answers import HelpFormat
from deploy.records import describe
from deploy.terminal import run_command, show_figure
from hw_build import flow, graph_file
from hw_build.pipeline import finn
from training import evaluate, export, sweep, table, train

ROOT = Path(__file__).resolve().parent.parent
COMPLETIONS = ROOT / "completions"
MODULES = {
    "training.train": train,
    "training.export": export,
    "training.evaluate": evaluate,
    "training.table": table,
    "training.sweep": sweep,
    "hw_build.flow": flow,
    "deploy": commands,
}


def parsers(module: str) -> dict[str, ArgumentParser]:
    """By name, the parsers of a module's commands; its own under its name."""
    parser = MODULES[module].command_parser()
    found = {module: parser}
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            found |= {f"{module} {name}": command for name, command in action.choices.items()}
    return found


PARSERS = {name: parser for module in MODULES for name, parser in parsers(module).items()}


# --- help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARSERS)
def test_help_teaches_by_an_example(name: str) -> None:
    text = PARSERS[name].format_help()
    example = text.partition("\nexample")[2]
    assert f"\n  python -m {name} " in example
    assert PARSERS[name].description
    assert PARSERS[name].formatter_class is HelpFormat


@pytest.mark.parametrize("module", MODULES)
def test_exit_codes_are_told(module: str) -> None:
    text = PARSERS[module].format_help()
    assert all(f"\n  {code} " in text for code in (0, 2, 3, 4, 130))


def test_page_and_completions_are_those_of_the_parsers() -> None:
    command = [sys.executable, str(ROOT / ".ci" / "command_line.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (ROOT / "docs" / "command_line.md").read_text()
    assert all(f"\n## python -m {name}\n" in page for name in PARSERS)


# --- JSON -----------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = image_run(tmp_path / "demo")
    made.stage_of("03_graph", lambda folder: graph_file.save(made.imported, folder))
    return made


def test_training_answers_in_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small = ["--epochs", "1", "--train-samples", "200", "--test-samples", "50"]
    config, folder = ROOT / "training" / "configs" / "digits_w1a1.toml", tmp_path / "run"

    def answered(module, *arguments: object) -> dict:
        assert module.main([*map(str, arguments), "--json"]) == 0
        return json.loads(capfd.readouterr().out)

    trained = answered(train, config, "--out", folder, *small)
    assert trained["n_test_samples"] == 50
    exported = answered(export, folder)
    assert Path(exported["model"]).is_file()
    assert exported["n_test_samples"] == 50
    assert answered(evaluate, folder)["accuracy"] == trained["test_accuracy"]
    (row,) = answered(table, folder)["rows"]
    assert row["accuracy"] == trained["test_accuracy"]
    told = on_terminal("training.table", str(folder))
    assert "\u2500" in told
    assert re.search(r"^weights +binary\r$", told, re.MULTILINE)
    assert "\x1b[1;36m02_export\x1b[0m: skipped" in on_terminal("training.export", str(folder))
    assert sweep.main([str(tmp_path / "none.toml"), "--out", str(tmp_path), "--json"]) == 2
    assert capfd.readouterr().out == ""


def test_the_flow_answers_in_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    onnx.save(ZOO["brevitas_w2a2"]().model, tmp_path / "network.onnx")
    options = ["--out", str(tmp_path / "run"), "--until", "folding", "--json"]
    assert flow.main(["run", str(tmp_path / "network.onnx"), *options]) == 0
    told = capfd.readouterr()
    assert json.loads(told.out) == {
        "run": str(tmp_path / "run"),
        "until": "folding",
        "report": None,
    }
    assert "03_graph: runs: no earlier result" in told.err
    assert flow.main(["run", str(tmp_path / "nothing.onnx"), "--json"]) == 2
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: no such run directory")


def test_commands_on_a_run_answer_in_json(
    run: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answered(*arguments: str) -> dict:
        assert flow.main([*arguments, "--json"]) == 0
        return json.loads(capfd.readouterr().out)

    path = str(run.path)
    assert answered("show", path) == {"picture": f"{path}/graph.svg"}
    assert answered("status", path)["stages"][0]["name"] == "03_graph"

    def cross_checked(directory) -> Path:
        print("this is for people")
        cross_check(run)
        return directory.path / "09_finn"

    monkeypatch.setattr(finn, "check_with_finn", cross_checked)
    assert answered("finn", path)["finn"]["vectors"] == 100


def test_deploy_answers_in_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "measurements.jsonl"
    assert commands.main(["report", str(log), "--json"]) == 2
    assert capfd.readouterr().out == ""
    options = commands.parsed(["run", "b.zip", "x.npy", "--host", "h", "--trust", "--json"])
    assert "--json" in commands.remote_arguments(options)


# --- terminals and pipes --------------------------------------------------------------------------


def on_terminal(module: str, *arguments: str, **environ: str) -> str:
    """What a command writes to a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**kept, "TERM": "xterm", "COLUMNS": "100", **environ},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        text += part
    os.close(ours)
    process.wait()
    return text.decode()


MISTAKES = [
    ("training.table", "{}"),
    ("hw_build.flow", "status", "{}"),
    ("deploy", "report", "{}"),
]


@pytest.mark.parametrize("command", MISTAKES, ids=[command[0] for command in MISTAKES])
def test_an_error_looks_alike_in_all_rooms(
    command: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    module, *arguments = (part.format(tmp_path / "nothing") for part in command)
    colours = on_terminal(module, *arguments)
    assert colours.startswith("\x1b[1;31merror:\x1b[0m ")
    assert "nothing" in colours
    assert MODULES[module].main(arguments) == 2
    plain = capfd.readouterr().err
    assert plain.startswith("error: ")
    assert plain.splitlines() == re.sub("\x1b.*?m", "", colours).splitlines()
    for environ in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert on_terminal(module, *arguments, **environ).splitlines() == plain.splitlines()


def test_the_flow_has_colours_on_a_terminal_and_none_in_a_pipe(run: Run, capsys) -> None:
    path = str(run.path)
    assert "\x1b[" in on_terminal("hw_build.flow", "status", path)
    onnx.save(ZOO["brevitas_w2a2"]().model, run.path / "network.onnx")
    source, out = str(run.path / "network.onnx"), str(run.path / "made")
    stage = on_terminal("hw_build.flow", "run", source, "--out", out, "--until", "graph")
    assert "\x1b[1;36m03_graph\x1b[0m: runs: no earlier result" in stage
    show_figure("speed", "9 frames/s", " (simulated)")
    assert capsys.readouterr().out.splitlines()[-1] == "speed         9 frames/s (simulated)"
    assert flow.main(["status", path]) == 0
    header, first, *_ = capsys.readouterr().out.splitlines()
    assert header.split("\t") == ["stage", "state", "seconds", "made", "kB", "note"]
    assert first.split("\t")[:2] == ["03_graph", "whole"]


def test_a_measurement_has_colours_on_a_terminal(tmp_path: Path, capsys) -> None:
    log = tmp_path / "measurements.jsonl"
    log.write_text(json.dumps(record("golden-model")) + "\n")
    colours = on_terminal("deploy", "report", str(log))
    assert "source        \x1b[1mgolden-model\x1b[0m" in colours
    assert commands.main(["report", str(log)]) == 0
    plain = capsys.readouterr().out
    assert plain == describe(record("golden-model")) + "\n"
    assert plain.splitlines() == re.sub("\x1b.*?m", "", colours).splitlines()


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path, run: Run) -> None:
    log = tmp_path / "measurements.jsonl"
    log.write_text((json.dumps(record("board")) + "\n") * 300)
    for command in (("deploy", "report", str(log)), ("hw_build.flow", "status", str(run.path))):
        unread, output = os.pipe()
        os.close(unread)
        with os.fdopen(output) as stdout:
            done = subprocess.run(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert (done.returncode, done.stderr) == (0, "")


def test_another_pipe_that_breaks_is_an_error() -> None:
    def broken() -> int:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run_command(broken)


def test_a_path_that_the_system_refuses_is_told_without_a_traceback(tmp_path: Path, capsys) -> None:
    def forbidden() -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "closed"))

    (tmp_path / "file").touch()
    long = tmp_path / ("n" * 300)
    for main, code, complaint, where, found in (
        (partial(flow.main, ["run", str(long)]), 2, "can't be used", long, "File name too long"),
        ((tmp_path / "no" / "x").touch, 2, "can't be used", tmp_path / "no" / "x", "No such file"),
        ((tmp_path / "file" / "x").mkdir, 2, "can't be used", tmp_path / "file" / "x", "Not a dir"),
        (forbidden, 3, "no permission to read or write a file", tmp_path / "closed", "denied"),
    ):
        assert run_command(main) == code
        shown = capsys.readouterr().err
        assert complaint in shown.splitlines()[0]
        assert f"where:    {where}" in shown
        assert found in shown


def test_an_error_without_a_path_is_no_mistake_of_the_user() -> None:
    def broken() -> int:
        raise OSError("ours")

    with pytest.raises(OSError, match="ours"):
        run_command(broken)


# --- completion -----------------------------------------------------------------------------------

COMPLETED = [
    ("python -m hw", {"hw_build.flow"}),
    ("python -m hw_build.flow sho", {"show"}),
    ("python3 -m hw_build.flow run runs/digits --until b", {"bitstream", "bundle", "board"}),
    ("python -m hw_build.flow run runs/digits --no", {"--no-synthesis"}),
    ("python -m training.train --ep", {"--epochs"}),
    ("python -m deploy measure b.zip --rep", {"--repeats"}),
    ("python setup", set()),
]
BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_narrowgauge
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
compdef() { }; _files() { }
compadd() { shift; print -l -- $@ }
source "$1"; shift
words=("$@"); CURRENT=$#
_narrowgauge
"""


def run_shell(*command: str) -> set[str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} here: apt-get install {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return {line.split("\t")[0] for line in done.stdout.splitlines() if line}


@pytest.mark.parametrize(("line", "expected"), COMPLETED)
def test_bash_completes(line: str, expected: set[str]) -> None:
    script = str(COMPLETIONS / "narrowgauge.bash")
    assert run_shell("bash", "-c", BASH, "bash", script, *line.split()) == expected


@pytest.mark.parametrize(("line", "expected"), COMPLETED)
def test_zsh_completes(line: str, expected: set[str]) -> None:
    script = str(COMPLETIONS / "narrowgauge.zsh")
    found = run_shell("zsh", "-f", "-c", ZSH, "zsh", script, *line.split())
    # zsh itself takes of these what begins as the word does
    assert {word for word in found if word.startswith(line.split()[-1])} == expected


@pytest.mark.parametrize(("line", "expected"), COMPLETED)
def test_fish_completes(line: str, expected: set[str]) -> None:
    script = COMPLETIONS / "narrowgauge.fish"
    found = run_shell("fish", "--no-config", "-c", f"source {script}; complete -C '{line}'")
    assert {word for word in found if not Path(word).exists()} == expected
