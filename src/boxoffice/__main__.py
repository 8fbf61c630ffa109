"""`python -m boxoffice` is `boxoffice`."""

from boxoffice.cli import main

main()
