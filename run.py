"""The command line: `python run.py [COMMAND] ...`; without a command it is `run`."""

from __future__ import annotations

import gc
import os
import sys
import time

BEGAN = time.perf_counter()
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's, before it loads: matrices are small, threads would wait

COMMANDS = """\
usage: run.py [COMMAND] [OPTIONS]

Simulate federated learning of MR-image reconstruction across institutions.

  run          train one federation, live (the default: `run.py --sites 4`)
  resume       go on with an interrupted run, table, study or shift sweep;
               `--rounds N` extends a run
  show         draw again what the directory of any of these holds
  reconstruct  apply a run's network to k-space, of a file or of a patient
  shift        study domain shift: turn dials by hand; `--sweep` draws what one
               costs, over many federations
  table        compare methods on every target, with paired statistics
  sweep        search settings with Optuna, over many federations
  scenarios    list and explain the named scenarios
  data         look at and convert real data: `data inspect`, `data prepare`

`run.py COMMAND --help` explains a command; `run.py --help` this and run.
"""


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 training stopped, 2 bad input, 130 interrupted."""
    arguments = sys.argv[1:] if argv is None else argv
    began = BEGAN if argv is None else time.perf_counter()
    from sites import commands
    from sites.data import commands as data_commands
    from sweeps import commands as sweeps

    if arguments[:1] in (["--help"], ["-h"]):
        print(COMMANDS)
    known = {
        "run": commands.run,
        "resume": sweeps.resume,
        "show": sweeps.show,
        "reconstruct": commands.reconstruct,
        "table": sweeps.table,
        "shift": sweeps.shift,
        "sweep": sweeps.sweep,
        "scenarios": commands.scenarios,
        "data": data_commands.data,
    }
    if arguments and arguments[0] in known:
        return commands.guarded(known[arguments[0]], arguments[1:], began)
    if arguments and not arguments[0].startswith("-"):
        print(f"run.py: there is no command {arguments[0]!r}; choose one of {', '.join(known)}", file=sys.stderr)
        return 2
    return commands.guarded(commands.run, arguments, began)


if __name__ == "__main__":
    status = main()
    gc.freeze()  # at exit Python would look through all that scikit-learn and others have brought, for half a second
    sys.exit(status)
