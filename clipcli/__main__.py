"""The `clipcli` command, also as `python -m clipcli`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is being imported ends with its line and code too."""
    try:
        from clipcli.core.garbage import collect_seldom

        collect_seldom()
        from clipcli.cli.app import main as run
    except KeyboardInterrupt:
        sys.stderr.write("clipcli: interrupted\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
