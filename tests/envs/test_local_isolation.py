"""What an attempt in a local sandbox cannot reach, with a runner that is root or an ordinary user."""

from __future__ import annotations

import ctypes
import ensurepip
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from envs import Command, Completed, Limits, Origin, Sandbox
from tests.envs.support import local_sandboxes
from tests.envs.support.local_sandboxes import (
    PROJECT,
    LocalHarness,
    Shell,
    make,
    ordinary_place,
    run_as_ordinary,
    tree_at,
)
from tests.envs.support.system_calls import CALLS, COUNTED, try_calls

origin, harness, sandbox, sh = (
    local_sandboxes.origin,
    local_sandboxes.harness,
    local_sandboxes.sandbox,
    local_sandboxes.sh,
)


# What commands inside may try. A script that gets there says so; {words} are filled in by `Prey`.
ESCAPES = {
    "home": "cat {home}/.ssh/id_ed25519",
    "home by way of dots": "cat ../../../../..{home}/.ssh/id_ed25519",
    "store of a run": "cat {store}/run.sqlite",
    "folder of the runs": "ls {store}",
    "this project": "ls {project}/envs || ls {project}/tasks",
    "gold patches": "find / -path /proc -prune -o -path '*/tasks/quick/*' -print 2>/dev/null | grep .",
    "secret in any file": "grep -rqsF {secret} /testbed /tmp /run /etc /opt/venv /var /srv /mnt /old /writable",
    "files through processes": "cat /proc/[0-9]*/root/testbed/secret /proc/[0-9]*/cwd/secret",
    "open files of processes": "for f in /proc/[0-9]*/fd/*; do test -f $f && cat $f; done | grep -F {secret}",
    "root of the guest": "ls /proc/1/root/",
    "folder of the guest": "ls /proc/1/cwd/",
    "descriptors of the guest": "ls /proc/1/fd | grep . || cat /proc/1/fdinfo/*",
    "memory of the guest": "head -c 1 /proc/1/mem || cat /proc/1/maps | grep . || cat /proc/1/auxv | grep .",
    "namespaces of the guest": "readlink /proc/1/ns/mnt || nsenter -t 1 -m true",
    "environment of processes": "grep -zqF {secret} /proc/[0-9]*/environ",
    "inherited sockets": "readlink /proc/$$/fd/* | grep socket",
    "inherited folders": "readlink /proc/$$/fd/* | grep ^/ | grep -v ^/dev/null",
    "docker": "test -e /var/run/docker.sock || test -e /run/docker.sock || test -e /run/containerd",
    "socket in a folder": "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"{store}/socket\")'",
    "abstract socket": "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"\\0{secret}\")'",
    "services of this machine": "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}), 2)'",
    "other machines": "python3 -c 'import socket; socket.create_connection((\"192.0.2.1\", 80), 2)'",
    "names of other machines": "getent hosts example.org || test -s /etc/resolv.conf",
    "raw sockets": "python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
    "interfaces": "ls /sys/class/net | grep . || grep -v lo: /proc/net/dev | grep :",
    "sysfs": "ls -A /sys | grep .",
    "memory of the kernel": "head -c 1 /proc/kcore || head -c 1 /dev/mem || head -c 1 /dev/kmem",
    "log of the kernel": "head -c 1 /dev/kmsg || dmesg | grep .",
    "magic keys": "echo h > /proc/sysrq-trigger",
    "settings of the kernel": "for f in kernel/core_pattern kernel/hostname vm/drop_caches fs/file-max; do"
    " echo x > /proc/sys/$f && exit 0; done; false",
    "more namespaces": "echo 9 > /proc/sys/user/max_user_namespaces && unshare -Ur true",
    "disks": "ls /dev/sd* /dev/vd* /dev/nvme* || mknod /tmp/disk b 254 0",
    "other users' passwords": "cat /etc/shadow",
    "mount": "mount -t tmpfs none /tmp || mount --bind /usr /tmp || mount -t proc none /tmp",
    "umount": "umount /testbed || umount /tmp || umount /run/base.git || umount -l /",
    "remount": "mount -o remount,rw /usr || mount -o remount,rw /run/base.git",
    "unshare": "unshare -Ur true || unshare -m true || unshare -n true || unshare -p true",
    "chroot": "chroot /tmp || python3 -c 'import os; os.chroot(\"/\")'",
    "base": "touch /run/base.git/x || rm -f /run/base.git/HEAD && ! test -e /run/base.git/HEAD",
    "ptrace": "python3 -c '{libc}; exit(libc.ptrace(16, 1, 0, 0) != 0)'",
    "descriptors by pidfd": "python3 -c '{libc}; import os; fd = os.pidfd_open(1);"
    " exit(all(libc.syscall(438, fd, n, 0) < 0 for n in range(99)))'",
    "keys of the session": "python3 -c '{libc};"
    ' exit(libc.syscall({request_key}, b"user", b"{secret}", None, 0) < 0)\'',
    "files by handle": 'python3 -c \'{libc}; import struct; handle = struct.pack("IiQ", 8, 1, 2);'
    " exit(libc.open_by_handle_at(-100, handle, 0) < 0)'",
    "runner": "kill -0 {runner}",
}
ADD_KEY, REQUEST_KEY = {"x86_64": (248, 249)}.get(os.uname().machine, (217, 218))


def prey(place: Path, home: Path, port: int, runner: int) -> dict[str, str]:
    """What is there to be found, and where."""
    secret = "sesame-" + os.urandom(8).hex()
    store = place / "runs" / "x"
    store.mkdir(parents=True)
    (store / "run.sqlite").write_text(secret)
    words = {"secret": secret, "store": str(store), "home": str(home), "port": str(port), "runner": str(runner)}
    libc = "import ctypes; libc = ctypes.CDLL(None)"
    return {**words, "project": str(PROJECT), "libc": libc, "request_key": str(REQUEST_KEY)}


def fill(script: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        script = script.replace("{" + name + "}", value)
    return f"{{ {script}\n}} && echo REACHED"


@pytest.fixture(scope="module")
def hunt(harness: LocalHarness, origin: Origin) -> Iterator[tuple[LocalHarness, dict[str, str]]]:
    """Prey in every place, and a neighbour that holds the secret too."""
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as place,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX) as named,
    ):
        home = Path(place) / "home"
        (home / ".ssh").mkdir(parents=True)
        words = prey(Path(place), home, server.getsockname()[1], os.getpid())
        (home / ".ssh/id_ed25519").write_text(words["secret"])
        abstract.bind(f"\0{words['secret']}")
        named.bind(f"{words['store']}/socket")
        for each in (abstract, named):
            each.listen()
        ctypes.CDLL(None).syscall(ADD_KEY, b"user", words["secret"].encode(), b"x", 1, -3)
        mine = LocalHarness("overlay")  # its server_pid inherits the session that holds the key
        neighbour = mine(mine.open(origin))
        hold = "echo {0} | tee secret /tmp/secret; MINE={0} sleep 1000 <secret >/dev/null 2>&1 &"
        mine(neighbour.run(Command(hold.format(words["secret"]))))
        yield mine, words
        mine.close()


@pytest.mark.parametrize("escape", ESCAPES)
def test_no_way_out(origin: Origin, hunt: tuple[LocalHarness, dict[str, str]], escape: str) -> None:
    mine, words = hunt

    async def story() -> bytes:
        sandbox = await mine.open(origin)
        done = await sandbox.run(Command(fill(ESCAPES[escape], words), timeout=20.0))
        await sandbox.close()
        return done.output

    said = mine(story())
    assert b"REACHED" not in said
    assert b"Syntax" not in said


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder that is not below /tmp, where sandboxes have their own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        yield Path(place)


def test_no_other_copy_of_this_project_can_be_read(
    origin: Origin, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = (
        "lib/python3.11/site-packages/tasks/quick/one/gold.patch",
        "lib/python3/dist-packages/anything.py",
        "envs/theirs/lib/python3.12/site-packages/tasks/quick/one/tests.patch",
        "src/checkout/tasks/quick/one/gold.patch",
        "src/checkout/tasks/quick/one/tests.patch",
        "src/checkout/tasks/quick_easy/one/gold.patch",
        "src/checkout/tasks/quick_easy/one/tests.patch",
        "wheels/coding_monkeys-1.0-py3-none-any.whl",
        "strange/gold.patch",
    )
    for name in (*hidden, "bin/program", "src/checkout/tasks/README"):
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / name).write_text("sesame")
    elsewhere.chmod(0o755)
    monkeypatch.setattr(sys, "base_prefix", str(elsewhere))
    harness = LocalHarness("overlay")
    try:
        sandbox = harness(harness.open(origin))
        done = harness(
            sandbox.run(
                Command(f"cd {elsewhere} && grep -rl sesame . | sort; find / -name gold.patch -size +0 2>/dev/null")
            )
        )
    finally:
        harness.close()
    assert done.output == b"./bin/program\n./src/checkout/tasks/README\n"


def test_no_call_gets_through_the_filter(sh: Shell, harness: LocalHarness) -> None:
    assert harness.backend.describe()["system calls"] == "filtered"
    assert sh(try_calls(CALLS)).output.decode().splitlines() == [f"tried {len(CALLS)}"]


def test_without_the_filter_calls_get_through() -> None:
    reached = subprocess.run(try_calls(COUNTED), capture_output=True, text=True).stdout
    assert reached.count("REACHED") >= len(COUNTED)


# Ordinary programs, each with what it prints.
HONEST = {
    "limits of oneself": (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (64, 64)); r.prlimit(0, r.RLIMIT_CPU, (9, 9));"
        " print(r.prlimit(__import__('os').getpid(), r.RLIMIT_CPU))",
        "(9, 9)",
    ),
    "threads": (
        "import threading as t; a = [t.Thread(target=print, args=(n,)) for n in range(3)];"
        " [x.start() or x.join() for x in a]",
        "0\n1\n2",
    ),
    "pool": ("import multiprocessing as m\nwith m.Pool(2) as p: print(p.map(abs, [-1, -2]))", "[1, 2]"),
    "spawned process": (
        "import multiprocessing as m; c = m.get_context('spawn'); q = c.Process(target=print, args=('ran',), kwargs={"
        "'flush': True}); q.start(); q.join(); print(q.exitcode)",
        "ran\n0",
    ),
    "shared memory": (
        "from multiprocessing.shared_memory import SharedMemory as S; s = S(create=True, size=9); s.buf[0] = 7;"
        " t = S(s.name); print(t.buf[0]); t.close(); s.close(); s.unlink()",
        "7",
    ),
    "asyncio": (
        "import asyncio\nasync def f():\n p = await asyncio.create_subprocess_exec('echo', 'hi', stdout=-1)\n"
        " print((await p.communicate())[0].decode(), end='')\n"
        " s = await asyncio.start_server(lambda r, w: w.close(), '127.0.0.1', 0)\n"
        " r, w = await asyncio.open_connection(*s.sockets[0].getsockname())\n"
        " print(await r.read()); w.close(); s.close()\nasyncio.run(f())",
        "hi\nb''",
    ),
    "processors": ("import os; os.sched_setaffinity(0, os.sched_getaffinity(0)); os.nice(1); print('fine')", "fine"),
}


def test_ordinary_programs_run_with_the_filter(sh: Shell) -> None:
    for name, (program, printed) in HONEST.items():
        assert sh(("python3", "-c", program)).output.decode().strip() == printed, name
    assert (
        sh("git init -q /tmp/r && cd /tmp/r && git commit --allow-empty -qm x && git log --format=%s").output == b"x\n"
    )
    assert sh("ls | tail -1 | xargs -I{} echo {} | sed s/^/./ | sort -u").returncode == 0


def test_file_locks_of_the_base_are_not_seen_by_others(harness: LocalHarness, origin: Origin) -> None:
    lock = "import fcntl, time; f = open('/run/base.git/HEAD'); fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)"

    async def story() -> int:
        one, two = await harness.open(origin), await harness.open(origin)
        hold = f"{lock}; print('held', flush=True); time.sleep(100)"
        await one.run(Command(f'python3 -c "{hold}" > /tmp/said & until grep -q held /tmp/said; do sleep 0.01; done'))
        done = await two.run(Command(("python3", "-c", lock)))
        await one.close()
        await two.close()
        return done.returncode

    assert harness(story()) == 0


def test_files_are_limited_in_number(harness: LocalHarness, origin: Origin) -> None:
    async def story() -> tuple[bytes, bytes]:
        sandbox = await harness.open(origin, Limits(disk_mb=1))
        fill = "import os\nfor n in range(9**9): os.close(os.open(f'{n}', os.O_CREAT))"
        done = await sandbox.run(Command(("python3", "-c", fill)))
        found = done.output, await sandbox.diff()
        await sandbox.close()
        return found

    said, patch = harness(story())
    assert b"No space left on device" in said
    assert 500 < patch.count(b"diff --git") < 1200


def test_nothing_of_the_host_can_be_read(sh: Shell, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    places = [
        tmp_path / "secret",
        Path.home() / ".ssh",
        PROJECT / "pyproject.toml",
        PROJECT / "tasks",
        Path.home() / ".bashrc",
        *([Path(sys.prefix) / "pyvenv.cfg"] if sys.prefix != sys.base_prefix else []),
        *map(
            Path, ("/etc/shadow", "/etc/hostname", "/var", "/home", "/sys", "/run/docker.sock", "/var/run/docker.sock")
        ),
        *map(Path, ("/old", "/new", "/writable", "/proc/1/root/", "/proc/1/cwd/", "/proc/1/fd/", "/proc/1/environ")),
        *map(Path, ("/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/proc/kcore", "/proc/1/mem")),
    ]
    for place in places:
        assert sh(("cat", str(place))).returncode != 0, place
        assert sh(("find", str(place), "-type", "f")).output.count(b"\n") <= 1, place
    python = Path(sys.base_prefix).resolve()
    if not python.is_relative_to(Path.home()):
        assert b"No such file" in sh(("ls", str(Path.home()))).output
    else:  # the way to the runner's Python is there, and nothing beside it
        below = python.relative_to(Path.home()).parts[0]
        assert sh(("ls", "-A", str(Path.home()))).output.decode() == f"{below}\n"
    shown = set(sh("ls -A /").output.decode().split())
    expected = {
        "bin",
        "writable",
        "dev",
        "etc",
        "lib",
        "lib32",
        "lib64",
        "nix",
        "gnu",
        "old",
        "opt",
        "proc",
        "run",
        "sbin",
    }
    assert shown <= expected | {"testbed", "tmp", "usr", Path(sys.base_prefix).resolve().parts[1]}


def test_only_the_sandboxes_own_processes_are_seen_or_signalled(sh: Shell) -> None:
    seen = sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").output
    assert b"pytest" not in seen
    assert int(sh("ls -d /proc/[0-9]* | wc -l").output) < 6
    assert sh(f"kill -0 {os.getpid()}").returncode != 0 or os.getpid() < 20


def test_there_is_no_network_but_the_sandboxes_own_loopback(sh: Shell) -> None:
    name = f"\0sandbox-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        local.bind(name)
        local.listen()
        script = f"""
import socket, sys
for family, address in [
    (socket.AF_INET, ("127.0.0.1", {server.getsockname()[1]})), (socket.AF_INET, ("192.0.2.1", 80)),
    (socket.AF_INET6, ("2001:db8::1", 80)), (socket.AF_UNIX, {name!r}),
]:
    try:
        with socket.socket(family) as one:
            one.settimeout(2)
            one.connect(address)
            print("reached", address)
    except OSError as error:
        print(error.strerror)
with socket.create_server(("127.0.0.1", 0)) as mine, socket.create_connection(mine.getsockname()):
    print("own", socket.gethostname(), socket.gethostbyname(socket.gethostname()))
"""
        said = sh(("python", "-c", script)).output.decode().splitlines()
    assert said == [
        "Connection refused",
        "Network is unreachable",
        said[2],
        "Connection refused",
        "own sandbox 127.0.1.1",
    ]
    assert "reached" not in said[2]


def test_an_installation_fails_at_once_and_a_package_that_is_there_is_installed(
    harness: LocalHarness, sh: Shell
) -> None:
    bundled = sorted(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))
    if not bundled:
        pytest.skip("this Python brings no pip along")
    pip = f"python {bundled[-1]}/pip"
    failed = sh(f"{pip} install --target /tmp/packages nothing-of-this-name")
    assert failed.returncode == 1
    assert b"No matching distribution found" in failed.output
    assert b"Retrying" not in failed.output
    assert sh(f"{pip} install --no-deps --target /tmp/packages {bundled[-1]} && ls /tmp/packages/pip").returncode == 0


def test_nothing_outside_the_repository_and_tmp_can_be_written(sh: Shell) -> None:
    for place in (
        *("/x", "/usr/x", "/bin/x", "/etc/x", "/etc/passwd", "/opt/x", "/opt/venv/bin/x", "/run/x", "/dev/x", "/old/x"),
        *("/run/base.git/x", "/run/base.git/HEAD", "/run/base.git/objects/x", "/proc/sys/kernel/hostname"),
        f"{sys.base_prefix}/x",
    ):
        assert sh(f"echo x > {place}").returncode != 0, place
    assert sh("echo x > /tmp/x && echo x > /testbed/x && echo x > /dev/null && echo x > /dev/shm/x").returncode == 0


def test_a_command_has_no_privilege_and_can_get_none(sh: Shell) -> None:
    status = dict(
        line.split(":\t", 1) for line in sh("cat /proc/self/status").output.decode().splitlines() if ":\t" in line
    )
    assert [status[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [""] * 4
    assert status["NoNewPrivs"] == "1"
    assert "0" not in status["Uid"].split() + status["Gid"].split()
    for attempt in (
        *("unshare -Ur true", "unshare -m true", "unshare -n true", "mount -t tmpfs none /tmp", "umount /testbed"),
        *("mount -o remount,rw /usr", "chroot / true", "mknod /tmp/disk b 8 0", "chown root /tmp", "su -c true"),
        *("hostname other", "nice -n -5 true 2>&1 | grep denied && false", "date -s 2001-01-01", "ip link set lo down"),
    ):
        assert sh(attempt).returncode != 0, attempt


def test_python_is_the_runners_own_version_with_nothing_installed(sh: Shell) -> None:
    done = sh("python -c 'import sys, ssl, sqlite3, ctypes; print(sys.prefix, *sys.version_info[:2])'")
    assert done.output.decode().split() == ["/opt/venv", *map(str, sys.version_info[:2])]
    assert sh("python -m pip --version; python -c 'import pip'").returncode == 1
    assert sh("python -c 'import numpy'").returncode == 1
    assert sh("python -c 'import pytest'").returncode == 1
    assert sh("python -c 'import envs'; python3 -c 'import tasks'").returncode == 1


def test_what_is_installed_beside_this_package_is_hidden(
    elsewhere: Path, origin: Origin, harness: LocalHarness
) -> None:
    """As when all is installed into the very Python whose folder sandboxes see."""
    prefix = elsewhere / "prefix"
    beside = prefix / "lib/site-packages"
    shutil.copytree(PROJECT / "envs", beside / "envs", ignore=shutil.ignore_patterns("__pycache__"))
    (beside / "tasks").mkdir()
    (beside / "tasks/gold.patch").write_text("the solution")
    (prefix / "lib/other").write_text("to be seen")
    story = f"""
import asyncio, sys
sys.path.insert(0, {str(beside)!r})
sys.base_prefix = {str(prefix)!r}
from pathlib import Path
from envs import Command, Limits, Origin
from envs.local.backend import LocalBackend
from envs.local.backends import PACKAGE
assert PACKAGE.startswith(sys.base_prefix)
async def main():
    backend = LocalBackend("overlay")
    sandbox = await backend.open(Origin({origin.commit!r}, Path({str(origin.repository)!r})), Limits())
    print((await sandbox.run(Command("cat {prefix}/lib/other; find {prefix} -name gold.patch; ls {beside}"))).output)
    await backend.close()
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", story], capture_output=True, text=True, cwd="/")
    assert (done.stdout, done.stderr) == ("b'to be seen'\n", "")


def test_the_base_is_the_same_afterwards(harness: LocalHarness, origin: Origin) -> None:
    assert origin.repository is not None
    before = tree_at(origin.repository), tree_at(origin.repository / ".git")

    async def story() -> None:
        sandbox = await harness.open(origin)
        await sandbox.run(Command("rm -rf * .git; echo x > a.txt; git init -q; git add -A; git commit -qm x"))
        await sandbox.diff()
        await sandbox.close()

    harness(story())
    assert (tree_at(origin.repository), tree_at(origin.repository / ".git")) == before


def test_two_sandboxes_of_one_repository_know_nothing_of_each_other(harness: LocalHarness, origin: Origin) -> None:
    async def story() -> None:
        one, two = await harness.open(origin), await harness.open(origin)
        await one.run(Command("echo one > a.txt; echo one > /tmp/x; echo one > new; git commit -qam one; sleep 1000 &"))
        await two.write("a.txt", b"one\ntwo\n")
        assert not (await two.run(Command("cat new || cat /tmp/x"))).output.count(b"one\n")
        assert b"sleep" not in (await two.run(Command("cat /proc/[0-9]*/comm"))).output
        assert await one.read("a.txt") == b"one\n"
        assert (await two.run(Command("git rev-parse HEAD"))).output.decode().strip() == origin.commit
        assert b"-three\n" in await two.diff()
        assert b"+one" not in await two.diff()
        assert b"new" in await one.diff()
        await one.close()
        assert await two.read("a.txt") == b"one\ntwo\n"
        await two.close()

    harness(story())


@pytest.mark.parametrize(
    "name", ["with space", "comma,here", "colon:here", "back\\slash", "ünï", "quote'\"", "a=b,upperdir=x"]
)
def test_a_repository_may_stand_at_any_path(harness: LocalHarness, tmp_path: Path, name: str) -> None:
    origin = make(tmp_path / name, {"x": name.encode()})

    async def story() -> bytes:
        sandbox = await harness.open(origin)
        data = await sandbox.read("x")
        await sandbox.close()
        return data

    assert harness(story()) == name.encode()


# without privileges

ORDINARY_STORY = """
import asyncio, os, sys
from pathlib import Path
from envs import Command, Limits, Origin
from envs.local.backend import LocalBackend, adopt
async def main(isolation, commit, repository):
    assert os.getuid() != 0
    adopt(Path(repository))
    backend = LocalBackend(isolation)
    await backend.start()
    sandbox = await backend.open(Origin(commit, Path(repository)), Limits(processes=50))
    assert await sandbox.diff() == b""
    done = await sandbox.run(Command("id -u; cat a.txt; echo x > new; rm crlf.txt; chmod -x run.sh; git status -s"))
    assert done.output == b"1000\\none\\ntwo\\nthree\\n D crlf.txt\\n M run.sh\\n?? new\\n", done
    await sandbox.write("deep/er/module.py", b"x = 2\\n")
    patch = await sandbox.diff()
    assert patch.count(b"diff --git") == 4, patch
    home = os.environ["HOME"]
    for script in (f"ls {home}", "ls /home /root", "echo x > /usr/x", "unshare -Ur true", "echo > /run/base.git/x"):
        assert (await sandbox.run(Command(script))).returncode, script
    done = await sandbox.run(Command(("python", "-c", "bytearray(4 << 30)")))
    assert b"MemoryError" in done.output, done
    caps = (await sandbox.run(Command("grep CapEff /proc/self/status"))).output
    assert caps.split()[1].strip(b"0") == b"", caps
    assert not Path(repository, "new").exists()
    others = await asyncio.gather(*[backend.open(Origin(commit, Path(repository)), Limits()) for _ in range(20)])
    await asyncio.gather(*[other.run(Command("echo x > a.txt")) for other in others])
    assert backend.isolation == isolation
    await backend.close()
    print("fine")
asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("isolation", ["overlay", "copy"])
def test_an_ordinary_user_has_the_same(isolation: str) -> None:
    with ordinary_place() as (place, origin):
        run_as_ordinary(place, ORDINARY_STORY, isolation, origin.commit, str(origin.repository))


ORDINARY_HUNT = """
import asyncio, json, os, sys
from pathlib import Path
from envs import Command, Limits, Origin
from envs.local.backend import LocalBackend, adopt
async def main(commit, repository, secret):
    adopt(Path(repository))
    backend, origin = LocalBackend("overlay"), Origin(commit, Path(repository))
    neighbour, sandbox = await backend.open(origin, Limits()), await backend.open(origin, Limits())
    hold = "echo {0} | tee secret /tmp/secret; MINE={0} sleep 1000 <secret >/dev/null 2>&1 &"
    await neighbour.run(Command(hold.format(secret)))
    for name, script in json.load(sys.stdin).items():
        done = await sandbox.run(Command(script, timeout=20.0))
        assert b"REACHED" not in done.output, (name, done.output)
    await backend.close()
    print("fine")
asyncio.run(main(*sys.argv[1:]))
"""


def test_no_way_out_for_what_an_ordinary_user_runs() -> None:
    with ordinary_place() as (place, origin), socket.create_server(("127.0.0.1", 0)) as server:
        words = prey(place, place / "home", server.getsockname()[1], os.getpid())
        words["project"] = str(place)
        (place / "home/.ssh").mkdir()
        (place / "home/.ssh/id_ed25519").write_text(words["secret"])
        for path in (place / "home/.ssh", *place.glob("runs/**/*"), place / "home/.ssh/id_ed25519"):
            path.chmod(0o755)
        scripts = {name: fill(script, words) for name, script in ESCAPES.items()}
        arguments = (origin.commit, str(origin.repository), words["secret"])
        run_as_ordinary(place, ORDINARY_HUNT, *arguments, given=json.dumps(scripts))


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel grants redirects in an overlay to root alone")
def test_a_folder_of_the_base_can_be_renamed_in_one_step(
    harness: LocalHarness, sandbox: Sandbox, sh: Callable[..., Completed]
) -> None:
    assert sh('python -c \'import os; os.rename("deep", "shallow")\' && ls shallow/er').output == b"module.py\n"
    assert b"diff --git a/shallow/er/module.py b/shallow/er/module.py" in harness(sandbox.diff())
