"""Run by itself in an environment that holds nothing but the wheel and what it declares: sees that it is whole."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib import import_module
from importlib.metadata import files
from pathlib import Path

# Only for drivers that give Arrow batches, and for only_changes (the extra "changes"), as the documentation says.
OPTIONAL = {"pyarrow", "numpy", "xxhash"}


def main() -> None:
    """Import every module, and let Airflow find the provider, the plugin and the connection type."""
    package = import_module("airflow_provider_smartech")
    assert "site-packages" in str(package.__file__), f"not the installed package: {package.__file__}"
    assert not any(Path(str(file)).parts[0] == "tests" for file in files("airflow-provider-smartech") or [])
    # What runs when it is imported: the command line without a command.
    modules = [module.name for module in pkgutil.walk_packages(package.__path__, "airflow_provider_smartech.")]
    for module in modules:
        try:
            if not module.endswith("__main__"):
                import_module(module)
        except ModuleNotFoundError as error:
            if error.name not in OPTIONAL:
                raise
    for command, expected in {
        ("providers", "list"): "airflow-provider-smartech",
        ("providers", "hooks"): "Netcore Smartech",
        ("plugins",): "smartech",
    }.items():
        asked = subprocess.run(
            [sys.executable, "-m", "airflow", *command, "--output", "json"], capture_output=True, text=True, check=True
        )
        assert expected in asked.stdout, f"airflow {' '.join(command)} does not know {expected}"
    sys.stdout.write(f"{len(modules)} modules imported\n")


if __name__ == "__main__":
    main()
