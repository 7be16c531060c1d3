"""`python -m monkeys` is `monkeys`."""

from monkeys.cli import main

raise SystemExit(main())
