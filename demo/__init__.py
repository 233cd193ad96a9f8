"""`dsnet demo`: the whole line on a small set of real images, command by command."""
