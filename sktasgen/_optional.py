"""Optional dependencies: imported where they are used, named when they are missing."""

from importlib import import_module


def import_optional(module, *, extra, purpose):
    """Import a module that only an extra of the package installs.

    Parameters
    ----------
    module : str
        Name of the module, such as ``"matplotlib.pyplot"``.
    extra : str
        Extra of the package that installs it, such as ``"plot"``.
    purpose : str
        What needs it, as the subject of the error's sentence.

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    ImportError
        If it is missing; the message names the extra to install.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        # A missing dependency *of* the module is another matter: let it show.
        if error.name is None or not module.startswith(error.name):
            raise
        raise ImportError(
            f"{purpose} needs {error.name!r}, which is not installed: "
            f"pip install 'sktasgen[{extra}]'"
        ) from error
