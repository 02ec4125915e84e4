"""How fast a model runs on this machine, in which memory, and whether that got worse."""
