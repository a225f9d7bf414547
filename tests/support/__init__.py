"""What the behaviour tests share: the installed command, users, a root file system, terminals, the search for leaks."""
