"""``python -m iskra script.py [arguments]``: run a PyTorch script on Iskra."""

from iskra.compat.runner import main

if __name__ == "__main__":
    main()
