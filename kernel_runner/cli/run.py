"""`run`: files and arguments in; the program's output and exit code out."""
