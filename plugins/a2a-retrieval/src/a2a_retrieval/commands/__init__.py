"""`a2a embed`, `a2a search`, `a2a mine`: a module a command, imported when it is called."""
