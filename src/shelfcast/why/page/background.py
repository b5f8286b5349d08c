"""Work that a page need not wait for: the newest question is answered in a thread of its own, older ones are dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

PAUSE = 0.2  # seconds without another question, before work begins


class Background:
    """Answers the newest question; those that a newer one has overtaken are neither begun nor shown.

    Parameters
    ----------
    work : of a question's parts; a ValueError of it is shown as its sentence. show : of what work returns.
    """

    def __init__(self, work: Callable[..., Any], show: Callable[[Any], None], pause: float = PAUSE):
        self.work, self.show, self.pause = work, show, pause
        self._newest = 0
        self._lock, self._one_at_a_time = threading.Lock(), threading.Lock()
        self._threads: list[threading.Thread] = []

    def ask(self, *question: Any) -> None:
        """Returns at once."""
        with self._lock:
            self._newest += 1
            number = self._newest
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(target=self._answer, args=(number, question), daemon=True)
            self._threads.append(thread)
        thread.start()

    def wait(self, seconds: float = 60.0) -> None:
        """Until all that was asked is answered or dropped, for tests."""
        for thread in list(self._threads):
            thread.join(seconds)

    def _answer(self, number: int, question: tuple) -> None:
        threading.Event().wait(self.pause)
        with self._one_at_a_time:
            if number != self._newest:
                return
            try:
                answer = self.work(*question)
            except ValueError as error:
                answer = str(error)
            with self._lock:
                if number == self._newest:
                    self.show(answer)
