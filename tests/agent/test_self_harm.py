"""What an attempt does to itself is an exit that counts: no action of a model takes it out of n."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.loop import ToolLoop
from agent.models.scripted import Scripted, say
from agent.trajectory import Exit, Trajectory
from envs import Limits, Origin
from envs.local.backend import LocalBackend
from tasks.suites import suite_of
from tasks.task import Submission, Task
from tests.helpers import agent_setup, attempt_scope, begins, git_repository

LIMITS = Limits(memory_mb=512, disk_mb=64, processes=64)

# Each is a script of one action. Python programs leave quoting alone.
ACTIONS = {
    "large text": "yes aaaaaaaaaaaaaaaa | head -c 60000000 > log.txt",
    "noise": "head -c 50000000 /dev/urandom > noise",
    "sparse files": "for n in 1 2 3; do truncate -s 60M sparse$n; done",
    "large file of the base": "truncate -s 60M old.txt",
    "full disk": "head -c 90000000 /dev/zero > zero; head -c 90000000 /dev/zero > /tmp/zero",
    "many files": "mkdir -p m && python3 -c \"for n in range(7000): open('m/%d' % n, 'w').close()\"",
    "repository without permissions": "chmod 0 /testbed",
    "folder without permissions": "mkdir -p shut && echo x > shut/f && chmod 0 shut",
    "file without permissions": "echo x > locked && chmod 0 locked old.txt",
    "pipe": "mkfifo pipe; rm -f old.txt; mkfifo old.txt",
    "pipe that git reads": "rm -f .gitignore .gitattributes; mkfifo .gitignore .gitattributes",
    "socket": "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('socket')\"",
    "strange names": "touch \"$(printf 'a\\nb')\" \"$(printf '\\377\\376')\" ':(exclude)*' -- '-n' 'a b'",
    "deep folders": 'python3 -c "import os; [os.mkdir(20 * str(9)) or os.chdir(20 * str(9)) for n in range(300)]"',
    "nested repository": "mkdir -p nest && cd nest && git init -q && echo x > f && git add f && git commit -qm x",
    "nested empty repository": "mkdir -p empty && cd empty && git init -q",
    "git emptied": "rm -rf .git/*",
    "git removed": "rm -rf .git",
    "git a file": "rm -rf .git; echo gitdir: /nowhere > .git",
    "git a pipe": "rm -rf .git; mkfifo .git",
    "everything removed": "rm -rf /testbed/* /testbed/.[a-z]*",
    "attributes": "echo '* working-tree-encoding=nonsense' > .gitattributes",
    "ignored attributes": "echo .gitattributes > .gitignore; echo '* -text eol=crlf' > .gitattributes",
    "configuration": "mkdir -p ~/.config/git; echo '*' > ~/.config/git/ignore; git config core.fsmonitor /bin/false",
    "no programs": "export PATH=/nowhere; unset HOME; set -f",
    "processes": "python3 -c 'import os, time; [os.fork() or time.sleep(2) for n in range(200)]'",
    "stopping all": "kill -STOP -1; kill -KILL -1",
    "limits of the guest": "python3 -c 'import resource; resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))'",
    "limits of its own": "ulimit -n 3; ulimit -f 0; ulimit -t 1",
    "memory": "python3 -c 'x = [bytearray(1 << 20) for _ in range(9999)]'",
    "a writer left behind": "(while :; do echo $$ >> race; cp race race2; rm race; done) > /dev/null 2>&1 &",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[list[str]], Trajectory]]:
    """Makes an attempt whose model takes these actions and submits, as the main job does."""
    folder = tmp_path_factory.mktemp("harm") / "repository"
    origin = git_repository(folder, {"old.txt": b"old\n", "kept.txt": b"kept\n"})
    backend = LocalBackend()
    with asyncio.Runner() as loop:
        yield lambda actions: loop.run(_attempt(backend, origin, actions))
        loop.run(backend.close())


async def _attempt(backend: LocalBackend, origin: Origin, actions: list[str]) -> Trajectory:
    lines = [say(("bash", {"command": ACTIONS[name]})) for name in actions]
    opening = begins([{"role": "user", "content": "It is broken."}])
    setup = agent_setup(Scripted([*lines, say(("submit", {}))]), opening, command_seconds=30.0)
    task = Task(id="task", statement="It is broken.", origin=origin)
    sandbox = await backend.open(origin, LIMITS, label="test")
    try:
        return await ToolLoop(replace(setup, collect=suite_of("swe").collect)).run(task, sandbox, attempt_scope())
    finally:
        await sandbox.close()


@pytest.mark.parametrize("action", ACTIONS)
def test_no_action_takes_an_attempt_out_of_n(run: Callable[[list[str]], Trajectory], action: str) -> None:
    trajectory = run([action])
    assert not trajectory.exit.infra, trajectory.detail
    assert trajectory.exit is Exit.SUBMITTED, trajectory.detail


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(st.sampled_from(sorted(ACTIONS)), min_size=2, max_size=4, unique=True))
def test_no_sequence_of_actions_does(run: Callable[[list[str]], Trajectory], actions: list[str]) -> None:
    trajectory = run(actions)
    assert not trajectory.exit.infra, trajectory.detail


def test_what_is_left_out_is_told_with_the_attempt(run: Callable[[list[str]], Trajectory]) -> None:
    trajectory = run(["sparse files", "file without permissions"])
    assert trajectory.detail.startswith("left out of the patch: sparse3 (60 MB), sparse2 (60 MB), sparse1 (60 MB), ")
    assert "locked (cannot be read)" in trajectory.detail
    assert trajectory.submission == Submission(trajectory.submission.body)
