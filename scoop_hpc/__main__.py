"""`python -m scoop_hpc`: the same command as `scoop-hpc`."""

from scoop_hpc.cli.main import main

if __name__ == "__main__":
    main()
