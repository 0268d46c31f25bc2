"""`logstack hosts`: what it refuses before it starts pyinfra."""

from __future__ import annotations

import pytest

from stack.cli.hosts import run_on_hosts
from stack.settings import SettingsError


@pytest.mark.parametrize("environment", ["", "--diff"])
def test_an_option_is_no_environment(environment: str) -> None:
    """As in `logstack hosts plan --diff staging`, where pyinfra's options come last."""
    with pytest.raises(SettingsError, match=f"expected a name such as .* got '{environment}'"):
        run_on_hosts("deploy.py", environment, "staging")
