"""Agents as files for other tools. Each module has ``write(agent, out)``, which writes and returns a sentence about it."""
