"""Pure translators between VAI's words and the providers' wire formats."""
