"""VAI: one gateway for every LLM and for live voice."""

__all__ = ["DISTRIBUTION", "__version__", "install_command"]

__version__ = "0.1.0"

DISTRIBUTION = "vai-gateway"
"""What pip calls the package; PyPI has a package `vai` by other authors."""


def install_command(extra: str) -> str:
    """Return the line that installs VAI with `extra`, a name of the optional dependencies."""
    return f'pip install "{DISTRIBUTION}[{extra}]"'
