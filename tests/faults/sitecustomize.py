"""Kill this process's whole group when a function is called: `KILL_AT=module:function:n`.

Python imports this by itself where the folder is on `PYTHONPATH`, so the scripts under test need
no hook: the n-th call of that function in any one process is the last thing that happens.
"""

import os
import signal
import sys

if place := os.environ.get("KILL_AT"):
    module, function, nth = place.split(":")
    left = int(nth)

    def watch(frame, event, _argument):
        global left  # noqa: PLW0603 - a profiler has no other place for its count
        if (
            event == "call"
            and frame.f_code.co_name == function
            and frame.f_globals.get("__name__") == module
        ):
            left -= 1
            if left == 0:
                os.killpg(0, signal.SIGKILL)

    sys.setprofile(watch)
