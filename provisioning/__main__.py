"""`python -m provisioning FILE FLAG...` with LOGSTACK_ENV set: started by `logstack hosts`.

Runs pyinfra's own command on the hosts of that environment.
"""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import atexit  # noqa: E402 -- the patches have to come first
import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from pyinfra.context import ctx_state  # noqa: E402
from pyinfra_cli.main import main  # noqa: E402

from provisioning import DeployError, fleet  # noqa: E402
from provisioning.run import AS_JSON, Run, has_run  # noqa: E402
from stack import settings  # noqa: E402
from stack.cli.console import note, progress  # noqa: E402

HERE = Path(__file__).parent


def start(file: str, *flags: str) -> None:
    """Get what the hosts need, before any connection; then run pyinfra."""
    inventory = str(HERE / "inventories" / "environment.py")
    if file == "doctor.py" and "--json" in flags:  # pyinfra's own prints its operations
        flags = (*(flag for flag in flags if flag != "--json"), "--data", f"{AS_JSON}=true")
    sys.argv = ["pyinfra", inventory, str(HERE / file), *flags]
    values = settings.load_for_hosts(os.environ[settings.ENV_VARIABLE])
    fleet.check_patterns(sys.argv, list(values.hosts), fleet.groups_of(values))
    with progress() as display:
        fleet.prepare(values, display.update)
    atexit.register(report_without_a_run)
    main()


def report_without_a_run() -> None:
    """Where no host could be connected to, pyinfra ends before it reads the deploy file."""
    state = ctx_state.get()
    if getattr(state, "failed_hosts", None) and not has_run(state):
        Run(state).report.print()


if __name__ == "__main__":
    try:
        start(*sys.argv[1:])
    except (settings.SettingsError, DeployError, OSError) as error:
        note(str(error), "red")
        sys.exit(1)
