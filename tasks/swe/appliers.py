"""The appliers that SWE-bench's harness tries on a patch, one after the other, as commands in a repository.

Guarantees: a patch that one of them applies is applied by that one alone. A failed try may leave changes and conflicts
behind, so everything is reset before the next.
"""

from __future__ import annotations

import shlex

__all__ = ["DOES_NOT_APPLY", "apply_first", "apply_others", "apply_script"]

DOES_NOT_APPLY = 97  # the exit status where no applier takes the patch


def apply_first(patch: str) -> tuple[str, ...]:
    """The applier that takes a patch as git writes it, which is in the file `patch`."""
    return ("git", "apply", patch)


def apply_others(patch: str) -> str:
    """A script with the appliers that are tried where the first one fails. It exits 0, or `DOES_NOT_APPLY`."""
    return f"""
for try in 'git apply --3way' 'git apply --reject' 'patch --batch --forward --fuzz=5 -p1 -i'; do
    git reset -q --hard; git clean -qfd
    $try {shlex.quote(patch)} >/dev/null 2>&1 && exit 0
done
git reset -q --hard; git clean -qfd
exit {DOES_NOT_APPLY}
"""


def apply_script(patch: str) -> str:
    """A script with all appliers. It exits 0, or `DOES_NOT_APPLY` with the repository as it was."""
    return f"{shlex.join(apply_first(patch))} 2>/dev/null && exit 0\n{apply_others(patch)}"
