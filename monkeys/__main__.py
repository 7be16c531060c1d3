"""`python -m monkeys` is `monkeys`."""

from monkeys.commands.main import main

raise SystemExit(main())
