"""Values of command-line flags, for argparse's `type`."""

import argparse


def positive(text: str) -> int:
    """Read a whole number from 1.

    >>> positive("12")
    12
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, found {text!r}")
    return int(text)


def port(text: str) -> int:
    """Read the number of a TCP port; 0 stands for any that is free.

    >>> port("8321")
    8321
    """
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 65535, found {text!r}")
    return int(text)
