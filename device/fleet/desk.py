"""The bin's end of the fleet: takes commands as they come from the broker, carries each out once, and answers.

Called by the thread of the MQTT sink, which must not wait: what takes time has a thread of its own, one at a time. That
thread gives way to the main loop, which goes on sorting.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable
from datetime import timedelta

from pydantic import ValidationError

from device.clock import Clock
from device.fleet.actions import BundleActions, Done
from device.fleet.ledger import Ledger
from device.fleet.messages import COMMAND_BYTES, Answer, BundleName, Command, Phase
from smartbin import __version__
from smartbin.bundle import describe_validation
from smartbin.errors import SmartbinError

_log = logging.getLogger(__name__)
_NICE = 10
_LONGEST_LIFE = timedelta(days=1)
_DETAIL_CHARACTERS = 1000


class CommandDesk:
    """Takes commands. `request_reload` is called, on the worker's thread, when another bundle has become current."""

    def __init__(
        self,
        device: str,
        actions: BundleActions,
        ledger: Ledger,
        clock: Clock,
        *,
        refusal: str = "",
        request_reload: Callable[[], None] | None = None,
    ) -> None:
        """`refusal`: why this bin does nothing but answer pings."""
        self._device, self._actions, self._ledger, self._clock = device, actions, ledger, clock
        self._refusal, self._request_reload = refusal, request_reload
        self._send: Callable[[Answer], None] = lambda answer: None
        self._lock = threading.Lock()  # of the ledger
        self._stopping = threading.Event()
        self._worker: threading.Thread | None = None
        self._strange = 0

    def open(self, send: Callable[[Answer], None]) -> None:
        """`send` gets every answer, from any thread. Says of those that a restart interrupted what became of them."""
        self._send = send
        for answer in self._ledger.interrupted():
            self._end(
                answer.id, answer.command, "failed", "the bin was restarted in the middle; its state says what runs"
            )

    def take(self, payload: bytes, *, retained: bool) -> None:
        """A message on the topic of commands; never waits for what it asks for."""
        if retained:
            self._ignore("a command that the broker keeps is not for now")
            return
        command = self._read(payload)
        if command is not None:
            self._decide(command)

    def _decide(self, command: Command) -> None:
        known = self._ledger.get(command.id)
        if known is not None:
            self._send(known)
        elif (why := self._why_not(command)) is not None:
            self._send(self._answer(command.id, command.command, "refused", why))
        elif command.command == "ping":
            running = self._actions.running()
            self._send(self._answer(command.id, "ping", "done", "here", bundle=running, activation="running"))
        else:
            self._remember(self._answer(command.id, command.command, "accepted"))
            self._worker = threading.Thread(target=self._work, args=(command,), name="fleet-command", daemon=True)
            self._worker.start()

    def close(self, wait_s: float) -> None:
        """Break off a download, wait a little for what else is being done. It does no harm to end in the middle."""
        self._stopping.set()
        if self._worker is not None:
            self._worker.join(wait_s)

    def _read(self, payload: bytes) -> Command | None:
        if len(payload) > COMMAND_BYTES:
            self._ignore(f"{len(payload)} bytes are no command")
            return None
        try:
            return Command.model_validate_json(payload)
        except ValidationError as error:
            why = describe_validation(error)
        command_id, name = _sender(payload)
        if command_id is None:
            self._ignore(why)
        else:
            self._send(self._answer(command_id, name, "refused", f"smartbin {__version__} does not know this: {why}"))
        return None

    def _why_not(self, command: Command) -> str | None:
        now = self._clock.wall()
        if not now <= command.expires <= now + _LONGEST_LIFE:
            said = f"it is for {now.isoformat(timespec='seconds')} by this bin's clock"
            return f"the command has expired, or one of the clocks is wrong: {command.expires.isoformat()}, {said}"
        if command.command == "ping":
            return None
        if self._refusal:
            return self._refusal
        if self._stopping.is_set():
            return "the bin is being stopped"
        if self._worker is not None and self._worker.is_alive():
            return "another command is being carried out: one at a time"
        return None

    def _work(self, command: Command) -> None:
        with contextlib.suppress(OSError, AttributeError):  # threads have priorities of their own on Linux
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        _log.warning("the fleet's command: %s", command.command)

        def tell(phase: Phase, detail: str) -> None:
            self._send(self._answer(command.id, command.command, phase, detail))

        try:
            done = self._carry_out(command, tell)
        except SmartbinError as error:
            return self._end(command.id, command.command, "failed", "; ".join(str(error).split("\n  ")))
        except Exception as error:  # noqa: BLE001 - disks and runtimes raise anything; whoever asked must hear of it
            _log.debug("a command has failed", exc_info=True)
            return self._end(command.id, command.command, "failed", f"{type(error).__name__}: {error}")
        answer = self._answer(
            command.id, command.command, "done", done.detail, bundle=done.bundle, activation=done.activation
        )
        self._remember(answer)
        _log.warning("%s: %s", done.bundle, done.detail)
        if done.activation == "reloading" and self._request_reload is not None:
            self._request_reload()
        return None

    def _carry_out(self, command: Command, tell: Callable[[Phase, str], None]) -> Done:
        if command.command == "install":
            return self._actions.install(command, tell, self._stopping)
        return self._actions.rollback()

    def _end(self, command_id: str, command: str, phase: Phase, why: str) -> None:
        _log.error("the fleet's command %s: %s, %s", command, phase, why)
        self._remember(self._answer(command_id, command, phase, why))

    def _remember(self, answer: Answer) -> None:
        with self._lock:
            self._ledger.put(answer)
        self._send(answer)

    def _answer(
        self,
        command_id: str,
        command: str,
        phase: Phase,
        detail: str = "",
        *,
        bundle: BundleName | None = None,
        activation: str | None = None,
    ) -> Answer:
        return Answer.model_validate(
            {
                "id": command_id,
                "device": self._device,
                "command": command,
                "phase": phase,
                "detail": detail[:_DETAIL_CHARACTERS],
                "bundle": bundle,
                "activation": activation,
                "version": __version__,
                "time": self._clock.wall(),
            }
        )

    def _ignore(self, why: str) -> None:
        """Said aloud the first time only: anybody at the broker may send anything."""
        self._strange += 1
        _log.log(logging.WARNING if self._strange == 1 else logging.DEBUG, "not taken as a command: %s", why)


def _sender(payload: bytes) -> tuple[str | None, str]:
    """The id and name of something that is no valid command, to answer it; None where it has no usable id."""
    try:
        content = json.loads(payload)
        command_id = str(content["id"])
        bytes.fromhex(command_id)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None, ""
    return (command_id if len(command_id) == 32 else None), str(content.get("command", ""))[:40]
