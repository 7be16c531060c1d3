"""Whether commands of a sandbox can write its repository: a trial as the user that they run as.

It applies a small patch, removes what that made, and asks of every tracked file whether it may be written. The files
stay as they are.
"""

from __future__ import annotations

from envs.sandbox import Command, Completed

__all__ = ["WRITE_TRIAL", "why_not_written"]

TRIAL_SECONDS = 120.0
SCRIPT = r"""
f=.write-trial-$$
owners() {
    set -- $(ls -nd .)
    echo "commands run as user $(id -u 2> /dev/null), and the folder belongs to user $3"
    exit 1
}
true > $f || owners
rm -f $f
printf 'diff --git a/%s b/%s\nnew file mode 100644\n--- /dev/null\n+++ b/%s\n@@ -0,0 +1 @@\n+x\n' $f $f $f |
    git apply - || owners
rm -f $f
git -c core.quotePath=false ls-files | while IFS= read -r f; do
    [ ! -e "$f" ] || [ -w "$f" ] || { echo "$f cannot be written"; exit 1; }
done || owners
"""
WRITE_TRIAL = Command(SCRIPT, timeout=TRIAL_SECONDS)


def why_not_written(done: Completed) -> str:
    """Why commands cannot write, from the result of `WRITE_TRIAL`, in one line; "" if they can."""
    if not done.returncode:
        return ""
    if done.timed_out:
        return f"the trial took longer than {TRIAL_SECONDS:.0f} s"
    lines = [line.strip() for line in done.output.decode("utf-8", "replace").splitlines() if line.strip()]
    return "; ".join([*lines[:1], *lines[-1:]] if len(lines) > 1 else lines) or f"exit status {done.returncode}"
