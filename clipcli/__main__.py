"""`python -m clipcli`."""

from clipcli.cli.app import main

if __name__ == "__main__":
    main()
