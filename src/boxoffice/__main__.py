"""The command `boxoffice`."""

from __future__ import annotations

import sys


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        from boxoffice import serving

        serving.main()
    else:
        from boxoffice import cli

        cli.main()


if __name__ == "__main__":
    main()
