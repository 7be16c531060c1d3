"""How an action is written: native tool calls."""
