"""Commands work in poor surroundings, or say in one line what is wrong outside this program: never a traceback."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from envs.cache_folder import NoCacheFolder, cache_folder
from monkeys.commands.ending import finished

RUN = ("--attempts", "1", "--ids", "quick__ledger-1", "--runs", "runs", "--no-verify")
BROKEN = "raise RuntimeError('a module of somebody else')\n"


def call(
    folder: Path,
    *words: str,
    env: Mapping[str, str | None] = {},
    limits: Callable[[], None] | None = None,
    stdin: int | None = subprocess.DEVNULL,
) -> subprocess.CompletedProcess[str]:
    changed = {**os.environ, **env}
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={name: value for name, value in changed.items() if value is not None},
        preexec_fn=limits,
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def sample(folder: Path, **more: object) -> subprocess.CompletedProcess[str]:
    return call(folder, "agent.swe", *RUN, **more)  # type: ignore[arg-type]


def assert_sampled(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "1/1 attempts" in done.stderr


def assert_one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode in (1, 2), done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert all(part in lines[0] for part in parts), lines[0]


@pytest.mark.parametrize("module", ["agent.swe", "monkeys"])
def test_modules_of_others_in_the_working_folder_are_not_taken_for_parts_of_the_program(
    tmp_path: Path, module: str
) -> None:
    for name in ("tasks.py", "envs.py", "docker.py", "numpy.py", "git.py", "rich.py"):
        (tmp_path / name).write_text(BROKEN)
    assert_sampled(call(tmp_path, module, *(["sample"] if module == "monkeys" else []), *RUN))


def test_a_program_that_uses_this_one_finds_its_own_modules(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "__init__.py").write_text("import agent, tasks\nimport mine\n")
    (tmp_path / "study" / "run.py").write_text("print(mine.__name__) if (mine := __import__('mine')) else None\n")
    (tmp_path / "mine.py").write_text("")
    done = call(tmp_path, "study.run")
    assert (done.returncode, done.stdout) == (0, "mine\n"), done.stderr


def test_a_worker_process_finds_the_modules_of_its_driver(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(BROKEN)
    assert_sampled(call(tmp_path, "monkeys", "sample", *RUN, "--executor", "processes"))


def test_the_main_job_is_a_command_too_and_resumes_what_the_other_name_began(tmp_path: Path) -> None:
    assert_sampled(sample(tmp_path))
    done = call(tmp_path, "monkeys", "sample", *RUN)
    assert done.returncode == 0
    assert "going on after 1 attempts" in done.stderr
    wrong = call(tmp_path, "monkeys", "sample", "--atempts", "3")
    assert wrong.returncode == 2
    assert "`monkeys sample --help` lists the options" in wrong.stderr


@pytest.mark.parametrize("home", ["/proc", "/nonexistent/home"])
def test_without_a_home_folder_that_can_be_written_the_cache_is_below_that_of_temporary_files(
    tmp_path: Path, home: str
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {"HOME": home, "XDG_CACHE_HOME": None, "TMPDIR": str(temporary)}
    assert_sampled(sample(tmp_path, env=env))
    assert (temporary / f"coding-monkeys-{os.getuid()}" / "repositories").is_dir()


def test_a_temporary_cache_folder_that_others_can_write_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/proc")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = cache_folder()
    assert folder == tmp_path / f"coding-monkeys-{os.getuid()}"
    assert folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o777)
    with pytest.raises(NoCacheFolder, match="set XDG_CACHE_HOME to a folder that can"):
        cache_folder()


@pytest.mark.parametrize("cache", ["/etc/passwd", "/proc/none"])
def test_a_cache_folder_that_cannot_be_written_is_told_with_the_remedy(tmp_path: Path, cache: str) -> None:
    done = sample(tmp_path, env={"XDG_CACHE_HOME": cache})
    assert_one_line(
        done, f"{cache}/coding-monkeys/repositories cannot be written", "set XDG_CACHE_HOME to another folder"
    )


def test_a_full_disk_of_the_cache_is_told_with_the_remedy(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root, to mount a small file system")
    small = tmp_path / "small"
    small.mkdir()
    script = f"mount -t tmpfs -o size=64k small {small} && exec {sys.executable} -m agent.swe {' '.join(RUN)}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "XDG_CACHE_HOME": str(small)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "mount" in done.stderr.partition("error:")[0]:
        pytest.skip("nothing can be mounted here")
    assert_one_line(done, "No space left on device", "set XDG_CACHE_HOME to another folder")


def test_a_machine_without_git_is_told_so(tmp_path: Path) -> None:
    assert_one_line(sample(tmp_path, env={"PATH": "/nonexistent"}), "git is not installed", "install it")


def test_zero_columns_mean_an_unknown_width(tmp_path: Path) -> None:
    done = sample(tmp_path, env={"COLUMNS": "0", "LINES": "0", "TERM": "dumb", "LC_ALL": "C", "PYTHONUTF8": "0"})
    assert_sampled(done)
    assert "of 1 solved" in done.stdout or "unverified" in done.stdout
    runs = call(tmp_path, "monkeys", "runs", env={"COLUMNS": "0"})
    assert "quick-monkey" in runs.stdout


def test_limits_of_the_user_below_those_of_a_sandbox_are_kept_and_it_stays_isolated(tmp_path: Path) -> None:
    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200 << 20, 200 << 20))

    free, lowered = (sample(tmp_path, limits=limits) for limits in (None, lower))
    assert_sampled(free)
    assert ("NO ISOLATION" in lowered.stderr) == ("NO ISOLATION" in free.stderr)


def test_too_few_open_files_are_told_with_the_limit_to_raise(tmp_path: Path) -> None:
    done = sample(tmp_path, limits=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (14, 14)))
    assert_one_line(done, "Too many open files", "ulimit -n")


def test_a_working_folder_that_is_gone_is_told_or_does_not_matter(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"rmdir {gone}; exec {sys.executable} -m agent.swe {' '.join(RUN)}"
    done = subprocess.run(["sh", "-c", script], cwd=gone, capture_output=True, text=True, timeout=120, check=False)
    assert_one_line(done, "cannot be written (No such file or directory)", "another folder with --runs")


def test_a_root_without_capabilities_runs_without_isolation_and_is_told(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv")
    words = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", "agent.swe", *RUN)
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
    if "Traceback" not in done.stderr and done.returncode:
        pytest.skip(f"the interpreter cannot be run so here: {done.stderr[-200:]}")
    assert_sampled(done)
    assert "NO ISOLATION" in done.stderr


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (OSError(28, "No space left on device", "x"), 1, "cannot read or write x (No space left on device); free some"),
        (OSError(24, "Too many open files"), 1, "(Too many open files); allow more open files (ulimit -n)"),
        (PermissionError(13, "Permission denied", "y"), 1, "y (Permission denied); check the path and its permissions"),
        (RuntimeError("can't start new thread"), 1, "no thread can be started; allow more processes (ulimit -u)"),
        (MemoryError(), 1, "there is not enough memory; free some, or allow more (ulimit -v)"),
        (ImportError("libx.so: failed to map\nmore"), 1, "a package cannot be imported (libx.so: failed to map); "),
        (ImportError("Failed to initialize: Cmd('git') failed due to: exit code(3)"), 1, "error: git does not run ("),
        (NoCacheFolder("no\nfolder"), 2, "error: no folder"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_fails_outside_is_one_line(
    failure: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        raise failure

    assert finished(work) == code
    text = capsys.readouterr().err
    assert said in text
    assert text.count("\n") == bool(said)
