"""What the operations yield: requests to the agent, and failures."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from pyinfra import host as this_host
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.arguments_typed import PyinfraOperation
from pyinfra.api.command import FileUploadCommand, PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.operation import operation
from pyinfra.api.state import State

from provisioning import DeployError
from provisioning.run import Run, current_run
from provisioning.session import BROKEN, error_text

Commands = Generator[PyinfraCommand, None, None]
P = ParamSpec("P")


class AgentCommand(PyinfraCommand):
    """One action of the agent on a host. Its request, which may hold secrets, is never printed.

    `failure`: the words before the agent's own, where the action did not succeed. `errors`: takes
    the failures, so that the operation continues; the agent's sentences are noted in the report.
    """

    def __init__(
        self,
        action: str,
        subject: str,
        *,
        failure: str = "",
        errors: list[str] | None = None,
        **values: Any,
    ) -> None:
        super().__init__()
        self.action, self.subject, self.failure, self.values = action, subject, failure, values
        self.errors = errors

    def __repr__(self) -> str:
        return f"AgentCommand({self.action} {self.subject})"

    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> bool:
        run = current_run()
        if state.print_input:
            host.log(f"{self.action} {self.subject}")
        try:
            answer: dict[str, Any] = run.sessions[host.name].ask(self.action, **self.values)
            text, ok = str(answer.get("text", "")), answer.get("ok", True)
        except DeployError as error:
            return self._fail(host, f"{self.subject}: {error}")
        if self.errors is not None:
            if not ok:
                return self._fail(host, text)
            run.report.note(host.name, text)
        return ok or self._fail(host, f"{self.subject}: {self.failure}{text}")

    def _fail(self, host: Host, text: str) -> bool:
        if self.errors is None:
            current_run().fail(host.name, text)
            return False
        self.errors.append(text)
        return True


class Upload(FileUploadCommand):
    """An upload whose failure is in the report with its cause."""

    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> bool:
        try:
            ok, cause = super().execute(state, host, connector_arguments), "see the error above"
        except BROKEN as error:
            ok, cause = False, error_text(error)
        if not ok:
            text = f"cannot upload {self.src} to {self.remote_temp_filename}: {cause}"
            current_run().fail(host.name, f"{text}. Check the free space there")
        return bool(ok)


class Fail(PyinfraCommand):
    """Fails the operation; with a text, the report says it."""

    def __init__(self, *texts: str) -> None:
        super().__init__()
        self.texts = texts

    def __repr__(self) -> str:
        return f"Fail({'; '.join(self.texts)})"

    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> bool:
        current_run().fail(host.name, *self.texts)
        return False


def step(function: Callable[Concatenate[Run, P], Commands]) -> PyinfraOperation[P]:
    """An operation that gets the run as its first argument.

    It is not begun after a failure on any host. What it cannot ask this host for is its failure.
    """

    @wraps(function)
    def wrapped(*arguments: P.args, **named: P.kwargs) -> Commands:
        run = current_run()
        run.proceed()
        try:
            yield from function(run, *arguments, **named)
        except DeployError as error:
            run.fail(this_host.name, str(error))
            if run.state.is_executing:
                yield Fail()

    del wrapped.__wrapped__  # pyinfra checks arguments by the signature, which has no run
    return operation()(wrapped)
